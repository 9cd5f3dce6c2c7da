"""Planted bugs in what keeps searches and reclaim from looking at all of memory each time."""

from tests.mutants.mutant import Mutant, planted

UNIT = "tests/unit/mm"
HEADS, T_HEADS = "mm/compaction/listed_heads.py", f"{UNIT}/compaction/test_listed_heads.py"
PAGES, T_PAGES = "mm/paging/clean_pages.py", f"{UNIT}/paging/test_clean_pages.py"
AREA, FRAMES, LRU, RMAP = (
    "mm/buddy/free_area.py",
    "mm/state/frames.py",
    "mm/state/lru.py",
    "mm/state/rmap.py",
)
PAGING, REFS, VMSCAN = "mm/paging/paging.py", "mm/state/page_ref.py", "mm/paging/vmscan.py"
T_WORK = "tests/unit/pinlab/test_work_is_linear.py"
NOTED = f"{T_PAGES}::test_whatever_makes_a_page_unclean_or_clean_is_noted"
NOTE = "        self.frames.note_page(pfn)\n"

_LISTS = [
    ("list-drawn-anew-each-time", "a look costs what has changed", HEADS,
     "        changed = area.changed_since(self._mark)\n", "        changed = None\n",
     (f"{T_WORK}::test_huge_pages_by_scan[anonymous]",)),
    ("list-never-redrawn", "a picture is of now", HEADS,
     "                self._redraw(buddy, blocks)\n                return\n",
     "                return\n", (T_HEADS,)),
    ("list-keeps-pageblocks-of-other-types", "a MOVABLE list", HEADS,
     "        rows &= on[:, None]\n", "", (T_HEADS,)),
    ("list-near-blocks-upward", "the highest of the near ones first", HEADS,
     "_Part(True, 0, border, True),", "_Part(True, 0, border, False),", (T_HEADS,)),
    ("list-round-misses-the-border", "once round", HEADS,
     "border = far - place + 1", "border = far - place", (T_HEADS,)),
    ("list-back-is-forth", "from the other end", HEADS,
     "part.high, not part.downward)", "part.high, part.downward)", (T_HEADS,)),
    ("list-changes-not-recorded", "a record of changes", AREA,
     "        if self._changed[-1] != block:\n            self._note_change(block)\n", "",
     (T_HEADS,)),
    ("list-change-of-the-last-pageblock-lost", "a record of changes", AREA,
     "self._changed[first - 1 :]", "self._changed[first:]", (T_HEADS,)),
    ("list-record-reaches-back-for-ever", "a record of changes", AREA,
     " if first > 0 else None", "", (T_HEADS,)),
]  # fmt: skip

_CLEAN = [
    ("clean-touched-for-ever", "what was looked at is known", PAGES,
     "            self._frames.touched.forget()\n", "            pass\n",
     (f"{T_WORK}::test_huge_pages_by_scan[anonymous]",)),
    ("clean-cursor-stays", "each place once", PAGES,
     "        walk.place = found[-1][0] + 1 if found else walk.place\n", "", (T_PAGES,)),
    ("clean-late-pages-lost", "CP2", PAGES,
     "                self._keep_apart(walk, pfns[now])\n", "                pass\n", (T_PAGES,)),
    ("clean-met-pages-lost", "CP2", PAGES,
     "            heapq.heappush(walk.met, entry)\n", "            pass\n", (T_PAGES,)),
    ("clean-old-numbers", "places are numbered anew", PAGES,
     "        if walk.numbering != numbering:\n", "        if False:\n", (T_PAGES,)),
    ("clean-met-pages-not-looked-at", "entries that hold no more are dropped", PAGES,
     "            holds &= self._kind[pfns] == 1 + active\n", "",
     (T_PAGES,)),
    ("clean-check-misses-k1", "CP1", PAGES,
     '        require(not len(wrong), "CP1', '        require(True, "CP1', (T_PAGES,)),
    ("clean-check-misses-k2", "CP2", PAGES,
     "require(met.issuperset(passed.tolist()), ", "require(True, ", (T_PAGES,)),
    ("clean-machine-does-not-check", "CP1", "mm/machine.py",
     "            self.reclaimer,\n", "", (T_PAGES,)),
    ("clean-counted-beside-swap", "swap where there is some", VMSCAN,
     "            paging.frames.touched = self.clean = None\n", "            pass\n", (T_PAGES,)),
    ("clean-touched-without-end", "so many are remembered", FRAMES,
     "        if self._nr_in_batches > self._nr_kept:\n", "        if False:\n", (T_PAGES,)),
    ("clean-touched-pages-without-end", "so many are remembered", FRAMES,
     "        if len(self._pages) > self._nr_kept:\n", "        if False:\n", (T_PAGES,)),
]  # fmt: skip

