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

from collections.abc import Callable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.buddy.buddy import Buddy
from mm.move.design import Answer, Design
from mm.move.home_move import move_home
from mm.state.contents import Contents
from mm.state.costs import Counters
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState, PageFlag
from mm.state.lru import Lru
from mm.state.page_ref import Refs
from mm.state.rmap import Rmap
from mm.swap.swap_cache import SwapCache
from pinpage.errors import require
from pinpage.move.report import MoveReport
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns

__all__ = ["COMPACT_CLUSTER_MAX", "NR_MIGRATE_PASSES", "Classification", "Mover"]

NR_MIGRATE_PASSES = 10
"""Passes over frames that answered Again before they count as failed (mm/migrate.c)."""

COMPACT_CLUSTER_MAX = 32
"""Pages that share one TLB flush: what compaction isolates at a time (SWAP_CLUSTER_MAX)."""

_IS_TRANSIENT: Mask = np.isin(np.arange(len(Reason)), (Reason.OWNER_AGAIN, Reason.UNACCOUNTED))
"""By `Reason`: whether another pass may succeed."""
_TRAVELS = ~(PageFlag.LRU.mask | PageFlag.BUDDY.mask)
"""Flags that go with the contents; the two that say which list a frame is on do not."""
_SWAPCACHE = PageFlag.SWAPCACHE.mask
_NOWHERE: Mask = np.zeros(0, dtype=np.bool_)


def _no_wait(pfn: int, flag: PageFlag) -> None:
    require(condition=False, message="a wait that nobody ends", pfn=pfn, flag=flag.name)


