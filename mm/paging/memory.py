"""Processes: map, touch, write, read, drop, fork, exit.

What a process sees is a run of virtual pages with bytes in them; where they are, in RAM, in
zswap or on disk, is settled here on each access, as a page fault settles it.

A write to a page that others share (after fork) copies it first.  There is no write-protect
bit: a page is shared exactly if it has more than one user, page tables and the PTEs that
name its swap slot counted together.  A page that may be pinned for DMA is not shared by fork
but copied at once: the device goes on with the parent's.

Kernel counterpart: mm/memory.c (do_anonymous_page, do_swap_page, do_wp_page,
copy_page_range with page_needs_cow_for_dma, zap_page_range), mm/madvise.c (MADV_DONTNEED),
exit_mmap (mm/mmap.c), mmput (kernel/fork.c).
Cost: a first touch about 3 us, an access to a present page about 1 us.
"""

from collections.abc import Generator

import numpy as np

from mm.paging.paging import ANON_BITS, Paging, bit
from mm.paging.swap_state import read_swap_cache_async
from mm.state.address_space import PTE_NONE, AddressSpace, Vpns, pte_entry, pte_pfn, swap_pte
from mm.state.contents import TagContents
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from pinpage.errors import PinpageError, require, whole
from pinpage.move.steps import run_out
from pinpage.store.rows import as_pfns

__all__ = ["ProcessMemory", "mmput", "zap_page_range"]

_DIRTY, _REFERENCED = bit(PageFlag.DIRTY), bit(PageFlag.REFERENCED)
_SWAPCACHE = bit(PageFlag.SWAPCACHE)


