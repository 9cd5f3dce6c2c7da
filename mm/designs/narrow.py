"""What designs share that find only some of the holders.

Every owner of a machine says in the registry what it holds: that is the truth of the
simulation, and what `check` goes by.  A narrower design sees a part of it.  What it does not
find it treats as a kernel does that knows nothing: the frame stays, and nobody can say whose
it is.  What it finds moves by the one move protocol, so that designs differ in what they
know and never in how carefully they move.

Kernel counterpart: none.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mm.move.capabilities import Capabilities
from mm.move.design import Answer, Answers, RegistryDesign
from pinpage.move.report import MoveReport
from pinpage.move.steps import Memory, TargetSource
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns, Span

__all__ = ["NarrowDesign"]


class NarrowDesign(RegistryDesign):
    """Finds the one owner of a page through the page; subclasses say who can be found.

    A page that page tables hold as well is not found: what leads to its mapping cannot lead to
    an owner besides.  One that is pinned without a reference of its own (mlock) moves as ever.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        moves=True,
        several_owners=False,
        second_owner="has no place: the page names one",
        gup=False,
        knows_target=True,
        knows_mode=True,
        undoes=True,
        lookup="none: through the page",
        pin_nr_bytes=0,
        locks="the page's own, by trylock",
    )

    def __init__(self, registry: PinRegistry, memory: Memory) -> None:
        """See a part of `registry`; moves go through `memory`.

        Args:
            registry: what all owners say.
            memory: moves frames.
        """
        super().__init__(registry, memory)
        self._nr_page_locks = 0

    @property
    def lock_acquisitions(self) -> int:
        """Page locks: one to isolate a page and one to migrate it; there is no table to lock."""
        return self._nr_page_locks

    def can_find(self, owner: PinOwner) -> bool:
        """Whether this design leads from a page of that owner to the owner."""
        raise NotImplementedError

    def finds(self, pfns: Pfns) -> Mask:
        """Frames whose holder this design finds, shape (n,)."""
        ids, _ = self._registry.single_pins(pfns)
        findable = [
            owner_id
            for owner_id in np.unique(ids[ids >= 0]).tolist()
            if (owner := self._registry.find_owner(owner_id)) is not None and self.can_find(owner)
        ]
        found: Mask = np.isin(ids, findable) & ~self._memory.has_home(pfns)
        return found | self._is_as_ever(pfns)

    def _is_as_ever(self, pfns: Pfns) -> Mask:
        """Frames whose page tables account for every reference: a pin there holds nothing."""
        at_home: Mask = self._memory.has_home(pfns)
        at_home[at_home] = self._memory.references(pfns[at_home]) == 0
        return at_home

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """As the registry for whom it finds; NO_OWNER for all others.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        answers, reasons = super().ask(pfns, mode)
        unknown = ~self.finds(pfns)
        answers[unknown], reasons[unknown] = Answer.NO, Reason.NO_OWNER
        return answers, reasons

    def holders(
        self, nr_frames: int, within: Span | None = None
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Owners by name, where this design finds them.

        Args:
            nr_frames: of the machine.
            within: the frames that matter; of others nobody is named.  None: all.
        """
        codes, names = super().holders(nr_frames, within)
        named = np.flatnonzero(codes)
        codes[named[~self.finds(named)]] = 0
        return codes, names

    def move(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """Isolate, migrate and put back through the one owner of each page.

        Args:
            pfns: int64 (n,), the frames.
            targets: where to; what is not used is given back.
            mode: how long to wait for one frame.
        """
        report = super().move(pfns, targets, mode)
        self._nr_page_locks += len(pfns) + report.nr_moved
        return report
