"""Bringing swapped pages back: one entry, a number of frontswap pages, a whole area.

`try_to_unuse_swp_entry` is what the 2013 series split out of try_to_unuse so that zswap
could empty one zbud page at a time.  Its order of steps is the series', one small function
each; what each step guards against is said there.

    pending signal -> swap cache page -> start_mm exiting? -> wait, lock -> shmem
       -> start_mm first, then the ring -> save what is left -> drop the cached copy -> dirty

Kernel counterpart: mm/swapfile.c of v3.11 with patch 2 of the series; read_swap_cache_async
of mm/swap_state.c; frontswap_shrink's budget.
Cost: about 10 us per entry, the backend's decompression not counted.
"""

import enum
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mm.paging.memory import mmput
from mm.paging.paging import Paging, bit
from mm.paging.shmem import shmem_unuse
from mm.paging.swap_state import read_swap_cache_async, swap_writepage
from mm.state.address_space import AddressSpace, swap_pte
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swap_area import SwapArea
from mm.swap.swapops import (
    SWAP_HAS_CACHE,
    SWAP_MAP_BAD,
    SWAP_MAP_SHMEM,
    SwapEntry,
    swap_count,
    swp_entry,
    swp_offset,
    swp_type,
)
from pinpage.errors import PinpageError, at_least, within

__all__ = [
    "Accounting",
    "Pending",
    "find_next_to_unuse",
    "no_signal",
    "swapoff",
    "try_to_unuse",
    "try_to_unuse_swp_entry",
]

Pending = Callable[[], bool]
"""Whether the task has a signal pending, of any kind."""

_LOCKED, _WRITEBACK = bit(PageFlag.LOCKED), bit(PageFlag.WRITEBACK)
_DIRTY, _SWAPCACHE = bit(PageFlag.DIRTY), bit(PageFlag.SWAPCACHE)
_SCAN_NR_SLOTS = 4096


def no_signal() -> bool:
    """Nobody interrupts us."""
    return False


# One entry.


class _End(enum.Enum):
    """How one entry ended; the two loops of `Accounting` count them differently."""

    FREED = enum.auto()
    SHMEM = enum.auto()
    UNUSED = enum.auto()


_Outcome: TypeAlias = tuple[Errno, AddressSpace, _End]


def try_to_unuse_swp_entry(
    paging: Paging,
    start_mm: AddressSpace,
    area: SwapArea,
    entry: SwapEntry,
    *,
    pending: Pending = no_signal,
) -> tuple[Errno, AddressSpace]:
    """Bring one slot's page back into RAM and let every user of it map the page.

    When the last PTE stops naming the slot, and the page has left the swap cache, the slot
    is free and frontswap is told: that is how a zbud page loses the object.

    Args:
        start_mm: whom to search first: the last entry's user, or `mmlist.init_mm`.  The
            caller holds a user count on it, which passes to the space returned.
        area: a live area (hold it: `SwapArea.get_device`).
        pending: asked once, before anything is read.

    Returns:
        (error, start_mm for the next entry).  OK: no PTE names the slot any more (unused
        here, freed by somebody else, or given to its shmem file), or a user was not found
        and the data is safe on disk.  EINTR, ENOMEM: see the steps; nothing is half done.

    Raises:
        PinpageError: `start_mm` is not in the mmlist, the area is not this machine's (any
            more), or the entry names no slot of it.
    Source: patch 2 of the August 2013 zbud series.
    """
    _require_live(paging, area)
    if swp_type(entry) != area.type or not 0 < swp_offset(entry) < area.nr_slots:
        raise PinpageError(f"unuse: entry {entry:#x} names no slot of area {area.type}")
    error, start_mm, _ = _unuse_entry(paging, start_mm, area, entry, pending)
    return error, start_mm


def _require_live(paging: Paging, area: SwapArea) -> None:
    if paging.swap.areas.get(area.type) is not area:
        raise PinpageError(f"unuse: swap area {area.type} is gone, or another machine's")


def _unuse_entry(
    paging: Paging, start_mm: AddressSpace, area: SwapArea, entry: SwapEntry, pending: Pending
) -> _Outcome:
    if start_mm not in paging.swap.mmlist:
        raise PinpageError(f"start_mm {start_mm.name!r} is not in the mmlist: use its init_mm")
    if pending():
        return Errno.EINTR, start_mm, _End.UNUSED
    offset = swp_offset(entry)
    pfn = read_swap_cache_async(paging, entry)
    if pfn < 0:
        if not area.map_byte(offset):
            return Errno.OK, start_mm, _End.FREED
        return Errno.ENOMEM, start_mm, _End.UNUSED
    start_mm = _let_go_if_exiting(paging, start_mm)
    _wait_and_lock(paging, pfn)
    error = Errno.OK
    # A page that stopped being this slot's while it was unlocked has nothing to give to the
    # slot's users.  The series lacks this test: swapoff needs none, for the slot cannot be
    # used anew, but zswap calls with SWP_WRITEOK set, and then it can (rule D).
    if paging.swap.cache.entry_of.item(pfn) == entry:
        if swap_count(area.map_byte(offset)) == SWAP_MAP_SHMEM:
            return shmem_unuse(paging, area, entry, pfn), start_mm, _End.SHMEM
        error, start_mm = _unuse_all(paging, start_mm, area, entry, pfn)
    if not error:
        _finish(paging, area, entry, pfn)
    paging.unlock_page(pfn)
    paging.put_page(pfn)
    if not error:
        paging.cond_resched()
    return error, start_mm, _End.UNUSED


