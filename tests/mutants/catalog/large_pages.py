"""Bugs planted in large pages, and in how recorded pages of several frames are replayed."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

FOLIOS, MOVER, WALK = "mm/state/folios.py", "mm/move/move.py", "mm/contig/range_walk.py"
EVACUATE, EXECUTE = "mm/contig/evacuate.py", "mm/planning/execute.py"
REPLAY, WHOLE = "pinlab/replay/replay.py", "pinlab/replay/whole_pages.py"
T_FOLIOS = "tests/unit/mm/state/test_folios.py"
T_MOVE = "tests/unit/mm/move/test_large_pages.py"
T_REPLAY = "tests/unit/pinlab/replay/test_whole_pages.py"
T_OWNER = "tests/unit/owners/test_hugetlb_pages.py"
T_EVICT = "tests/unit/mm/hugetlb/test_evict.py"

MUTANTS: list[Mutant] = [
    planted("large-page-in-pieces-passes", "FO1", FOLIOS, "require(whole,", "require(True,",
            T_FOLIOS),
    planted("large-page-with-a-free-frame-passes", "FO2", FOLIOS, "require(fits.all(),",
            "require(True,", T_FOLIOS),
    planted("frames-of-no-large-page-pass", "FO3", FOLIOS, "require(len(pfns) == expected,",
            "require(True,", T_FOLIOS),
    planted("moved-out-of-order-is-whole", "a large page is one", FOLIOS,
            "if not stays_one or not np.array_equal(block - target, offsets):",
            "if not stays_one:", T_FOLIOS),
    planted("moved-in-part-is-whole", "a large page is one", FOLIOS,
            "len(rows) == 1 << order and target", "target", T_FOLIOS),
    planted("split-is-not-counted", "splits are counted", FOLIOS,
            "        self.nr_split[order] += 1\n", "", T_FOLIOS),
    planted("freed-whole-counts-as-split", "splits are counted", FOLIOS,
            "if len(rows) == 1 << self.order_of(head):", "if False:", T_FOLIOS),
    planted("folios-do-not-follow-a-move", "a large page is one", MOVER,
            "        self.refs.folios.on_moved(sources, targets)\n", "", T_MOVE),
    planted("freed-frame-stays-in-its-page", "a large page is one", "mm/state/page_ref.py",
            "            self.folios.on_gone(np.array([pfn]))\n", "            pass\n", T_MOVE),
    planted("held-frame-is-left-behind", "a large page is one", MOVER,
            "            self._as_one(pfns, np.flatnonzero(large), found, design, mode)\n",
            "            pass\n", T_MOVE),
    planted("frames-beside-are-not-asked", "a large page is one", MOVER,
            "        if len(beside):\n            others", "        if False:\n            others",
            T_MOVE),
    planted("compaction-takes-large-pages", "compaction passes over large pages",
            "mm/compaction/compaction.py", "control.mode, passes_over=True", "control.mode",
            T_MOVE),
    planted("direct-compaction-takes-large-pages", "compaction passes over large pages",
            "mm/compaction/migrate_scan.py", "passes_over=True", "passes_over=False", T_MOVE),
    planted("large-pages-go-frame-by-frame", "a large page is one", WALK,
            "        self._move_large(rows)\n", "", T_MOVE),
    planted("held-page-tried-in-pieces", "a large page is one", WALK,
            "        odd &= ~self.parts.mover.refs.folios.covers(rows.pfns)  "
            "# as one, or not at all\n", "", T_MOVE),
    planted("large-clean-cache-is-moved", "clean cache is dropped", WALK,
            "if not self.drop_clean or not found.alone.all():", "if True:", T_MOVE),
    planted("partly-dirty-page-is-dropped", "no byte is lost", WALK,
            "        if not is_clean_cache(parts.buddy.frames, parts.rmap, frames).all():\n"
            "            return False\n", "", T_MOVE),
    planted("hot-remove-stays-on-its-node", "other nodes first", EVACUATE,
            "if leaves_node else (own, *others)", "if False else (own, *others)", T_MOVE),
    planted("huge-page-broken-up-to-gain-one", "no gain by breaking up", EXECUTE,
            "movable=census.movable & ~unbroken)", "movable=census.movable)", T_MOVE),
    planted("ranges-keep-huge-pages", "a range is emptied", "mm/hotplug/verdict.py",
            "for_ranges=True", "for_ranges=False", T_MOVE),
    planted("huge-page-stays-on-its-node", "a free page of any node", "mm/hugetlb/evict.py",
            "nodes = near_first if keep else [*near_first[1:], near_first[0]]",
            "nodes = near_first[:1]", T_EVICT),
    planted("near-huge-page-goes-far", "a free page of any node", "mm/hugetlb/evict.py",
            "nodes = near_first if keep else",
            "nodes = [*near_first[1:], near_first[0]] if keep else", T_EVICT),
    planted("moved-huge-page-not-counted", "moves are counted", EVACUATE,
            "walk.report.pages_moved += huge.nr_pages_moved - before", "pass",
            T_EVICT),
    planted("fresh-huge-page-is-nobodys", "HO1", "owners/hugetlb_pages.py",
            "            if target not in self._known and self._pin(target):\n"
            "                self._known.add(target)\n", "", T_OWNER),
    planted("any-huge-page-for-a-user", "a recorded user keeps his page", "owners/hugetlb_pages.py",
            "if head not in self._known or not self._pool.is_free(head):", "if False:",
            T_OWNER),
    planted("recorded-thp-in-pieces", "a recorded page is whole", REPLAY,
            "        self._machine.refs.folios.adopt(large.heads, large.orders)\n", "", T_REPLAY),
    planted("recorded-users-forgotten", "a recorded page has its user", REPLAY,
            "                owner.use_page(user, head)\n", "                pass\n", T_REPLAY),
    planted("misaligned-compound-is-whole", "a recorded page is whole", WHOLE,
            " & (heads % np.maximum(nr_pages, 1) == 0)", "", T_REPLAY),
    planted("mixed-compound-is-whole", "a recorded page is whole", WHOLE,
            "    whole &= _sums(ours, heads, stops) == nr_pages\n", "", T_REPLAY),
    planted("huge-page-pieces-are-nobodys", "every frame has its holder", REPLAY,
            "pieces = np.isin(pfns, hugetlb_pieces(self._snapshot))",
            "pieces = np.zeros(len(pfns), dtype=np.bool_)", T_REPLAY),
]  # fmt: skip
