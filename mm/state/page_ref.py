"""References of frames: the one place where a count is taken, dropped and frozen.

A mover keeps the count of a frame *frozen* (negated) from the moment when it was exactly
accounted for until the frame has moved or is let go.  Meanwhile:

    get_page     is refused: whoever looks the page up now must come back later
    put_page     is always legal, and never frees: the mover's own reference is in the count
    the VM       may map and unmap, cache and uncache: what a frozen count must come to follows

An owner that was told of the new place drops its reference by that name, although the count
is still the source's.  So from the copy to the end of the move a target *stands for* its
source, here and in the registry (`pinpage.store.marks`).

What a page's last reference leaves behind (its place on the LRU) goes with it here and nowhere
else: `Machine`, `Paging`, reclaim, movers and owners all drop references through this pair.

Ignores: birth and death of a frame, which are the allocator's (one reference, or none).
Kernel counterpart: include/linux/page_ref.h (page_ref_freeze), get_page_unless_zero, put_page
and release_pages (mm/swap.c).
Cost: the single forms about 0.5 us, the batch forms a few column operations and a loop over
what is freed.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mm.state.costs import Counters
from mm.state.folios import Folios
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.lru import Lru
from pinpage.errors import require, whole
from pinpage.store.rows import as_pfns
from pinpage.units import Mask, Pfns

__all__ = ["Refs"]

_Counts = NDArray[np.int64] | NDArray[np.int32] | int
_LRU, _HUGE = int(PageFlag.LRU.mask), int(PageFlag.HUGE.mask)
_USED, _QUARANTINED = int(FrameState.USED), int(FrameState.QUARANTINED)


def _no_huge_pages(pfn: int) -> None:
    """The default `on_huge_put`: frames with that flag are nobody's."""


def _whole_counts(nr_references: _Counts, nr_frames: int) -> _Counts:
    """One number, or one for each frame: a column would keep of 1.5 one, and say nothing."""
    if type(nr_references) is int:
        return nr_references
    if isinstance(nr_references, np.ndarray) and nr_references.shape == (nr_frames,):
        return as_pfns(nr_references)
    return whole("references", nr_references=nr_references)[0]


