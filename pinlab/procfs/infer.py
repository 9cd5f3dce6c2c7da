"""What the kernel does not export, worked out from what it does, and marked as guessed.

/proc/kpageflags carries no order of free blocks, no migratetype, no owner.  Everything here
returns what it worked out beside a mask of the rows it worked out, for read columns and
guessed columns must never look alike.  Nothing is ever guessed to be free.
"""

import numpy as np
from numpy.typing import NDArray

from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import USUAL_MAX_ORDER
from pinlab.snapshot.classes import MOVABLE_CLASSES, NR_CLASSES, STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import NOT_KNOWN, block_heads
from pinlab.snapshot.facts import ZoneFacts
from pinpage.units import Mask

__all__ = [
    "block_migratetypes",
    "classify",
    "maximal_orders",
    "not_managed",
    "settle_orders",
    "states",
    "unmarked_tails",
]

_UNMOVABLE, _MOVABLE = 0, 1


def maximal_orders(
    free: Mask, zone: NDArray[np.uint8], max_order: int = USUAL_MAX_ORDER
) -> NDArray[np.int8]:
    """Orders of the free blocks if every two free buddies of one zone were merged.

    That is the buddy allocator's resting state, save at the borders of CMA, isolated and
    high-atomic pageblocks, so it is nearly always what the kernel has: in the recordings of
    Linux 6.1 it agrees in all but a few dozen frames of 262,103.

    Args:
        free: bool (n,), which frames are free.
        zone: uint8 (n,), the zone of each frame.
        max_order: the highest order of a block.

    Returns:
        int8 of the frames' shape, the order on heads, else -1.  A few passes over the frames.
    """
    step = 1 << max_order
    padded = -(-len(free) // step) * step
    order = np.full(padded, -1, dtype=np.int8)
    order[: len(free)][free] = 0
    whole = np.zeros(padded, dtype=np.bool_)
    whole[: len(free)] = free
    zones = np.full(padded, NOT_KNOWN, dtype=np.uint8)
    zones[: len(free)] = zone
    for higher in range(1, max_order + 1):
        whole = whole[0::2] & whole[1::2] & (zones[0::2] == zones[1::2])
        zones = zones[0::2]
        heads = np.flatnonzero(whole) << higher
        order[heads] = higher
        order[heads + (1 << (higher - 1))] = -1
    return order[: len(free)].copy()


def settle_orders(
    order: NDArray[np.int8], free: Mask, zone: NDArray[np.uint8]
) -> tuple[NDArray[np.int8], Mask]:
    """Recorded orders made to tile the free frames; returns (order, guessed rows).

    A recording is not taken at one instant, and an order can be left over on a frame that
    is no head any more.  Dropped are orders that are misaligned, whose block is not all free
    or lies in two zones, and those inside a larger block; what is then uncovered is merged
    maximally.

    Args:
        order: int8 (n,), orders as recorded.
        free: bool (n,), which frames are free.
        zone: uint8 (n,), the zone of each frame.
    """
    order = np.where(free & (order <= USUAL_MAX_ORDER), order, np.int8(-1)).astype(np.int8)
    heads, nr_pages = block_heads(order)
    stops = np.minimum(heads + nr_pages, len(free))
    nr_free_before = np.concatenate(([0], np.cumsum(free, dtype=np.int64)))
    sound = (heads % nr_pages == 0) & (nr_free_before[stops] - nr_free_before[heads] == nr_pages)
    sound &= zone[heads] == zone[stops - 1]
    order[heads[~sound]] = -1
    heads, stops = heads[sound], stops[sound]
    reach = np.concatenate(([0], np.maximum.accumulate(stops)))[: len(heads)]
    order[heads[heads < reach]] = -1
    outer = heads >= reach
    depth = np.zeros(len(free) + 1, dtype=np.int8)
    np.add.at(depth, heads[outer], 1)
    np.add.at(depth, stops[outer], -1)
    uncovered = free & (np.cumsum(depth[:-1], dtype=np.int8) == 0)
    return np.where(uncovered, maximal_orders(uncovered, zone), order), uncovered


def classify(flags: NDArray[np.uint64], in_ram: Mask) -> tuple[NDArray[np.uint8], Mask]:
    """Classes from /proc/kpageflags; returns (klass, guessed rows).

    Flags say free, slab, page table, hugetlb, reserved, anonymous, page cache; the rest is
    UNKNOWN: zbud pages, vmalloc areas and free pages on per-CPU lists look all alike, for
    they have no flag at all.  A compound's tail without a flag of its own takes the class of
    its head, which is a guess; so does a huge page's tail that says no more than that.

    Later lines win: a slab page can carry bits that mean something else elsewhere.

    Args:
        flags: uint64 (n,), as of /proc/kpageflags.
        in_ram: bool (n,), where there is memory.
    """

    def has(flag: PageFlag) -> Mask:
        mask: Mask = (flags & flag.mask) != 0
        return mask

    klass = np.full(len(flags), FrameClass.UNKNOWN, dtype=np.uint8)
    klass[has(PageFlag.LRU) | has(PageFlag.THP)] = FrameClass.FILE
    klass[has(PageFlag.ANON)] = FrameClass.ANON
    klass[has(PageFlag.ZERO_PAGE) | has(PageFlag.OFFLINE)] = FrameClass.OTHER
    klass[has(PageFlag.PGTABLE)] = FrameClass.PAGETABLE
    klass[has(PageFlag.SLAB)] = FrameClass.SLAB
    klass[has(PageFlag.HUGE)] = FrameClass.HUGETLB
    klass[has(PageFlag.RESERVED) | has(PageFlag.HWPOISON)] = FrameClass.RESERVED
    klass[has(PageFlag.BUDDY)] = FrameClass.FREE
    klass[~in_ram | has(PageFlag.NOPAGE)] = FrameClass.HOLE
    tails = np.flatnonzero(has(PageFlag.COMPOUND_TAIL) & (klass == FrameClass.UNKNOWN))
    heads = np.flatnonzero(has(PageFlag.COMPOUND_HEAD))
    guessed = np.zeros(len(flags), dtype=np.bool_)
    if len(heads) and len(tails):
        at = np.searchsorted(heads, tails) - 1
        tails, at = tails[at >= 0], at[at >= 0]
        klass[tails] = klass[heads[at]]
        guessed[tails] = klass[tails] != FrameClass.UNKNOWN
    is_thp_tail = has(PageFlag.COMPOUND_TAIL) & has(PageFlag.THP) & (klass == FrameClass.FILE)
    late = _behind_anonymous(np.flatnonzero(is_thp_tail), heads, klass)
    klass[late], guessed[late] = FrameClass.ANON, True
    return klass, guessed


def _behind_anonymous(
    tails: NDArray[np.int64], heads: NDArray[np.int64], klass: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Those of the tails whose head is anonymous: old kernels say so on the head alone."""
    if not len(tails) or not len(heads):
        return tails[:0]
    at = np.searchsorted(heads, tails) - 1
    behind: Mask = (at >= 0) & (klass[heads[at]] == FrameClass.ANON)
    found: NDArray[np.int64] = tails[behind]
    return found


def states(
    klass: NDArray[np.uint8], flags: NDArray[np.uint64], mapcount: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """`FrameState` per frame: what the class implies, and USED where flags or mappings prove it.

    Args:
        klass: uint8 (n,), a `FrameClass` each.
        flags: uint64 (n,), as of /proc/kpageflags.
        mapcount: int32 (n,), mappings.
    """
    compound = PageFlag.COMPOUND_HEAD.mask | PageFlag.COMPOUND_TAIL.mask
    proven = (mapcount > 0) | ((flags & (compound | PageFlag.MMAP.mask)) != 0)
    state = STATE_OF_CLASS[klass]
    return np.where(
        (klass == FrameClass.UNKNOWN) & proven, np.uint8(FrameState.USED), state
    ).astype(np.uint8)


def unmarked_tails(
    free: Mask,
    blank: Mask,
    zone: NDArray[np.uint8],
    zones: tuple[ZoneFacts, ...],
    max_order: int = USUAL_MAX_ORDER,
) -> Mask:
    """Frames that are free although only the head of their block is marked so.

    Up to v4.5 the kernel set BUDDY on heads alone, and the other frames of a free block
    carry no flag, like many that are in use.  The largest aligned block of blank frames
    behind each head is an upper bound; where these bounds add up to exactly what buddyinfo
    counts for the zone, order by order, they are the truth.  Elsewhere nothing is claimed.

    Args:
        free: frames marked BUDDY.
        blank: frames in RAM without any flag or mapping.
        zone, zones: the zone column and what buddyinfo said of each zone.
        max_order: the highest order of a block.
    """
    tails = np.zeros(len(free), dtype=np.bool_)
    heads = np.flatnonzero(free)
    # Distance to the next frame behind each that cannot be a tail.
    walls = np.append(np.flatnonzero(~blank), len(free))
    run = walls[np.searchsorted(walls, heads, side="right")] - heads
    aligned = np.where(heads == 0, 1 << max_order, heads & -heads)
    bound = np.minimum(np.log2(np.minimum(run, aligned)).astype(np.int64), max_order)
    for index, facts in enumerate(zones):
        mine = zone[heads] == index
        counts = np.bincount(bound[mine], minlength=max_order + 1)
        if counts.tolist() == list(facts.nr_free_blocks):
            for head, order in zip(heads[mine].tolist(), bound[mine].tolist(), strict=True):
                tails[head + 1 : head + (1 << order)] = True
    return tails


def not_managed(
    klass: NDArray[np.uint8], blank: Mask, zone: NDArray[np.uint8], zones: tuple[ZoneFacts, ...]
) -> Mask:
    """Frames that the page allocator was never given, where the counts prove which.

    zoneinfo counts what is present and what is managed; the rest is reserved, or lies in long
    runs of frames that carry no mark.  Where a zone's longest runs add up to exactly what is
    missing there, they are it.  Elsewhere nothing is claimed.

    Args:
        klass: uint8 (n,), a `FrameClass` each.
        blank: frames in RAM without any flag or mapping, of unknown class.
        zone, zones: the zone column and the zones.
    """
    claimed = np.zeros(len(klass), dtype=np.bool_)
    for index, facts in enumerate(zones):
        if facts.managed is None:
            continue
        mine = zone == index
        nr_reserved = int(np.count_nonzero(mine & (klass == FrameClass.RESERVED)))
        missing = facts.present - facts.managed - nr_reserved
        edges = np.flatnonzero(np.diff(np.concatenate(([0], (mine & blank).view(np.int8), [0]))))
        runs = edges.reshape(-1, 2)
        nr_frames = runs[:, 1] - runs[:, 0]
        longest = np.argsort(-nr_frames, kind="stable")
        total = np.cumsum(nr_frames[longest])
        at = int(np.searchsorted(total, missing))
        if missing > 0 and at < len(total) and int(total[at]) == missing:
            for start, stop in runs[longest[: at + 1]].tolist():
                claimed[start:stop] = True
    return claimed


def block_migratetypes(class_counts: NDArray[np.int32]) -> NDArray[np.uint8]:
    """A guess at each pageblock's migratetype from what lies in it, shape (nr_blocks,).

    _MOVABLE where everything in use can move, _UNMOVABLE where something cannot, not known
    where there is nothing but holes and frames of unknown class.
    """
    movable = np.array([k in MOVABLE_CLASSES or k in _FREE for k in range(NR_CLASSES)])
    silent = np.zeros(NR_CLASSES, dtype=np.bool_)
    silent[[FrameClass.HOLE, FrameClass.UNKNOWN, FrameClass.UNMANAGED]] = True
    nr_fixed = class_counts[:, ~movable & ~silent].sum(axis=1)
    nr_telling = class_counts[:, ~silent].sum(axis=1)
    guess = np.where(nr_fixed > 0, _UNMOVABLE, _MOVABLE)
    return np.where(nr_telling == 0, NOT_KNOWN, guess).astype(np.uint8)


_FREE = frozenset({FrameClass.FREE, FrameClass.PCP})
