"""Bugs planted in CMA: the bitmap, the walk, the plan, the request."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CHOICE, RUNS = "mm/contig/cma_plan.py", "mm/contig/runs.py"
BOUNDS = "tests/property/test_bounds_exhaustive.py"
AREA, CMA, T_CMA = "mm/contig/cma_area.py", "mm/contig/cma.py", "tests/unit/mm/contig/test_cma.py"
REQUEST, T_REQUEST = "pinlab/requests/cma.py", "tests/unit/pinlab/requests/test_cma.py"
PINS = "tests/unit/mm/contig/test_cma_pins.py"
REFUSALS = "tests/refusals/test_mm_refuses.py"
RANGES = "tests/property/test_contig_ranges.py"
LOOP = f"{T_CMA}::test_the_first_run_is_that_of_the_plain_loop"
SKIPPED = f"{RANGES}::test_skipped_ranges_would_have_failed"
CHEAPEST = f"{RANGES}::test_the_plan_finds_the_cheapest_range_that_keeps_most_whole"

_AREA = [
    ("alignment-counts-from-the-area", "aligned pfns", AREA,
     "        first = -(self.span.start >> self.order_per_bit) % step\n", "        first = 0\n",
     (T_CMA,)),
    ("run-too-long-for-the-area", "runs inside the area", AREA,
     "self.nr_bits - nr_bits + 1, step", "self.nr_bits, step", (T_CMA,)),
    ("run-over-set-bits", "clear bits only", AREA,
     "nr_set[starts + nr_bits] == nr_set[starts]",
     "nr_set[starts + 1] == nr_set[starts]", (T_CMA,)),
    ("walk-starts-over", "start of the search", AREA,
     "        starts = starts[starts >= start]\n", "", (LOOP,)),
    ("part-of-a-bit-is-free", "a bit is whole", AREA,
     "        return -(-nr_pages >> self.order_per_bit)\n",
     "        return max(nr_pages >> self.order_per_bit, 1)\n", (T_CMA,)),
    ("small-alignment-is-negative", "alignment below a bit", AREA,
     "max(align_order - self.order_per_bit, 0)", "abs(align_order - self.order_per_bit)",
     (T_CMA,)),
    ("area-of-part-of-a-bit", "CM1", AREA,
     "if self.order_per_bit < 0 or not nr_pages or nr_pages % size or self.span.start % size:",
     "if self.order_per_bit < 0 or not nr_pages or nr_pages % size:", (T_CMA,)),
    ("bits-miscounted", "CM2", AREA,
     'require(self.nr_bits * size == self.span.nr_pages, "CM2',
     'require(size > 0, "CM2', (T_CMA,)),
]  # fmt: skip

_WALK = [
    ("bits-set-too-late", "bits first", CMA,
     "        area.mark(span, on=True)\n        obtained = False\n",
     "        obtained = False\n", (T_CMA,)),
    ("bits-stay-set", "-EBUSY clears", CMA,
     "            if not obtained:\n", "            if obtained is None:\n", (T_CMA,)),
    ("walk-goes-on-after-any-error", "other errors stop", CMA,
     "            if errno is not Errno.EBUSY:\n", "            if errno is Errno.OK:\n",
     (T_CMA,)),
    ("busy-ends-the-walk", "go on at start + align", CMA,
     "            if errno is not Errno.EBUSY:\n", "            if errno is not None:\n",
     (T_CMA,)),
    ("walk-skips-an-alignment-step", "start + align", CMA,
     "area, bit + step, nr_bits", "area, bit + 2 * step, nr_bits", (T_CMA,)),
    ("second-round", "one walk", CMA,
     "area, bit + step, nr_bits", "area, (bit + step) % 16, nr_bits",
     (f"{T_CMA}::test_there_is_no_second_round",)),
    ("too-much-skipped", "skipped ranges would fail", CMA,
     "area.bit_of(int(immovable[-1])))\n", "area.bit_of(int(immovable[-1])) + 2)\n",
     (T_CMA, SKIPPED)),
    ("skipped-though-the-world-goes-on", "only where nothing happens between tries", CMA,
     "retry.is_alone and clock.nr_happened", "clock.nr_happened", (T_CMA,)),
    ("nothing-is-skipped", "immovable ranges are left out", CMA,
     "        if not len(immovable):\n", "        if nr_bits:\n", (T_CMA,)),
    ("refusals-of-every-range", "those of the last range", "mm/contig/cma_result.py",
     "        self.report.refusals.forget_counts()\n", "", (T_CMA,)),
    ("blocks-become-movable", "the given type", CMA,
     "migratetype=MigrateType.CMA, mode=mode", "mode=mode", (T_CMA,)),
    ("release-keeps-the-bits", "released pages are lent again", CMA,
     "        area.take_back(Span(pfn, pfn + count))\n", "", (T_CMA,)),
    ("released-twice", "callers' mistakes", AREA,
     "        if not self.handed[rows].all():\n", "        if False:\n", (REFUSALS,)),
    ("bit-of-a-page-still-had-is-clear", "CM5", AREA,
     "        self.bitmap[self.has_handed()] = True\n", "", (REFUSALS,)),
    ("bits-of-nobodys-pages-pass", "CM5", CMA,
     "            require(same,", "            require(True,", (REFUSALS,)),
    ("release-frees-nothing", "released pages are lent again", CMA,
     "        self._contig.free_contig_range(pfn, count)\n", "", (T_CMA, PINS)),
    ("release-beyond-the-area", "pages of the area", CMA,
     "        if area is None or pfn + count > area.span.stop:\n", "        if area is None:\n",
     (T_CMA,)),
]  # fmt: skip

_AREAS = [
    ("areas-overlap", "CM3", CMA,
     "            raise PinpageError(f\"cma: {where} overlaps an area\")\n", "            pass\n",
     (T_CMA,)),
    ("area-across-zones", "one zone", CMA,
     "        if len(zones) != 1:\n            raise PinpageError(f\"cma:",
     "        if len(zones) < 1:\n            raise PinpageError(f\"cma:", (T_CMA,)),
    ("area-over-memory-that-is-off", "W1", CMA,
     "            if pageblocks.migratetype[block] == MigrateType.ISOLATE:\n",
     "            if False:\n", (REFUSALS,)),
    ("area-in-use", "free as at boot", CMA,
     "MigrateType.CMA and not free.all():", "MigrateType.CMA and free is None:",
     (T_CMA,)),
    ("any-number-of-areas", "MAX_CMA_AREAS", CMA,
     "        if nr_areas >= self.most_areas:\n", "        if nr_areas < 0:\n",
     (T_CMA,)),
    ("area-adopted-twice", "one area per run", CMA,
     "            is_cma[blocks.start : blocks.stop] = False\n", "            pass\n", (T_CMA,)),
    ("area-not-cmas-passes", "CM3", CMA,
     "            require((types == MigrateType.CMA).all(),", "            require(True,",
     (T_CMA,)),
    ("overlap-passes", "CM3", CMA,
     "            require(area.span.start >= stop,", "            require(True,", (T_CMA,)),
    ("free-page-of-a-device-passes", "CM4", CMA,
     "            require(used.all(), \"CM4", "            require(True, \"CM4", (T_CMA,)),
    ("areas-not-checked-with-the-machine", "check() is the whole", "mm/machine.py",
     "self.hugetlbs, self.cma, ", "self.hugetlbs, ", (T_CMA,)),
    ("longterm-pins-stay-in-cma", "rule T", "owners/gup/longterm.py",
     "_FORBIDDEN_TYPES = (MigrateType.CMA, MigrateType.ISOLATE)",
     "_FORBIDDEN_TYPES = (MigrateType.ISOLATE,)", (PINS,)),
    ("longterm-pages-moved-into-cma", "rule T", "owners/gup/longterm.py",
     "self._host.alloc_page(Gfp.USER | Gfp.NOWARN)",
     "self._host.alloc_page(Gfp.HIGHUSER_MOVABLE | Gfp.NOWARN)", (PINS,)),
]  # fmt: skip

_PLAN = [
    ("plan-takes-what-a-device-has", "clear bits only", CHOICE,
     "        bits = area.clear_runs(nr_bits, align_order)\n",
     "        bits = CmaArea(area.span).clear_runs(nr_bits, align_order)\n", (T_CMA,)),
    ("plan-forgets-who-refused", "planned around", CMA,
     "            failed[result.report.left] = True\n        made", "        made", (T_CMA,)),
    ("plan-counts-listed-pages-as-stuck", "lists are drained first", CHOICE,
     "        self._parts.pcp.drain_all()\n        census", "        census",
     (T_CMA,)),
    ("plan-refuses-without-a-word", "the frames in the way", CMA,
     "            self._refuse(made, mode, result)\n", "            pass\n", (T_CMA,)),
    ("plan-cuts-the-largest-range", "best fit first", CHOICE,
     "candidates=Ranked(starts, waste))", "candidates=starts)",
     (f"{BOUNDS}::test_cma_in_sequence",)),
    ("plan-knows-no-larger-size", "the largest ranges stay whole", RUNS,
     "        for size in range(_NR_SIZES):\n", "        for size in range(1):\n",
     (f"{BOUNDS}::test_cma_in_sequence",)),
    ("plan-reclaims-nothing", "plan >= scan", CMA,
     "                if self._planner.make_space(choice, mode, failed, result.report):\n",
     "                if made.span is not None:\n", (f"{BOUNDS}::test_cma",)),
    ("plan-leaves-what-lies-beside", "plan >= scan", CHOICE,
     "        if count:\n", "        if count < 0:\n",
     (f"{T_CMA}::test_a_plan_moves_what_fits_beside",)),
    ("plan-tries-nothing-on-its-own", "plan >= scan", CMA,
     "            if not failed[start : span.stop].any():\n", "            if failed is None:\n",
     (f"{T_CMA}::test_a_plan_tries_what_it_did_not_foresee",)),
    ("plan-cannot-release", "plan >= scan", CHOICE,
     "with_released=True, ", "", (f"{T_CMA}::test_a_plan_releases",)),
    ("plan-leaves-huge-pages", "plan >= scan", CHOICE,
     "with_huge=True, ", "", (f"{T_CMA}::test_a_plan_takes_huge_pages_away",)),
    ("plan-is-a-scan", "the cheapest range", CMA,
     "        ask = self._walk if strategy == \"scan\" else self._by_plan\n",
     "        ask = self._walk\n", (T_CMA, CHEAPEST)),
]  # fmt: skip

_REQUEST = [
    ("size-asked-for-again-after-it-failed", "a size stops at its first failure", REQUEST,
     "            elif not account.again():\n                break\n",
     "            else:\n                got += 1\n", (T_REQUEST,)),
    ("alignment-ignored", "align_order", REQUEST,
     "                options.align_order,\n", "                0,\n", (T_REQUEST,)),
    ("interruption-ignored-inside", "Ctrl-C", REQUEST,
     "        signal_pending=options.interrupted,\n", "", (T_REQUEST,)),
    ("bound-without-listed-pages", "the bound is one", "mm/planning/execute.py",
     "free=census.free | goes | listed,", "free=census.free | goes,", (T_REQUEST,)),
    ("bound-without-what-reclaim-frees", "the bound is one", "mm/planning/execute.py",
     "        goes = self.could_free() & ~design", "        goes = self._nothing_more() & ~design",
     (f"{BOUNDS}::test_cma",)),
    ("bound-counts-pages-not-runs", "units of the request", RUNS,
     "        count: _Rows = np.where(slack >= 0, slack // stride + 1, 0)\n",
     "        count: _Rows = np.maximum(stops - starts, 0) // nr_bits\n", (f"{BOUNDS}::test_cma",)),
    ("bound-forgets-the-room", "one free frame fewer for each page", RUNS,
     "        left = min(count, (nr_free - obtained) // nr_pages)\n",
     "        left = count\n", (f"{BOUNDS}::test_cma",)),
    ("memory-without-an-area-served", "a mistake is named", REQUEST,
     "    if not machine.cma.areas and not machine.cma.adopt():\n",
     "    machine.cma.adopt()\n    if machine is None:\n", (T_REQUEST,)),
]  # fmt: skip

MUTANTS = [
    Mutant(name=f"cma-{name}", guards=guards, file=file, old=old, new=new, tests=tests)
    for name, guards, file, old, new, tests in (*_AREA, *_WALK, *_AREAS, *_PLAN, *_REQUEST)
]
