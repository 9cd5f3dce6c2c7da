"""All nodes together: who holds which lock, in which order, and which node a frame is on.

Owns:    the shards, the threads, the order of locks.
Ignores: what the pins mean.
Cost:    finding the shard of a pfn is one lookup in a byte per pageblock.
Kernel counterpart: pfn_to_nid and NODE_DATA.

Context: a thread that needs several nodes locks them in ascending order, and waits for a
move only while it holds one lock, which the wait releases.
"""

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from pinpage.errors import PfnError, PinpageError
from pinpage.store.radix import Radix
from pinpage.store.rows import Record
from pinpage.store.shard import Shard
from pinpage.store.sparse import MAX_NR_FRAMES
from pinpage.store.threads import Threads, tell_in_child
from pinpage.topology import Topology
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfns

__all__ = ["Nodes", "Part"]

_MAX_NR_NODES = 256

Part = tuple[Shard, slice]
"""A shard and the rows of a sorted column that are its own."""


_R = TypeVar("_R")


class Nodes:
    """The shards of a topology.

    Attributes:
        topology: which frame is on which node.
        shards: one per node.
        of_block: the node of each pageblock, a byte each.
        shard_of: by pfn, its shard; raises PfnError where the topology has no such frame.
        threads: who uses the registry.
    """

    def __init__(
        self,
        topology: Topology,
        welcome: Container[int],
        *,
        batch_nr_pins: int,
        sparse_below: int,
        dense_above: int,
    ) -> None:
        """One shard per node.

        Args:
            topology: which frame is on which node.
            welcome: numbers of the owners that may pin.
            batch_nr_pins: see `Shard`.
            sparse_below, dense_above: see `Radix`.

        Raises:
            PinpageError: more than 256 nodes, more than 2**39 frames, or thresholds that cross.
        """
        if topology.nr_nodes > _MAX_NR_NODES:
            raise PinpageError(
                f"topology: {topology.nr_nodes} nodes; at most {_MAX_NR_NODES} are supported"
            )
        if topology.nr_frames > MAX_NR_FRAMES:
            raise PinpageError(
                f"topology: {topology.nr_frames} frames; at most 2**39 are supported"
            )
        self.topology = topology
        self.threads = Threads()
        radixes = [
            Radix(span, dense_above=dense_above, sparse_below=sparse_below)
            for span in topology.spans
        ]
        self.shards = tuple(
            Shard(node, radix, welcome, self.threads, batch_nr_pins=batch_nr_pins)
            for node, radix in enumerate(radixes)
        )
        starts = np.arange(0, topology.nr_frames, PAGEBLOCK_NR_PAGES, dtype=np.int64)
        self.of_block = topology.nodes_of(starts).astype(np.uint8).tobytes()
        self.shard_of = self._shard_finder()
        tell_in_child(self)

    def run(self, shards: Sequence[Shard], work: Callable[..., _R], *args: object) -> _R:
        """Call `work` with the locks of several shards held and their batches stored.

        Args:
            shards: in node order.
            work: anything.
            args: for it.

        Raises:
            ContextError: see `Shard.run`.
        """

        def drained() -> _R:
            for shard in shards:
                shard.drain()
            return work(*args)

        return self.hold(shards, drained)

    def hold(self, shards: Sequence[Shard], work: Callable[[], _R]) -> _R:
        """`run`, but leave in the batches what is there.

        Args:
            shards: in node order.
            work: anything.
        """
        for shard in reversed(shards):
            work = partial(shard.run, work)
        return work()

    def remove_late(
        self, names: Sequence[int], record: Record, remove: Callable[[Shard, int], bool]
    ) -> bool:
        """Have a pin removed in a section of its node: one that its thread is in, or the next.

        Context: a finalizer or signal handler that interrupted a section of its thread.

        Args:
            names: of the frame, which pins may change before it is done.
            record: the pin.
            remove: does so in the section of a node, by one name; False: it is not there.

        Returns:
            Whether it is there, or was when the change of its pins began that was interrupted.
        """
        shards = [self.shard_of(frame) for frame in names]
        before = None
        while before != (now := [(shard.seq, shard.change) for shard in shards]):
            before = now  # else another thread has changed something while this one looked
            places = [s for s, pfn in zip(shards, names, strict=True) if s.had(pfn, record)]
        if places:
            self._hand_on(places[0], names, remove)
        return bool(places)

    def _hand_on(
        self, shard: Shard, names: Sequence[int], remove: Callable[[Shard, int], bool]
    ) -> None:
        """Let a section of this node remove the pin, or hand it on to where else it may be.

        Args:
            shard: of the node.
            names: of the frame by which it was not looked for yet.
            remove: as for `remove_late`.
        """

        def work() -> None:
            here = [frame for frame in names if self.shard_of(frame) is shard]
            elsewhere = [frame for frame in names if frame not in here]
            if not any(remove(shard, frame) for frame in here) and elsewhere:
                self._hand_on(self.shard_of(elsewhere[0]), elsewhere, remove)

        shard.unpin_late(work)

    def after_fork(self) -> None:
        """In a child process, in which the calling thread is the only one."""
        for shard in self.shards:
            shard.after_fork()

    def _shard_finder(self) -> Callable[[int], Shard]:
        """`shard_of`, as a function that looks up as little as possible."""
        shards, of_block, nr_frames = self.shards, self.of_block, self.topology.nr_frames

        def shard_of(pfn: int) -> Shard:
            if 0 <= pfn < nr_frames:
                return shards[of_block[pfn >> 9]]
            raise self._no_such(pfn)

        return shard_of

    def _no_such(self, pfn: int) -> PfnError:
        return PfnError(
            f"pfn {pfn:#x} is outside the topology (0..{self.topology.nr_frames - 1:#x})"
        )

    def shard_of_block(self, start: int, stop: int) -> Shard | None:
        """The shard of a range that lies within one pageblock and is not empty, else None.

        Args:
            start, stop: the range of frames, half open.
        """
        block = start >> PAGEBLOCK_ORDER
        if start < stop <= block + 1 << PAGEBLOCK_ORDER:
            return self.shards[self.of_block[block]]
        return None

    def shard_of_run(self, run: slice) -> Shard | None:
        """The shard of a run of frames that is not empty and lies on one node, else None."""
        if run.start == run.stop:
            return None
        shard = self.shard_of(run.start)
        return shard if run.stop <= shard.radix.span.stop else None

    def require_span(self, start: int, stop: int) -> None:
        """Refuse what is no range of frames.

        Args:
            start, stop: the range of frames, half open.

        Raises:
            PfnError: it runs backwards or leaves the topology.
        """
        if not 0 <= start <= stop <= self.topology.nr_frames:
            raise PfnError(
                f"span [{start:#x}, {stop:#x}) is not within the topology "
                f"(0..{self.topology.nr_frames - 1:#x})"
            )

    def require_pfns(self, pfns: Pfns) -> None:
        """Refuse a column that names what is no frame.

        Raises:
            PfnError: names the first one.
        """
        if len(pfns) and pfns.view(np.uint64).max() >= self.topology.nr_frames:  # or negative
            self.topology.nodes_of(pfns)

    def parts(self, pfns: Pfns) -> list[Part]:
        """The shards of an ascending column of frames, each with its rows."""
        if len(self.shards) == 1:
            return [(self.shards[0], slice(0, len(pfns)))]
        borders = [
            0,
            *np.searchsorted(pfns, [shard.radix.span.stop for shard in self.shards]).tolist(),
        ]
        return [
            (shard, slice(start, stop))
            for shard, start, stop in zip(self.shards, borders, borders[1:], strict=False)
            if start < stop
        ]

    def spans(self, start: int, stop: int) -> list[tuple[Shard, int, int]]:
        """The shards of the frames in [start, stop), each with its piece.

        Args:
            start, stop: the range of frames, half open.
        """
        found = []
        for shard in self.shards:
            lo, hi = max(start, shard.radix.span.start), min(stop, shard.radix.span.stop)
            if lo < hi:
                found.append((shard, lo, hi))
        return found
