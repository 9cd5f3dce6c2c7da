"""Non-LRU movable pages of 2016: a driver marks its page and brings three callbacks.

    page->mapping = the driver's operations | 2      one place, so one owner

    isolate_page   page locked, reference held; the driver takes it off its own lists
    migrate_page   both pages locked; 0, -EAGAIN (soon again), or any other error
    putback_page   nothing happened

The VM finds the driver through the page, without any table and at no cost; the price is that
a page has one owner.  A page that page tables hold has its mapping in that very place, so
memory pinned by get_user_pages can never be such a page.  Slab pages are left out by name:
slab keeps words of its own there, and the kernel looks away before it takes the page lock.

Kernel counterpart: commit bda807d44454 (v4.8), and struct movable_operations since v6.0.
"""

from typing import Final

from mm.designs.narrow import NarrowDesign
from pinpage.owner import PinOwner

__all__ = ["SLAB_CACHES", "MovableOps"]

SLAB_CACHES: Final = frozenset({"slab", "dentry", "radix_tree_node"})
"""Owners whose pages are slab pages."""


class MovableOps(NarrowDesign):
    """Any driver that has callbacks, one per page."""

    name = "movable-ops"

    def can_find(self, owner: PinOwner) -> bool:
        """Every driver but slab."""
        return owner.name not in SLAB_CACHES
