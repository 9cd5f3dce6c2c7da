"""One swap area: its slots, how often each is used and by whom, and where the bytes are.

A slot is free again when both its count and its cache flag are gone; that is when
frontswap hears of it, and the only way in which zswap ever learns that it may free
something.  Slot 0 holds the area's header and is never handed out.

Counts beyond 0x3e: the kernel keeps further digits in extra pages; here the byte stays at
0xbe and the excess is in a dict.

Kernel counterpart: struct swap_info_struct, mm/swapfile.c and mm/frontswap.c.
Cost:  a slot allocated, counted or freed about 0.5 us; columns are open to batches.
"""

import numpy as np
from numpy.typing import NDArray

from mm.state.errno import Errno
from mm.swap.swapops import (
    COUNT_CONTINUED,
    SWAP_HAS_CACHE,
    SWAP_MAP_BAD,
    SWAP_MAP_MAX,
    SWAP_MAP_SHMEM,
    FrontSwap,
    Offsets,
    swap_count,
)
from pinpage.errors import PinpageError, at_least, require, whole
from pinpage.units import Mask

__all__ = ["NR_SLOTS_MAX", "SwapArea"]

NR_SLOTS_MAX = 1 << 31
"""Slots that an area may have."""


class SwapArea:
    """The slots of one swap device.

    Attributes:
        type: index of the area (the `type` of an entry).
        swap_map: uint8, shape (nr_slots,), a view: read it, write through the methods.
        writeok: SWP_WRITEOK: slots are handed out; swapoff clears it first.
        disk: offset -> page, what was written to the device.
        frontswap: who is offered a page before the disk.
        frontswap_map: bool, shape (nr_slots,): frontswap took the slot's page last.
        user_mm, user_vpn: int32, shape (nr_slots,): the first PTE that names the slot (-1
            none); further ones are in a dict.  This is what makes unuse O(1).
        inuse_pages: slots that are not free.
        nr_holders: who must not see the area torn down (get_swap_device).
        nr_stored, nr_loaded: pages that frontswap took, and gave, since swapon.

    Invariants, run by `check`:
        SA1 the count of a slot is the number of its users (SHMEM: one).
        SA2 a free slot has no user, no page on disk and none in frontswap.
        SA3 inuse_pages counts the slots that are neither free nor bad.
        SA4 a count is continued exactly if its byte says so, and by at least one.
        SA5 only a slot with a first user has further ones.
    """

    def __init__(self, swap_type: int, nr_slots: int, frontswap: FrontSwap | None = None) -> None:
        """All slots free but the header's.

        Args:
            swap_type: number of the area.
            nr_slots: slots, the header's included.
            frontswap: what sits before the disk; None: nothing.

        Raises:
            PinpageError: no room for a header and a slot, or more than int32 can count.
        """
        (nr_slots,) = whole("swap area", nr_slots=nr_slots)
        if not 2 <= nr_slots <= NR_SLOTS_MAX:
            raise PinpageError(f"nr_slots={nr_slots}: must be in 2..{NR_SLOTS_MAX}")
        self.type = swap_type
        self.nr_slots = nr_slots
        # One memory, two faces: a bytearray is quick to poke, numpy is quick to sweep.
        self._bytes = bytearray(nr_slots)
        self._bytes[0] = SWAP_MAP_BAD
        self.swap_map: NDArray[np.uint8] = np.frombuffer(self._bytes, dtype=np.uint8)
        self.writeok = True
        self.disk: dict[int, bytes] = {}
        self.frontswap = frontswap
        self.frontswap_map: Mask = np.zeros(nr_slots, dtype=np.bool_)
        self.user_mm: NDArray[np.int32] = np.full(nr_slots, -1, dtype=np.int32)
        self.user_vpn: NDArray[np.int32] = np.full(nr_slots, -1, dtype=np.int32)
        self.inuse_pages = 0
        self.nr_holders = 0
        self.nr_stored = 0
        self.nr_loaded = 0
        self._further: dict[int, list[tuple[int, int]]] = {}
        self._continued: dict[int, int] = {}
        self._next = 1

    # Slots.

    def map_byte(self, offset: int) -> int:
        """The byte of a slot as a plain int."""
        return self._bytes[offset]

    def count(self, offset: int) -> int:
        """How many PTEs name the slot, continued counts included (SHMEM: 1)."""
        byte = swap_count(self._bytes[offset])
        if byte == SWAP_MAP_SHMEM:
            return 1
        return 0 if byte == SWAP_MAP_BAD else (byte & SWAP_MAP_BAD) + self._continued.get(offset, 0)

    def alloc_slot(self, usage: int = SWAP_HAS_CACHE) -> int:
        """A free slot, from where the last search ended and round once.

        Returns:
            Its offset, its byte set to `usage`; -1 when the area is full or going away.
        """
        if not self.writeok:
            return -1
        offset = self._bytes.find(0, self._next)
        if offset < 0:
            offset = self._bytes.find(0, 1, self._next)
            if offset < 0:
                return -1
        self._bytes[offset] = usage
        self.inuse_pages += 1
        self._next = offset + 1
        return offset

    def alloc_many(self, count: int, usage: int = SWAP_HAS_CACHE) -> Offsets:
        """Up to `count` free slots, ascending; fewer when there are no more.

        Args:
            count: slots, at most.
            usage: 1 for a user, or SWAP_HAS_CACHE, or SWAP_MAP_SHMEM.
        """
        (count,) = at_least(0, "swap area", count=count)
        if not self.writeok:
            return np.empty(0, dtype=np.int64)
        offsets = np.flatnonzero(self.swap_map == 0)[:count]
        self.swap_map[offsets] = usage
        self.inuse_pages += len(offsets)
        return offsets

    def duplicate(self, offset: int, usage: int = 1) -> Errno:
        """One more user (usage 1), the cache flag (SWAP_HAS_CACHE), or a shmem page's claim.

        Args:
            offset: number of the slot.
            usage: 1 for a user, or SWAP_HAS_CACHE, or SWAP_MAP_SHMEM.

        Returns:
            OK; ENOENT the slot is free; EEXIST the cache has it already; EINVAL bad slot,
            or outside the area.
        """
        if type(offset) is not int:
            (offset,) = whole("swap area", offset=offset)
        if not 0 < offset < self.nr_slots or swap_count(self._bytes[offset]) == SWAP_MAP_BAD:
            return Errno.EINVAL
        byte = self._bytes[offset]
        if usage == SWAP_HAS_CACHE:
            if byte & SWAP_HAS_CACHE:
                return Errno.EEXIST
            if not byte:
                return Errno.ENOENT
            self._bytes[offset] = byte | SWAP_HAS_CACHE
            return Errno.OK
        if not byte:
            return Errno.ENOENT
        return self._raise_count(offset, byte, usage)

    def _raise_count(self, offset: int, byte: int, usage: int) -> Errno:
        count = swap_count(byte)
        if usage == SWAP_MAP_SHMEM:
            if count:
                return Errno.EINVAL  # shmem's slot has no other user
            self._bytes[offset] = SWAP_MAP_SHMEM | (byte & SWAP_HAS_CACHE)
            return Errno.OK
        if count == SWAP_MAP_SHMEM:
            return Errno.EINVAL
        if count & SWAP_MAP_MAX == SWAP_MAP_MAX:
            self._bytes[offset] = byte | COUNT_CONTINUED
            self._continued[offset] = self._continued.get(offset, 0) + 1
            return Errno.OK
        self._bytes[offset] = byte + 1
        return Errno.OK

    def free_one(self, offset: int, usage: int = 1) -> int:
        """Drop one user, or the cache flag; the last of them frees the slot.

        Args:
            offset: number of the slot.
            usage: 1 for a user, or SWAP_HAS_CACHE, or SWAP_MAP_SHMEM.

        Returns:
            What is left of the byte; 0 when the slot is free now: then frontswap has been
            told and the disk forgot the page.

        Raises:
            InvariantError: there was no such use.
        """
        if type(offset) is not int:
            (offset,) = whole("swap area", offset=offset)
        byte = self._bytes[offset]
        if usage == SWAP_HAS_CACHE:
            require(
                byte & SWAP_HAS_CACHE, "SA1 free of a cache flag that is not set", offset=offset
            )
            left = byte & ~SWAP_HAS_CACHE
        else:
            left = self._lower_count(offset, byte)
        self._bytes[offset] = left
        if not left:
            self._slot_is_free(offset)
        return left

    def _lower_count(self, offset: int, byte: int) -> int:
        count, cached = swap_count(byte), byte & SWAP_HAS_CACHE
        require(count and count != SWAP_MAP_BAD, "SA1 free of a slot nobody uses", offset=offset)
        if count == SWAP_MAP_SHMEM:
            return cached
        if not count & COUNT_CONTINUED:
            return byte - 1
        excess = self._continued[offset] - 1
        if excess:
            self._continued[offset] = excess
            return byte
        del self._continued[offset]
        return byte & ~COUNT_CONTINUED

    def _slot_is_free(self, offset: int) -> None:
        self.inuse_pages -= 1
        self.disk.pop(offset, None)
        if self.frontswap_map.item(offset):
            self.frontswap_map[offset] = False
            if self.frontswap is not None:
                self.frontswap.invalidate_page(self.type, offset)

    # Users: which PTEs name a slot.

    def users(self, offset: int) -> list[tuple[int, int]]:
        """The (mm_id, vpn) of every PTE that names the slot, the first one first."""
        mm_id = self.user_mm.item(offset)
        if mm_id < 0:
            return []
        first = (mm_id, self.user_vpn.item(offset))
        return [first, *self._further[offset]] if offset in self._further else [first]

    def add_user(self, offset: int, mm_id: int, vpn: int) -> None:
        """A PTE names the slot now (its count is raised by `duplicate`).

        Args:
            offset: number of the slot.
            mm_id: number of the address space.
            vpn: virtual page number.
        """
        if self.user_mm.item(offset) < 0:
            self.user_mm[offset] = mm_id
            self.user_vpn[offset] = vpn
        else:
            self._further.setdefault(offset, []).append((mm_id, vpn))

    def drop_user(self, offset: int, mm_id: int, vpn: int) -> None:
        """A PTE does not name the slot any more (its count is lowered by `free_one`).

        Args:
            offset: number of the slot.
            mm_id: number of the address space.
            vpn: virtual page number.

        Raises:
            InvariantError: it never did.
        """
        further = self._further.get(offset)
        if (self.user_mm.item(offset), self.user_vpn.item(offset)) == (mm_id, vpn):
            self.user_mm[offset], self.user_vpn[offset] = further.pop(0) if further else (-1, -1)
        else:
            known = further is not None and (mm_id, vpn) in further
            require(known, "SA1 no such user of a slot", offset=offset, mm_id=mm_id, vpn=vpn)
            if further is not None:
                further.remove((mm_id, vpn))
        if further is not None and not further:
            del self._further[offset]

    # Bytes.

    def write_page(self, offset: int, page: bytes) -> bool:
        """Swap a page out: frontswap first, else the disk (swap_writepage).

        Args:
            offset: number of the slot.
            page: the page's bytes.

        Returns:
            Whether frontswap took it, so that nothing was written to the disk.
        """
        if self.frontswap is not None:
            if self.frontswap.store(self.type, offset, page):
                self.nr_stored += 1
                self.frontswap_map[offset] = True
                self.disk.pop(offset, None)  # an older copy must never be read
                return True
            if self.frontswap_map.item(offset):  # an older copy must never be loaded
                self.frontswap_map[offset] = False
                self.frontswap.invalidate_page(self.type, offset)
        self.disk[offset] = page
        return False

    def write_disk(self, offset: int, page: bytes) -> None:
        """Write to the device, past frontswap: how zswap writes back (__swap_writepage).

        Args:
            offset: number of the slot.
            page: the page's bytes.
        """
        self.disk[offset] = page

    def read_page(self, offset: int) -> bytes:
        """Swap a page in: frontswap if it took it and still has it, else the disk.

        Raises:
            InvariantError: neither has it, so the page is lost.
        """
        if self.frontswap is not None and self.frontswap_map.item(offset):
            page = self.frontswap.load(self.type, offset)
            if page is not None:
                self.nr_loaded += 1
                return page
        require(offset in self.disk, "a swapped page is lost", type=self.type, offset=offset)
        return self.disk[offset]

    # Lifetime.

    def get_device(self) -> bool:
        """Keep the area from being torn down; False when swapoff has begun.

        Rule G/H against swapoff racing unuse: a check of `writeok` alone is stale at once.
        """
        if not self.writeok:
            return False
        self.nr_holders += 1
        return True

    def put_device(self) -> None:
        """Undo one `get_device`."""
        require(self.nr_holders > 0, "put of a swap device that nobody holds", type=self.type)
        self.nr_holders -= 1

    def check(self) -> None:
        """Run SA1..SA5.

        Raises:
            InvariantError: one does not hold; names the slot.
        Cost: O(slots), vectorised.
        """
        count = self.swap_map & np.uint8(0xFF & ~SWAP_HAS_CACHE)
        nr_users = (self.user_mm >= 0).astype(np.int64)
        for offset, further in self._further.items():
            require(
                nr_users[offset] and further, "SA5 further users without a first", offset=offset
            )
            nr_users[offset] += len(further)
        expected = (count & SWAP_MAP_BAD).astype(np.int64)
        expected[count == SWAP_MAP_SHMEM] = 1
        expected[count == SWAP_MAP_BAD] = 0
        for offset, excess in self._continued.items():
            continued = count[offset] == SWAP_MAP_MAX | COUNT_CONTINUED and excess > 0
            require(continued, "SA4 continued count", offset=offset, excess=excess)
            expected[offset] += excess
        flagged = (count & COUNT_CONTINUED != 0) & (count != SWAP_MAP_SHMEM)
        require(int(flagged.sum()) == len(self._continued), "SA4 a continuation is missing")
        self._require_none(nr_users != expected, "SA1 the count is not the number of users")
        free = self.swap_map == 0
        self._require_none(free & self.frontswap_map, "SA2 a free slot is in frontswap")
        for offset in self.disk:
            require(not free[offset], "SA2 a free slot is on disk", offset=offset)
        inuse = int((~free & (self.swap_map != SWAP_MAP_BAD)).sum())
        require(inuse == self.inuse_pages, "SA3 inuse_pages", counted=inuse, kept=self.inuse_pages)

    def _require_none(self, broken: Mask, message: str) -> None:
        offset = int(broken.argmax())
        require(not broken[offset], message, offset=offset, byte=self._bytes[offset])
