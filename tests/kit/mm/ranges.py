"""Machines to empty ranges of: `Drawn`, with page cache and somebody who pins.

c  clean page cache, its bytes on disk too
d  dirty page cache
P  anonymous, with a reference that nobody registered (a plain get_user_pages)
Q  clean page cache with such a reference
"""

import numpy as np

from mm.contig.retry import RetryPolicy
from mm.state.frames import PageFlag
from mm.state.pageblock import MigrateType
from pinpage.owner import Reason
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, Drawn

__all__ = ["SIZE", "Ranged", "names"]

_SIGNS = {"c": "#", "d": "#", "Q": "#", "P": "a"}


class Ranged(Drawn):
    """A drawn machine with a page cache, whose pages know their bytes on disk."""

    def __init__(self, *blocks, **build):
        plain = ["".join(_SIGNS.get(sign, sign) for sign in block) for block in blocks]
        signs = np.array(list("".join(blocks)))
        super().__init__(*plain, **build)
        self.cache = self.machine.rmap.create("cache", len(signs), kind="file")
        for sign, flags in (("c", 0), ("Q", 0), ("d", PageFlag.DIRTY.mask)):
            self._map_cache(np.flatnonzero(signs == sign), np.uint64(flags))
        self.pinned = np.flatnonzero(np.isin(signs, ["P", "Q"])).tolist()
        for pfn in self.pinned:
            self.machine.get_page(pfn)
        self.machine.check()

    def _map_cache(self, pfns, flags):
        frames = self.machine.frames
        frames.flags[pfns] = PageFlag.UPTODATE.mask | flags
        self.machine.rmap.map_many(self.cache, pfns, pfns)
        self.machine.lru.add_many(pfns)

    def unpin(self):
        """Whoever took a reference drops it, wherever the page is."""
        for vpn in self.pinned:
            space = self.space if self.space.pte[vpn] else self.cache
            self.machine.put_page(int(space.pte[vpn]) - 1)
        self.pinned = []

    def isolate(self, start, stop, **how):
        return self.machine.evacuator.isolate(Span(start, stop), self.machine.design, **how)

    def evacuate(self, start, stop, design=None, **how):
        """Isolate, evacuate, undo; everything checked afterwards."""
        machine, span = self.machine, Span(start, stop)
        assert machine.evacuator.isolate(span, machine.design)
        retry = how.pop("retry", RetryPolicy())
        report = machine.evacuator.evacuate(span, design or machine.design, retry=retry, **how)
        self.check()
        machine.evacuator.undo(span)
        self.check()
        return report

    def contig(self, start, stop, design=None, **how):
        found = self.machine.contig.alloc_contig_range(
            start, stop, design or self.machine.design, **how
        )
        self.check()
        return found

    def cma(self, first_block, nr_blocks, **how):
        """An area adopted as it is, movable pages and all."""
        types = self.machine.buddy
        for block in range(first_block, first_block + nr_blocks):
            types.set_migratetype(block, MigrateType.CMA)
        return self.machine.cma.adopt(**how)[0]

    def check(self):
        """Every invariant, and every byte where its owner looks for it."""
        self.machine.check()
        self.check_contents()
        vpns = self.cache.present()
        tags = self.machine.contents.tags(self.cache.pte[vpns] - 1)
        assert tags.tolist() == [1000 + vpn for vpn in vpns.tolist()]


def names(report):
    """Holder -> reason -> frames, in words."""
    return {
        owner: {Reason(reason).name: count for reason, count in reasons.items()}
        for owner, reasons in report.refusals.by_owner().items()
    }
