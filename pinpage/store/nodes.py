"""All nodes together: who holds which lock, in which order, and which node a frame is on.

Owns:    the shards, the threads, the order of locks.
Ignores: what the pins mean.
Cost:    finding the shard of a pfn is one lookup in a byte per pageblock.
Kernel counterpart: pfn_to_nid and NODE_DATA.

Context: a thread that needs several nodes locks them in ascending order, and waits for a
move only while it holds one lock, which the wait releases.
"""

from collections.abc import Callable, Container, Sequence
from contextlib import suppress
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

__all__ = ["LateUnpin", "Nodes", "Part"]

_MAX_NR_NODES = 256

Part = tuple[Shard, slice]
"""A shard and the rows of a sorted column that are its own."""


_R = TypeVar("_R")


class LateUnpin:
    """A pin that is to be removed by the next section of a node where it may be.

    Attributes:
        is_over: it was removed, or is not to be.
    """

    def __init__(
        self, nodes: "Nodes", names: Sequence[int], record: Record, ended: Callable[[bool], None]
    ) -> None:
        """Waits for nothing yet.

        Args:
            nodes: of the registry.
            names, record, ended: see `Nodes.remove_late`.
        """
        self.is_over = False
        self._nodes, self._names, self._record, self._ended = nodes, names, record, ended
        self._not_tried = dict.fromkeys(nodes.shard_of(frame) for frame in names)

    def is_for(self, names: Sequence[int], record: Record) -> bool:
        """Whether this is about the same pin.

        Args:
            names, record: as it is known to whoever asks.
        """
        return not self.is_over and record == self._record and not {*names}.isdisjoint(self._names)

    def queue(self) -> None:
        """Let the next section of each node where the pin may be try, before it does anything.

        So a pin that is moved from one to the other is found by the one that it is moved from,
        or, where that is the section that was interrupted, at its end by the other.
        """
        for shard in list(self._not_tried):
            shard.unpin_late(partial(self._try_on, shard))

    def nr_places(self) -> int:
        """By how many of its names the frame has the pin."""
        before, now, found = None, self._glimpse(), 0
        while before != now:  # else another thread has changed something while this one looked
            before, shard_of = now, self._nodes.shard_of
            found = sum(shard_of(frame).had(frame, self._record) for frame in self._names)
            now = self._glimpse()
        return found

    def _glimpse(self) -> list[object]:
        return [self._nodes.shard_of(frame).glimpse(frame) for frame in self._names]

    def _try_on(self, shard: Shard) -> None:
        """In the section of a node: remove the pin if it is there."""
        frames = [frame for frame in self._names if self._nodes.shard_of(frame) is shard]
        while frames and not self.is_over:
            self.is_over = shard.discard(frames.pop(0), *self._record)
        self._not_tried.pop(shard, None)
        if self.is_over or not self._not_tried:
            is_out, ended = self.is_over, self._ended
            self.forget()
            ended(is_out)

    def forget(self) -> None:
        """It is over, and nobody is to hear of it any more."""
        self.is_over, self._ended = True, _nothing
        self._nodes.forget_late(self)


def _nothing(is_out: bool) -> None:
    """What is left to be done after the end."""


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
        self._late: list[LateUnpin] = []
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
        self, names: Sequence[int], record: Record, ended: Callable[[bool], None]
    ) -> bool:
        """Have a pin removed in a section of its node: one that its thread is in, or the next.

        Context: a finalizer or signal handler that interrupted a section of its thread.

        Args:
            names: of the frame, which pins may change before it is done.
            record: the pin.
            ended: called with whether it was removed; not if it is refused here.

        Returns:
            Whether it is there, or was when the change of its pins began that was interrupted,
            and nobody has had it removed like this before; False: nothing will be done.
        """
        nr_before = sum(item.is_for(names, record) for item in list(self._late))
        item = LateUnpin(self, names, record, ended)
        self._late.append(item)
        is_there = False
        try:
            item.queue()  # before the look: whatever happens meanwhile, one of both finds the pin
            is_there = item.nr_places() > nr_before or item.is_over
        finally:
            if not is_there:
                item.forget()
        return is_there

    def forget_late(self, item: "LateUnpin") -> None:
        """One that is over: nobody asks for it any more."""
        with suppress(ValueError):  # (said twice, when an interrupt came between)
            self._late.remove(item)

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
        """The shards of an ascending column of frames, each with its rows.

        Raises:
            PfnError: one of them is outside the topology.
        """
        if len(pfns) and not 0 <= pfns[0] <= pfns[-1] < self.topology.nr_frames:
            self.topology.nodes_of(pfns)
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
