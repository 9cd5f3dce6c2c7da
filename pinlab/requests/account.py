"""Counting for a request: what each attempt did and took, and the report at the end.

    account = Account(subject, options, request="cma", unit="page")
    for ...:
        if account.interrupted:
            break
        account.begin("512 pages")
        ... serve it ...
        account.end(span, errno, refusals=report.refusals, pages_dropped=report.pages_dropped)
    return account.finish(wanted=..., obtained=...)

What a part counts itself is priced by the machine's cost model; where the part has advanced
the clock, it has been priced already.  Time that passed beyond the price of what was done
was spent waiting.  So an attempt's steps sum to its time on the clock, exactly.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mm.machine import Machine
from mm.state.contents import TagContents
from mm.state.costs import STEPS, Counters, Step
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.reasons import Refusals
from pinlab.replay.read_back import ReadBack
from pinlab.replay.replay import Replayed
from pinlab.requests.report import Attempt, InTheWay, RequestName, RequestOptions, RequestReport
from pinpage.errors import require
from pinpage.units import Span

__all__ = ["Account", "Subject", "machine_of", "most_wanted"]

Subject = Replayed | Machine
"""What is asked: a replayed recording, or a bare machine (then no bytes are read back)."""


def machine_of(subject: Subject) -> Machine:
    """The machine that serves."""
    return subject.machine if isinstance(subject, Replayed) else subject


def most_wanted(machine: Machine, nr_pages: int, nodes: Sequence[int], *, whole: bool) -> int:
    """How many pages of that size to ask for where nobody says: a hole cannot hold one.

    Args:
        machine: the one that serves.
        nr_pages: frames of one.
        nodes: that they may lie on.
        whole: whether the last frames count only if they are enough for one.
    """
    frames = machine.frames
    has_memory = (frames.state != FrameState.HOLE) & np.isin(frames.node, nodes)
    if whole:
        has_memory = has_memory[: frames.nr_frames // nr_pages * nr_pages]
    return len(np.unique(np.flatnonzero(has_memory) // nr_pages))


class Account:
    """The account of one request on one machine.

    Invariants, required as attempts end:
        AC1 an attempt's steps sum to the time that passed on the clock.
        AC2 attempts do not nest: one begins after the last has ended.

    Attributes:
        machine: the one that serves.
        attempts: those that have ended.
    """

    def __init__(
        self,
        subject: Subject,
        options: RequestOptions,
        *,
        request: RequestName,
        unit: str,
        bound: int | None = None,
        certain: int | None = None,
    ) -> None:
        """Begin to count; what was done before is nobody's.

        Args:
            subject: what is asked.
            options: how.
            request: the consumer.
            unit: what wanted and obtained count.
            bound: the most that any strategy can obtain, from the state before.
            certain: what needs neither reclaim nor compaction of it.
        """
        self.machine = machine_of(subject)
        self.attempts: list[Attempt] = []
        self._subject = subject
        self._options = options
        self._names = (request, unit)
        self._bound, self._certain = bound, certain
        self._begun = self._seen = self.machine.counted()
        self._seen_ns = self.machine.clock.now_ns
        self._steps: Counter[Step] = Counter()
        self._split_before = self.machine.refs.folios.nr_split.copy()
        self._refusals = Refusals()
        self._in_the_way = Refusals()
        self._gave_up: Counter[str] = Counter()
        self._under_way: str | None = None
        self._was_interrupted = False
        self._nr_retried = 0

    @property
    def interrupted(self) -> bool:
        """Whether to stop here; once it was so the report is partial."""
        self._was_interrupted = self._was_interrupted or self._options.interrupted()
        return self._was_interrupted

    def again(self) -> bool:
        """Whether to ask once more for a unit that has just failed; the pause is over then.

        A unit has `nr_retries` of them, counted from its first attempt.
        """
        if self._nr_retried == self._options.nr_retries or self.interrupted:
            return False
        self._nr_retried += 1
        self.machine.clock.advance(self._options.pause_ns)
        return True

    def begin(self, name: str, *, of: int = 0) -> None:
        """An attempt begins, after what is due by now has happened.

        Args:
            name: of the attempt.
            of: how many there are at most.
        """
        require(self._under_way is None, "AC2 an attempt begins inside another", name=name)
        self._settle()
        self.machine.catch_up()
        self._options.advance(name, len(self.attempts), of)
        self._under_way = name

    def end(
        self,
        span: Span | None,
        errno: Errno,
        *,
        refusals: Refusals | None = None,
        pages_dropped: int = 0,
        pages_released: int = 0,
        pages_moved: int | None = None,
        timed_out: bool = False,
    ) -> Attempt:
        """The attempt that was begun has ended.

        Args:
            span: where; None if nowhere.
            errno: OK, or why not.
            refusals: frames that stayed in its way, each once.
            pages_dropped, pages_released: given up instead of moved.
            pages_moved: contents that went elsewhere; None: as many as were copied.
            timed_out: EINTR means that its time was over: nobody asked to end the request.
        """
        name, self._under_way = self._under_way, None
        require(name is not None, "AC2 an attempt ends that has not begun")
        done, steps = self._settle()
        refusals = refusals or Refusals()
        self._refusals.update(refusals)
        if errno is not Errno.OK:
            self._in_the_way.update(refusals)
        self._gave_up += Counter(dropped=pages_dropped, released=pages_released)
        attempt = Attempt(
            name=str(name),
            start=-1 if span is None else span.start,
            stop=-1 if span is None else span.stop,
            errno=errno.name,
            pages_moved=done.pages_copied if pages_moved is None else pages_moved,
            refused=_named(refusals),
            steps_ns={str(step): ns for step, ns in steps.items()},
        )
        if errno is Errno.OK:
            self._nr_retried = 0
        if not timed_out:
            self._was_interrupted = self._was_interrupted or errno is Errno.EINTR
        self.attempts.append(attempt)
        return attempt

    def finish(
        self, *, wanted: int, obtained: int, details: dict[str, int] | None = None
    ) -> RequestReport:
        """Read everything back, check the machine, and report.

        Args:
            wanted: how many were asked for.
            obtained: how many there are.
            details: name -> number, of this consumer alone.

        Raises:
            InvariantError: the machine contradicts itself.
        """
        require(self._under_way is None, "AC2 a report inside an attempt")
        self._settle()
        machine, options, (request, unit) = self.machine, self._options, self._names
        done = machine.counted().since(self._begun)
        read = self._read_back()
        machine.check()
        moved = [attempt.pages_moved for attempt in self.attempts]
        return RequestReport(
            request=request,
            design=options.design,
            movable=options.movable,
            release=options.release,
            strategy=options.strategy,
            wanted=wanted,
            obtained=obtained,
            unit=unit,
            bound=self._bound,
            attempts=tuple(self.attempts),
            pages_moved=sum(moved) if moved else done.pages_copied,
            pages_dropped=self._gave_up["dropped"],
            pages_released=self._gave_up["released"],
            pages_scanned=done.pages_scanned,
            refused=_named(self._refusals),
            refused_by_owner={
                owner: {reason.name.lower(): count for reason, count in sorted(reasons.items())}
                for owner, reasons in sorted(self._refusals.by_owner().items())
            },
            in_the_way=tuple(
                InTheWay(each.pfn, each.nr_pages, each.owner, each.reason.name.lower())
                for each in self._in_the_way.frames()
            ),
            steps_ns={step: self._steps[step] for step in STEPS},
            modelled_ns=sum(self._steps.values()),
            bytes_verified=read.bytes_verified,
            bytes_lost=read.bytes_lost,
            digest=machine.digest(),
            seed=options.seed,
            partial=self._was_interrupted or (obtained < wanted and self.interrupted),
            details=(details or {}) | self._nr_split(),
            certain=self._certain,
        )

    def _nr_split(self) -> dict[str, int]:
        """Large pages that were broken up, where the machine has some; THPs and such beside all."""
        folios, huge_order = self.machine.refs.folios, self.machine.pageblocks.order
        split = folios.nr_split - self._split_before
        if not (len(folios) or folios.nr_split):
            return {}
        nr_huge = sum(count for order, count in split.items() if order >= huge_order)
        return {"large_pages_split": split.total(), "huge_pages_split": nr_huge}

    def _settle(self) -> tuple[Counters, dict[Step, int]]:
        """What was done since the last time, priced; the clock is brought up to that."""
        machine = self.machine
        now = machine.counted()
        done, self._seen = now.since(self._seen), now
        worked_ns = machine.costs.cost_of(done)
        charged_ns = machine.clock.now_ns - self._seen_ns
        if worked_ns > charged_ns:  # nobody has charged the rest yet
            machine.clock.advance(worked_ns - charged_ns)
        steps = machine.costs.steps_of(done, waited_ns=max(charged_ns - worked_ns, 0))
        passed_ns = machine.clock.now_ns - self._seen_ns
        require(sum(steps.values()) == passed_ns, "AC1 steps and clock disagree", ns=passed_ns)
        self._seen_ns = machine.clock.now_ns
        self._steps.update(steps)
        return done, steps

    def _read_back(self) -> ReadBack:
        subject = self._subject
        if not isinstance(subject, Replayed) or isinstance(self.machine.contents, TagContents):
            return ReadBack()
        machine = subject.machine
        return subject.expected.read_back(machine.contents, subject.zswap, machine.swap)


def _named(refusals: Refusals) -> dict[str, int]:
    """Frames by the name of their reason, in the order of the taxonomy."""
    return {reason.name.lower(): n for reason, n in sorted(refusals.by_reason().items()) if n}
