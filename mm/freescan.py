"""The free scanner: targets for compaction, from the top of a zone downward.

It takes the free frames of one suitable pageblock at a time and hands them out in
ascending order; what is left at the end goes back to the free lists.

Kernel counterpart: isolate_freepages and compaction_alloc in mm/compaction.c.  There the
scanner stops inside a block once it has enough; here it takes the block and returns the
rest when it is released, which leaves the same frames free.
"""

import numpy as np

from mm.buddy import Buddy
from mm.nodes import Zone
from mm.pageblock import MigrateType, Pageblocks
from pinpage.units import Pfns

__all__ = ["FreeScanner"]

_NONE: Pfns = np.zeros(0, dtype=np.int64)


class FreeScanner:
    """A `pinpage.migrate.TargetSource` over the free lists of one zone.

    Attributes:
        block: the next pageblock that it will look at; the scanners have met when this is
            not above `floor`.
        floor: the migrate scanner's block; no target is taken there or below.
        nr_scanned: frames looked at so far.
    """

    def __init__(
        self, buddy: Buddy, pageblocks: Pageblocks, zone: Zone, block: int, any_target: bool
    ) -> None:
        """Start at `block` and go down; `any_target` lifts the rule on migratetypes."""
        self._buddy = buddy
        self._pageblocks = pageblocks
        self._zone = zone
        self._any_target = any_target
        self._held = _NONE
        self.block = block
        self.floor = 0
        self.nr_scanned = 0

    def take(self, count: int) -> Pfns:
        """Up to `count` free frames; fewer once the scanners have met (-ENOMEM)."""
        while len(self._held) < count and self.block > self.floor:
            self._advance()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def give_back(self, pfns: Pfns) -> None:
        """Hand out these again before anything else."""
        self._held = np.concatenate((pfns, self._held))

    def release(self) -> None:
        """Whatever is still held goes back to the free lists."""
        if len(self._held):
            self._buddy.put_taken(self._held)
            self._held = _NONE

    def _advance(self) -> None:
        block = self.block
        self.block -= 1
        if not self._is_suitable(block):
            return
        self.nr_scanned += self._pageblocks.span(block).nr_pages
        nr_free = int(self._buddy.nr_free_in_block[block])
        if nr_free and self._may_take(nr_free):
            self._held = np.concatenate((self._held, self._buddy.take_free_in(block)))

    def _is_suitable(self, block: int) -> bool:
        if self._buddy.nr_free_in_block[block] == self._pageblocks.span(block).nr_pages:
            return False  # one free block of pageblock order: what compaction is to make
        if self._any_target:
            return True
        has = self._pageblocks.migratetype[block]
        return bool(has == MigrateType.MOVABLE or has == MigrateType.CMA)

    def _may_take(self, nr_pages: int) -> bool:
        """Targets come out of free memory: never below the min watermark."""
        return self._buddy.nr_free(self._zone.index) - nr_pages > self._zone.min
