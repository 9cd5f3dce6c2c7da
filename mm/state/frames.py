"""Every frame of the machine, as columns.

One row per pfn, holes included; never an object per frame.  This module holds the data
and checks it; it decides nothing and allocates nothing.

Kernel counterpart: struct page.  Flag positions are those of /proc/kpageflags
(include/uapi/linux/kernel-page-flags.h), so that a recording drops in unchanged.
"""

import enum
import functools
from collections.abc import Callable

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from pinpage.errors import PfnError, require, whole
from pinpage.units import PAGE_SIZE, Mask, Pfns, require_page_size

__all__ = [
    "GUP_PIN_COUNTING_BIAS",
    "MAPCOUNT_BUDDY",
    "MAPCOUNT_NONE",
    "MAPCOUNT_ZBUD",
    "FrameState",
    "Frames",
    "PageFlag",
    "Touched",
]

MAPCOUNT_NONE = -1
"""_mapcount of a page that no page table maps."""
MAPCOUNT_ZBUD = -127
"""_mapcount that marks a zbud page (patch 3 of the 2013 series)."""
MAPCOUNT_BUDDY = -128
"""_mapcount that marks a free page in the buddy lists (v3.11)."""

GUP_PIN_COUNTING_BIAS = 1024
"""References that one FOLL_PIN adds to a single page: it has no counter of its own."""


class FrameState(enum.IntEnum):
    """Who has the frame now; mutually exclusive (mm-internal, exported by no kernel file)."""

    HOLE = 0
    """No memory here, or offline."""
    UNKNOWN = 1
    """A recording says nothing about it.  Never treated as free."""
    RESERVED = 2
    """PG_reserved: never moves, never freed."""
    FREE = 3
    """In the buddy lists."""
    PCP = 4
    """Free, on a per-CPU list: refcount 0 and no marker at all."""
    TAKEN = 5
    """Free, but taken off the lists by a mover as a target or by contiguous allocation."""
    USED = 6
    """Allocated: page cache, anonymous, or some kernel user's."""
    QUARANTINED = 7
    """An owner lied about it: neither used nor free, never handed out again."""


class PageFlag(enum.IntEnum):
    """Bit positions of /proc/kpageflags."""

    LOCKED = 0
    ERROR = 1
    REFERENCED = 2
    UPTODATE = 3
    DIRTY = 4
    LRU = 5
    ACTIVE = 6
    SLAB = 7
    WRITEBACK = 8
    RECLAIM = 9
    BUDDY = 10
    MMAP = 11
    ANON = 12
    SWAPCACHE = 13
    SWAPBACKED = 14
    COMPOUND_HEAD = 15
    COMPOUND_TAIL = 16
    HUGE = 17
    UNEVICTABLE = 18
    HWPOISON = 19
    NOPAGE = 20
    KSM = 21
    THP = 22
    OFFLINE = 23
    ZERO_PAGE = 24
    IDLE = 25
    PGTABLE = 26
    RESERVED = 32
    MLOCKED = 33

    @functools.cached_property
    def mask(self) -> np.uint64:
        """The flag as a bit in the flags column."""
        return np.uint64(1 << self.value)


class Touched:
    """Frames of which flags, references or mappings have changed, until somebody has looked.

    Each may be named several times.
    """

    def __init__(self, nr_kept: int, on_full: Callable[[], None]) -> None:
        """None yet.

        Args:
            nr_kept: how many are remembered.
            on_full: called when there are more; has them forgotten.
        """
        self._nr_kept = nr_kept
        self._on_full = on_full
        self._pages: list[int] = []
        self._batches: list[Pfns] = []
        self._nr_in_batches = 0

    def page(self, pfn: int) -> None:
        """One frame has changed."""
        self._pages.append(pfn)
        if len(self._pages) > self._nr_kept:
            self._on_full()

    def many(self, pfns: Pfns) -> None:
        """Several have."""
        self._batches.append(pfns.copy())
        self._nr_in_batches += len(pfns) + 1
        if self._nr_in_batches > self._nr_kept:
            self._on_full()

    def pfns(self) -> Pfns:
        """All of them, each once, ascending."""
        pages = np.array(self._pages, dtype=np.int64)
        return np.unique(np.concatenate((pages, *self._batches)))

    def forget(self) -> None:
        """Somebody has looked at all of them."""
        self._pages, self._batches, self._nr_in_batches = [], [], 0