def _finish(paging: Paging, area: SwapArea, entry: SwapEntry, pfn: int) -> None:
    """Save what is still needed, drop the cached copy, leave the page dirty."""
    _save_leftover(paging, area, swp_offset(entry), pfn)
    if paging.swap.cache.entry_of.item(pfn) == entry:
        # Only our own: while unlocked it may have been cached for another slot, where it
        # has not been written yet.
        paging.swap.cache_delete(pfn)
    # The PTEs were installed clean and the slot is gone or going: reclaim would drop a
    # clean page, and with it the only copy.
    paging.set_bits(pfn, _DIRTY)


def _let_go_if_exiting(paging: Paging, start_mm: AddressSpace) -> AddressSpace:
    """Do not keep a dying process alive: if ours is its last user count, move to init_mm."""
    if start_mm.mm_users != 1:
        return start_mm
    mmput(paging, start_mm)
    init_mm = paging.swap.mmlist.init_mm
    init_mm.mm_users += 1
    return init_mm


def _wait_and_lock(paging: Paging, pfn: int) -> None:
    """Lock the page, but let a fault on it win: it finds its PTE quicker than we do (R-13).

    Writeback is waited for twice, for it may start again before we get the lock.
    """
    if paging.has(pfn, _LOCKED | _WRITEBACK):
        paging.wait_on_page(pfn, PageFlag.LOCKED)
        paging.wait_on_page(pfn, PageFlag.WRITEBACK)
    paging.lock_page(pfn)
    paging.wait_on_page(pfn, PageFlag.WRITEBACK)


def _unuse_all(
    paging: Paging, start_mm: AddressSpace, area: SwapArea, entry: SwapEntry, pfn: int
) -> tuple[Errno, AddressSpace]:
    """start_mm first: neighbours in swap tend to be neighbours in memory; then everybody."""
    offset = swp_offset(entry)
    before = area.map_byte(offset)
    error = Errno.OK
    if swap_count(before) and start_mm is not paging.swap.mmlist.init_mm:
        error = _unuse_mm(paging, start_mm, area, entry, pfn)
    if error or not swap_count(area.map_byte(offset)):
        return error, start_mm
    # start_mm was no help: the first space that is one takes its place.
    rearmed = area.map_byte(offset) >= before
    return _walk_mmlist(paging, start_mm, area, entry, pfn, rearmed=rearmed)


def _walk_mmlist(
    paging: Paging,
    start_mm: AddressSpace,
    area: SwapArea,
    entry: SwapEntry,
    pfn: int,
    *,
    rearmed: bool,
) -> tuple[Errno, AddressSpace]:
    """Once round the ring, or until the count is zero or somebody fails.

    A user count is kept on the space we stand on, so that its place in the ring stays valid
    while others run, and one on the space that may become the next start_mm.  init_mm has
    no pages, but passing it arms the choice again.
    """
    mmlist, offset = paging.swap.mmlist, swp_offset(entry)
    new_start_mm = prev_mm = mm = start_mm
    start_mm.mm_users += 2
    error = Errno.OK
    while swap_count(area.map_byte(offset)) and not error:
        mm = mmlist.next(mm)
        if mm is start_mm:
            break
        if mm.mm_users == 0:
            continue  # being torn down
        mm.mm_users += 1
        mmput(paging, prev_mm)
        prev_mm = mm
        paging.cond_resched()
        before = area.map_byte(offset)
        if mm is mmlist.init_mm:
            rearmed = rearmed or swap_count(before) != 0
        elif swap_count(before):
            error = _unuse_mm(paging, mm, area, entry, pfn)
        if rearmed and area.map_byte(offset) < before:
            mmput(paging, new_start_mm)
            mm.mm_users += 1
            new_start_mm, rearmed = mm, False
    mmput(paging, prev_mm)
    mmput(paging, start_mm)
    return error, new_start_mm


def _unuse_mm(
    paging: Paging, mm: AddressSpace, area: SwapArea, entry: SwapEntry, pfn: int
) -> Errno:
    """Let every PTE of one space that names the slot map the page instead.

    The kernel walks the page tables; the slot's list of users knows where to look.
    """
    for mm_id, vpn in area.users(swp_offset(entry)):
        if mm_id == mm.mm_id:
            error = _unuse_pte(paging, mm, vpn, entry, pfn)
            if error:
                return error
    return Errno.OK