class Refs:
    """The references of a machine's frames.

    Attributes:
        folios: which frames make up one page.
        on_huge_put: called with a frame of a huge page after a reference of it was dropped; it
            may be the moment at which the page becomes free.

    Invariants:
        V2 no reference is dropped that nobody held (required by `put_page`, `put_many`).
        V3 while a mover has a frame its own reference is never the one that is dropped
           (required by `put_page`, `put_many`).
        V5 a page that moves is still referenced by somebody (required by `carry_over`).
    """

    def __init__(
        self, frames: Frames, lru: Lru, free: Callable[[int], object], counters: Counters
    ) -> None:
        """Count over `frames`.

        Args:
            frames: the columns.
            lru: what a freed page is taken off.
            free: gives a page that nobody references any more to the allocator.
            counters: freed pages are counted here.
        """
        self.folios = Folios(frames)
        self._frames = frames
        self._lru = lru
        self._free = free
        self._counters = counters
        self.on_huge_put: Callable[[int], None] = _no_huge_pages
        self._source_of: dict[int, int] = {}
        self._target_of: dict[int, int] = {}

    def counts(self, pfns: Pfns) -> NDArray[np.int32]:
        """References of each frame, frozen or not, shape (n,)."""
        counted: NDArray[np.int32] = np.abs(self._frames.refcount[pfns])
        return counted

    # Taking.

    def get_many(self, pfns: Pfns, nr_references: _Counts = 1) -> Mask:
        """Take references of used frames whose counts are not frozen.

        Args:
            pfns: frames without duplicates, used or not.
            nr_references: how many of each: one number, or a column.

        Returns:
            Which frames gave them, bool[n]; the others are as before.

        Raises:
            PinpageError: parts of a reference.
        """
        nr_references = _whole_counts(nr_references, len(pfns))
        frames = self._frames
        counts = frames.refcount[pfns]
        given: Mask = (counts > 0) & (frames.state[pfns] == FrameState.USED)
        if self._source_of:
            given &= ~np.isin(pfns, list(self._source_of))
        if given.all():
            frames.refcount[pfns] = counts + nr_references
        else:
            frames.refcount[pfns] = np.where(given, counts + nr_references, counts)
        frames.note_many(pfns)
        return given

    def get_page(self, pfn: int, nr_references: int = 1) -> bool:
        """`get_many` of one frame.

        Args:
            pfn: the frame.
            nr_references: how many.

        Raises:
            PinpageError: no pfn, or parts of a reference.
        """
        if type(pfn) is not int or type(nr_references) is not int:
            pfn, nr_references = whole("get_page", pfn=pfn, nr_references=nr_references)
        count = self._frames.refcount.item(pfn)
        if count <= 0 or self._frames.state.item(pfn) != _USED or pfn in self._source_of:
            return False
        self._frames.refcount[pfn] = count + nr_references
        self._frames.note_page(pfn)
        return True

    def hold_page(self, pfn: int) -> None:
        """A reference for the VM, which has found the page through a home of its own.

        Legal while the count is frozen, too, for as long as nobody else runs, or if a mapping
        takes the reference over at once: a mover counts homes anew each time it looks.
        """
        self._frames.add_reference(pfn, 1)

    # Dropping.

    def put_many(self, pfns: Pfns, nr_references: _Counts = 1) -> Mask:
        """Drop references; pages that nobody references any more are freed, in their order.

        Args:
            pfns: frames without duplicates; a target may be named instead of its source.
            nr_references: how many of each: one number, or a column.

        Returns:
            Which frames are free now, bool[n].

        Raises:
            PinpageError: parts of a reference.
            InvariantError: V2 or V3; nothing has changed.
        """
        nr_references = _whole_counts(nr_references, len(pfns))
        frames = self._frames
        pfns = self._renamed(pfns)
        counts = frames.refcount[pfns]
        live = frames.state[pfns] != FrameState.QUARANTINED  # else nobody gets it any more
        left = np.where(live, np.abs(counts) - nr_references, 0)
        self._require_none(pfns, left < 0, "V2 a reference is dropped that nobody held")
        last: Mask = live & (left == 0)
        taken = last & (frames.isolated[pfns] | (counts < 0))
        self._require_none(pfns, taken, "V3 a mover's reference was dropped")
        frames.refcount[pfns] = np.where(counts < 0, -left, left)
        frames.note_many(pfns)
        if last.any():
            self._free_last(pfns[last])
        huge = ~last & (counts > 0) & frames.has_flag(pfns, PageFlag.HUGE)
        if huge.any():
            for pfn in pfns[huge].tolist():
                self.on_huge_put(pfn)
            last |= huge & (frames.refcount[pfns] == 0)
        return last

    def _renamed(self, pfns: Pfns) -> Pfns:
        """A column in which targets that stand for their sources are replaced by them."""
        if not self._source_of:
            return pfns
        return np.array([self._source_of.get(pfn, pfn) for pfn in pfns.tolist()], dtype=np.int64)

    def put_page(self, pfn: int, nr_references: int = 1) -> bool:
        """`put_many` of one frame; whether it is free now.

        Args:
            pfn: the frame.
            nr_references: how many.

        Raises:
            PinpageError: no pfn, or parts of a reference.
        """
        frames = self._frames
        if type(pfn) is not int or type(nr_references) is not int:
            pfn, nr_references = whole("put_page", pfn=pfn, nr_references=nr_references)
        pfn = self._source_of.get(pfn, pfn)
        count = frames.refcount.item(pfn)
        left = abs(count) - nr_references
        if left > 0:
            frames.refcount[pfn] = left if count > 0 else -left
            frames.note_page(pfn)
            if frames.flags.item(pfn) & _HUGE and count > 0:  # the pool's own reference is left
                self.on_huge_put(pfn)
                return frames.refcount.item(pfn) == 0
            return False
        if frames.state.item(pfn) == _QUARANTINED:  # nobody gets it any more, whoever lets go
            return False
        require(left == 0, "V2 a reference is dropped that nobody held", pfn=pfn)
        held = count < 0 or frames.isolated.item(pfn)
        require(not held, "V3 a mover's reference was dropped", pfn=pfn)
        if frames.flags.item(pfn) & _LRU:
            self._lru.del_page(pfn)
        if len(self.folios):
            self.folios.on_gone(np.array([pfn]))
        self._free(pfn)
        self._counters.pages_freed += 1
        return True

    def _free_last(self, pfns: Pfns) -> None:
        """Used frames that nobody references any more."""
        on_lru = self._frames.has_flag(pfns, PageFlag.LRU)
        self._lru.del_many(pfns if on_lru.all() else pfns[on_lru])
        self.folios.on_gone(pfns)
        for pfn in pfns.tolist():
            self._free(pfn)
        self._counters.pages_freed += len(pfns)

    def _require_none(self, pfns: Pfns, broken: Mask, message: str) -> None:
        if broken.any():
            require(condition=False, message=message, pfn=int(pfns[broken.argmax()]))

    # What is said of a page by whatever name.

    def set_flag(self, pfn: int, flag: PageFlag) -> None:
        """Set a flag of the page that a holder knows by this name: a target's is its source's.

        Args:
            pfn: the frame.
            flag: the flag.
        """
        flags, pfn = self._frames.flags, self._source_of.get(pfn, pfn)
        flags[pfn] = flags.item(pfn) | int(flag.mask)
        self._frames.note_page(pfn)

    def copies_of(self, pfn: int) -> tuple[int, ...]:
        """Where a store to a page has to go: into its target as well, once that has the bytes."""
        target = self._target_of.get(pfn)
        return (pfn,) if target is None else (pfn, target)

    # For movers.

    @property
    def nr_aliases(self) -> int:
        """Targets that stand for their sources now."""
        return len(self._source_of)

    def freeze(self, pfns: Pfns, expected: _Counts) -> Mask:
        """Freeze the counts that are what they are expected to be; which those are, bool[n].

        Args:
            pfns: int64 (n,), the frames.
            expected: int64 (n,), the counts.
        """
        counts = self._frames.refcount[pfns]
        exact: Mask = counts == expected
        self._frames.refcount[pfns] = np.where(exact, -counts, counts)
        self._frames.note_many(pfns)
        return exact

    def are_frozen_at(self, pfns: Pfns, expected: _Counts) -> Mask:
        """Which frozen frames count exactly that, bool[n].

        Args:
            pfns: int64 (n,), the frames.
            expected: int64 (n,), the counts.
        """
        exact: Mask = self._frames.refcount[pfns] == np.negative(expected)
        return exact

    def unfreeze(self, pfns: Pfns) -> None:
        """Give frozen frames their counts back; no target stands for them any more."""
        if self._target_of:
            for pfn in pfns.tolist():
                self._source_of.pop(self._target_of.pop(pfn, -1), None)
        self._frames.refcount[pfns] = self.counts(pfns)
        self._frames.note_many(pfns)

    def stand_for(self, sources: Pfns, targets: Pfns) -> None:
        """From here to `carry_over` or `unfreeze` each target stands for its source.

        The other way round it changes nothing: contents that are brought back.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they move to.
        """
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            if source not in self._source_of:
                self._source_of[target] = source
                self._target_of[source] = target

    def carry_over(self, sources: Pfns, targets: Pfns) -> None:
        """The targets are used, and have what the sources had less the mover's reference.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they move to.
        """
        frames = self._frames
        left = self.counts(sources) - 1
        self._require_none(sources, left < 1, "V5 a page that nobody references was moved")
        frames.refcount[targets] = left
        frames.state[targets] = FrameState.USED
        frames.note_many(targets)
        frames.refcount[sources] = 0  # until freed: a lookup that comes late gets no reference
        if self._target_of:  # (those of frames that fail go on: they are still to be brought back)
            for source in sources.tolist():
                self._source_of.pop(self._target_of.pop(source, -1), None)

    def split_off(self, sources: Pfns, targets: Pfns, owed: NDArray[np.int64]) -> None:
        """So many references of frozen sources are the targets', which stand for themselves.

        What is dropped by a target's name from here on is the target's, and frees it in the end.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they move to.
            owed: int64 (n,), references of each.
        """
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            self._source_of.pop(target, None)
            self._target_of.pop(source, None)
        frames = self._frames
        frames.state[targets] = FrameState.USED
        frames.refcount[targets] = owed
        frames.note_many(targets)
        frames.add_references(sources, -owed)
