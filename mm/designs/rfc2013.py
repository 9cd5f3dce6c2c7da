"""The pin-page patch of 2013 on a machine, with as many of its defects as a machine survives.

    PinnedPage(page)  ->  migrate_pinned_page(page): `migrate(page, private)` of its owner
                          0: that one uses the page no more, however it did that

As posted nobody would ever be asked, for the flag is a stub; and the first owner to say yes
would be asked for ever.  Those two are mended here, and the records that only the end of a
machine would show.  What is kept is what the interface means:

    no destination   the owner takes a page of its own for what it keeps, from wherever the
                     allocator gives it, be it the pageblock that is being emptied
    0 for failure    the VM has to look whether the page is free
    one callback     nothing is undone; who holds a page that page tables hold as well may
                     stop using it, and it stays all the same
    one table        every registration and every look takes the one lock and walks a bucket

Kernel counterpart: mm/pin-page.c of the patch, and its intended call from mm/compaction.c.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.designs.narrow import NarrowDesign
from mm.move.capabilities import Capabilities
from mm.move.design import Answer, Answers
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.move.steps import Memory
from pinpage.owner import Mode, Pin, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.rfc2013 import RECORD_NR_BYTES, PinPageOwner, Rfc2013
from pinpage.rfc2013_defects import Defect
from pinpage.units import Mask, Pfns

__all__ = ["SURVIVED", "OwnPages", "Rfc2013Design"]

SURVIVED = frozenset(
    {
        Defect.FAILURE_IS_ZERO,
        Defect.NO_DESTINATION,
        Defect.NO_ISOLATION,
        Defect.NO_ROLLBACK,
        Defect.HOME_IS_FORGOTTEN,
        Defect.ONE_LOCK_ONE_TABLE,
    }
)
"""Defects that are present when a machine runs under this design."""


class OwnPages:
    """Where an owner puts its data that was told of no destination: wherever there is memory."""

    def __init__(self, source: PageSource) -> None:
        """Take pages of `source`, one by one and without waiting."""
        self._source = source

    def take(self, count: int) -> Pfns:
        """Up to `count` pages; fewer where there is no memory."""
        found: list[int] = []
        while len(found) < count and (pfn := self._source.alloc_page(Gfp.NOWAIT | Gfp.NOWARN)) >= 0:
            found.append(pfn)
        return np.array(found, dtype=np.int64)

    def give_back(self, pfns: Pfns) -> None:
        """Free what was not used."""
        for pfn in pfns.tolist():
            self._source.free_page(pfn)


class Rfc2013Design(NarrowDesign):
    """Whoever registered is called, and makes itself stop using the page.

    Attributes:
        core: the table.
        nr_false_successes: pages for which 0 was returned and which are still in use.
    """

    name = "rfc2013"
    capabilities: ClassVar[Capabilities] = Capabilities(
        moves=False,
        several_owners=False,
        second_owner="is asked first; nothing is undone",
        gup=False,
        knows_target=False,
        knows_mode=False,
        undoes=False,
        lookup="1 + (n - 1) / 2048 records of n",
        pin_nr_bytes=RECORD_NR_BYTES,
        locks="one for all, per pin and per look",
    )

    def __init__(self, registry: PinRegistry, memory: Memory, source: PageSource) -> None:
        """Owners register when they are first met: nothing is asked before that.

        Args:
            registry: what all owners say.
            memory: moves frames.
            source: where owners take pages of their own.
        """
        super().__init__(registry, memory)
        self.core = Rfc2013(SURVIVED)
        self.nr_false_successes = 0
        self._source = source
        self._owners: dict[int, PinPageOwner] = {}
        self._known: dict[int, list[Pin]] = {}

    @property
    def lock_acquisitions(self) -> int:
        """Acquisitions of the one lock."""
        return self.core.nr_lock_acquisitions

    def can_find(self, owner: PinOwner) -> bool:
        """Whoever wrote a callback registered."""
        return owner.can_migrate or owner.can_release

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """RELEASE for pages that somebody with a callback registered: all that the flag says.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame; no owner will know.
        """
        flagged = self._is_flagged(pfns)
        answers, reasons = super().ask(pfns, mode)
        registered = flagged & ~self._is_as_ever(pfns)
        answers[registered], reasons[registered] = Answer.RELEASE, Reason.MOVED
        return answers, reasons

    def release(self, pfns: Pfns, mode: Mode) -> NDArray[np.uint8]:
        """`migrate_pinned_page` of each, and then a look at what it came to.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame; no owner will know.
        """
        self._vacate(pfns, mode)
        reasons = np.full(len(pfns), Reason.RELEASED, dtype=np.uint8)
        for row, pfn in enumerate(pfns.tolist()):
            self._nr_callbacks += len(self._known.get(pfn, ()))
            returned = self.core.migrate_pinned_page(pfn)
            if not self._is_free(pfn):
                self.nr_false_successes += returned == 0
                reasons[row] = Reason.OWNER_BUSY
            self._meet(pfn)
        return reasons

    def _vacate(self, pfns: Pfns, mode: Mode) -> None:
        """What the owners' callbacks do to their pages, for all that are about to be called.

        Where another's data is in the page too, there is no way to agree on a place.
        """
        can_move, can_release, nr_pins = self._registry.abilities(pfns)
        alone = (nr_pins == 1) & ~self._memory.has_home(pfns)
        goes = pfns[alone & can_move]
        if len(goes):
            move_many(self._registry, self._memory, goes, OwnPages(self._source), mode)
        for pfn in pfns[alone & can_release & ~can_move].tolist():
            release_many(self._registry, self._memory, np.array([pfn]), mode)

    def _is_flagged(self, pfns: Pfns) -> Mask:
        """Pages that were registered; whoever holds one now has registered by now."""
        flagged = np.zeros(len(pfns), dtype=np.bool_)
        pinned = self._registry.owner_counts(pfns) > 0
        for row in np.flatnonzero(pinned).tolist():
            pfn = int(pfns[row])
            self._meet(pfn)
            flagged[row] = self.core.pinned_page(pfn)
        return flagged

    def _meet(self, pfn: int) -> None:
        """Let the table have the pins of one page as they are."""
        pins = [pin for pin in self._registry.pins(pfn) if self.can_find(pin.owner)]
        known = self._known.get(pfn, [])
        if pins == known:
            return
        for pin in known:
            if pin not in pins:
                self.core.unset_pinned_page(self._owner_of(pin.owner), pfn, pin.private)
        for pin in pins:
            if pin not in known:
                self.core.set_pinned_page(self._owner_of(pin.owner), pfn, pin.private)
        self._known[pfn] = pins

    def _owner_of(self, owner: PinOwner) -> PinPageOwner:
        key = id(owner)
        if key not in self._owners:
            self._owners[key] = PinPageOwner(owner.name, self._callback)
        return self._owners[key]

    def _callback(self, pfn: int, _private: Any) -> int:
        """What a driver of 2013 would have returned: 0 once it uses the page no more."""
        return int(not self._is_free(pfn))

    def _is_free(self, pfn: int) -> bool:
        return bool(self._source.frames.state[pfn] != FrameState.USED)
