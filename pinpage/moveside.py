"""The mover's half of the registry: frames under move, and pins that change their frame.

Owns:    when a frame counts as under move, and the names it has meanwhile.
Ignores: callbacks, references, copies (`pinpage.migrate`).
Cost:    one lock acquisition per node and call; about 0.2 us per frame.
Kernel counterpart: the isolated mark of a page, and page_mapping moving to the new page.
"""

import threading

import numpy as np

from pinpage import columns
from pinpage.errors import PinpageError
from pinpage.privates import NONE_NUMBER
from pinpage.readside import ReadSide
from pinpage.standing import Standing
from pinpage.topology import Topology
from pinpage.units import Mask, Pfns

__all__ = ["MoveSide"]


class MoveSide(ReadSide):
    """What a move does to a registry; for `pinpage.migrate` only."""

    def __init__(self, topology: Topology, sparse_below: int, dense_above: int) -> None:
        """No frame is under move."""
        super().__init__(topology, sparse_below, dense_above)
        self._standing = Standing()

    def marked_by(self, pfns: Pfns, thread: int) -> Mask:
        """Frames under move in the name of a thread, bool[n].  Without a lock.

        Args:
            pfns: a column of frames.
            thread: as `threading.get_ident` names it.

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        marked = np.zeros(len(pfns), dtype=np.bool_)
        for shard in self._nodes.shards:
            if moving := shard.moving:
                marked |= np.array([moving.get(p) == thread for p in pfns.tolist()], dtype=np.bool_)
        return marked

    def begin_move(self, pfns: Pfns) -> Mask:
        """Put frames under move, in the name of the calling thread.

        When this returns, every pin of these frames is stored, and none joins: a new one
        waits for `end_move`, or says AGAIN (R-29).

        Returns:
            Which are under move now and were not before, bool[n]; False: another mover has
            the frame (R-7), or it is given twice.

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        marked = np.zeros(len(pfns), dtype=np.bool_)
        order = np.argsort(pfns, kind="stable")
        ascending, me = pfns[order], threading.get_ident()
        for shard, rows in self._nodes.parts(ascending):
            with self._nodes.locked((shard,)):
                marked[order[rows]] = shard.begin_move(ascending[rows].tolist(), me)
        return marked

    def end_move(self, pfns: Pfns) -> None:
        """These frames are not under move any more; whoever waits for them goes on.

        Raises:
            PinpageError: one of them is not under move.  Nothing changed on its node.
        """
        self._nodes.require_pfns(pfns)
        ascending = np.sort(pfns)
        self._standing.remove(pfns)  # before the mark: the next move may give it another name
        for shard, rows in self._nodes.parts(ascending):
            with self._nodes.locked((shard,)):
                shard.end_move(ascending[rows].tolist())

    def forward_many(self, sources: Pfns, targets: Pfns) -> None:
        """Until `rekey_many` or `end_move`, an unpin of a target means its source.

        Args:
            sources: frames under move.
            targets: frames under move, parallel; their owners are about to be told of them.
        """
        self._standing.add(sources, targets)

    def rekey_many(self, sources: Pfns, targets: Pfns) -> None:
        """All pins that each source still has now belong to its target.

        Args:
            sources: distinct frames under move.
            targets: distinct frames, parallel; none of them a source.

        Raises:
            PfnError: no such frame.
            PinpageError: the columns do not fit, or a source is not under move.  Nothing changed.
        """
        self._nodes.require_pfns(sources)
        self._nodes.require_pfns(targets)
        if len(sources) != len(targets) or len(
            np.unique(np.concatenate((sources, targets)))
        ) != 2 * len(sources):
            raise PinpageError(
                "rekey_many: sources and targets must be distinct frames, as many of each"
            )
        unmarked = next(
            (p for p in sources.tolist() if p not in self._nodes.shard_of(p).moving), None
        )
        if unmarked is not None:
            raise PinpageError(
                f"rekey_many: source pfn {unmarked:#x} is not under move; call begin_move first"
            )
        for tag, value in columns.rekey_columns(self._nodes, sources, targets):
            self._drop(tag, value)
        self._standing.remove(targets)

    def _drop(self, tag: int, value: int) -> None:
        """A pin is gone: so is its use of an object private."""
        if tag & 1 and value != NONE_NUMBER:
            self._privates.drop(value)
