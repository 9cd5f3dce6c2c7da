"""Bugs planted in CMA: the bitmap, the walk, the plan, the request."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

AREA, CMA, T_CMA = "mm/contig/cma_area.py", "mm/contig/cma.py", "tests/unit/mm/contig/test_cma.py"
REQUEST, T_REQUEST = "pinlab/requests/cma.py", "tests/unit/pinlab/requests/test_cma.py"
PINS = "tests/unit/mm/contig/test_cma_pins.py"
REFUSALS = "tests/refusals/test_mm_refuses.py"
RANGES = "tests/property/test_contig_ranges.py"
LOOP = f"{T_CMA}::test_the_first_run_is_that_of_the_plain_loop"
SKIPPED = f"{RANGES}::test_skipped_ranges_would_have_failed"
CHEAPEST = f"{RANGES}::test_the_plan_finds_a_range_if_there_is_one_and_the_cheapest"

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
     "        if not retry.is_alone or not len(immovable):\n",
     "        if not len(immovable):\n", (T_CMA,)),
    ("nothing-is-skipped", "immovable ranges are left out", CMA,
     "        if not retry.is_alone or not len(immovable):\n",
     "        if retry is not None:\n", (T_CMA,)),
    ("refusals-of-every-range", "those of the last range", CMA,
     "        self.report.refusals.counts.clear()\n", "", (T_CMA,)),
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
     "        if nr_areas == MAX_CMA_AREAS:\n", "        if nr_areas < 0:\n",
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
    ("plan-takes-what-a-device-has", "clear bits only", CMA,
     "        runs = area.clear_runs(area.bits_for(count), align_order)\n",
     "        runs = CmaArea(area.span).clear_runs(count, align_order)\n", (T_CMA,)),
    ("plan-forgets-who-refused", "planned around", CMA,
     "            failed[result.report.left] = True\n", "", (T_CMA,)),
    ("plan-counts-listed-pages-as-stuck", "lists are drained first", CMA,
     "            self._parts.pcp.drain_all()\n            census", "            census",
     (T_CMA,)),
    ("plan-refuses-without-a-word", "the frames in the way", CMA,
     "                self._refuse(made, mode, result)\n", "", (T_CMA,)),
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
    ("bound-without-listed-pages", "the bound is one", REQUEST,
     "    return int(np.count_nonzero(census.free[rows] | census.movable[rows] | listed))\n",
     "    return int(np.count_nonzero(census.free[rows] | census.movable[rows]))\n",
     (T_REQUEST,)),
    ("memory-without-an-area-served", "a mistake is named", REQUEST,
     "    if not machine.cma.areas and not machine.cma.adopt():\n",
     "    machine.cma.adopt()\n    if machine is None:\n", (T_REQUEST,)),
]  # fmt: skip

MUTANTS = [
    Mutant(name=f"cma-{name}", guards=guards, file=file, old=old, new=new, tests=tests)
    for name, guards, file, old, new, tests in (*_AREA, *_WALK, *_AREAS, *_PLAN, *_REQUEST)
]