class ProcessMemory:
    """The address spaces of a machine's processes."""

    def __init__(self, paging: Paging) -> None:
        self.paging = paging

    # Spaces.

    def _require_process(self, space: AddressSpace) -> None:
        if space.kind != "process":
            raise PinpageError(f"{space.name!r} is a {space.kind}, not a process")
        if not self.paging.rmap.knows(space):
            raise PinpageError(f"process {space.name!r} has exited, or is another machine's")

    def mmap(self, name: str, nr_pages: int) -> AddressSpace:
        """A new process with one anonymous mapping of `nr_pages` pages, none of them touched.

        Args:
            name: of the new process.
            nr_pages: of the mapping.

        Raises:
            PinpageError: a negative number of pages, or more than there can be.
        """
        return self.paging.rmap.create(name, nr_pages)

    def fork(self, parent: AddressSpace, name: str) -> AddressSpace | None:
        """A child that shares every page and every swap slot of the parent, copy on write.

        Pages that may be pinned for DMA are copied for the child at once.

        Args:
            parent: the space that is copied.
            name: of the new process.

        Returns:
            The child, in the mmlist behind the parent if anything is swapped out; None
            without memory for the copies (-ENOMEM; nothing changed).

        Raises:
            PinpageError: not a process, or one that has exited.
        Cost: a loop, about 1 us per page: a second mapping is a dict insert.
        """
        return run_out(self.fork_steps(parent, name))

    def fork_steps(
        self, parent: AddressSpace, name: str
    ) -> Generator[int, None, AddressSpace | None]:
        """`fork`, step by step: yields how many pages were copied early so far.

        A pin taken before the sharing shows in the page's references, and the page is copied;
        whoever pins meanwhile sees `write_protect_seq` change, and must look again.

        Args:
            parent: the space that is copied.
            name: of the new process.
        """
        self._require_process(parent)
        parent.write_protect_seq += 1
        child = self._share(parent, name)
        try:
            yield 0
            for nr_copied, vpn in enumerate(self._pinned_vpns(parent), 1):
                if self.touch(child, vpn, write=True) < 0:
                    self.exit(child)
                    return None
                yield nr_copied
            return child
        finally:
            parent.write_protect_seq += 1

    def _pinned_vpns(self, space: AddressSpace) -> list[int]:
        """Anonymous pages that a device may be using, so that they cannot be shared."""
        if not space.has_pinned:  # spare processes that never pinned the false positives
            return []
        vpns, frames = space.present(), self.paging.frames
        pfns = space.pte[vpns] - 1
        pinned = frames.maybe_dma_pinned(pfns) & frames.has_flag(pfns, PageFlag.ANON)
        found: list[int] = vpns[pinned].tolist()
        return found

    def _share(self, parent: AddressSpace, name: str) -> AddressSpace:
        """A child with the parent's page table, whatever is pinned."""
        paging = self.paging
        child = paging.rmap.create(name, parent.nr_vpns)
        if parent in paging.swap.mmlist:
            paging.swap.mmlist.add(child, after=parent)
        present = parent.present()
        paging.rmap.map_many(child, present, parent.pte[present] - 1)
        for vpn in parent.swapped().tolist():
            error = paging.swap.set_pte(child, vpn, pte_entry(parent.pte.item(vpn)))
            if error:  # the slot is in use: its count can always go up
                raise PinpageError(f"fork: slot of vpn {vpn:#x} refused: {error.name}")
        return child

    def exit(self, space: AddressSpace) -> None:
        """A user lets go; the space goes with the last one, the process itself as a rule.

        Raises:
            PinpageError: not a process, or one that has exited.
        """
        self._require_process(space)
        mmput(self.paging, space)

    def dontneed(self, space: AddressSpace, vpns: Vpns) -> int:
        """Drop pages (MADV_DONTNEED): the next access finds zeroes.

        Args:
            space: the address space.
            vpns: int64 (n,), virtual page numbers.

        Returns:
            How many of them had a PTE.

        Raises:
            PinpageError: not a process, or one that has exited; a vpn is outside it, or named
                twice.
        """
        self._require_process(space)
        vpns = as_pfns(vpns)
        _require_distinct(space, vpns)
        return zap_page_range(self.paging, space, vpns)

    # Accesses.

    def touch(self, space: AddressSpace, vpn: int, *, write: bool = False) -> int:
        """Access one page as a load or a store would, faulting as often as it takes.

        Args:
            space: the address space.
            vpn: virtual page number.
            write: whether to store, not only to load.

        Returns:
            The frame, present and (if `write`) private and dirty; or ENOMEM.

        Raises:
            PinpageError: not a process, one that has exited, or the vpn is outside it (SIGSEGV).
        """
        return self._touch(space, vpn, write=write)

    def _touch(
        self, space: AddressSpace, vpn: int, *, write: bool = False, whole: bool = False
    ) -> int:
        """`touch`; `whole`: every byte is written next, so that a new page needs no zeroes."""
        self._require_process(space)
        vpn = _as_vpn(space, vpn)
        pfn = self._fault_in(space, vpn, whole=whole)
        if pfn >= 0 and write:
            pfn = self._make_private(space, vpn, pfn)
        if pfn >= 0:
            self.paging.set_bits(pfn, _REFERENCED | (_DIRTY if write else 0))
        return pfn

    def write(self, space: AddressSpace, vpn: int, data: bytes, offset: int = 0) -> Errno:
        """Store bytes within one page.

        Args:
            space: the address space.
            vpn: virtual page number.
            data: bytes, within the page.
            offset: byte in the page at which they begin.

        Returns:
            OK or ENOMEM.

        Raises:
            PinpageError: as `touch`; the bytes lie outside the page, or the machine's contents
                are tags.
        """
        if isinstance(self.paging.contents, TagContents):
            raise PinpageError("write: this machine keeps a tag per page, no bytes: set_tags")
        most = self.paging.contents.page_nr_bytes
        (offset,) = whole("write", offset=offset)
        if offset < 0 or offset + len(data) > most:
            raise PinpageError(f"write of {len(data)} bytes at {offset}: beyond the page")
        pfn = self._touch(space, vpn, write=True, whole=len(data) == most)
        if pfn < 0:
            return Errno(pfn)
        for frame in self.paging.refs.copies_of(pfn):
            self.paging.contents.write(frame, data, offset)
        return Errno.OK

    def read(self, space: AddressSpace, vpn: int) -> bytes | None:
        """Load a page's bytes (8 of them where contents are tags); None for ENOMEM.

        Args:
            space: the address space.
            vpn: virtual page number.

        Raises:
            PinpageError: as `touch`.
        """
        pfn = self.touch(space, vpn)
        return None if pfn < 0 else self.paging.save(pfn)

    # Faults.

    def _fault_in(self, space: AddressSpace, vpn: int, *, whole: bool) -> int:
        while True:
            pte = space.pte.item(vpn)
            if pte > 0:
                return pte_pfn(pte)
            if pte == PTE_NONE:
                return self._new_page(space, vpn, clear=not whole)
            error = self._swap_in(space, vpn, pte_entry(pte))
            if error:
                return error

    def _new_page(self, space: AddressSpace, vpn: int, *, clear: bool) -> int:
        pfn = self.paging.alloc_page()
        if pfn < 0:
            return Errno.ENOMEM
        if clear:
            self.paging.clear_page(pfn)
        self._install(space, vpn, pfn)
        return pfn

    def _install(self, space: AddressSpace, vpn: int, pfn: int) -> None:
        """A fresh page: the mapping takes over the allocation's reference."""
        self.paging.set_bits(pfn, ANON_BITS | _DIRTY)
        self.paging.rmap.map_page(space, vpn, pfn)
        self.paging.lru.add_page(pfn)

    def _swap_in(self, space: AddressSpace, vpn: int, entry: int) -> Errno:
        """do_swap_page: OK also when somebody changed the PTE meanwhile; look again then."""
        paging = self.paging
        pfn = read_swap_cache_async(paging, entry)
        if pfn < 0:
            return Errno.ENOMEM if space.pte.item(vpn) == swap_pte(entry) else Errno.OK
        paging.lock_page(pfn)
        # Both may have changed while we waited: the PTE (an unuse was quicker), and what
        # the page is (no longer this slot's).
        ours = paging.swap.cache.entry_of.item(pfn) == entry
        if not ours or space.pte.item(vpn) != swap_pte(entry):
            paging.unlock_page(pfn)
            paging.put_page(pfn)
            return Errno.OK
        is_first = paging.frames.mapcount.item(pfn) < 0
        paging.swap.clear_pte(space, vpn)
        paging.rmap.map_page(space, vpn, pfn)  # takes over our reference if it is the first
        if paging.swap.is_full:
            paging.try_to_free_swap(pfn)
        paging.unlock_page(pfn)
        if not is_first:
            paging.put_page(pfn)
        return Errno.OK

    def _make_private(self, space: AddressSpace, vpn: int, pfn: int) -> int:
        """do_wp_page: reuse a page that is ours alone, copy one that is not."""
        paging = self.paging
        paging.lock_page(pfn)
        is_cached = paging.has(pfn, _SWAPCACHE)
        nr_users = paging.frames.mapcount.item(pfn) + 1
        nr_users += paging.page_swapcount(pfn) if is_cached else 0
        if nr_users == 1:
            paging.try_to_free_swap(pfn)  # the copy in its slot is about to be wrong
            paging.unlock_page(pfn)
            return pfn
        paging.unlock_page(pfn)
        return self._copy(space, vpn, pfn)

    def _copy(self, space: AddressSpace, vpn: int, pfn: int) -> int:
        paging = self.paging
        paging.get_page(pfn)  # or the reclaim that this allocation may start could take it
        new_pfn = paging.alloc_page()
        if new_pfn < 0:
            paging.put_page(pfn)
            return Errno.ENOMEM
        paging.contents.copy(np.array([pfn]), np.array([new_pfn]))
        _, was_last = paging.rmap.unmap_page(space, vpn)
        if was_last:  # the others share it through its swap slot
            paging.drop_unmapped(pfn)
        paging.put_page(pfn)
        self._install(space, vpn, new_pfn)
        return new_pfn


