"""The free scanner of an allocation's compaction: where to move things to.

Two ways to come by free frames, tried in this order:

    search   a quick look at the free lists, larger blocks first, for a free block in the top
             quarter of what lies between the scanners, else in the top half
    scan     pageblock by pageblock downward, as compaction of a whole zone does; where the
             search has just failed, from the middle between the scanners

So targets are scattered over the top quarter rather than packed at the top, and when that
is used up the scanners are soon half as far apart.  This is why asking for huge pages one by
one ends with more free memory left than compacting first.

Kernel counterpart: isolate_freepages, isolate_freepages_block, fast_isolate_freepages and
fast_isolate_around (mm/compaction.c of v6.1).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mm.buddy.buddy import Buddy
from mm.buddy.bulk import take_heads
from mm.compaction.compact_control import CompactControl
from mm.compaction.migrate_scan import SearchEffort
from mm.compaction.scan_hints import ZoneHints
from mm.move.move import COMPACT_CLUSTER_MAX
from mm.state.pageblock import MigrateType
from pinpage.owner import Mode
from pinpage.units import Pfns

__all__ = ["FreeSearcher"]

_SUITABLE = (MigrateType.MOVABLE, MigrateType.CMA)
_NR_SAMPLES = 16
"""Frames of a pageblock that a scan looks at which has found nothing lately: one in 32."""
_NONE: Pfns = np.zeros(0, dtype=np.int64)


class FreeSearcher:
    """A `pinpage.migrate.TargetSource` for a scan that wants one block of some order.

    Attributes:
        position: the pfn at which the downward scan stands.
        nr_wanted: frames under way to be moved; a scan stops once it has so many targets.
        nr_scanned: frames and list entries looked at so far.
    """

    def __init__(
        self,
        buddy: Buddy,
        control: CompactControl,
        hints: ZoneHints,
        effort: SearchEffort,
        migrate_position: Callable[[], int],
    ) -> None:
        """Start where the hints say, or at the top where the whole zone is wanted.

        Args:
            buddy: the free lists.
            control: what is asked for.
            hints: what earlier scans of the zone left behind.
            effort: how much the scanners have looked at, counted together.
            migrate_position: pfn that the migrate scanner has reached.
        """
        self._buddy = buddy
        self._frames = buddy.frames
        self._pageblocks = buddy.pageblocks
        self._size = buddy.pageblocks.nr_pages_per_block
        self._control = control
        self._hints = hints
        self._effort = effort
        self._migrate_position = migrate_position
        self._held = _NONE
        self._search_order = control.order
        self._nr_listed: dict[int, int] = {}
        hints.lists.look(buddy)
        self.position = hints.top if control.whole_zone else hints.free_from()
        self.nr_wanted = COMPACT_CLUSTER_MAX
        self.nr_scanned = 0

    @property
    def block(self) -> int:
        """The pageblock in which the scan stands."""
        return self.position // self._size

    # pinpage.migrate.TargetSource

    def take(self, count: int) -> Pfns:
        """Up to `count` free frames; fewer once the scanners have met (-ENOMEM)."""
        parts = [self._held[:count]]
        self._held = self._held[count:]
        missing = count - len(parts[0])
        while missing > 0:
            found = self._isolate(missing)
            if not len(found):
                break
            parts.append(found[:missing])
            self._held = found[missing:]
            missing -= len(parts[-1])
        return np.concatenate(parts)

    def give_back(self, pfns: Pfns) -> None:
        """Hand out these again before anything else."""
        self._held = np.concatenate((pfns, self._held))

    def release(self) -> None:
        """Whatever is still held goes back; the next scan is to find it again."""
        if len(self._held):
            highest = int(self._held.max()) // self._size * self._size
            self._buddy.put_taken(self._held)
            self._hints.free = max(self._hints.free, highest)
            self._held = _NONE

    def _isolate(self, missing: int) -> Pfns:
        found = self._search(missing)
        return found if len(found) else self._scan()

    def _nr_spare(self, order: int) -> int:
        """Blocks of this order that may be taken: min + 2^order pages have to stay."""
        zone = self._control.zone
        return (self._buddy.nr_free(zone.index) - zone.min - 1) >> order

    # The quick search.

    def _search(self, missing: int) -> Pfns:
        """Free blocks found on the lists; moves `position` down where there are none."""
        control, hints = self._control, self._hints
        if control.order <= 0:
            return _NONE
        starts_anew = self.position >= hints.init_free
        limit = self._size >> 1 if starts_anew else max(1, self._effort.limit >> 1)
        distance = self.position - self._migrate_position()
        low = (self.position - (distance >> 2)) // self._size * self._size
        least = (self.position - (distance >> 1)) // self._size * self._size
        found, highest = self._search_orders(low, least, limit, missing)
        if not len(found):
            self._effort.nr_failures += 1
            if starts_anew and control.direct:
                self.position = max(least, hints.start)
                return self._around(_NONE, self.position)
        if highest >= hints.free and highest > hints.start:
            hints.free = max(highest - self._size, hints.start)
        return self._around(found, int(found[0])) if len(found) else found

    def _search_orders(self, low: int, least: int, limit: int, missing: int) -> tuple[Pfns, int]:
        """The first order with a block at or above `low`, else above `least`: its frames.

        Returns:
            Those, and the first pfn of the highest pageblock that was looked at.
        """
        first = order = self._search_order = min(self._control.order - 1, self._search_order)
        highest = 0
        while True:
            entries = self._entries(order, limit, missing)
            if len(entries):
                most = -(-missing >> order) if self._control.is_async_direct else 1
                hits, nr_seen = _within_reach(entries, low, limit, most)
                if not len(hits):
                    hits, nr_seen, limit = _best_above(entries[:limit], least, limit)
                else:
                    self._effort.nr_failures, self._search_order = 0, order
                self.nr_scanned += nr_seen
                seen = int(entries[:nr_seen].max()) // self._size * self._size
                highest = max(highest, seen)
                last = self._hints.lists.place(entries.item(nr_seen - 1))
                self._hints.lists.cursors[order] = last + 1
                if len(hits):
                    return self._take_heads(hits, order), highest
                if nr_seen >= limit:
                    limit = max(1, limit >> 1)
            order = order - 1 if order else self._control.order - 1
            if order == first:
                self._search_order = first - 1 if first else self._control.order - 1
                return _NONE, highest

    def _entries(self, order: int, limit: int, missing: int) -> Pfns:
        """What the list of an order holds from its cursor on, enough for one search."""
        if order > self._buddy.area.max_order:
            return _NONE
        lists, zone = self._hints.lists, self._control.zone.index
        nr_listed = self._nr_listed.get(order)
        if nr_listed is None:
            nr_listed = self._nr_listed[order] = lists.begin(self._buddy, zone, order)
        if not nr_listed:
            return _NONE
        ahead = lists.entries(zone, order, 2 * limit + 4 * (missing >> order))
        entries: Pfns = ahead[self._frames.order[ahead] == order]
        return entries

    def _take_heads(self, heads: Pfns, order: int) -> Pfns:
        heads = heads[: max(self._nr_spare(order), 0)]
        return take_heads(self._buddy.area, heads, order)

    def _around(self, found: Pfns, pfn: int) -> Pfns:
        """The rest of that pageblock too, unless an allocation is not to wait at all.

        Its type does not matter then, but a range that somebody has isolated is not touched.
        """
        if len(found) >= self.nr_wanted or self._control.is_async_direct:
            return found
        start = pfn // self._size * self._size
        block = start // self._size
        if self._buddy.area.zone_of_block[block] != self._control.zone.index:
            return found
        if self._pageblocks.migratetype[block] == MigrateType.ISOLATE:
            return found
        more, stop = self._take_in(start, 1, self.nr_wanted - len(found))
        if stop == start + self._size:
            self._pageblocks.skip[block] = True
        return np.concatenate((found, more))

    # The scan.

    def _scan(self) -> Pfns:
        """Frames of the next pageblocks downward, up to `nr_wanted`."""
        parts: list[Pfns] = []
        missing, start = self.nr_wanted, self.position
        block, last = start // self._size, self._migrate_position() // self._size + 1
        longest = max(self._size // _NR_SAMPLES, 1)
        stride = longest if self._control.mode == Mode.ASYNC else 1
        while block >= last:
            end = (block + 1) * self._size
            if self._is_suitable(block):
                found, stop = self._take_in(start, stride, missing)
                parts.append(found)
                missing -= len(found)
                if stop >= end:
                    self._pageblocks.skip[block] = True
                    self._hints.free = min(self._hints.free, block * self._size)
                if missing <= 0 or stop < end:
                    start = stop if stop < end else (block - 1) * self._size
                    break
                stride = 1 if len(found) else min(longest, stride << 1)
            block -= 1
            start = block * self._size
        self.position = max(start, self._hints.start - self._size)
        return np.concatenate(parts) if parts else _NONE

    def _is_suitable(self, block: int) -> bool:
        """Of the zone, of a type that may be filled, not wholly free, not tried in vain."""
        control = self._control
        if self._buddy.area.zone_of_block[block] != control.zone.index:
            return False
        if not control.ignore_skip_hint and self._pageblocks.skip[block]:
            return False
        if self._buddy.nr_free_in_block.item(block) == self._pageblocks.span(block).nr_pages:
            return False
        migratetype = self._pageblocks.migratetype.item(block)
        if control.any_target:
            return bool(migratetype != MigrateType.ISOLATE)  # somebody else's range
        return migratetype in _SUITABLE

    def _take_in(self, start: int, stride: int, wanted: int) -> tuple[Pfns, int]:
        """Free blocks of one pageblock from `start` upward, until `wanted` frames are there.

        Returns:
            The frames, and where it stopped: the end of the pageblock if all was looked at.
        """
        end = min((start // self._size + 1) * self._size, self._frames.nr_frames)
        orders = self._frames.order[start:end]
        offsets = np.flatnonzero(orders >= 0)
        if stride > 1:
            offsets = _strided(offsets, orders, stride)
        sizes = np.left_shift(1, orders[offsets].astype(np.int64))
        held = np.cumsum(sizes)
        nr_taken = int(np.searchsorted(held, wanted)) + 1
        done = nr_taken > len(offsets) or (nr_taken == len(offsets) and held[-1] < wanted)
        chosen = slice(0, min(nr_taken, len(offsets)))
        frames = _frames_of(offsets[chosen] + start, sizes[chosen])
        spare = max(self._nr_spare(0), 0)
        stop = end if done or not len(frames) else int(frames[-1]) + 1
        if len(frames) > spare:
            frames = frames[:spare]
            stop = int(frames[-1]) + 1 if spare else start
        self.nr_scanned += max((stop - start) // stride, 1)
        if len(frames):
            self._buddy.take(frames)
        block_end = (start // self._size + 1) * self._size
        return frames, block_end if stop == end else stop


def _strided(
    offsets: NDArray[np.int64], orders: NDArray[np.int8], stride: int
) -> NDArray[np.int64]:
    """The free blocks that a scan in strides comes upon."""
    on_them: list[int] = []
    at, free = 0, set(offsets.tolist())
    while at < len(orders):
        if at in free:
            on_them.append(at)
            at += (1 << int(orders[at])) - 1
        at += stride
    return np.array(on_them, dtype=np.int64)


def _frames_of(heads: Pfns, sizes: NDArray[np.int64]) -> Pfns:
    """Every frame of free blocks given by head and size, ascending."""
    if not len(heads):
        return _NONE
    first = np.repeat(heads - np.concatenate(([0], np.cumsum(sizes)[:-1])), sizes)
    return np.asarray(first + np.arange(int(sizes.sum())))


def _within_reach(entries: Pfns, low: int, limit: int, most: int) -> tuple[Pfns, int]:
    """Entries at or above `low`, each found within `limit` of the one before.

    Returns:
        Up to `most` of them, and how many entries were looked at for that; if none, the limit.
    """
    at = np.flatnonzero(entries >= low)
    gaps = np.diff(at, prepend=-1)
    too_far = np.flatnonzero(gaps > limit)
    at = at[: too_far[0]] if len(too_far) else at
    at = at[: max(most, 1)]
    if not len(at):
        return _NONE, min(limit, len(entries))
    return entries[at], int(at[-1]) + 1


def _best_above(entries: Pfns, least: int, limit: int) -> tuple[Pfns, int, int]:
    """The highest entry at or above `least`; each that is better halves what is looked at.

    Returns:
        It, or none; how many entries were looked at; and the limit that is left.
    """
    best, nr_seen = least - 1, 0
    for at in entries.tolist():
        nr_seen += 1
        if at > best:
            best, limit = at, limit >> 1
        if nr_seen >= limit:
            break
    found = np.array([best], dtype=np.int64) if best >= least else _NONE
    return found, max(nr_seen, 1), limit
