"""The mover's part of the registry: frames under move, and pins that change their frame.

Owns:    when a frame counts as under move, and the names it has meanwhile.
Ignores: callbacks, references, copies (`pinpage.migrate`).
Cost:    one lock acquisition per node and call; about 0.2 us per frame.
Kernel counterpart: the isolated mark of a page, and page_mapping moving to the new page.
"""

import threading
from collections.abc import Sequence

import numpy as np

from pinpage.errors import PinpageError
from pinpage.store.nodes import Nodes, Part
from pinpage.store.privates import Privates, objects_of
from pinpage.store.rows import PinRows, joined
from pinpage.store.shard import Change, Shard, apply
from pinpage.store.threads import tell_in_child
from pinpage.units import Mask, Pfns

__all__ = ["Marks"]


class Marks:
    """What a move does to a registry; for `pinpage.migrate` only.

    Attributes:
        source_of: targets in flight and the sources that they are aliases of.  An owner that
            was told its new place knows the frame by its target, one that was not told yet by
            its source; either may unpin at any moment, by the name that it knows.
    """

    def __init__(self, nodes: Nodes, privates: Privates) -> None:
        """No frame is under move.

        Args:
            nodes: where the pins are.
            privates: the objects that some pins refer to.
        """
        self._nodes = nodes
        self._privates = privates
        self.source_of: dict[int, int] = {}
        tell_in_child(self)

    def after_fork(self) -> None:
        """In a child: what other threads moved has no second name any more."""
        me, moving = threading.get_ident(), [shard.moving for shard in self._nodes.shards]
        self.source_of = {
            target: source
            for target, source in self.source_of.items()
            if any(marked.get(source) == me for marked in moving)
        }

    def marked_by(self, pfns: Pfns, thread: int) -> Mask:
        """Frames under move in the name of a thread, bool[n].

        Args:
            pfns: a column of frames.
            thread: as `threading.get_ident` names it.

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        marked = np.zeros(len(pfns), dtype=np.bool_)
        for shard in self._nodes.shards:
            if shard.is_waking:  # an `end_move` was cut before it woke who waits
                self._nodes.run([shard], len, ())
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
        ascending, me = pfns[order], self._nodes.threads.current.ident
        for shard, rows in self._nodes.parts(ascending):
            frames = ascending[rows].tolist()
            marked[order[rows]] = self._nodes.run([shard], shard.begin_move, frames, me)
        return marked

    def end_move(self, pfns: Pfns) -> None:
        """These frames are not under move any more; whoever waits for them goes on.

        Raises:
            PinpageError: one of them is not under move.  Nothing changed on its node.
        """
        self._nodes.require_pfns(pfns)
        ascending = np.sort(pfns)
        self._forget(pfns)  # before the mark: the next move may give it another name
        for shard, rows in self._nodes.parts(ascending):
            self._nodes.run([shard], shard.end_move, ascending[rows].tolist())

    def forward_many(self, sources: Pfns, targets: Pfns) -> None:
        """Until `rekey_many` or `end_move`, an unpin of a target means its source.

        Args:
            sources: frames under move.
            targets: frames under move, parallel; their owners are about to be told of them.
        """
        self.source_of.update(zip(targets.tolist(), sources.tolist(), strict=True))

    def names_of(self, pfn: int) -> list[int]:
        """A frame and, while it is moved, its other name.  Cost: the targets in flight."""
        of_source = [target for target, source in list(self.source_of.items()) if source == pfn]
        return [pfn, *(name for name in (self.source_of.get(pfn), *of_source) if name is not None)]

    def _forget(self, targets: Pfns) -> None:
        """These are no aliases (any more)."""
        if self.source_of:
            for target in targets.tolist():
                self.source_of.pop(target, None)

    def renamed(self, pfns: Pfns) -> Pfns:
        """A column in which targets in flight are replaced by their sources."""
        if not self.source_of:
            return pfns
        return np.array([self.source_of.get(pfn, pfn) for pfn in pfns.tolist()], dtype=np.int64)

    def rekey_many(self, sources: Pfns, targets: Pfns) -> None:
        """All pins that each source still has now belong to its target, in the same order.

        Args:
            sources: distinct frames under move.
            targets: distinct frames, parallel; none of them a source.

        Raises:
            PfnError: no such frame.
            PinpageError: the columns do not fit, or a source is not under move.  Nothing changed.
        """
        self._nodes.require_pfns(sources)
        self._nodes.require_pfns(targets)
        both = np.unique(np.concatenate((sources, targets)))
        if len(sources) != len(targets) or len(both) != 2 * len(sources):
            raise PinpageError(
                "rekey_many: sources and targets must be distinct frames, as many of each"
            )
        shards = [shard for shard, _ in self._nodes.parts(both)]
        self._privates.nr_doubts += 1
        try:
            merged = self._nodes.run(shards, self._rekey, sources, targets)
        except PinpageError:
            self._privates.nr_doubts -= 1
            raise
        for number, count in objects_of(merged).items():
            self._privates.drop(number, count)
        self._privates.nr_doubts -= 1

    def _rekey(self, sources: Pfns, targets: Pfns) -> PinRows:
        """`rekey_many` inside the sections; returns pins that their target had already."""
        order = np.argsort(sources)
        sources, targets = sources[order], targets[order]
        old = self._nodes.parts(sources)
        for shard, rows in old:
            unmarked = next((p for p in sources[rows].tolist() if p not in shard.moving), None)
            if unmarked is not None:
                raise PinpageError(
                    f"rekey_many: source pfn {unmarked:#x} is not under move; call begin_move first"
                )
        gone = joined([shard.radix.pins_of(sources[rows]) for shard, rows in old])
        come = PinRows(targets[np.searchsorted(sources, gone.pfns)], gone.tags, gone.values)
        come = come.at(np.argsort(come.pfns, kind="stable"))
        merged = come.at(np.zeros(len(come), dtype=np.bool_))
        new = self._nodes.parts(come.pfns)
        is_there = [shard.radix.has_pins(come.at(rows)) for shard, rows in new]
        if any(there.any() for there in is_there):
            there = np.concatenate(is_there)
            merged, come = come.at(there), come.at(~there)
            new = self._nodes.parts(come.pfns)
        old = self._nodes.parts(gone.pfns)
        apply(_changes(old, gone, new, come), _swap, old, gone, new, come)
        self._forget(targets)  # in here: whoever takes the lock next finds pins and names agree
        return merged


def _changes(
    old: Sequence[Part], gone: PinRows, new: Sequence[Part], come: PinRows
) -> list[tuple[Shard, Change]]:
    """One for each node: a node may lose some pins and gain others."""
    frames: dict[Shard, list[Pfns]] = {}
    for parts, pins in ((old, gone), (new, come)):
        for shard, rows in parts:
            frames.setdefault(shard, []).append(pins.pfns[rows])
    changes = []
    for shard, columns in frames.items():
        concerned = np.unique(np.concatenate(columns))
        changes.append((shard, Change(concerned, shard.radix.pins_of(concerned))))
    return changes


def _swap(old: Sequence[Part], gone: PinRows, new: Sequence[Part], come: PinRows) -> None:
    for shard, rows in old:
        shard.radix.remove(gone.at(rows))
    for shard, rows in new:
        shard.radix.store(come.at(rows))
