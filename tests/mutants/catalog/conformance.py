"""A weakened suite must be noticed: each check that goes lets one broken owner pass."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

WATCH = "pinpage/testing/conformance_watch.py"
BOOKS = "pinpage/testing/conformance_books.py"
RUN = "pinpage/testing/conformance_run.py"
PLAN = "pinpage/testing/conformance_plan.py"
SEARCH = "pinpage/testing/conformance_search.py"
LAB = "pinpage/testing/conformance_lab.py"
FRONT = "pinpage/testing/conformance.py"
CHECK = "pinlab/check.py"
UNIT = "tests/unit/pinpage/test_conformance.py"


def _caught_by(*names: str) -> tuple[str, ...]:
    owners = "tests/conformance/test_broken_owners.py::test_the_right_sentence"
    return tuple(f"{owners}[{name}]" for name in names)


MUTANTS = [
    Mutant(
        "kit-blind-to-accesses-while-quiet",
        "C1",
        WATCH,
        "if self.quiet and self._is_quiet(pfn):",
        "if self.quiet and self._is_quiet(pfn) and not self.doing:",
        _caught_by("restless", "device"),
    ),
    Mutant(
        "kit-forgets-who-said-yes",
        "C1",
        WATCH,
        '        self.quiet[pin] = b""\n',
        "",
        _caught_by("restless"),
    ),
    Mutant(
        "kit-lets-the-old-frame-be-used",
        "C2",
        WATCH,
        '{"left": Promise.C2, "left again": Promise.C13}',
        '{"left again": Promise.C13}',
        _caught_by("sticky"),
    ),
    Mutant(
        "kit-takes-a-raise-in-migrate-for-one-in-isolate",
        "C3",
        WATCH,
        '{"migrate": Promise.C3, "putback": Promise.C5}',
        '{"putback": Promise.C5}',
        _caught_by("refusing"),
    ),
    Mutant(
        "kit-takes-a-raise-in-putback-for-one-in-isolate",
        "C5",
        WATCH,
        '{"migrate": Promise.C3, "putback": Promise.C5}',
        '{"migrate": Promise.C3}',
        _caught_by("fragile"),
    ),
    Mutant(
        "kit-accepts-what-nobody-can-read",
        "C4",
        BOOKS,
        '                watch.broke(self._promise(), f"nobody gets at thing {number} any more")',
        "                pass",
        _caught_by("forgetful"),
    ),
    Mutant(
        "kit-does-not-count-references",
        "C6",
        BOOKS,
        "                if left != wanted:",
        "                if left < 0 * wanted:",
        _caught_by("miscounting"),
    ),
    Mutant(
        "kit-shrugs-at-unaccounted-references",
        "C6",
        BOOKS,
        "if reason == Reason.UNACCOUNTED and pfn not in self._excused:",
        "if reason == Reason.MOVED and pfn in self._excused:",
        _caught_by("greedy"),
    ),
    Mutant(
        "kit-lets-callbacks-pin-the-frame",
        "C7",
        WATCH,
        "            self._pinned_inside(name, args)",
        "            pass",
        _caught_by("repinning"),
    ),
    Mutant(
        "kit-never-tries-the-single-forms",
        "C8",
        SEARCH,
        "            self._twins,\n",
        "",
        _caught_by("twofaced"),
    ),
    Mutant(
        "kit-compares-the-batch-form-with-itself",
        "C8",
        SEARCH,
        "self._finding(plan, use_batch_forms=False)",
        "self._finding(plan, use_batch_forms=True)",
        _caught_by("twofaced"),
    ),
    Mutant(
        "kit-believes-a-release-that-kept-its-pin",
        "C9",
        WATCH,
        '            elif verdict is Verdict.YES and name == "release":',
        '            elif verdict is Verdict.YES and name == "release" and not self._has(pin):',
        _caught_by("keeping"),
    ),
    Mutant(
        "kit-believes-a-release-that-kept-its-reference",
        "C9",
        WATCH,
        "        if left > 0 and not self.owns(pfn):",
        "        if left > 1 and not self.owns(pfn):",
        _caught_by("halfreleasing"),
    ),
    Mutant(
        "kit-lets-callbacks-unregister",
        "C10",
        WATCH,
        'self.broke(Promise.C10, f"{self.inside} unregistered its own owner")',
        "pass",
        _caught_by("leaving"),
    ),
    Mutant(
        "kit-blames-the-run-for-a-callback-that-hangs",
        "C10",
        FRONT,
        "promise = Promise.C10 if callback else Promise.C16",
        "promise = Promise.C16",
        _caught_by("waiting"),
    ),
    Mutant(
        "kit-takes-any-answer-for-a-verdict",
        "C11",
        WATCH,
        "    return isinstance(answer, int) and",
        "    return answer is None or isinstance(answer, int) and",
        _caught_by("mumbling"),
    ),
    Mutant(
        "kit-does-not-see-that-the-pin-is-gone",
        "C12",
        BOOKS,
        "                if not self.watch.owns(pfn):",
        "                if self.watch.owns(pfn) is None:",
        _caught_by("fleeing"),
    ),
    Mutant(
        "kit-never-sends-anybody-back",
        "C13",
        PLAN,
        '    "migrate": ("raise", "lie", *_USERS),',
        '    "migrate": ("lie", *_USERS),',
        (f"{UNIT}::test_the_drill_tries_every_fault_and_every_step",),
    ),
    Mutant(
        "kit-takes-the-way-back-for-a-way-forth",
        "C13",
        WATCH,
        "is_back = self.told.get(pfn) == target",
        "is_back = self.told.get(pfn) == -1",
        _caught_by("oneway"),
    ),
    Mutant(
        "kit-does-not-ask-for-pins",
        "C14",
        RUN,
        "        if not self._pins():",
        "        if self._pins() is None:",
        _caught_by("secret"),
    ),
    Mutant(
        "kit-content-with-an-owner-that-never-moves",
        "C15",
        RUN,
        "        if action.is_undisturbed and reasons is not None:",
        "        if action.is_undisturbed and reasons is None:",
        _caught_by("stubborn"),
    ),
    Mutant(
        "kit-does-not-compare-contents",
        "C16",
        BOOKS,
        "        if got[: len(data)] != data:",
        "        if len(got) < len(data):",
        _caught_by("scribbling"),
    ),
    Mutant(
        "kit-finds-fault-with-a-write-between-two-yeses",
        "C1",
        WATCH,
        "        return bool(pins) and self.quiet.keys() >= set(pins)",
        "        return bool(self.quiet.keys() & set(pins))",
        (f"{UNIT}::test_of_several_pins_the_last_yes_counts",),
    ),
    Mutant(
        "kit-blames-the-owner-for-our-bugs",
        "C6",
        BOOKS,
        "            if text[:1] in _OURS:",
        '            if text[:1] in "":',
        (f"{UNIT}::test_an_invariant_of_the_move_is_not_blamed_on_the_owner",),
    ),
    Mutant(
        "kit-never-lets-a-mover-go-on",
        "R-29",
        RUN,
        "            ride.finish()",
        "            ride.step()",
        (f"{UNIT}::test_a_pin_that_has_to_wait_lets_the_mover_go_on",),
    ),
    Mutant(
        "kit-keeps-a-frame-it-could-not-pin",
        "C14",
        LAB,
        "        del self._pfn_of[private]  # the frame is still under the move that freed it",
        "        return private",
        (f"{UNIT}::test_a_frame_that_is_still_under_move_is_not_kept",),
    ),
    Mutant(
        "kit-gives-up-after-the-drill",
        "C2",
        SEARCH,
        "            if finding is None:\n                return False",
        "            if finding is not None:\n                return False",
        (f"{UNIT}::test_hypothesis_finds_what_needs_a_history",),
    ),
    Mutant(
        "kit-explores-one-schedule",
        "C2",
        SEARCH,
        "max_preemptions=_MOST_PREEMPTIONS,",
        "max_preemptions=0,",
        (f"{UNIT}::test_the_explorer_finds_what_needs_a_moment",),
    ),
    Mutant(
        "kit-shows-the-whole-plan",
        "C11",
        SEARCH,
        "        while at < len(plan):",
        "        while at < 0:",
        (f"{UNIT}::test_a_plan_is_shortened_to_what_is_needed",),
    ),
    Mutant(
        "check-says-nothing-by-exit-code",
        "C1",
        "pinlab/cli.py",
        "    if not report.kept:\n",
        "    if report.kept is None:\n",
        ("tests/cli/test_check.py::test_a_broken_promise_is_exit_code_1_with_its_trace",),
    ),
    Mutant(
        "check-calls-what-cannot-be-called",
        "C1",
        CHECK,
        "    if not callable(factory):",
        "    if factory is None:",
        ("tests/cli/test_check.py",),
    ),
]
