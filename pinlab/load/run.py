"""Many actors on one machine: an event loop in simulated time, and the final account.

    due = now + rest:  the actor that is due first goes on; before it, whatever its devices
                       had to do by then happens

Workloads (`pinlab.load.workload`) and a compaction at a fixed period are actors alike; their
turns are planned on the machine's clock.  A compaction takes time, and what is due in it happens
between its pageblocks.  The load is open: an actor rests from when it was due, not from when it
got its turn, so that a slow compaction does not thin the others out.

At the end everybody reads back what he stored, every reference is accounted for, everybody
lets go, and the machine must be as empty as it began.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from mm.compaction.compact_control import CompactReport
from mm.machine import Machine
from mm.move.design import Strategy
from mm.state.frames import FrameState
from owners.compress import compressor
from owners.gup.gup import Gup
from owners.odirect.events import EventQueue
from pinlab.load.workload import Action, LoadedMachine, Streams, Workload
from pinlab.replay.corpus import Corpus
from pinlab.replay.designs import design
from pinlab.replay.read_back import ReadBack
from pinpage.errors import PinpageError, at_least, require
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["COMPACT_EVERY_NS", "LoadRun", "make_world"]

COMPACT_EVERY_NS = 100_000_000
"""A compaction every 100 ms of simulated time, unless told otherwise."""


def make_world(
    *, nr_pages: int, design_name: str, seed: int, compress_with: str = "zlib"
) -> LoadedMachine:
    """An empty machine under a design, and what workloads on it share.

    Args:
        nr_pages: of the machine, whole pageblocks.
        design_name: a name of `pinlab.replay.designs.DESIGNS`.
        seed: of all random streams.
        compress_with: a name of `owners.compress.COMPRESSORS`; others than zlib need an extra.

    Raises:
        PinpageError: unknown design or compressor, a seed below 0, or part of a pageblock.
    """
    entry = design(design_name)
    at_least(0, "scenario", seed=seed)
    machine = Machine.build(nr_pages=nr_pages)
    registry = machine.use_registry() if entry.dispatch.has_registry else None
    world = LoadedMachine(
        machine=machine,
        registry=registry,
        gup=Gup(machine),
        interrupts=EventQueue(machine.clock),
        streams=Streams(seed),
        corpus=Corpus.build(seed=seed),
        compressor=compressor(compress_with),
    )
    entry.put_in_force(machine, world.zbud_pools)
    return world


class LoadRun:
    """Workloads and compactions that take turns on one world.

    Attributes:
        world: the machine and what is shared.
        workloads: in the order in which they start; they let go in the opposite order.
        counts: (actor, kind of action) -> times; refused ones under "kind refused".
        compacted: what all compactions did together.

    Invariants, run by `check` (no move is under way between two actions):
        LR1 the references of a used frame are its mappings, its place in the swap cache and
            what the workloads hold, no more and no less; a frame that is not used has none.
        LR2 under a registry, the pins of each frame account for exactly what the workloads
            hold there.
    """

    def __init__(
        self,
        world: LoadedMachine,
        workloads: Sequence[Workload],
        *,
        compact_every_ns: int = COMPACT_EVERY_NS,
        strategies: Sequence[Strategy] = ("scan", "plan"),
    ) -> None:
        """Start the workloads; their time begins now.

        Args:
            world: nobody else works on it.
            workloads: of distinct names, on that world.
            compact_every_ns: the period of compactions.
            strategies: of one compaction after the other, over and over; () for none.

        Raises:
            PinpageError: a period below 1 ns, or a workload on another world.
        """
        if compact_every_ns < 1:
            raise PinpageError(f"scenario: compact_every_ns={compact_every_ns}: at least 1")
        for workload in workloads:
            if workload.world is not world:
                raise PinpageError(f"scenario: workload {workload.name!r} is on another world")
        self.world = world
        self.workloads = tuple(workloads)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.compacted = CompactReport()
        self._compact_every_ns = compact_every_ns
        for workload in self.workloads:
            workload.start()
        self._actors: dict[str, Iterator[Action]] = {}
        self._turns: dict[str, int] = {}  # events on the clock
        self._line_up(strategies)

    def _line_up(self, strategies: Sequence[Strategy]) -> None:
        """The first turn of everybody; at one time the order is that of the workloads."""
        now_ns = self.world.machine.clock.now_ns
        for order, workload in enumerate(self.workloads):
            due_ns = now_ns + workload.rest_ns()
            self._actors[workload.name] = workload.actions()
            self._plan(due_ns, order, workload.name)
        if strategies:
            due_ns, order = now_ns + self._compact_every_ns, len(self.workloads)
            self._actors["compaction"] = self._compactions(strategies)
            self._plan(due_ns, order, "compaction")

    def _plan(self, due_ns: int, order: int, name: str) -> None:
        """The next turn of an actor, on the machine's clock."""

        def turn() -> None:
            action = next(self._actors[name])
            kind = f"{action.kind} refused" if action.is_refused else action.kind
            self.counts[name, kind] += 1
            self._plan(due_ns + action.rest_ns, order, name)

        self._turns[name] = self.world.machine.clock.plan(due_ns, turn, rank=order + 1)

    def _compactions(self, strategies: Sequence[Strategy]) -> Iterator[Action]:
        for strategy in itertools.cycle(strategies):
            self.compacted.add(self.world.machine.compact(strategy, with_bound=False).report)
            yield Action(strategy, self._compact_every_ns)

    def run(self, duration_ns: int) -> None:
        """Let that much time pass, and whatever is due in it happen; may be called again.

        Raises:
            PinpageError: a negative duration.
            InvariantError: an owner found one of its own broken.
        """
        if duration_ns < 0:
            raise PinpageError(f"scenario: duration_ns={duration_ns}: give 0 or more")
        clock = self.world.machine.clock
        clock.run_until(clock.now_ns + duration_ns)

    # The account.

    def read_back(self) -> ReadBack:
        """Have everybody read back what he stored; comparisons made on the way count too."""
        for workload in self.workloads:
            workload.read_back()
        return sum((workload.pages.found for workload in self.workloads), ReadBack())

    def check(self) -> None:
        """Run LR1 and LR2, and the invariants of the machine, the registry and every owner.

        Raises:
            InvariantError: one does not hold.
        """
        self.world.machine.check()
        for workload in self.workloads:
            workload.check()
        self._check_references()
        if self.world.registry is not None:
            self._check_pins(self.world.registry)

    def _held(self, *, registered_only: bool = False) -> Pfns:
        """References that workloads hold, int64 (nr_frames,)."""
        held = np.zeros(self.world.nr_pages, dtype=np.int64)
        for workload in self.workloads:
            for holding in workload.holdings():
                if holding.is_registered or not registered_only:
                    np.add.at(held, holding.pfns, holding.nr_references)
        return held

    def _check_references(self) -> None:
        machine = self.world.machine
        frames = machine.frames
        used = frames.state == FrameState.USED
        expected = self._held() + (machine.swap.cache.entry_of >= 0)
        # A zbud or slab page has its type where others count mappings: below -1.
        expected += np.maximum(frames.mapcount.astype(np.int64) + 1, 0)
        wrong = np.flatnonzero(np.where(used, frames.refcount, 0) != expected)
        for pfn in wrong[:1].tolist():
            require(
                condition=False,
                message="LR1 a reference that nobody accounts for, or none where there should be",
                pfn=pfn,
                refcount=frames.refcount.item(pfn),
                accounted=int(expected[pfn]),
                nr_frames=len(wrong),
            )

    def _check_pins(self, registry: PinRegistry) -> None:
        pinned = np.zeros(self.world.nr_pages, dtype=np.int64)
        by_owner: dict[int, tuple[PinOwner, list[int], list[object]]] = {}
        for pin in registry.iter_pins(0, self.world.nr_pages):
            _, pfns, privates = by_owner.setdefault(id(pin.owner), (pin.owner, [], []))
            pfns.append(pin.pfn)
            privates.append(pin.private)
        for owner, pfns, privates in by_owner.values():
            where = np.array(pfns, dtype=np.int64)
            np.add.at(pinned, where, owner.references(where, privates))
        wrong = np.flatnonzero(pinned != self._held(registered_only=True))
        for pfn in wrong[:1].tolist():
            require(
                condition=False,
                message="LR2 a frame that is held is not pinned, or the other way round",
                pfn=pfn,
                pins=registry.pins(pfn),
                nr_frames=len(wrong),
            )

    def let_go(self) -> int:
        """Have everybody give everything up; nobody has another turn.

        Returns:
            Frames that are neither free nor on a per-CPU list afterwards, and so are leaked.

        Raises:
            InvariantError: a pin is left.
        """
        for event_id in self._turns.values():
            self.world.machine.clock.cancel(event_id)
        for workload in reversed(self.workloads):
            workload.let_go()
        machine, registry = self.world.machine, self.world.registry
        if registry is not None:
            registry.flush()
            require(
                len(registry) == 0, "LR2 a pin is left that nobody holds", nr_pins=len(registry)
            )
        machine.pcp.drain_all()
        return int(np.count_nonzero(machine.frames.state != FrameState.FREE))
