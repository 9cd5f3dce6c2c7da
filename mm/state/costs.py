"""What things cost in simulated time: one model, one clock, integers only.

A run counts what it did (`Counters`); the model turns counts into nanoseconds.  A policy that
has to know what time it is while it runs takes a lap of its `Meter` after every batch.  Nothing
here waits, and nothing reads the time of day, so the same seed gives the same
nanosecond anywhere.

Two kinds of constants, and each says which it is:

    measured   a figure that somebody observed on a real kernel
    assumed    our split of a measured total, or an order of magnitude; change it freely

Only ratios between designs should be read off modelled time.  What is held to a
measurement is the total: a whole-zone compaction of the recorded machines comes to 2.2 to
2.3 us per page moved, scanning included, which is what a real machine took.
"""

from collections.abc import Callable
from typing import Literal, get_args

import attrs
from attrs import Attribute, define, field, frozen

from mm.state.due import INTERRUPT, Due
from pinpage.errors import PinpageError, plain_int, whole
from pinpage.units import PAGE_SIZE

__all__ = ["STEPS", "CostModel", "Counters", "Meter", "SimClock", "Step"]

Step = Literal["scan", "isolate", "wait", "copy", "flush", "callback", "retry"]
"""What simulated time is spent on; `CostModel.steps_of` says what counts as what."""

STEPS: tuple[Step, ...] = get_args(Step)
"""In the order in which a move goes through them."""


@define
class Counters:
    """What was done, in pages and times; each counts up only.

    Attributes:
        pages_scanned_migrate: frames that the migrate scanner looked at.
        pages_scanned_free: frames that the free scanner looked at.
        pages_isolated: frames taken for a move, sources and targets alike (as
            compact_isolated in vmstat: two per page moved).
        pages_copied: pages whose contents were copied to their new frame.
        ptes_rewritten: page table entries pointed from the old frame to the new.
        callbacks: pins whose owner was called back: its isolate and migrate, or its release,
            count once, for what was measured (`callback_ns`) is the section that spans them.
        flushes: TLB flushes sent, one per batch of pages.
        lock_acquisitions: locks taken (zone, LRU, registry nodes).
        pages_compressed: pages compressed on their way to swap.
        pages_decompressed: pages decompressed on their way back.
        pages_allocated: pages handed out by the allocator.
        pages_freed: pages given back to it.
        pages_retried: pages tried once more after a pass in which they could not be moved;
            one that is tried in ten passes counts nine times.
    """

    pages_scanned_migrate: int = 0
    pages_scanned_free: int = 0
    pages_isolated: int = 0
    pages_copied: int = 0
    ptes_rewritten: int = 0
    callbacks: int = 0
    flushes: int = 0
    lock_acquisitions: int = 0
    pages_compressed: int = 0
    pages_decompressed: int = 0
    pages_allocated: int = 0
    pages_freed: int = 0
    pages_retried: int = 0

    def copy(self) -> "Counters":
        """The counts as they stand, to subtract later."""
        return attrs.evolve(self)

    def since(self, before: "Counters") -> "Counters":
        """What was done after `before` was copied."""
        names = (attribute.name for attribute in attrs.fields(Counters))
        return Counters(**{name: getattr(self, name) - getattr(before, name) for name in names})

    def add(self, done: "Counters") -> None:
        """Count what was done elsewhere."""
        for attribute in attrs.fields(Counters):
            name = attribute.name
            setattr(self, name, getattr(self, name) + getattr(done, name))

    @property
    def pages_scanned(self) -> int:
        """Frames looked at by either scanner."""
        return self.pages_scanned_migrate + self.pages_scanned_free


def _whole_and_not_negative(_model: object, attribute: "Attribute[int]", value: int) -> None:
    if type(value) is not int or value < 0:
        raise PinpageError(f"cost model: {attribute.name}={value!r} must be whole ns, 0 or more")


def _whole_and_positive(_model: object, attribute: "Attribute[int]", value: int) -> None:
    if type(value) is not int or value < 1:
        raise PinpageError(f"cost model: {attribute.name}={value!r} must be whole pages, 1 or more")


_COPY_4_KIB_NS = 600
"""Of `CostModel.copy_ns`, what goes by the byte."""


