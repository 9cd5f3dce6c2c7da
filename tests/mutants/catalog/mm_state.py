"""Bugs planted in the checks, zones, per-CPU lists, isolation and contents."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CHECK = ("tests/unit/mm/buddy/test_check.py",)
PAGEBLOCK = ("tests/unit/mm/state/test_pageblock.py",)
NODES = ("tests/unit/mm/state/test_nodes.py",)
PCP = ("tests/unit/mm/buddy/test_pcp.py",)
ISOLATION = ("tests/unit/mm/contig/test_page_isolation.py",)
CONTENTS = ("tests/unit/mm/state/test_contents.py",)
FRAGINDEX = ("tests/unit/mm/buddy/test_fragindex.py",)

MUTANTS: list[Mutant] = [
    Mutant(
        name="build-merges-one-level-less",
        guards="recorded free blocks",
        file="mm/buddy/decompose.py",
        old="    for order in range(max_order):\n",
        new="    for order in range(max_order - 1):\n",
        tests=("tests/unit/mm/buddy/test_recorded.py",),
    ),
    # The checks themselves.
    Mutant(
        name="check-forgets-lost-frames",
        guards="B2",
        file="mm/buddy/check.py",
        old="    wrong = free & (cover != 1)\n",
        new="    wrong = free & (cover > 1)\n",
        tests=CHECK,
    ),
    Mutant(
        name="check-forgets-lists",
        guards="B5",
        file="mm/buddy/check.py",
        old="    _check_lists(area)\n",
        new="",
        tests=CHECK,
    ),
    Mutant(
        name="check-forgets-merging",
        guards="B3",
        file="mm/buddy/check.py",
        old="    _check_merged(area)\n",
        new="",
        tests=CHECK,
    ),
    Mutant(
        name="check-forgets-pageblock-flags",
        guards="PB2",
        file="mm/state/pageblock.py",
        old="        lost = self.saved_type >= MigrateType.ISOLATE\n",
        new="        lost = self.saved_type > MigrateType.ISOLATE\n",
        tests=PAGEBLOCK,
    ),
    Mutant(
        name="pageblock-type-unchecked",
        guards="PB1",
        file="mm/state/pageblock.py",
        old="        odd = self.migratetype >= NR_MIGRATETYPES\n",
        new="        odd = self.migratetype > NR_MIGRATETYPES\n",
        tests=PAGEBLOCK,
    ),
    # Zones and watermarks.
    Mutant(
        name="watermark-reached-is-enough",
        guards="watermark rule",
        file="mm/state/nodes.py",
        old="    if free <= mark + zone.lowmem_reserve[highest]:\n",
        new="    if free < mark + zone.lowmem_reserve[highest]:\n",
        tests=NODES,
    ),
    Mutant(
        name="watermark-ignores-blocks",
        guards="watermark rule",
        file="mm/state/nodes.py",
        old="    if order == 0:\n",
        new="    if order >= 0:\n",
        tests=NODES,
    ),
    Mutant(
        name="watermark-counts-cma-for-all",
        guards="watermark rule",
        file="mm/state/nodes.py",
        old="    if not cma:\n",
        new="    if cma is None:\n",
        tests=NODES,
    ),
    Mutant(
        name="watermark-step-of-v3-11",
        guards="watermark vectors",
        file="mm/state/nodes.py",
        old='        if version == "6.1":\n',
        new="        if not version:\n",
        tests=NODES,
    ),
    Mutant(
        name="zone-watermarks-unchecked",
        guards="ZN1",
        file="mm/state/nodes.py",
        old="0 <= self.min <= self.low <= self.high",
        new="0 <= self.min <= self.high",
        tests=NODES,
    ),
    Mutant(
        name="zone-size-unchecked",
        guards="ZN2",
        file="mm/state/nodes.py",
        old="            self.managed_nr_pages <= self.span.nr_pages,\n",
        new="            self.managed_nr_pages > 0,\n",
        tests=NODES,
    ),
    Mutant(
        name="fragindex-forgets-the-thousand",
        guards="fragmentation index vectors",
        file="mm/buddy/fragindex.py",
        old="    return 1000 - (1000 + pages",
        new="    return 1000 - (pages",
        tests=FRAGINDEX,
    ),
    # Per-CPU lists.
    Mutant(
        name="pcp-isolated-page-listed",
        guards="ISOLATE bypasses per-CPU lists",
        file="mm/buddy/pcp.py",
        old="        if migratetype == MigrateType.ISOLATE:\n",
        new="        if migratetype > MigrateType.ISOLATE:\n",
        tests=PCP,
    ),
    Mutant(
        name="pcp-drains-the-hot-end",
        guards="coldest first",
        file="mm/buddy/pcp.py",
        old="                pfns.append(pages.popleft())\n",
        new="                pfns.append(pages.pop())\n",
        tests=PCP,
    ),
    Mutant(
        name="pcp-refill-backwards",
        guards="order of a refill",
        file="mm/buddy/pcp.py",
        old="        mine.lists[migratetype].extendleft(pfns.tolist())\n",
        new="        mine.lists[migratetype].extend(pfns.tolist())\n",
        tests=PCP,
    ),
    Mutant(
        name="pcp-drain-all-keeps-the-pages",
        guards="PC1",
        file="mm/buddy/pcp.py",
        old="                    pages.clear()\n",
        new="                    pass\n",
        tests=PCP,
    ),
    Mutant(
        name="pcp-drain-not-counted",
        guards="PC2",
        file="mm/buddy/pcp.py",
        old="        mine.nr_pages -= len(pfns)\n",
        new="",
        tests=PCP,
    ),
    Mutant(
        name="pcp-high-one-late",
        guards="drain at high",
        file="mm/buddy/pcp.py",
        old="        if mine.nr_pages >= self.highs[zone]:\n",
        new="        if mine.nr_pages > self.highs[zone]:\n",
        tests=PCP,
    ),
    Mutant(
        name="pcp-cma-handed-to-pages-that-stay",
        guards="CMA flag",
        file="mm/buddy/pcp.py",
        old="        if migratetype == MigrateType.MOVABLE and not",
        new="        if migratetype == MigrateType.CMA and not",
        tests=PCP,
    ),
    Mutant(
        name="pcp-keeps-references",
        guards="PC3",
        file="mm/buddy/pcp.py",
        old="""        frames.refcount[pfns] = 0
        frames.mapcount[pfns] = MAPCOUNT_NONE