def _require_distinct(space: AddressSpace, vpns: Vpns) -> None:
    seen: set[int] = set()
    for vpn in vpns.tolist():
        _as_vpn(space, vpn)
        if vpn in seen:
            raise PinpageError(f"vpn {vpn:#x} of {space.name!r} is named twice: name it once")
        seen.add(vpn)


def _as_vpn(space: AddressSpace, vpn: int) -> int:
    if type(vpn) is not int:
        (vpn,) = whole(f"process {space.name!r}", vpn=vpn)
    if not 0 <= vpn < space.nr_vpns:
        raise PinpageError(f"vpn {vpn:#x} is outside {space.name!r} (0..{space.nr_vpns - 1:#x})")
    return vpn


def mmput(paging: Paging, space: AddressSpace) -> None:
    """One user less; the last one tears the space down.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        space: the address space.

    Raises:
        InvariantError: it had no user.
    """
    nr_users = space.mm_users - 1
    require(nr_users >= 0, "mmput of a space without users")
    space.mm_users = nr_users
    if nr_users == 0 and space is not paging.swap.mmlist.init_mm:
        _exit_mmap(paging, space)


def zap_page_range(paging: Paging, space: AddressSpace, vpns: Vpns) -> int:
    """Empty PTEs, present or swapped; pages and slots that nobody else uses are freed.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        space: the address space.
        vpns: int64 (n,), virtual page numbers.

    Returns:
        How many PTEs there were.
    Cost: a loop, about 3 us per page.
    """
    ptes = space.pte[vpns]
    for vpn in vpns[ptes > 0].tolist():
        pfn, was_last = paging.rmap.unmap_page(space, vpn)
        if was_last:
            paging.drop_unmapped(pfn)
    for vpn in vpns[ptes < 0].tolist():
        paging.free_swap_and_cache(space, vpn)
    return int(np.count_nonzero(ptes))


def _exit_mmap(paging: Paging, space: AddressSpace) -> None:
    zap_page_range(paging, space, np.flatnonzero(space.pte))
    paging.swap.mmlist.remove(space)
    paging.rmap.destroy(space)
