"""What faults, reclaim and swapoff share: the state they work on, and its smallest steps.

`Paging` bundles where pages come from with the page tables, the LRU and swap, so that a
policy takes one argument.  Its methods are one struct page's worth of work each: hold it,
lock it, save its bytes, make its contents a fresh page's.

Accounting.  At rest the references of a page are exactly

    its mappings (mapcount + 1)  +  1 if it is in the swap cache  +  explicit holders

and `check` proves it for every page that has a home in page tables or the swap cache.

Waiting.  Nothing really sleeps here.  Whoever finds a page locked or under writeback calls
`wait`, which a test or a scheduler uses to let the others run; without one it is an
InvariantError, for nobody would ever wake us.  `cond_resched` marks where others may run
though nothing blocks.

Kernel counterpart: page_cache_release, lock_page, wait_on_page_*, mm/swapfile.c's
try_to_free_swap and free_swap_and_cache.
"""

from collections.abc import Callable, Mapping

import numpy as np
from attrs import define, field

from mm.buddy.page_source import PageSource
from mm.state.address_space import AddressSpace
from mm.state.contents import Contents, TagContents
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.lru import Lru
from mm.state.page_ref import Refs
from mm.state.rmap import Rmap
from mm.swap.swap import Swap
from pinpage.errors import require

__all__ = ["ANON_BITS", "SHMEM_BITS", "Paging", "bit", "no_wait"]


def bit(*flags: PageFlag) -> int:
    """Flags as one plain int, for single pages."""
    return sum(int(flag.mask) for flag in flags)


ANON_BITS = bit(PageFlag.ANON, PageFlag.SWAPBACKED, PageFlag.UPTODATE)
"""Flags of an anonymous page with contents."""
SHMEM_BITS = bit(PageFlag.SWAPBACKED, PageFlag.UPTODATE)
"""Flags of a shmem page with contents."""

_LOCKED, _WRITEBACK = bit(PageFlag.LOCKED), bit(PageFlag.WRITEBACK)
_SWAPCACHE, _DIRTY = bit(PageFlag.SWAPCACHE), bit(PageFlag.DIRTY)


def no_wait(pfn: int, flag: PageFlag) -> None:
    """The default `wait`: in a world with one actor it would be for ever.

    Args:
        pfn: the frame.
        flag: the flag that does not clear.

    Raises:
        InvariantError: always.
    """
    require(condition=False, message="a wait that nobody ends", pfn=pfn, flag=flag.name)


def _no_resched() -> None:
    """The default `cond_resched`: there is nobody to let run."""


def _charge_nothing(_space: AddressSpace) -> Errno:
    """The default `charge`: no memory controller."""
    return Errno.OK