@frozen
class CostModel:
    """Nanoseconds per thing done.  Each field's metadata holds its `source`.

    The measured total is that of a 6.18 kernel on a 2-CPU cloud machine: 14 GiB of
    anonymous memory, a random half of it freed, one compact_memory; 2.2 to 2.3 us per
    page moved.  It scanned 2.6 million pages per second while it moved them, which caps
    the cost of looking at a page at 385 ns and leaves open how much less it is.
    """

    scan_ns: int = field(
        default=40,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: a cache miss per struct page, shared by neighbours"},
    )
    isolate_ns: int = field(
        default=80,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: off the LRU or the free list, of the measured total"},
    )
    copy_ns: int = field(
        default=1_130,
        validator=_whole_and_not_negative,
        metadata={
            "source": "assumed: what the measured total leaves for a cold 4 KiB copy (about"
            " 600 ns at 7 GB/s), folio locks, the reference freeze and the LRU putback"
        },
    )
    pte_ns: int = field(
        default=500,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: one rmap walk out and one back, of the measured total"},
    )
    flush_ns: int = field(
        default=6_700,
        validator=_whole_and_not_negative,
        metadata={
            "source": "measured, indirectly: batching TLB flushes made migration 3.9 times as"
            " fast; n(u + c) + ceil(n / b) F with b = 32 and 2.25 us per page gives F"
        },
    )
    lock_ns: int = field(
        default=25,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: an uncontended spinlock; contention is not modelled"},
    )
    callback_ns: int = field(
        default=2_130,
        validator=_whole_and_not_negative,
        metadata={
            "source": "measured: mean of a log-normal law fitted to the lock hold times of"
            " __buffer_migrate_page (93.2 % < 6 us, 97.7 % <= 16 us, longest 311 us)"
        },
    )
    compress_ns: int = field(
        default=6_000,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: lzo at about 700 MB/s; zlib takes ten times as long"},
    )
    decompress_ns: int = field(
        default=2_500,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: lzo at about 1.6 GB/s"},
    )
    allocate_ns: int = field(
        default=100,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: an order-0 page off a per-CPU list, refills shared"},
    )
    free_ns: int = field(
        default=80,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: an order-0 page to a free list, merging shared"},
    )
    retry_ns: int = field(
        default=1_000,
        validator=_whole_and_not_negative,
        metadata={
            "source": "assumed: a page that cannot be frozen was unmapped and is mapped again,"
            " two rmap walks for nothing"
        },
    )
    flush_batch_nr_pages: int = field(
        default=32,
        validator=_whole_and_positive,
        metadata={"source": "COMPACT_CLUSTER_MAX: pages that compaction moves at a time"},
    )

    def for_pages_of(self, page_nr_bytes: int) -> "CostModel":
        """The same for larger pages: what goes by the byte takes as much longer.

        Copying, the share of it that is no copy excepted; compressing and decompressing.
        """
        more = page_nr_bytes // PAGE_SIZE - 1
        return attrs.evolve(
            self,
            copy_ns=self.copy_ns + more * min(_COPY_4_KIB_NS, self.copy_ns),
            compress_ns=self.compress_ns * (more + 1),
            decompress_ns=self.decompress_ns * (more + 1),
        )

    def cost_of(self, counters: Counters) -> int:
        """Simulated ns for what was done; linear in every counter."""
        return sum(self.steps_of(counters).values())

    def steps_of(self, counters: Counters, *, waited_ns: int = 0) -> dict[Step, int]:
        """The same by what it was spent on: every step of `STEPS`.

        They sum to `cost_of` and `waited_ns`: waiting is no work, so no counter knows of it;
        it is what the clock says beyond the work (for I/O, for whoever holds a reference).

        Taking frames off their lists, locks and the allocator are `isolate`; page tables are
        repointed in `copy`; what an owner does in its callback (compression too) is
        `callback`.

        Args:
            counters: what was done.
            waited_ns: simulated time spent waiting.
        """
        return {
            "scan": counters.pages_scanned * self.scan_ns,
            "isolate": counters.pages_isolated * self.isolate_ns
            + counters.lock_acquisitions * self.lock_ns
            + counters.pages_allocated * self.allocate_ns
            + counters.pages_freed * self.free_ns,
            "wait": waited_ns,
            "copy": counters.pages_copied * self.copy_ns + counters.ptes_rewritten * self.pte_ns,
            "flush": counters.flushes * self.flush_ns,
            "callback": counters.callbacks * self.callback_ns
            + counters.pages_compressed * self.compress_ns
            + counters.pages_decompressed * self.decompress_ns,
            "retry": counters.pages_retried * self.retry_ns,
        }


