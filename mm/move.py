"""The only place where a page changes its pfn.

`Mover` lends mm's state to the move protocol (`pinpage.migrate.Memory`) and moves by
itself what only page tables and the swap cache hold: such frames need no vote, for rmap
knows every reference.  Everything else goes through the design.

    references of a used frame = page tables (mapcount + 1) + swap cache + pins
                                 (+ 1 for the mover that has taken it)

A reference belongs to the contents and travels with them: after a move the target has
exactly the references that the source had, less the mover's own.

Kernel counterpart: mm/migrate.c (folio_expected_refs, folio_migrate_mapping, unmap and
remap; we model the freeze, not the migration entries, for nothing runs in between).
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.buddy import Buddy
from mm.contents import Contents
from mm.costs import Counters
from mm.design import Answer, Design
from mm.frames import MAPCOUNT_NONE, Frames, FrameState, PageFlag
from mm.lru import Lru
from mm.pcp import PerCpuPages
from mm.rmap import Rmap
from mm.swap import SwapCache
from pinpage.errors import require
from pinpage.migrate import MoveReport, TargetSource
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns

__all__ = ["COMPACT_CLUSTER_MAX", "NR_MIGRATE_PASSES", "Classified", "Mover"]

NR_MIGRATE_PASSES = 10
"""Passes over frames that answered Again before they count as failed (mm/migrate.c)."""

COMPACT_CLUSTER_MAX = 32
"""Pages that share one TLB flush: what compaction isolates at a time (SWAP_CLUSTER_MAX)."""

_TRANSIENT = (Reason.OWNER_AGAIN, Reason.UNACCOUNTED)
_STAYS_BEHIND = PageFlag.LRU.mask | PageFlag.BUDDY.mask


@frozen(eq=False)
class Classified:
    """What `Mover.classify` found; parallel to the frames it was asked about.

    Attributes:
        alone: only page tables and the swap cache hold it, so mm moves it unasked.
        answers: an `Answer` each (MOVE for those alone).
        reasons: the `Reason` where the answer is NO, else MOVED.
    """

    alone: Mask
    answers: NDArray[np.uint8]
    reasons: NDArray[np.uint8]


class Mover:
    """Moves frames; implements `pinpage.migrate.Memory` over mm's columns."""

    def __init__(
        self,
        frames: Frames,
        contents: Contents,
        buddy: Buddy,
        rmap: Rmap,
        lru: Lru,
        swap_cache: SwapCache,
        pcp: PerCpuPages,
        counters: Counters,
    ) -> None:
        """Borrow the state; nothing is copied."""
        self._frames = frames
        self._contents = contents
        self._buddy = buddy
        self._rmap = rmap
        self._lru = lru
        self._swap_cache = swap_cache
        self._pcp = pcp
        self._counters = counters
        self._from_lru = np.zeros(frames.nr_frames, dtype=np.bool_)
        self._stands_for: dict[int, int] = {}

    # What the policies ask.

    def home_references(self, pfns: Pfns) -> NDArray[np.int32]:
        """References that page tables and the swap cache hold, shape (n,)."""
        mapped = np.maximum(self._frames.mapcount[pfns], MAPCOUNT_NONE) + 1
        return mapped + self._frames.has_flag(pfns, PageFlag.SWAPCACHE)

    def has_home(self, pfns: Pfns) -> Mask:
        """Which frames page tables or the swap cache know, and can be repointed by mm."""
        return self.home_references(pfns) > 0

    def classify(self, pfns: Pfns, design: Design, mode: Mode) -> Classified:
        """What would happen to each of these used frames; changes nothing.

        Args:
            pfns: used frames, ascending, without duplicates.
        """
        first, last = int(pfns[0]), int(pfns[-1])
        claimed = design.claims(first, last + 1)[pfns - first]
        home = self.home_references(pfns)
        alone = (home > 0) & ~claimed & (self._frames.refcount[pfns] <= home)
        answers = np.full(len(pfns), Answer.MOVE, dtype=np.uint8)
        reasons = np.full(len(pfns), Reason.MOVED, dtype=np.uint8)
        others = np.flatnonzero(~alone)
        if len(others):
            answers[others], reasons[others] = design.ask(pfns[others], mode)
            # A page whose mappings do not account for all references is not unknown: somebody
            # took a reference and registered nothing (get_user_pages, a racing lookup).
            reasons[(home > 0) & (reasons == Reason.NO_OWNER)] = Reason.UNACCOUNTED
        reasons[answers != Answer.NO] = Reason.MOVED
        return Classified(alone=alone, answers=answers, reasons=reasons)

    def migrate(
        self, pfns: Pfns, alone: Mask, targets: TargetSource, design: Design, mode: Mode
    ) -> MoveReport:
        """Move frames of either kind, in up to ten passes over those that say Again.

        Args:
            pfns: frames whose answer was MOVE, ascending, without duplicates.
            alone: which of them only page tables hold (from `classify`).
            targets: where to; what is not used is given back.
            design: moves the others.
            mode: how long to wait.

        Returns:
            One `Reason` and target per frame.  Frames that did not move are as before.
        """
        reasons = np.full(len(pfns), Reason.OWNER_AGAIN, dtype=np.uint8)
        where = np.full(len(pfns), -1, dtype=np.int64)
        pending = np.arange(len(pfns))
        for _ in range(NR_MIGRATE_PASSES):
            ours, others = pending[alone[pending]], pending[~alone[pending]]
            if len(ours):
                report = self.move_home(pfns[ours], targets, mode)
                reasons[ours], where[ours] = report.reasons, report.targets
            if len(others):
                report = design.move(pfns[others], targets, mode)
                reasons[others], where[others] = report.reasons, report.targets
            pending = pending[np.isin(reasons[pending], _TRANSIENT)]
            if not len(pending):
                break
        return MoveReport(reasons=reasons, targets=where)

    def move_home(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """Move frames that only page tables and the swap cache hold: no vote is needed."""
        reasons = self.take(pfns)
        where = np.full(len(pfns), -1, dtype=np.int64)
        taken = np.flatnonzero(reasons == Reason.MOVED)
        if mode < Mode.SYNC:
            taken = self._refuse_writeback(pfns, taken, reasons)
        frozen = self.freeze(pfns[taken], np.zeros(len(taken), dtype=np.int64))
        self._refuse(pfns, taken[~frozen], Reason.UNACCOUNTED, reasons)
        taken = taken[frozen]
        destinations = targets.take(len(taken))
        short = taken[len(destinations):]
        if len(short):
            self.unfreeze(pfns[short])
            self._refuse(pfns, short, Reason.NO_TARGET, reasons)
        taken = taken[: len(destinations)]
        if len(taken):
            sources = pfns[taken]
            self._copy_contents(sources, destinations)
            self.rekey(sources, destinations)
            self.free(sources)
            where[taken] = destinations
        return MoveReport(reasons=reasons, targets=where)

    def _refuse_writeback(
        self, pfns: Pfns, taken: NDArray[np.int64], reasons: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        busy = self._frames.has_flag(pfns[taken], PageFlag.WRITEBACK)
        self._refuse(pfns, taken[busy], Reason.OWNER_BUSY, reasons)
        return taken[~busy]

    def _refuse(
        self, pfns: Pfns, index: NDArray[np.int64], reason: Reason, reasons: NDArray[np.uint8]
    ) -> None:
        if len(index):
            self.put(pfns[index])
            reasons[index] = reason

    # pinpage.migrate.Memory

    def take(self, pfns: Pfns) -> NDArray[np.uint8]:
        """A reference unless it is zero, and the exclusive mark, on each frame."""
        frames = self._frames
        reasons = np.full(len(pfns), Reason.MOVED, dtype=np.uint8)
        alive = (frames.state[pfns] == FrameState.USED) & (frames.refcount[pfns] > 0)
        reasons[~alive] = Reason.RACED_FREE
        reasons[frames.isolated[pfns]] = Reason.ALREADY_ISOLATED
        taken = pfns[reasons == Reason.MOVED]
        frames.refcount[taken] += 1
        frames.isolated[taken] = True
        on_lru = frames.has_flag(taken, PageFlag.LRU)
        self._from_lru[taken] = on_lru
        self._lru.del_many(taken[on_lru])
        self._counters.pages_isolated += len(taken)
        return reasons

    def only_ours(self, pfns: Pfns) -> Mask:
        """Frames whose last reference is the mover's: freed under us."""
        return self._frames.refcount[pfns] == 1

    def freeze(self, pfns: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """Freeze frames whose references are exactly those accounted for.

        A frozen count is kept negated, so that nobody's get-unless-zero succeeds.
        """
        expected = 1 + self.home_references(pfns) + pin_refs
        exact = self._frames.refcount[pfns] == expected
        frozen = pfns[exact]
        self._frames.refcount[frozen] = -self._frames.refcount[frozen]
        return exact

    def still_frozen(self, pfns: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """Which frozen frames still count exactly what is accounted for."""
        expected = 1 + self.home_references(pfns) + pin_refs
        return self._frames.refcount[pfns] == -expected

    def unfreeze(self, pfns: Pfns) -> None:
        """Give frozen frames their counts back."""
        self._frames.refcount[pfns] = np.abs(self._frames.refcount[pfns])
        self._stands_for.clear()

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """The contents, once; until `rekey` a target stands for its source."""
        self._copy_contents(sources, targets)
        self._stands_for.update(zip(targets.tolist(), sources.tolist(), strict=True))

    def _copy_contents(self, sources: Pfns, targets: Pfns) -> None:
        self._contents.copy(sources, targets)
        self._counters.pages_copied += len(sources)
        self._counters.pages_isolated += len(targets)
        self._counters.flushes += -(-len(sources) // COMPACT_CLUSTER_MAX)

    def get_page(self, pfn: int) -> bool:
        """Take a reference unless the count is zero or frozen; whether that worked."""
        if self._frames.refcount[pfn] <= 0:
            return False
        self._frames.refcount[pfn] += 1
        return True

    def put_page(self, pfn: int) -> bool:
        """Drop a reference; whether that was the last one, and the frame is free now."""
        pfn = self._stands_for.get(pfn, pfn)
        count = int(self._frames.refcount[pfn])
        require(count != 0, "M2 a reference is dropped that nobody held", pfn=pfn)
        if count < 0:  # frozen counts are kept negated; the mover's own is still in it
            self._frames.refcount[pfn] = count + 1
            return False
        if count > 1:
            self._frames.refcount[pfn] = count - 1
            return False
        require(not self._frames.isolated[pfn], "M3 a mover's reference was dropped", pfn=pfn)
        if self._frames.flags.item(pfn) & int(PageFlag.LRU.mask):
            self._lru.del_page(pfn)
        self._pcp.free(pfn)
        self._counters.pages_freed += 1
        return True

    def rekey(self, sources: Pfns, targets: Pfns) -> None:
        """Everything that mm knows of the sources is true of the targets from here on."""
        frames = self._frames
        frames.state[targets] = FrameState.USED
        frames.refcount[targets] = np.abs(frames.refcount[sources]) - 1
        frames.mapcount[targets] = frames.mapcount[sources]
        frames.flags[targets] = frames.flags[sources] & ~_STAYS_BEHIND
        self._move_homes(sources, targets)
        frames.refcount[sources] = 1
        frames.mapcount[sources] = MAPCOUNT_NONE
        frames.flags[sources] = 0
        frames.isolated[sources] = False
        self._lru.putback_many(targets[self._from_lru[sources]])
        self._from_lru[sources] = False
        self._stands_for.clear()

    def _move_homes(self, sources: Pfns, targets: Pfns) -> None:
        frames = self._frames
        mapped = frames.mapcount[targets] >= 0
        if mapped.any():
            self._rmap.move_many(sources[mapped], targets[mapped])
            self._counters.ptes_rewritten += int((frames.mapcount[targets[mapped]] + 1).sum())
        cached = frames.has_flag(targets, PageFlag.SWAPCACHE)
        if cached.any():
            self._swap_cache.move_many(sources[cached], targets[cached])

    def free(self, sources: Pfns) -> None:
        """Source frames back to the free lists, merged."""
        self._buddy.free_many(sources)

    def put(self, pfns: Pfns) -> None:
        """Undo `take`; a frame whose last reference that was is freed."""
        frames = self._frames
        require(bool(frames.isolated[pfns].all()), "M1 put of a frame that was not taken")
        frames.isolated[pfns] = False
        frames.refcount[pfns] -= 1
        gone = frames.refcount[pfns] == 0
        self._lru.putback_many(pfns[~gone & self._from_lru[pfns]])
        self._from_lru[pfns] = False
        if gone.any():
            self.free_last(pfns[gone])

    def free_last(self, pfns: Pfns) -> None:
        """Free used frames that nobody references any more."""
        self._buddy.free_many(pfns)
        self._counters.pages_freed += len(pfns)

    def quarantine(self, pfns: Pfns) -> None:
        """Take frames that an owner lied about out of circulation for good."""
        frames = self._frames
        frames.state[pfns] = FrameState.QUARANTINED
        frames.isolated[pfns] = False
        frames.refcount[pfns] = 0
        frames.mapcount[pfns] = MAPCOUNT_NONE
        frames.flags[pfns] = 0
        self._from_lru[pfns] = False
