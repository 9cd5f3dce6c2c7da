"""The later series of 2013 as a design: zbud pages are moved, and nobody notices.

Kozlowski's second and third series did what the cover letter of the first had left to do.

    handles    no address any more but a number, which a table turns into a place
    page       its mapping leads to zbud's operations, its private to the pool
    isolate    refused while an object is mapped: each handle counts its maps
    migrate    only if the count of references is 1 (the isolation's) beside the objects',
               and objects are left; else -EAGAIN.  Copy, put the table right, and the lists

Handles and map counts are the pool's (`owners.zbud.handles`, `owners.zbud.pool`), the rule of
the count is the move's freeze.  What is left for the design is the way to the pool: through
the page, for pages typed zbud and for no other.

Kernel counterpart: "mm: migrate zbud pages", August to October 2013; never merged.
"""

from typing import ClassVar

from attrs import evolve

from mm.designs.narrow import NarrowDesign
from mm.move.capabilities import Capabilities
from mm.state.frames import MAPCOUNT_ZBUD, Frames
from pinpage.move.steps import Memory
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["ZbudMigrate"]


class ZbudMigrate(NarrowDesign):
    """Implements `mm.move.design.Design` for frames of zbud pools, and for no other."""

    name = "zbud-migrate"
    capabilities: ClassVar[Capabilities] = evolve(
        NarrowDesign.capabilities, locks="the page's own, and the pool's"
    )

    def __init__(self, registry: PinRegistry, memory: Memory, frames: Frames) -> None:
        """Pools say in `registry` which pages they have.

        Args:
            registry: what all owners say; only pools of zbud are found in it.
            memory: moves frames.
            frames: which say of themselves that they are zbud's.
        """
        super().__init__(registry, memory)
        self._frames = frames

    def can_find(self, owner: PinOwner) -> bool:
        """Pools of zbud alone."""
        return owner.name == "zbud"

    def finds(self, pfns: Pfns) -> Mask:
        """Frames typed zbud: the mark leads to the pool.

        Args:
            pfns: int64 (n,), the frames.
        """
        is_zbud: Mask = self._frames.mapcount[pfns] == MAPCOUNT_ZBUD
        return is_zbud | self._is_as_ever(pfns)
