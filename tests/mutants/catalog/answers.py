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
_HOTPLUG = "mm/hotplug/memory_hotplug.py"

_HUGE = [
    planted("verdict-free-huge-page-has-to-move", "a verdict is the outcome", _PLAN,
            "free = census.free | dissolves", "free = census.free", _FREE),
    planted("verdict-free-huge-page-is-room", "a verdict is the outcome", _PLAN,
            "usable=census.usable & ~held,", "usable=census.usable,", _CHEAPEST),
    planted("verdict-huge-page-needs-no-huge-page", "a verdict is the outcome", _EVICT,
            "        fewer[nr_fresh > nr_blocks_left] = _NO_SPACE\n", "", _USED),
    planted("verdict-forgets-free-huge-pages-elsewhere", "a verdict is the outcome", _EVICT,
            "            fewer += nr_taken_in * min(pool.nr_pages, nr_pages)\n", "", _USED),
    planted("plan-pays-for-huge-pages-that-dissolve", "planner optimality", _RANGES,
            "taken=nr_pages - _between(is_shut, first_block, stop_block)", "taken=nr_pages",
            _CHEAPEST),
    planted("offline-plan-makes-no-room-beforehand", "a verdict is the outcome", _HOTPLUG,
            "            self._make_space(span, design, mode)\n", "", _OWN_CACHE),
    planted("offline-plan-makes-no-room-beside-a-huge-page", "a verdict is the outcome", _HOTPLUG,
            "nr_moves = nr_small_moves(self._host, span, design, mode) if look is None",
            "nr_moves = 0 if look is None", _OWN_CACHE),
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

MUTANTS: list[Mutant] = [*_HUGE, *_CODES, *_FITS]
