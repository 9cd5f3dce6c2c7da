"""The free scanner: targets for compaction, from the top of a zone downward.

It takes the free frames of one suitable pageblock at a time and hands them out in
ascending order; what is left at the end goes back to the free lists.

Kernel counterpart: isolate_freepages and compaction_alloc in mm/compaction.c.  There the
scanner stops inside a block once it has enough; here it takes the block and returns the
rest when it is released, which leaves the same frames free.
"""

import numpy as np

from mm.buddy.buddy import Buddy
from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.units import Pfns

__all__ = ["FreeScanner"]

_SUITABLE = (MigrateType.MOVABLE, MigrateType.CMA)
_NONE: Pfns = np.zeros(0, dtype=np.int64)


class FreeScanner:
    """A `pinpage.migrate.TargetSource` over the free lists of one zone.

    Attributes:
        block: the next pageblock that it will look at.
        floor: the migrate scanner's block; no target is taken there or below.
        nr_scanned: frames looked at so far.
    """

    def __init__(
        self,
        buddy: Buddy,
        pageblocks: Pageblocks,
        zone: Zone,
        block: int,
        *,
        any_target: bool = False,
        ignore_skip_hint: bool = True,
    ) -> None:
        """Start at `block` and go down.

        Args:
            buddy: the free lists.
            pageblocks: their types and skip hints.
            zone: where; its min watermark is kept.
            block: the highest pageblock that may be looked at.
            any_target: also take from pageblocks that are neither MOVABLE nor CMA.
            ignore_skip_hint: look at blocks that yielded nothing before, too.
        """
        self._buddy = buddy
        self._pageblocks = pageblocks
        self._zone = zone
        self._any_target = any_target
        self._ignore_skip_hint = ignore_skip_hint
        self._held = _NONE
        self.block = block
        self.floor = 0
        self.nr_scanned = 0

    @property
    def position(self) -> int:
        """The pageblock where it stands: it has not left one of which it still has frames."""
        return self.block + 1 if len(self._held) else self.block

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
        """Whatever is still held goes back to the free lists.

        `block` goes back up with it: the next scan is to find these frames again.
        """
        if len(self._held):
            self._buddy.put_taken(self._held)
            self.block = max(self.block, int(self._held.max()) >> self._pageblocks.order)
            self._held = _NONE

    def _advance(self) -> None:
        block = self.block
        self.block -= 1
        nr_pages = self._pageblocks.span(block).nr_pages
        nr_free = self._buddy.nr_free_in_block.item(block)
        if nr_free == nr_pages or not self._is_suitable(block):
            return  # wholly free: what compaction is to make, not to use up
        self.nr_scanned += nr_pages
        if not nr_free:
            self._pageblocks.skip[block] = True
        elif (limit := self._nr_spare()) > 0:
            taken = self._buddy.take_free_in(block, limit=limit)
            self._held = np.concatenate((self._held, taken)) if len(self._held) else taken

    def _is_suitable(self, block: int) -> bool:
        if self._buddy.area.zone_of_block.item(block) != self._zone.index:
            return False  # zones may overlap once memory has come back as another kind
        if not self._ignore_skip_hint and self._pageblocks.skip[block]:
            return False
        migratetype = self._pageblocks.migratetype.item(block)
        if self._any_target:
            return bool(migratetype != MigrateType.ISOLATE)  # somebody else's range
        return migratetype in _SUITABLE

    def _nr_spare(self) -> int:
        """Targets come out of free memory: more than the min watermark has to stay."""
        return self._buddy.nr_free(self._zone.index) - self._zone.min - 1