@define(eq=False)
class Paging:
    """The process side of memory management.

    Attributes:
        source: where pages come from; its frames and contents are used here.
        refs: through which they are referenced, and where they go with the last reference.
        rmap, lru, swap: the state.
        wait: called with a pfn and the flag (LOCKED, WRITEBACK) that is to clear; with -1
            for a slot whose page is on its way into or out of the swap cache.
        cond_resched: called where the kernel would let others run.
        charge: asked before a swapped-in page is given to a space (mem_cgroup); an error
            makes the unuse fail.
        in_reclaim: reclaim is running, so an allocation must not start another
            (PF_MEMALLOC); only `mm.paging.vmscan` sets it.
        nr_swapped_in, nr_swapped_out: pages read from and written to swap.
        nr_ptes_unused: PTEs that unuse pointed from a slot to its page.

    Invariants, run by `check`:
        SP4 the references of a page of a process are its mappings, its place in the swap cache
            and those that somebody holds on purpose.
    """

    source: PageSource
    refs: Refs
    rmap: Rmap
    lru: Lru
    swap: Swap
    wait: Callable[[int, PageFlag], None] = no_wait
    cond_resched: Callable[[], None] = _no_resched
    charge: Callable[[AddressSpace], Errno] = _charge_nothing
    in_reclaim: bool = False
    nr_swapped_in: int = field(default=0, init=False)
    nr_swapped_out: int = field(default=0, init=False)
    nr_ptes_unused: int = field(default=0, init=False)
    frames: Frames = field(init=False, repr=False)
    contents: Contents = field(init=False, repr=False)
    _zero_page: bytes = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """The source's columns and bytes, one attribute away."""
        self.frames = self.source.frames
        self.contents = self.source.contents
        has_bytes = not isinstance(self.contents, TagContents)
        self._zero_page = bytes(self.contents.page_nr_bytes if has_bytes else 8)

    # References.

    def get_page(self, pfn: int) -> None:
        """One more reference on a page that the VM has at hand (`Refs.hold_page`)."""
        self.refs.hold_page(pfn)

    def put_page(self, pfn: int) -> bool:
        """One reference less; whether the frame is free now."""
        return self.refs.put_page(pfn)

    def alloc_page(self) -> int:
        """A movable page for user memory, one reference, contents undefined; -1 for none."""
        return self.source.alloc_page(Gfp.HIGHUSER_MOVABLE)

    # Flags of one page.

    def has(self, pfn: int, bits: int) -> bool:
        """Whether the page has any of the flags.

        Args:
            pfn: the frame.
            bits: the flags, or-ed.
        """
        return bool(self.frames.flags.item(pfn) & bits)

    def set_bits(self, pfn: int, bits: int) -> None:
        """Set flags of one page.

        Args:
            pfn: the frame.
            bits: the flags, or-ed.
        """
        self.frames.flags[pfn] = self.frames.flags.item(pfn) | bits
        self.frames.note_page(pfn)

    def clear_bits(self, pfn: int, bits: int) -> None:
        """Clear flags of one page.

        Args:
            pfn: the frame.
            bits: the flags, or-ed.
        """
        self.frames.flags[pfn] = self.frames.flags.item(pfn) & ~bits
        self.frames.note_page(pfn)

    # The page lock.

    def lock_page(self, pfn: int) -> None:
        """Wait for the page lock and take it."""
        flags = self.frames.flags
        while flags.item(pfn) & _LOCKED:
            self.wait(pfn, PageFlag.LOCKED)
        flags[pfn] = flags.item(pfn) | _LOCKED
        self.frames.note_page(pfn)

    def trylock_page(self, pfn: int) -> bool:
        """Take the page lock if nobody has it."""
        if self.frames.flags.item(pfn) & _LOCKED:
            return False
        self.set_bits(pfn, _LOCKED)
        return True

    def unlock_page(self, pfn: int) -> None:
        """Give the page lock back.

        Raises:
            InvariantError: nobody has it.
        """
        flags = self.frames.flags.item(pfn)
        require(flags & _LOCKED, "unlock of a page that is not locked", pfn=pfn)
        self.frames.flags[pfn] = flags & ~_LOCKED
        self.frames.note_page(pfn)

    def wait_on_page(self, pfn: int, flag: PageFlag) -> None:
        """Wait until a flag clears; takes nothing.

        Args:
            pfn: the frame.
            flag: what has to clear.
        """
        mask = 1 << flag
        while self.frames.flags.item(pfn) & mask:
            self.wait(pfn, flag)

    # Bytes.

    def save(self, pfn: int) -> bytes:
        """A page as swap stores it: its bytes, or the tag's 8 where that is all there is."""
        if isinstance(self.contents, TagContents):
            return self.contents.tags(np.array([pfn])).tobytes()
        return self.contents.read(pfn)

    def restore(self, pfn: int, page: bytes) -> None:
        """The inverse of `save`.

        Args:
            pfn: the frame.
            page: what `save` gave.
        """
        if isinstance(self.contents, TagContents):
            self.contents.set_tags(np.array([pfn]), np.frombuffer(page, dtype=np.uint64))
        else:
            self.contents.write(pfn, page)

    def clear_page(self, pfn: int) -> None:
        """All zero."""
        self.restore(pfn, self._zero_page)

    # The swap cache, as far as it frees things.

    def page_swapcount(self, pfn: int) -> int:
        """How many PTEs name the slot of a cached page."""
        area, offset = self.swap.locate(self.swap.cache.entry_of.item(pfn))
        return area.count(offset)

    def try_to_free_swap(self, pfn: int) -> bool:
        """Give up the slot of a locked cached page if only the cache keeps it.

        The page becomes dirty: from here on it is the only copy.
        """
        if not self.has(pfn, _SWAPCACHE) or self.has(pfn, _WRITEBACK) or self.page_swapcount(pfn):
            return False
        self.swap.cache_delete(pfn)
        self.set_bits(pfn, _DIRTY)
        return True

    def drop_unmapped(self, pfn: int) -> None:
        """Let go of a page after its last unmapping: swap cache too if that is all, then put.

        The caller hands over the reference that the unmapping gave him.
        """
        if self.has(pfn, _SWAPCACHE) and self.trylock_page(pfn):
            self.try_to_free_swap(pfn)
            self.unlock_page(pfn)
        self.put_page(pfn)

    def free_swap_and_cache(self, space: AddressSpace, vpn: int) -> None:
        """Empty a swapped PTE; a cached page that nobody wants any more goes with it.

        Args:
            space: the address space.
            vpn: virtual page number.
        """
        entry = -space.pte.item(vpn) - 1
        self.swap.clear_pte(space, vpn)
        pfn = self.swap.cache.lookup(entry)
        if pfn >= 0 and self.frames.mapcount.item(pfn) < 0 and self.trylock_page(pfn):
            self.get_page(pfn)
            self.try_to_free_swap(pfn)
            self.unlock_page(pfn)
            self.put_page(pfn)

    # Accounting.

    def check(self, holders: Mapping[int, int] | None = None) -> None:
        """The state's own checks, and every reference accounted for.

        Args:
            holders: pfn -> references that somebody holds on purpose right now.

        Raises:
            InvariantError: one does not hold; names the frame.
        """
        self.rmap.check()
        self.lru.check()
        self.swap.check()
        frames = self.frames
        cached = (self.swap.cache.entry_of >= 0).astype(np.int64)
        mappings = np.maximum(frames.mapcount.astype(np.int64) + 1, 0)
        expected = mappings + cached
        for pfn, nr_references in (holders or {}).items():
            expected[pfn] += nr_references
        homed = (frames.state == FrameState.USED) & (mappings + cached > 0)
        wrong = np.flatnonzero(homed & (frames.refcount != expected))
        for pfn in wrong[:1].tolist():
            counted, kept = int(expected[pfn]), int(frames.refcount[pfn])
            require(
                condition=False,
                message="SP4 a reference that nothing accounts for",
                pfn=pfn,
                refcount=kept,
                accounted=counted,
            )
