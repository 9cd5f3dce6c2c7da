"""All swap areas, the swap cache, and the PTEs that name slots.

Where several facts must change together they change here: a swapped PTE, its slot's count
and the slot's list of users; a cached page and its slot's SWAP_HAS_CACHE.  Nothing here
decides what to swap, and nothing allocates or frees a page.

Kernel counterpart: swap_info[], mm/swap_state.c, and the swap side of a PTE.
Cost:  adopt about 0.1 us per page; the single forms 1 to 2 us.
"""

import numpy as np

from mm.state.address_space import PTE_NONE, AddressSpace, MmList, Vpns, pte_entry, swap_pte
from mm.state.errno import Errno
from mm.state.frames import Frames
from mm.state.rmap import Rmap
from mm.swap.swap_area import SwapArea
from mm.swap.swap_cache import SwapCache
from mm.swap.swapops import (
    SWAP_HAS_CACHE,
    SWAP_MAP_SHMEM,
    FrontSwap,
    Offsets,
    SwapEntry,
    swp_entry,
    swp_offset,
    swp_type,
)
from pinpage.errors import PinpageError, require

__all__ = ["Swap"]


class Swap:
    """The swap of a machine.

    Attributes:
        areas: type -> area, those that swapon added and swapoff has not removed.
        cache: the swap cache.
        mmlist: the spaces that unuse has to search.

    Invariants, run by `check`, besides those of the parts:
        SP1 a slot has SWAP_HAS_CACHE exactly if the swap cache has a page for it.
        SP2 a slot's users are exactly the PTEs that name it.
        SP3 a process with a swapped PTE is in the mmlist.
    """

    def __init__(self, frames: Frames, rmap: Rmap) -> None:
        """No area yet.

        Args:
            frames: the columns, one row per frame.
            rmap: who maps which frame.
        """
        self.frames = frames
        self.rmap = rmap
        self.areas: dict[int, SwapArea] = {}
        self.cache = SwapCache(frames)
        self.mmlist = MmList()

    def swapon(self, nr_slots: int, frontswap: FrontSwap | None = None) -> SwapArea:
        """Add an area under the lowest free type.

        Args:
            nr_slots: slots, the header's included.
            frontswap: what sits before the disk; None: nothing.

        Raises:
            PinpageError: see `SwapArea`.
        """
        swap_type = next(t for t in range(len(self.areas) + 1) if t not in self.areas)
        area = SwapArea(swap_type, nr_slots, frontswap)
        self.areas[swap_type] = area
        return area

    def area_of(self, entry: SwapEntry) -> SwapArea:
        """The area that an entry names.

        Raises:
            PinpageError: there is no such area (any more).
        """
        area = self.areas.get(swp_type(entry))
        if area is None:
            raise PinpageError(f"swap entry {entry:#x}: no area of type {swp_type(entry)}")
        return area

    def locate(self, entry: SwapEntry) -> tuple[SwapArea, int]:
        """The area and the offset that an entry names.

        Raises:
            PinpageError: there is no such area (any more).
        """
        area = self.areas.get(swp_type(entry))
        return area or self.area_of(entry), swp_offset(entry)

    @property
    def is_full(self) -> bool:
        """More than half of all slots are taken: cached copies are given up early."""
        nr_slots = sum(area.nr_slots - 1 for area in self.areas.values())  # not the headers
        return 2 * sum(area.inuse_pages for area in self.areas.values()) > nr_slots

    # Cached pages.

    def get_swap_page(self) -> SwapEntry:
        """A free slot of the first area that has one, SWAP_HAS_CACHE set; -1 for none."""
        for swap_type in sorted(self.areas):
            offset = self.areas[swap_type].alloc_slot()
            if offset >= 0:
                return swp_entry(swap_type, offset)
        return -1

    def cache_delete(self, pfn: int) -> SwapEntry:
        """Take a page out of the swap cache; its slot is free if nobody names it."""
        entry = self.cache.delete(pfn)
        area, offset = self.locate(entry)
        area.free_one(offset, SWAP_HAS_CACHE)
        return entry

    # Swapped PTEs.

    def set_pte(self, space: AddressSpace, vpn: int, entry: SwapEntry) -> Errno:
        """Let an empty PTE name a slot that is in use: count, user and PTE together.

        A file's PTE (shmem) takes the slot as SWAP_MAP_SHMEM, which only a slot without
        any other user can give.

        Args:
            space: the address space.
            vpn: virtual page number.
            entry: names the slot.

        Returns:
            OK, or what `SwapArea.duplicate` refused with (nothing has changed).
        """
        area, offset = self.locate(entry)
        usage = SWAP_MAP_SHMEM if space.kind == "file" else 1
        error = area.duplicate(offset, usage)
        if not error:
            area.add_user(offset, space.mm_id, vpn)
            space.pte[vpn] = swap_pte(entry)
            if space.kind == "process":
                self.mmlist.add(space)
        return error

    def clear_pte(self, space: AddressSpace, vpn: int) -> int:
        """Empty a swapped PTE: user gone, count lowered, the slot free if that was all.

        Args:
            space: the address space.
            vpn: virtual page number.

        Returns:
            The slot's byte afterwards.
        """
        entry = pte_entry(space.pte.item(vpn))
        area, offset = self.locate(entry)
        space.pte[vpn] = PTE_NONE
        area.drop_user(offset, space.mm_id, vpn)
        return area.free_one(offset)

    def adopt(
        self,
        space: AddressSpace,
        vpns: Vpns,
        area: SwapArea | None = None,
        *,
        in_frontswap: bool = True,
    ) -> Offsets:
        """Make empty PTEs of a process swapped out, one fresh slot each, in bulk.

        For replay: the pages were swapped out before we looked.  The caller hands the same
        offsets to whoever holds the bytes (`in_frontswap`: to zswap; else fills `disk`).

        Args:
            space: a process.
            vpns: distinct virtual pages without a PTE.
            area: where (default: the area of the lowest type).

        Returns:
            The entries, int64, shape (n,), parallel to `vpns`; slots ascend.

        Raises:
            PinpageError: a vpn is outside, taken or given twice; no area, or too small.
                Nothing has changed.
        Cost: vectorised, about 0.1 us per page.
        """
        self._check_adoptable(space, vpns)
        if area is None:
            if not self.areas:
                raise PinpageError("adopt: no swap area: swapon first")
            area = self.areas[min(self.areas)]
        nr_free = int((area.swap_map == 0).sum()) if area.writeok else 0
        if nr_free < len(vpns):
            raise PinpageError(f"adopt: area has {nr_free} free slots, {len(vpns)} are needed")
        offsets = area.alloc_many(len(vpns), usage=1)
        area.user_mm[offsets] = space.mm_id
        area.user_vpn[offsets] = vpns
        area.frontswap_map[offsets] = in_frontswap
        entries = offsets + swp_entry(area.type, 0)
        space.pte[vpns] = -entries - 1
        self.mmlist.add(space)
        return entries

    def _check_adoptable(self, space: AddressSpace, vpns: Vpns) -> None:
        if space.kind != "process":
            raise PinpageError(f"adopt: {space.name!r} is a {space.kind}, not a process")
        if len(vpns) and (int(vpns.min()) < 0 or int(vpns.max()) >= space.nr_vpns):
            raise PinpageError(f"adopt: a vpn is outside 0..{space.nr_vpns - 1:#x}")
        taken = space.pte[vpns] != PTE_NONE
        if taken.any():
            raise PinpageError(f"adopt: vpn {int(vpns[taken.argmax()]):#x} has a PTE already")
        if len(np.unique(vpns)) != len(vpns):
            raise PinpageError("adopt: a vpn is given twice")

    def check(self) -> None:
        """Run the parts' checks and SP1..SP3.

        Raises:
            InvariantError: one does not hold.
        Cost: O(slots + virtual pages), and a loop over users of shared slots.
        """
        self.cache.check()
        self.mmlist.check()
        nr_cached = 0
        for area in self.areas.values():
            area.check()
            for offset in np.flatnonzero(area.swap_map & SWAP_HAS_CACHE).tolist():
                cached = swp_entry(area.type, offset) in self.cache
                require(cached, "SP1 HAS_CACHE without a page", type=area.type, offset=offset)
                nr_cached += 1
        require(nr_cached == len(self.cache), "SP1 a cached page whose slot does not say so")
        nr_swapped = sum(self._check_space(space) for space in self.rmap.spaces)
        nr_users = sum(self._check_users(area) for area in self.areas.values())
        require(nr_users == nr_swapped, "SP2 swapped PTEs", users=nr_users, ptes=nr_swapped)

    def _check_space(self, space: AddressSpace) -> int:
        nr_swapped = len(space.swapped())
        listed = space in self.mmlist or space.kind == "file"
        require(listed or not nr_swapped, "SP3 swapped, but not in the mmlist", mm_id=space.mm_id)
        return nr_swapped

    def _check_users(self, area: SwapArea) -> int:
        """Each user's PTE names the slot; with as many users as swapped PTEs, SP2 follows."""
        nr_users = 0
        for offset in np.flatnonzero(area.user_mm >= 0).tolist():
            expected = swap_pte(swp_entry(area.type, offset))
            users = area.users(offset)
            for mm_id, vpn in users:
                named = self.rmap.space(mm_id).pte.item(vpn) == expected
                require(named, "SP2 a user names another slot", offset=offset, mm_id=mm_id, vpn=vpn)
            require(len(set(users)) == len(users), "SP2 a user twice", offset=offset)
            nr_users += len(users)
        return nr_users