@define
class SimClock:
    """Simulated time, integer ns since the machine was built, forward only, and what is planned.

    A machine has one clock, and what is to happen on it is planned here, whoever plans it:
    devices, timers, a workload's next action.  `advance` only moves the hand; what is due by
    then happens at the next `catch_up`, which whoever is under way calls where others may go
    on (`Meter.cond_resched`), or as somebody sleeps (`run_until`).

    Attributes:
        now_ns: the time.
        nr_happened: actions that have happened so far.
    """

    now_ns: int = 0
    nr_happened: int = field(default=0, init=False, eq=False)
    _due: Due = field(factory=Due, init=False, eq=False, repr=False)

    def advance(self, ns: int) -> int:
        """Let `ns` pass; returns the new time.

        Raises:
            PinpageError: time runs backwards, or is not whole nanoseconds.
        """
        passed = plain_int(ns)
        if passed is None or passed < 0:
            raise PinpageError(f"clock: cannot advance by {ns!r} ns; give a whole number >= 0")
        self.now_ns += passed
        return self.now_ns

    # What is planned.

    @property
    def nr_planned(self) -> int:
        """How many actions are planned."""
        return len(self._due)

    def is_planned(self, event_id: int) -> bool:
        """Whether an action is still to happen."""
        return event_id in self._due

    def next_ns(self, *, interrupts_only: bool = False) -> int | None:
        """When the next action is due, in the past if it is late; None if nothing is planned.

        Args:
            interrupts_only: pass over turns, as somebody in the middle of a move has to.
        """
        return self._due.next_ns(interrupts_only=interrupts_only)

    def plan(self, time_ns: int, action: Callable[[], None], rank: int = INTERRUPT) -> int:
        """Plan `action`; an id to cancel it by.

        Args:
            time_ns: when it is due; what is late already happens at the next occasion.
            action: what happens.
            rank: `INTERRUPT` for a device or a timer, which may come while a move waits;
                above for a process, which goes on between moves only, lower ranks first.

        Raises:
            PinpageError: a rank below 0, or no whole nanoseconds.
        """
        if type(time_ns) is not int or type(rank) is not int:
            time_ns, rank = whole("clock: plan", time_ns=time_ns, rank=rank)
        if rank < INTERRUPT:
            raise PinpageError(f"clock: rank={rank}: {INTERRUPT} for an interrupt, or above")
        return self._due.plan(time_ns, action, rank)

    def cancel(self, event_id: int) -> bool:
        """Forget an action; False if it has happened."""
        return self._due.cancel(event_id)

    def step(self, *, interrupts_only: bool = False) -> bool:
        """Let time pass until the next action and let that happen; False if there is none.

        Args:
            interrupts_only: pass over turns.
        """
        due_ns = self.next_ns(interrupts_only=interrupts_only)
        if due_ns is None:
            return False
        self.advance(max(0, due_ns - self.now_ns))
        self.nr_happened += 1
        self._due.take(interrupts_only=interrupts_only)()
        return True

    def run_until(self, time_ns: int, *, interrupts_only: bool = False) -> int:
        """Let time pass until `time_ns` at least; how many actions happened.

        Args:
            time_ns: until when.
            interrupts_only: pass over turns.

        Raises:
            PinpageError: no whole nanoseconds.
        """
        if type(time_ns) is not int:
            (time_ns,) = whole("clock: run_until", time_ns=time_ns)
        nr_events = 0
        while (
            due_ns := self.next_ns(interrupts_only=interrupts_only)
        ) is not None and due_ns <= time_ns:
            nr_events += self.step(interrupts_only=interrupts_only)
        self.advance(max(0, time_ns - self.now_ns))
        return nr_events

    def catch_up(self) -> int:
        """Let happen what is due by now; how many actions happened.

        Not what comes due while they take their time: a process that has more to do than time
        to do it in would go on for ever.
        """
        return self.run_until(self.now_ns)


class Meter:
    """Turns what was counted since the last lap into time that has passed.

    Attributes:
        clock: the machine's; forward only.
    """

    def __init__(
        self,
        counted: Callable[[], Counters],
        costs: CostModel,
        clock: SimClock,
        catch_up: Callable[[], object] | None = None,
    ) -> None:
        """Charge what `counted` counts, at the prices of `costs`, to `clock`.

        Args:
            counted: everything done so far by whoever is charged.
            costs: what it costs.
            clock: where time passes.
            catch_up: lets happen what is due; None: the clock's own.
        """
        self.clock = clock
        self._counted = counted
        self._costs = costs
        self._catch_up = clock.catch_up if catch_up is None else catch_up
        self._last = counted()

    @property
    def now_ns(self) -> int:
        """Simulated time of the last lap."""
        return self.clock.now_ns

    def start(self) -> int:
        """What was done before is somebody else's to charge; the time it is, in ns."""
        self._last = self._counted()
        return self.clock.now_ns

    def lap(self) -> int:
        """Charge what was done since the last lap; the time it is now, in ns."""
        now = self._counted()
        cost_ns = self._costs.cost_of(now.since(self._last))
        self._last = now
        return self.clock.advance(cost_ns)

    def cond_resched(self) -> None:
        """Let others go on: between two tries, passes or ranges, never inside a move.

        Charges what was done so far, and lets happen what is due by then.  Where nothing is
        planned nothing is charged either: that is left to the next lap.
        """
        due_ns = self.clock.next_ns()
        if due_ns is not None and due_ns <= self.lap():
            self._catch_up()

    def nr_before_due(self, each: Counters, most: int) -> int:
        """How many times something can be done before anything happens, `most` at most.

        Args:
            each: what is done each time.
            most: the answer where nothing is planned.
        """
        due_ns, each_ns = self.clock.next_ns(), self._costs.cost_of(each)
        if due_ns is None or not each_ns:
            return most
        return min(most, max(0, due_ns - self.clock.now_ns) // each_ns)