_NOTES = [
    ("flag-set", FRAMES, "        self.flags[pfns] |= flag.mask\n        self.note_many(pfns)\n",
     "        self.flags[pfns] |= flag.mask\n"),
    ("flag-cleared", FRAMES,
     "        self.flags[pfns] &= ~flag.mask\n        self.note_many(pfns)\n",
     "        self.flags[pfns] &= ~flag.mask\n"),
    ("isolation", LRU,
     "        self.frames.flags[pfns] &= ~_LRU\n        self.frames.note_many(pfns)\n",
     "        self.frames.flags[pfns] &= ~_LRU\n"),
    ("addition", LRU, "        )\n        self.frames.note_many(pfns)\n", "        )\n"),
    ("isolation-of-one", LRU, f"& ~_LRU_BIT\n{NOTE}", "& ~_LRU_BIT\n"),
    ("addition-of-one", LRU, f"_ACTIVE_BIT if active else _LRU_BIT)\n{NOTE}",
     "_ACTIVE_BIT if active else _LRU_BIT)\n"),
    ("reference-dropped", REFS, "            frames.note_page(pfn)\n", ""),
    ("bits-set", PAGING, f"flags.item(pfn) | bits\n{NOTE}", "flags.item(pfn) | bits\n"),
    ("bits-cleared", PAGING, f"flags.item(pfn) & ~bits\n{NOTE}", "flags.item(pfn) & ~bits\n"),
    ("lock", PAGING, f"flags.item(pfn) | _LOCKED\n{NOTE}", "flags.item(pfn) | _LOCKED\n"),
    ("unlock", PAGING, f"flags & ~_LOCKED\n{NOTE}", "flags & ~_LOCKED\n"),
    ("reference-taken", REFS, "        self._frames.note_page(pfn)\n        return True\n",
     "        return True\n"),
    ("mappings", RMAP,
     "        self.frames.mapcount[pfns] = 0\n        self.frames.note_many(pfns)\n",
     "        self.frames.mapcount[pfns] = 0\n"),
    ("mapping-of-one", RMAP, f"    {NOTE}            return\n", "            return\n"),
    ("unmappings", RMAP, "MAPCOUNT_NONE\n        self.frames.note_many(pfns)\n", "MAPCOUNT_NONE\n"),
    ("unmapping-of-one", RMAP, f"    {NOTE}            return pfn, True\n",
     "            return pfn, True\n"),
    ("further-unmapping", RMAP, f"{NOTE}        return pfn, False\n",
     "        return pfn, False\n"),
]  # fmt: skip

MUTANTS: list[Mutant] = [
    *(planted(name, guards, file, old, new, *tests)
      for name, guards, file, old, new, tests in (*_LISTS, *_CLEAN)),
    *(planted(f"clean-{name}-not-noted", "CP1", file, old, new, NOTED)
      for name, file, old, new in _NOTES),
]  # fmt: skip
"""All of them."""

T_VERDICTS = "tests/unit/pinlab/requests/test_verdicts.py"
VERDICT = "mm/hotplug/verdict.py"

MUTANTS += [
    planted(
        "a-census-for-each-memory-block", "a block costs a block", "mm/hotplug/memory_hotplug.py",
        "        if look is not None:\n", "        if look is None:\n",
        f"{T_WORK}::test_blocks_and_regions_one_after_the_other[offline-plan]",
    ),
    planted(
        "verdict-forgets-the-watermarks", "room keeps its marks", VERDICT,
        "max(sum(usable) - reserve, 0) + int", "max(sum(usable), 0) + int", T_VERDICTS,
    ),
    planted(
        "verdict-counts-room-inside-the-block", "room is elsewhere", VERDICT,
        " + int(own[~shut].sum())", "", T_VERDICTS,
    ),
    planted(
        "verdict-lets-a-cma-pageblock-go", "CMA is isolated by CMA alone", VERDICT,
        "        stays = (types == MigrateType.CMA) & first_of_block", "        stays &= types < 0",
        T_VERDICTS,
    ),
    planted(
        "replayed-before-it-is-refused", "refused before", "pinlab/requests/run.py",
        "        cma.require_area(snapshot)\n", "        pass\n",
        "tests/unit/pinlab/requests/test_run.py",
    ),
]  # fmt: skip

T_SHAPE = "tests/unit/pinlab/described/test_shape.py"

MUTANTS += [
    planted(
        "described-pools-hold-one-object-a-page", "as recorded pools", "pinlab/described/shape.py",
        "(mean - 1) / (most - 1)", "0 * mean", T_SHAPE,
    ),
    planted(
        "ages-are-clusters", "shape", "pinlab/described/shape.py",
        "nr_pages_per_block**height", "nr_pages_per_block ** (0 * height + 0.5)", T_SHAPE,
    ),
    planted(
        "shape-changes-nothing", "shape", "pinlab/described/synthetic.py",
        '        if self._shape == "even":\n', "        if self._shape:\n", T_SHAPE,
    ),
]  # fmt: skip
