"""Bugs planted in answers that are given beforehand, and in the code that a cause gets."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

_VERDICTS = "tests/property/test_hotplug_machine.py"
_FREE = f"{_VERDICTS}::test_a_free_huge_page_dissolves_where_it_is"
_USED = f"{_VERDICTS}::test_a_huge_page_in_use_needs_one_to_go_to"
_CHEAPEST = f"{_VERDICTS}::test_the_cheapest_blocks_go_together_and_no_more_could"
_OWN_CACHE = f"{_VERDICTS}::test_by_plan_cache_of_the_block_itself_makes_the_room_that_is_short"
_HELD = "tests/unit/pinlab/replay/test_host_memory.py"
_COMMANDS = (
    "tests/cli/test_describe.py"
    "::test_contents_that_do_not_fit_are_refused_before_anything_is_laid_out"
)
_SIGNAL = "tests/unit/mm/power/test_power.py::test_a_signal_ends_it_consistently"
_ERRNOS = "tests/unit/pinlab/requests/test_errnos.py"
_EVICT, _PLAN, _RANGES = "mm/hugetlb/evict.py", "mm/hotplug/verdict.py", "mm/planning/ranges.py"
_HOTPLUG, _TOGETHER = "mm/hotplug/memory_hotplug.py", "mm/hotplug/together.py"
_WORDS = f"{_VERDICTS}::test_a_verdict_says_what_it_hangs_on"
_ALL = f"{_VERDICTS}::test_huge_pages_and_room_are_counted_for_all_blocks_together"
_MANY = f"{_VERDICTS}::test_so_they_do_where_blocks_are_too_many_to_try_every_set"
_LISTS = f"{_VERDICTS}::test_what_a_per_cpu_list_keeps_back_may_be_missing"
_UNIT_RANGES = (
    "tests/unit/mm/planning/test_ranges.py::test_a_range_pays_with_no_frames_that_nobody_could_have"
)
_WHERE = f"{_VERDICTS}::test_where_what_leaves_several_blocks_goes"
_OUTCOME = f"{_VERDICTS}::test_the_verdict_is_the_outcome_whatever_is_in_memory"
_SMALL = "tests/unit/pinlab/requests/test_geometry.py::test_memory_blocks_of_a_pageblock_each"
_MARKS = (
    "tests/unit/pinlab/requests/test_offline.py::test_watermarks_are_kept_for_all_that_go_together"
)
_AFTER = (
    "tests/unit/pinlab/requests/test_offline.py"
    "::test_a_block_may_go_after_another_that_does_not_go_before_it"
)
_BOUNDS = "tests/property/test_hotplug_bounds.py"
_FAIL, _ANEW = (
    f"{_BOUNDS}::test_attempts_that_fail_make_room",
    f"{_BOUNDS}::test_watermarks_are_shared_out_anew",
)
_BACK = "tests/unit/pinlab/requests/test_offline.py::test_a_block_that_is_back_is_free_memory"
_KEEPS = f"{_VERDICTS}::test_a_block_that_stays_keeps_its_free_huge_pages"
_RESERVE = (
    "tests/unit/pinlab/replay/test_replay.py"
    "::test_lower_zones_keep_a_reserve_as_they_do_in_the_kernel"
)
_CERTAIN = (
    "tests/unit/pinlab/requests/test_offline.py"
    "::test_what_is_certain_needs_no_reclaim_and_no_fresh_huge_page"
)

_HUGE = [
    planted("verdict-free-huge-page-has-to-move", "a verdict is the outcome", _PLAN,
            "free = census.free | dissolves", "free = census.free", _FREE),
    planted("verdict-free-huge-page-is-room", "a verdict is the outcome", _PLAN,
            "usable=census.usable & ~held,", "usable=census.usable,", _WHERE),
    planted("verdict-huge-page-needs-no-huge-page", "a verdict is the outcome", _TOGETHER,
            "return Alone(has_space, is_there & (nr_fresh <= nr_to_have))",
            "return Alone(has_space, is_there)", _USED),
    planted("verdict-forgets-free-huge-pages-elsewhere", "a verdict is the outcome", _TOGETHER,
            "short = huge.used - (huge.nr_free - huge.free)", "short = huge.used", _USED),
    planted("verdict-counts-on-its-own-free-huge-pages", "a verdict is the outcome", _TOGETHER,
            "short = huge.used - (huge.nr_free - huge.free)", "short = huge.used - huge.nr_free",
            _OUTCOME),
    planted("plan-pays-for-huge-pages-that-dissolve", "planner optimality", _RANGES,
            "taken=nr_pages - _between(is_shut, first_block, stop_block)", "taken=nr_pages",
            _UNIT_RANGES),
    planted("offline-plan-makes-no-room-beforehand", "a verdict is the outcome", _HOTPLUG,
            "            self._make_space(span, design, mode)\n", "", _OWN_CACHE),
    planted("offline-plan-makes-no-room-beside-a-huge-page", "a verdict is the outcome", _HOTPLUG,
            "nr_moves = nr_small_moves(self._host, span, design, mode) if look is None",
            "nr_moves = 0 if look is None", _OWN_CACHE),
]  # fmt: skip

_THREE = "a verdict says what it hangs on"
_SETS = "all blocks together"
_HANGS = [
    planted("verdict-sure-of-compaction", _THREE, _HOTPLUG,
            "needs_huge_page=not known.has_huge_pages[0]", "needs_huge_page=False", _WORDS),
    planted("verdict-sure-of-reclaim", _THREE, _HOTPLUG,
            "needs_space=not known.has_space[0]", "needs_space=False", _WORDS),
    planted("verdict-sure-of-per-cpu-lists", _THREE, _HOTPLUG,
            "needs_space=short + kept_back > 0", "needs_space=False", _LISTS),
    planted("look-at-all-sure-of-per-cpu-lists", _THREE, _TOGETHER,
            "needs.nr_moves + nr_fresh * size + _listed(needs)", "needs.nr_moves + nr_fresh * size",
            _LISTS),
    planted("verdict-fresh-huge-page-takes-no-room", _THREE, _TOGETHER,
            "needs.nr_moves + nr_fresh * size + _listed(needs)", "needs.nr_moves + _listed(needs)",
            _WORDS),
    planted("verdict-hangs-on-nothing", _THREE, _PLAN,
            "return not (self.needs_huge_page or self.needs_space)", "return True", _WORDS),
    planted("removable-for-certain-is-removable", _THREE, _HOTPLUG,
            "planner.certain().goes if for_certain else", "", _OUTCOME),
    planted("request-certain-is-what-is-possible", _THREE, "pinlab/requests/offline.py",
            "clear & planner.certain().goes", "clear & planner.goes()", _CERTAIN),
    planted("request-certain-of-each-alone", _SETS, "pinlab/requests/offline.py",
            "nr_wanted(span.start for span in plan.spans)", "bound", _CERTAIN),
    planted("together-huge-pages-share-a-free-one", _SETS, _TOGETHER,
            "nr_fresh = np.maximum(sums.huge - _nr_free_huge(needs), 0)",
            "nr_fresh = np.zeros_like(sums.huge)", _ALL),
    planted("together-a-free-huge-page-outlives-its-block", _SETS, _TOGETHER,
            "            huge = huge + one.used + one.free\n",
            "            huge = huge + one.used\n", _ALL),
    planted("together-room-is-each-ones", _SETS, _TOGETHER,
            "    certain |= sums.taken_kernel + nr_fresh * size + listed_kernel <= for_kernel\n",
            "    certain |= sums.nr_kernel > 0\n", _CHEAPEST),
    planted("together-movable-goes-first", _SETS, _TOGETHER,
            "wanted[np.argsort(needs.in_movable[wanted], kind=\"stable\")]", "wanted", _WHERE),
    planted("together-fresh-pages-without-a-pageblock", _SETS, _TOGETHER,
            "certain &= (nr_fresh == 0) | (nr_fresh <= _nr_empty_left(needs, sums))",
            "certain &= nr_fresh >= 0", _ALL, _CHEAPEST, _MANY),
    planted("together-watermarks-forgotten", _SETS, _TOGETHER,
            "zones.nr_free[:, None] - least - reserve", "zones.nr_free[:, None] - reserve", _SMALL),
    planted("together-ends-with-the-first-that-does-not-go", _SETS, _TOGETHER,
            "        left = left[count + 1 :]\n", "        left = left[:0]\n", _WHERE),
    planted("together-any-set-for-the-best", _SETS, _TOGETHER,
            "np.flatnonzero(certain & (sizes == most))[0]", "np.flatnonzero(sizes == most)[0]",
            _CHEAPEST, _ALL),
    planted("bound-pageblocks-of-blocks-that-go", _SETS, _TOGETHER,
            "could: Mask = least.pageblocks <= _nr_free_huge(needs) + zones.nr_clearable.sum()",
            "could: Mask = least.pageblocks >= 0", _ALL),
    planted("bound-marks-for-what-is-empty", _SETS, _TOGETHER,
            "*(column * leaves for column in of_space)", "*of_space", _SMALL),
    planted("bound-without-watermarks", _SETS, _TOGETHER,
            "spare = zones.nr_free[zone] - least\n", "spare = zones.nr_free[zone] + least\n",
            _MARKS),
    planted("bound-marks-before-the-others-go", _SETS, _TOGETHER,
            "return _may_go(eased, clear,", "return _may_go(needs, clear,", _WHERE),
    planted("bound-of-those-that-go-now", _SETS, "pinlab/requests/offline.py",
            "if len(wanted) == 1 else planner.may_go_later(clear)", "", _AFTER),
    planted("bound-of-what-comes-back-as-it-was", _SETS, _PLAN,
            "with_swap=self._with_swap, come_back=True)",
            "with_swap=self._with_swap, come_back=False)", _AFTER, _BACK),
    planted("bound-huge-pages-stay-below", _SETS, _TOGETHER,
            "    return min(nr_in_use, _nr_in_movable(needs))\n", "    return 0\n", _FAIL),
    planted("bound-movable-is-as-full-as-now", _SETS, _TOGETHER,
            "return int(needs.zones.nr_clearable[needs.zones.is_movable].sum())",
            "return needs.nr_beside", _FAIL),
    planted("bound-own-frames-never-stand-for-a-mark", _SETS, _TOGETHER,
            "free = zones.nr_free[:, None] if stands_in else outside", "free = outside", _FAIL),
    planted("certain-marks-as-they-are", _SETS, _TOGETHER,
            "np.maximum(grown, zones.min[:, None])", "zones.min[:, None]", _ANEW),
    planted("certain-marks-are-in-proportion", _SETS, "mm/hotplug/needs.py",
            "shared=_column(zone.managed_nr_pages for zone in zones) * min_nr_pages / nr_managed,",
            "shared=_column(zone.min for zone in zones),", _ANEW),
    planted("hot-remove-dissolves-huge-pages-first", "the kernel's order", _EVICT,
            "if errno is Errno.OK and not keep and not made:", "if False:", _KEEPS),
    planted("a-free-huge-page-is-in-the-way", "what dissolves is in nobody's way",
            "mm/contig/range_walk.py",
            "used &= ~self.parts.hugetlb.dissolves(span)", "pass", _KEEPS),
    planted("hot-remove-leaves-huge-pages", "the kernel's order", "mm/contig/evacuate.py",
            "            errno = huge.dissolve(span)\n", "            pass\n", _FREE),
    planted("replay-without-lowmem-reserves", "a replay is the recorded machine",
            "pinlab/replay/frames.py", "    setup_lowmem_reserve(zones)\n", "", _RESERVE),
    planted("bound-reserve-outlives-what-it-is-for", _SETS, _TOGETHER,
            "least += _least_reserve(needs, zone, reserve, nr_before)",
            "least += reserve[zone]", _WHERE),
    planted("bound-movable-keeps-to-itself", _SETS, _TOGETHER,
            "return kernel, np.where(least.nr_kernel > 0, kernel, below) + above",
            "return kernel, above", _WHERE),
    planted("plan-fills-zone-movable-from-below", "targets that whoever moves can have", _RANGES,
            "census.usable & ~isolated & ~above, spare)", "census.usable & ~isolated, spare)",
            _WHERE),
    planted("plan-fills-a-frame-twice", "Q2", _RANGES,
            "    free[targets[rows]] = False\n", "", _WHERE),
]  # fmt: skip

_CODES = [
    planted("power-plan-goes-on-after-a-signal", "the kernel's code for the cause",
            "mm/power/power.py", "while isolated and errno is not Errno.EINTR:", "while isolated:",
            _SIGNAL),
    planted("gigantic-walk-ends-busy", "the kernel's code for the cause",
            "mm/hugetlb/gigantic.py", "    errno: Errno = Errno.ENOMEM\n",
            "    errno: Errno = Errno.EBUSY\n", _ERRNOS),
]  # fmt: skip

_FITS = [
    planted("described-contents-not-asked-for", "refused before anything is laid out",
            "pinlab/cli/errors.py", "if is_described and nr_jobs:",
            "if is_described and not nr_jobs:", _COMMANDS),
    planted("request-lays-out-what-does-not-fit", "refused before anything is laid out",
            "pinlab/cli/request.py", "nr_jobs=0 if layout_only else 1)", "nr_jobs=0)", _COMMANDS),
    planted("compare-lays-out-what-does-not-fit", "refused before anything is laid out",
            "pinlab/cli/main.py", "nr_jobs=0 if layout_only else nr_jobs)", "nr_jobs=0)",
            _COMMANDS),
    planted("reserved-frames-have-contents", "what is described holds as much as it will",
            "pinlab/described/synthetic.py", ' - self._nr["reserved"])', ")", _HELD),
]  # fmt: skip

MUTANTS: list[Mutant] = [*_HUGE, *_HANGS, *_CODES, *_FITS]
