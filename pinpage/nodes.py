"""All nodes together: who holds which lock, in which order, and which node a frame is on.

Owns:    the shards, the batches of each thread, the order of locks.
Ignores: what the pins mean.
Cost:    finding the shard of a pfn is one lookup in a byte per pageblock.
Kernel counterpart: pfn_to_nid and NODE_DATA.

Context: a thread that needs several nodes locks them in ascending order, and waits for a
move only while it holds one lock, which the wait releases.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pinpage.batch import Batch
from pinpage.errors import PfnError, PinpageError
from pinpage.radix import Radix
from pinpage.shard import Shard
from pinpage.sparse import MAX_NR_FRAMES
from pinpage.topology import Topology
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Pfns

__all__ = ["Nodes", "Part", "ThreadState"]

_MAX_NR_NODES = 256

Part = tuple[Shard, slice]
"""A shard and the rows of a sorted column that are its own."""


class ThreadState(threading.local):
    """What the registry keeps for each thread.

    Attributes:
        home: the node that the thread says it runs on (0 unless told).
        batches: each node's shard, and the thread's batch for it.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Runs in each thread at its first use of the registry."""
        self.home = 0
        self.batches = tuple((shard, Batch()) for shard in shards)
        for shard, batch in self.batches:
            with shard.lock:
                shard.adopt(batch)


class Nodes:
    """The shards of a topology."""

    def __init__(self, topology: Topology, sparse_below: int, dense_above: int) -> None:
        """One shard per node.

        Raises:
            PinpageError: more than 256 nodes, or more than 2**39 frames.
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
        self.shards = tuple(
            Shard(node, Radix(span, dense_above=dense_above, sparse_below=sparse_below))
            for node, span in enumerate(topology.spans)
        )
        starts = np.arange(0, topology.nr_frames, PAGEBLOCK_NR_PAGES, dtype=np.int64)
        self.of_block = topology.nodes_of(starts).astype(np.uint8).tobytes()
        self.thread = ThreadState(self.shards)

    def shard_of(self, pfn: int) -> Shard:
        """The shard of a frame.

        Raises:
            PfnError: the topology has no such frame.
        """
        self.require_pfn(pfn)
        return self.shards[self.of_block[pfn >> PAGEBLOCK_ORDER]]

    def require_pfn(self, pfn: int) -> None:
        """Refuse what is no frame.

        Raises:
            PfnError: the topology has no such frame.
        """
        if not 0 <= pfn < self.topology.nr_frames:
            raise PfnError(
                f"pfn {pfn:#x} is outside the topology (0..{self.topology.nr_frames - 1:#x})"
            )

    def require_span(self, start: int, stop: int) -> None:
        """Refuse what is no range of frames.

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
        """The shards of the frames in [start, stop), each with its piece."""
        found = []
        for shard in self.shards:
            lo, hi = max(start, shard.radix.span.start), min(stop, shard.radix.span.stop)
            if lo < hi:
                found.append((shard, lo, hi))
        return found

    def enter(self, shards: Sequence[Shard]) -> None:
        """Lock several shards, given in node order, and store what is in their batches."""
        home = self.thread.home
        for shard in shards:
            shard.enter(home)
        for shard in shards:
            shard.drain_all()

    def leave(self, shards: Sequence[Shard]) -> None:
        """Unlock them."""
        for shard in shards:
            shard.leave()

    @contextmanager
    def locked(self, shards: Sequence[Shard]) -> Iterator[None]:
        """Hold the locks of several shards, given in node order; their batches are drained."""
        self.enter(shards)
        try:
            yield
        finally:
            self.leave(shards)

    def enter_unmoved(self, parts: Sequence[Part], pfns: Pfns, *, wait: bool) -> bool:
        """`enter` when none of the frames is under move.

        Args:
            parts: of the column `pfns`.
            wait: wait for moves of other threads to end.

        Returns:
            False, and no lock is held: a frame is under move, and the caller did not want
            to wait or moves it itself.
        """
        shards = [shard for shard, _ in parts]
        while True:
            self.enter(shards)
            blocker = next(
                (s for s, rows in parts if s.moving and s.is_any_moving(pfns[rows])), None
            )
            if blocker is None:
                return True
            may_wait = wait and not blocker.is_any_moved_by(threading.get_ident(), pfns)
            self.leave([shard for shard in shards if shard is not blocker or not may_wait])
            if not may_wait:
                return False
            blocker.wait()
            blocker.leave()
