"""What a 6.1 kernel really moves besides page tables.

movable_operations has few users: zsmalloc (and so zram), z3fold and the balloons.  Huge pages
move as a whole, and an aio ring moves as the file page that it is.  Nothing else has a
callback: slab, page tables, stacks, zbud and pinned memory stay.  There is one owner per
page, and it is found through the page.

Kernel counterpart: PageMovable() and isolate_movable_page() of mm/migrate.c, v6.1.
"""

from typing import Final

from mm.designs.narrow import NarrowDesign
from pinpage.owner import PinOwner

__all__ = ["MOVED_BY_LINUX_6_1", "Linux61"]

MOVED_BY_LINUX_6_1: Final = frozenset({"zsmalloc", "zram", "z3fold", "balloon", "hugetlb", "aio"})
"""Names of the owners whose pages a 6.1 kernel can move."""


class Linux61(NarrowDesign):
    """The kernel that the recordings come from."""

    name = "linux-6.1"

    def can_find(self, owner: PinOwner) -> bool:
        """Whether the kernel has operations for it."""
        return owner.name in MOVED_BY_LINUX_6_1