""",
        new="""        frames.mapcount[pfns] = MAPCOUNT_NONE
""",
        tests=PCP,
    ),
    # Isolation.
    Mutant(
        name="isolation-no-rollback",
        guards="all pageblocks or none",
        file="mm/contig/page_isolation.py",
        old="            _restore(buddy, earlier)\n",
        new="            pass\n",
        tests=ISOLATION,
    ),
    Mutant(
        name="isolation-nested",
        guards="isolated already is -EBUSY",
        file="mm/contig/page_isolation.py",
        old="        blocker = frames.start\n",
        new="        blocker = -1\n",
        tests=ISOLATION,
    ),
    Mutant(
        name="isolation-forgets-the-type",
        guards="types come back",
        file="mm/contig/page_isolation.py",
        old="            pageblocks.saved_type[block] = pageblocks.migratetype[block]\n",
        new="",
        tests=ISOLATION,
    ),
    Mutant(
        name="isolation-free-is-enough",
        guards="free and isolated",
        file="mm/contig/page_isolation.py",
        old="    gone &= buddy.pageblocks.types_of(pfns) == MigrateType.ISOLATE\n",
        new="",
        tests=ISOLATION,
    ),
    Mutant(
        name="isolation-reserved-frames-pass",
        guards="reserved never moves",
        file="mm/contig/page_isolation.py",
        old="    stuck = _never_moves(frames, pfns)\n",
        new="    stuck = _never_moves(frames, pfns) & False\n",
        tests=ISOLATION,
    ),
    Mutant(
        name="isolation-lru-pages-stuck",
        guards="LRU pages may go",
        file="mm/contig/page_isolation.py",
        old="        used &= ~frames.has_flag(pfns, PageFlag.LRU)\n",
        new="",
        tests=ISOLATION,
    ),
    # Contents.
    Mutant(
        name="arena-copies-the-first-chunk-only",
        guards="contents are whole",
        file="mm/state/contents.py",
        old="        for at in range(0, len(sources), self._copied_at_once):\n",
        new="        for at in range(0, min(len(sources), 1), self._copied_at_once):\n",
        tests=CONTENTS,
    ),
    Mutant(
        name="arena-forgets-one-frame-too-many",
        guards="neighbours of a forgotten frame stay",
        file="mm/state/contents.py",
        old="            length = stop - start << self._shift\n",
        new="            length = stop - start + 1 << self._shift\n",
        tests=CONTENTS,
    ),
    Mutant(
        name="tags-copied-backwards",
        guards="contents are whole",
        file="mm/state/contents.py",
        old="        self.words[targets] = self.words[sources]\n",
        new="        self.words[sources] = self.words[targets]\n",
        tests=CONTENTS,
    ),
]