@frozen(eq=False)
class Classification:
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
    """Moves frames; implements `pinpage.migrate.Memory` over mm's columns.

    Attributes:
        refs: the counts, which it freezes.
        wait_on_page: called with a pfn and WRITEBACK where a move has to wait for the end of
            I/O (mode SYNC); returns once the flag is clear.

    Invariants:
        V1 only a frame that was taken is put back (required by `put`).
        V4 at rest nothing is isolated or frozen, and no frame is in a mover's hands (run by
           `check`).
    """

    def __init__(
        self,
        frames: Frames,
        contents: Contents,
        buddy: Buddy,
        rmap: Rmap,
        lru: Lru,
        swap_cache: SwapCache,
        refs: Refs,
        *,
        counters: Counters,
    ) -> None:
        """Borrow the state; nothing is copied.

        Args:
            frames: the columns, one row per frame.
            contents: what the frames hold.
            buddy: the free lists.
            rmap: who maps which frame.
            lru: the lists of pages by age.
            swap_cache: which frame caches which slot.
            refs: takes and drops references.
            counters: what is done is counted here.
        """
        self._frames = frames
        self._contents = contents
        self._buddy = buddy
        self._rmap = rmap
        self._lru = lru
        self._swap_cache = swap_cache
        self.refs = refs
        self._counters = counters
        self._from_lru = np.zeros(frames.nr_frames, dtype=np.bool_)
        self.wait_on_page: Callable[[int, PageFlag], None] = _no_wait

    # What the policies ask.

    def home_references(self, pfns: Pfns) -> NDArray[np.int32]:
        """References that page tables and the swap cache hold, shape (n,)."""
        references = self._frames.mapcount[pfns]
        np.maximum(references, MAPCOUNT_NONE, out=references)
        references += 1
        references += self._frames.has_flag(pfns, PageFlag.SWAPCACHE)
        return references

    def has_home(self, pfns: Pfns) -> Mask:
        """Which frames page tables or the swap cache know, and can be repointed by mm."""
        return self.home_references(pfns) > 0

    def classify(
        self, pfns: Pfns, design: Design, mode: Mode, *, passes_over: bool = False
    ) -> Classification:
        """What would happen to each of these used frames; changes nothing.

        A large page moves as one: where one of its frames stays, or can only be released, all do.

        Args:
            pfns: used frames, ascending, without duplicates.
            design: asked about frames that mm cannot move by itself.
            mode: how long to wait for one frame.
            passes_over: leave large pages alone, as compaction does.
        """
        found = self._classify_frames(pfns, design, mode)
        large = self.refs.folios.covers(pfns) if len(self.refs.folios) else _NOWHERE
        if passes_over and large.any():
            stays = large & (found.answers != Answer.NO)
            found.answers[stays], found.reasons[stays] = Answer.NO, Reason.LARGE_PAGE
        elif large.any():
            self._as_one(pfns, np.flatnonzero(large), found, design, mode)
        return found

    def _as_one(
        self,
        pfns: Pfns,
        rows: NDArray[np.int64],
        found: Classification,
        design: Design,
        mode: Mode,
    ) -> None:
        """Give every frame of a large page the answer of the first that does not move."""
        folios = self.refs.folios
        heads = folios.heads_of(pfns[rows])
        every = np.concatenate([folios.frames_of(head) for head in np.unique(heads).tolist()])
        beside = np.setdiff1d(every, pfns[rows])  # where not all of a page was asked about
        stays = rows[found.answers[rows] != Answer.MOVE]
        odd, why = pfns[stays], found.reasons[stays]
        if len(beside):
            others = self._classify_frames(beside, design, mode)
            stay = others.answers != Answer.MOVE
            odd = np.concatenate((odd, beside[stay]))
            why = np.concatenate((why, others.reasons[stay]))
        if not len(odd):
            return
        why[why == Reason.MOVED] = Reason.NO_CALLBACK  # it would be released, and is not alone
        odd_heads, first = np.unique(folios.heads_of(odd), return_index=True)
        at = np.minimum(np.searchsorted(odd_heads, heads), len(odd_heads) - 1)
        held = odd_heads[at] == heads
        moves = held & (found.answers[rows] != Answer.NO)
        found.reasons[rows[moves]] = why[first[at[moves]]]
        found.answers[rows[held]], found.alone[rows[held]] = Answer.NO, False

    def _classify_frames(self, pfns: Pfns, design: Design, mode: Mode) -> Classification:
        """Each frame by itself."""
        first, last = int(pfns[0]), int(pfns[-1])
        home = self.home_references(pfns)
        alone = (home > 0) & (self._frames.refcount[pfns] <= home)
        claimed = design.claims(first, last + 1)
        if claimed.any():
            alone &= ~claimed[pfns - first]
        answers = np.full(len(pfns), Answer.MOVE, dtype=np.uint8)
        reasons = np.full(len(pfns), Reason.MOVED, dtype=np.uint8)
        others = np.flatnonzero(~alone)
        if len(others):
            answers[others], reasons[others] = design.ask(pfns[others], mode)
            # A page whose mappings do not account for all references is not unknown: somebody
            # took a reference and registered nothing (get_user_pages, a racing lookup).
            reasons[(home > 0) & (reasons == Reason.NO_OWNER)] = Reason.UNACCOUNTED
            reasons[answers != Answer.NO] = Reason.MOVED
        if mode == Mode.ASYNC:  # not even looked at: its I/O may take long
            busy = self._frames.has_flag(pfns, PageFlag.WRITEBACK)
            answers[busy], reasons[busy] = Answer.NO, Reason.OWNER_BUSY
        return Classification(alone=alone, answers=answers, reasons=reasons)

    def migrate(
        self,
        pfns: Pfns,
        alone: Mask,
        targets: TargetSource,
        design: Design,
        mode: Mode,
        between_passes: Callable[[], None] | None = None,
    ) -> MoveReport:
        """Move frames of either kind, in up to ten passes over those that say Again.

        Args:
            pfns: frames whose answer was MOVE, ascending, without duplicates.
            alone: which of them only page tables hold (from `classify`).
            targets: where to; what is not used is given back.
            design: moves the others.
            mode: how long to wait.
            between_passes: called before a pass that follows another, when no frame is held:
                others may go on.

        Returns:
            One `Reason` and target per frame.  Frames that did not move are as before.
        """
        reasons = np.full(len(pfns), Reason.OWNER_AGAIN, dtype=np.uint8)
        where = np.full(len(pfns), -1, dtype=np.int64)
        pending = self._without_writeback(pfns, reasons, mode)
        for nr_passes in range(NR_MIGRATE_PASSES):
            self._counters.pages_retried += len(pending) if nr_passes else 0
            if nr_passes and between_passes is not None:
                between_passes()
            ours, others = pending[alone[pending]], pending[~alone[pending]]
            if len(ours):
                report = self.move_home(pfns[ours], targets)
                reasons[ours], where[ours] = report.reasons, report.targets
            if len(others):
                report = design.move(pfns[others], targets, mode)
                reasons[others], where[others] = report.reasons, report.targets
                _reopen(others, report, reasons)
            if not len(pending := pending[_IS_TRANSIENT[reasons[pending]]]):
                break
        return MoveReport(reasons=reasons, targets=where)

    def _without_writeback(
        self, pfns: Pfns, reasons: NDArray[np.uint8], mode: Mode
    ) -> NDArray[np.int64]:
        """Positions of frames that no I/O holds; those under writeback are waited for, or Busy."""
        busy = np.flatnonzero(self._frames.has_flag(pfns, PageFlag.WRITEBACK))
        if mode == Mode.SYNC:
            for pfn in pfns[busy].tolist():
                self.wait_on_page(pfn, PageFlag.WRITEBACK)
        elif len(busy):
            reasons[busy] = Reason.OWNER_BUSY
            return np.flatnonzero(reasons != Reason.OWNER_BUSY)
        return np.arange(len(pfns))

    def move_home(self, pfns: Pfns, targets: TargetSource) -> MoveReport:
        """Move frames that only page tables and the swap cache hold, in one pass: no vote.

        Args:
            pfns: int64 (n,), the frames.
            targets: where to; what is not used is given back.
        """
        return move_home(self, pfns, targets)

    # pinpage.migrate.Memory

    def take(self, pfns: Pfns) -> NDArray[np.uint8]:
        """A reference unless it is zero, and the exclusive mark, on each frame."""
        frames = self._frames
        reasons = np.full(len(pfns), Reason.RACED_FREE, dtype=np.uint8)
        isolated = frames.isolated[pfns]
        rows = np.flatnonzero(~isolated)
        rows = rows[self.refs.get_many(pfns[rows])]
        taken = pfns[rows]
        reasons[isolated] = Reason.ALREADY_ISOLATED
        reasons[rows] = Reason.MOVED
        frames.isolated[taken] = True
        on_lru = frames.has_flag(taken, PageFlag.LRU)
        self._from_lru[taken] = on_lru
        self._lru.del_many(taken if on_lru.all() else taken[on_lru])
        self._counters.pages_isolated += len(taken)
        return reasons

    def only_ours(self, pfns: Pfns) -> Mask:
        """Frames whose last reference is the mover's: freed under us."""
        last: Mask = self.refs.counts(pfns) == 1
        return last

    def freeze(self, pfns: Pfns, pin_refs: NDArray[np.int64] | int) -> Mask:
        """Freeze frames whose references are exactly those accounted for.

        Args:
            pfns: int64 (n,), the frames.
            pin_refs: references that pins account for, on each frame.
        """
        return self.refs.freeze(pfns, 1 + self.home_references(pfns) + pin_refs)

    def still_frozen(self, pfns: Pfns, pin_refs: NDArray[np.int64] | int) -> Mask:
        """Which frozen frames still count exactly what is accounted for.

        Args:
            pfns: int64 (n,), the frames.
            pin_refs: references that pins account for, on each frame.
        """
        return self.refs.are_frozen_at(pfns, 1 + self.home_references(pfns) + pin_refs)

    def references(self, pfns: Pfns) -> NDArray[np.int64]:
        """References that page tables and the swap cache do not account for, frozen or not."""
        return self.refs.counts(pfns).astype(np.int64) - self.home_references(pfns)

    def unfreeze(self, pfns: Pfns) -> None:
        """Give frozen frames their counts back."""
        self.refs.unfreeze(pfns)

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """The contents, once; until `rekey` or `unfreeze` a target stands for its source.

        Also back again, when a move is undone: the target still stands for its source then.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), the frames that they are copied to.
        """
        self.copy_contents(sources, targets)
        self.refs.stand_for(sources, targets)

    def copy_contents(self, sources: Pfns, targets: Pfns) -> None:
        """The contents, where nobody can know the target before `rekey`.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), the frames that they are copied to.
        """
        self._contents.copy(sources, targets)
        self._counters.pages_copied += len(sources)
        self._counters.pages_isolated += len(targets)
        self._counters.flushes += -(-len(sources) // COMPACT_CLUSTER_MAX)

    def rekey(self, sources: Pfns, targets: Pfns) -> Mask:
        """Everything that mm knows of the sources is true of the targets from here on.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they move to, row by row.
        """
        frames = self._frames
        done = ~self.only_ours(sources)
        if not done.all():
            sources, targets = sources[done], targets[done]
        self.refs.carry_over(sources, targets)
        self.refs.folios.on_moved(sources, targets)
        frames.mapcount[targets] = mapcount = frames.mapcount[sources]
        frames.flags[targets] = flags = frames.flags[sources] & _TRAVELS
        mapped = mapcount >= 0
        self._rmap.move_many(*_rows(mapped, sources, targets))
        self._counters.ptes_rewritten += int(mapcount[mapped].sum()) + int(mapped.sum())
        cached = (flags & _SWAPCACHE) != 0
        if cached.any():
            self._swap_cache.move_many(sources[cached], targets[cached])
        frames.mapcount[sources] = MAPCOUNT_NONE
        frames.flags[sources] = 0
        frames.isolated[sources] = False
        self._lru.putback_many(*_rows(self._from_lru[sources], targets))
        self._from_lru[sources] = False
        return done

    def hand_over(self, sources: Pfns, targets: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """References that go with the target's name: the target is a used page that has no more.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they move to, row by row.
            pin_refs: int64 (n,), references that pins account for.
        """
        owed = self.references(sources) - 1 - pin_refs
        done: Mask = owed > 0
        self.refs.split_off(sources[done], targets[done], owed[done])
        return done

    def free(self, sources: Pfns) -> None:
        """Source frames back to the free lists, merged; their bytes are gone at once."""
        self._contents.forget(sources)
        self._buddy.free_many(sources)

    def put(self, pfns: Pfns) -> None:
        """Undo `take`; a frame whose last reference that was is freed."""
        frames = self._frames
        require(bool(frames.isolated[pfns].all()), "V1 put of a frame that was not taken")
        gone = self.only_ours(pfns)
        frames.isolated[pfns] = False
        self._lru.putback_many(pfns[~gone & self._from_lru[pfns]])
        self._from_lru[pfns] = False
        self.refs.put_many(pfns)

    def quarantine(self, pfns: Pfns) -> None:
        """Take frames that an owner lied about out of circulation for good."""
        frames = self._frames
        self.refs.folios.on_gone(pfns)
        frames.state[pfns] = FrameState.QUARANTINED
        frames.isolated[pfns] = False
        frames.refcount[pfns] = 0
        frames.mapcount[pfns] = MAPCOUNT_NONE
        frames.flags[pfns] = 0
        self._from_lru[pfns] = False

    def check(self) -> None:
        """Run V4; between two requests nothing may be half done.

        Raises:
            InvariantError: it does not hold.
        """
        frames = self._frames
        held = frames.isolated | (frames.refcount < 0) | (frames.state == FrameState.TAKEN)
        held |= self._from_lru
        require(not held.any(), "V4 a mover still has a frame", pfn=int(held.argmax()))
        require(not self.refs.nr_aliases, "V4 a target still stands for its source")


def _rows(which: Mask, *columns: Pfns) -> tuple[Pfns, ...]:
    """The rows of each column that a mask names; without a copy where it names all."""
    return columns if which.all() else tuple(column[which] for column in columns)


def _reopen(rows: NDArray[np.int64], report: MoveReport, reasons: NDArray[np.uint8]) -> None:
    """A frame whose partners agreed is as transient as the one owner that did not."""
    for row, refusal in report.refusals.items():
        if refusal.reason == Reason.OWNER_AGAIN:
            reasons[rows[row]] = Reason.OWNER_AGAIN