@define(eq=False)
class Frames:
    """The columns, each of shape (nr_frames,).

    Attributes:
        page_nr_bytes: bytes of each frame.
        state: uint8, a `FrameState`.
        order: int8, the order of a free buddy block on its head frame, else -1.
        flags: uint64, bits at the positions of /proc/kpageflags.
        refcount: int32, references (0 when free); negated while a mover has them frozen, so
            that nobody but `mm.state.page_ref` and `add_references` changes it.
        mapcount: int32, page tables that map it minus one (-1 none), or a marker.
        isolated: bool, the exclusive mark of a mover; at most one mover has a frame.
        node: uint8, NUMA node.
        zone: uint8, index into the machine's zones.
        touched: where to note, once it is done, a change of flags, references or mappings of a
            frame that may be on the LRU; None: nobody wants to know (`mm.paging.clean_pages`).

    Invariants, run by `check`:
        F1 a free frame has no references and no mappings.
        F2 a used frame has at least one reference.
        F3 `order` is set on heads of free blocks only.
        F4 an isolated frame is used.
    """

    nr_frames: int
    page_nr_bytes: int = PAGE_SIZE
    state: NDArray[np.uint8] = field(init=False, repr=False)
    order: NDArray[np.int8] = field(init=False, repr=False)
    flags: NDArray[np.uint64] = field(init=False, repr=False)
    refcount: NDArray[np.int32] = field(init=False, repr=False)
    mapcount: NDArray[np.int32] = field(init=False, repr=False)
    isolated: Mask = field(init=False, repr=False)
    node: NDArray[np.uint8] = field(init=False, repr=False)
    zone: NDArray[np.uint8] = field(init=False, repr=False)
    touched: Touched | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """All frames start as holes."""
        (n,) = whole("frames", nr_frames=self.nr_frames)
        if n < 1:
            raise PfnError(f"a machine of {n} frames")
        self.nr_frames = n
        self.page_nr_bytes = require_page_size(self.page_nr_bytes, "frames")
        self.state = np.zeros(n, dtype=np.uint8)
        self.order = np.full(n, -1, dtype=np.int8)
        self.flags = np.zeros(n, dtype=np.uint64)
        self.refcount = np.zeros(n, dtype=np.int32)
        self.mapcount = np.full(n, MAPCOUNT_NONE, dtype=np.int32)
        self.isolated = np.zeros(n, dtype=np.bool_)
        self.node = np.zeros(n, dtype=np.uint8)
        self.zone = np.zeros(n, dtype=np.uint8)

    def set_flag(self, pfns: Pfns, flag: PageFlag) -> None:
        """Set one flag on frames without duplicates.

        Args:
            pfns: int64 (n,), the frames.
            flag: the flag.
        """
        self.flags[pfns] |= flag.mask
        self.note_many(pfns)

    def clear_flag(self, pfns: Pfns, flag: PageFlag) -> None:
        """Clear one flag on frames without duplicates.

        Args:
            pfns: int64 (n,), the frames.
            flag: the flag.
        """
        self.flags[pfns] &= ~flag.mask
        self.note_many(pfns)

    def note_many(self, pfns: Pfns) -> None:
        """Flags, references or mappings of these have changed."""
        if self.touched is not None:
            self.touched.many(pfns)

    def note_page(self, pfn: int) -> None:
        """`note_many` for one frame."""
        if self.touched is not None:
            self.touched.page(pfn)

    def has_flag(self, pfns: Pfns, flag: PageFlag) -> Mask:
        """Which of the frames have the flag, shape (n,).

        Args:
            pfns: int64 (n,), the frames.
            flag: the flag.
        """
        mask: Mask = (self.flags[pfns] & flag.mask) != 0
        return mask

    def add_references(self, pfns: Pfns, change: NDArray[np.int64] | int) -> None:
        """Count homes that came or went: page tables, the swap cache, a pool.  Frees nothing.

        A frozen count stays frozen: the VM may change a page's homes at any time.

        Args:
            pfns: frames without duplicates.
            change: references more, or fewer, of each: one number, or a column.
        """
        counts = self.refcount[pfns]
        self.refcount[pfns] = np.where(counts < 0, counts - change, counts + change)
        self.note_many(pfns)

    def add_reference(self, pfn: int, change: int) -> None:
        """`add_references` of one frame.

        Args:
            pfn: the frame.
            change: by how much its count changes.
        """
        count = self.refcount.item(pfn)
        self.refcount[pfn] = count - change if count < 0 else count + change
        self.note_page(pfn)

    def maybe_dma_pinned(self, pfns: Pfns) -> Mask:
        """Which pages may be pinned for DMA, bool[n]: false positives, no false negatives.

        A count that is frozen for a move is kept negated; it counts as what it stands for.
        """
        mask: Mask = np.abs(self.refcount[pfns]) >= GUP_PIN_COUNTING_BIAS
        return mask

    def check(self) -> None:
        """Run F1..F4.

        Raises:
            InvariantError: one does not hold; names the first frame.
        """
        free = np.isin(self.state, (FrameState.FREE, FrameState.PCP))
        used = self.state == FrameState.USED
        unmapped = (self.mapcount == MAPCOUNT_NONE) | (self.mapcount == MAPCOUNT_BUDDY)
        self._require_none(
            free & ((self.refcount != 0) | ~unmapped), "F1 a free frame is referenced or mapped"
        )
        self._require_none(used & (self.refcount < 1), "F2 a used frame has no reference")
        self._require_none(
            (self.order >= 0) & (self.state != FrameState.FREE), "F3 an order on a frame not free"
        )
        self._require_none(self.isolated & ~used, "F4 an isolated frame is not used")

    def _require_none(self, broken: Mask, message: str) -> None:
        pfn = int(broken.argmax())
        require(
            not broken[pfn],
            message,
            pfn=pfn,
            state=int(self.state[pfn]),
            refcount=int(self.refcount[pfn]),
        )