def _unuse_pte(paging: Paging, mm: AddressSpace, vpn: int, entry: SwapEntry, pfn: int) -> Errno:
    error = paging.charge(mm)
    if error:
        return error
    if mm.pte.item(vpn) != swap_pte(entry):
        return Errno.OK  # a fault was quicker
    if paging.frames.mapcount.item(pfn) < 0:
        paging.get_page(pfn)  # for the first mapping to take over
    paging.swap.clear_pte(mm, vpn)
    paging.rmap.map_page(mm, vpn, pfn)
    paging.nr_ptes_unused += 1
    return Errno.OK


def _save_leftover(paging: Paging, area: SwapArea, offset: int, pfn: int) -> None:
    """A user was not found: its data must be on disk before the cached copy goes (R-14)."""
    left = swap_count(area.map_byte(offset))
    if left and paging.has(pfn, _DIRTY) and paging.has(pfn, _SWAPCACHE):
        swap_writepage(paging, pfn)
        paging.lock_page(pfn)
        paging.wait_on_page(pfn, PageFlag.WRITEBACK)


# Many entries.


class Accounting(enum.Enum):
    """Which entries use up the frontswap budget of `try_to_unuse`."""

    OLD = "old"
    """v3.11: entries freed by somebody else, and shmem's, are not counted."""
    PATCHED = "patched"
    """The 2013 series: every entry that did not fail is counted."""


def find_next_to_unuse(area: SwapArea, prev: int, *, frontswap: bool = False) -> int:
    """The next slot in use after `prev`, round the end once; 0 when there is none.

    Args:
        area: whose slots.
        prev: the slot to go on after; 0 to begin.
        frontswap: only slots whose page frontswap took.

    Raises:
        PinpageError: the area has no slot `prev`.
    """
    (prev,) = within(area.nr_slots, "find_next_to_unuse", prev=prev)
    for start, stop in ((prev + 1, area.nr_slots), (1, prev + 1)):
        for at in range(start, stop, _SCAN_NR_SLOTS):
            window = slice(at, min(stop, at + _SCAN_NR_SLOTS))
            if frontswap:
                wanted = area.frontswap_map[window]
            else:
                counts = area.swap_map[window]
                wanted = (counts != 0) & ((counts & ~np.uint8(SWAP_HAS_CACHE)) != SWAP_MAP_BAD)
            first = int(wanted.argmax())
            if wanted[first]:
                return at + first
    return 0


def try_to_unuse(
    paging: Paging,
    area: SwapArea,
    *,
    frontswap: bool = False,
    pages_to_unuse: int = 0,
    pending: Pending = no_signal,
    accounting: Accounting = Accounting.PATCHED,
) -> Errno:
    """Unuse slots until none is left, the budget is used up, or one fails.

    Args:
        frontswap: only slots that frontswap holds.
        pages_to_unuse: with `frontswap`, how many; 0 for no limit.
        pending: asked before every entry.
        accounting: what counts against the budget.

    Returns:
        OK, or the first error.

    Raises:
        PinpageError: a negative budget, or an area that this machine has not (any more).
    """
    (pages_to_unuse,) = at_least(0, "try_to_unuse", pages_to_unuse=pages_to_unuse)
    _require_live(paging, area)
    start_mm = paging.swap.mmlist.init_mm
    start_mm.mm_users += 1
    offset, error = 0, Errno.OK
    while offset := find_next_to_unuse(area, offset, frontswap=frontswap):
        entry = swp_entry(area.type, offset)
        error, start_mm, end = _unuse_entry(paging, start_mm, area, entry, pending)
        if error:
            break
        counted = accounting is Accounting.PATCHED or end is _End.UNUSED
        if frontswap and counted and pages_to_unuse > 0:
            pages_to_unuse -= 1
            if not pages_to_unuse:
                break
    mmput(paging, start_mm)
    return error


def swapoff(paging: Paging, swap_type: int, *, pending: Pending = no_signal) -> Errno:
    """Empty an area and remove it.

    Order: no new slots -> unuse all -> nobody holds the area -> frontswap forgets it -> gone.
    On any error slots are handed out again and the area stays.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        swap_type: number of the area.
        pending: asked before each page: True ends it, interrupted.

    Returns:
        OK; EINVAL no such area; EINTR a signal; ENOMEM the pages do not fit; EBUSY somebody
        still holds the area (the kernel waits there).
    """
    area = paging.swap.areas.get(swap_type)
    if area is None or not area.writeok:
        return Errno.EINVAL
    area.writeok = False
    error = try_to_unuse(paging, area, pending=pending)
    if not error and area.nr_holders:
        error = Errno.EBUSY
    if error:
        area.writeok = True
        return error
    if area.frontswap is not None:
        area.frontswap.invalidate_area(area.type)
        area.frontswap_map[:] = False
    del paging.swap.areas[swap_type]
    return Errno.OK
