"""Bugs in requests for memory: accounts, reports, reasons, time by step, and their commands."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

_UNIT = "tests/unit/pinlab"
_ACCOUNT = f"{_UNIT}/requests/test_account.py"
_REPORT = f"{_UNIT}/requests/test_report.py"
_SHOW = f"{_UNIT}/requests/test_show.py"
_REASONS = f"{_UNIT}/requests/test_reasons.py"
_DESCRIBED = f"{_UNIT}/described/test_synthetic.py"
_FIDELITY = f"{_UNIT}/requests/test_fidelity.py"
_SUM_UP = "tests/property/test_requests_sum_up.py"
_STEPS = "tests/property/test_cost_steps.py"
_CLI = "tests/cli/test_request.py"

_TIME = [
    planted(
        "steps-forget-retries",
        "steps sum to the total",
        "mm/state/costs.py",
        '"retry": counters.pages_retried * self.retry_ns,',
        '"retry": 0,',
        _STEPS,
    ),
    planted(
        "steps-book-flushes-as-copying",
        "latency by step",
        "mm/state/costs.py",
        '            "copy": counters.pages_copied',
        '            "copy": counters.flushes * self.flush_ns + counters.pages_copied',
        _STEPS,
    ),
    planted(
        "account-charges-twice",
        "AC1",
        "pinlab/requests/account.py",
        "machine.clock.advance(worked_ns - charged_ns)",
        "machine.clock.advance(worked_ns)",
        _ACCOUNT,
    ),
    planted(
        "account-loses-the-wait",
        "AC1",
        "pinlab/requests/account.py",
        "waited_ns=max(charged_ns - worked_ns, 0))",
        "waited_ns=0)",
        _ACCOUNT,
    ),
    planted(
        "account-forgets-between-attempts",
        "attempts sum to the request",
        "pinlab/requests/account.py",
        """"AC2 an attempt begins inside another", name=name)
        self._settle()""",
        """"AC2 an attempt begins inside another", name=name)
        self._seen = self.machine.counted()""",
        _ACCOUNT,
    ),
    planted(
        "account-attempts-nest",
        "AC2",
        "pinlab/requests/account.py",
        'require(self._under_way is None, "AC2 an attempt begins inside another", name=name)',
        "pass",
        _ACCOUNT,
    ),
    planted(
        "percentile-one-rank-too-low",
        "latency CDF",
        "pinlab/requests/latency.py",
        "ascending[-(-percent * len(ascending) // 100) - 1]",
        "ascending[percent * len(ascending) // 100 - 1]",
        _SHOW,
    ),
]

_SUMS = [
    planted(
        "account-keeps-the-last-refusals-only",
        "reasons sum to the failures",
        "pinlab/requests/account.py",
        "self._refusals.update(refusals)",
        "self._refusals = refusals",
        _ACCOUNT,
    ),
    planted(
        "report-owners-need-not-sum",
        "reasons sum to the failures",
        "pinlab/requests/report.py",
        "if by_owner != self.refused:",
        "if by_owner.keys() != self.refused.keys():",
        _REPORT,
    ),
    planted(
        "report-steps-need-not-sum",
        "steps sum to the total",
        "pinlab/requests/report.py",
        "if sum(self.steps_ns.values()) != self.modelled_ns:",
        "if sum(self.steps_ns.values()) > self.modelled_ns + 1:",
        _REPORT,
    ),
    planted(
        "reasons-filter-ignores-the-holder",
        "report reasons",
        "pinlab/requests/reasons.py",
        "        if owner in (None, holder)\n",
        "",
        _REASONS,
    ),
    planted(
        "reasons-filter-ignores-the-reason",
        "report reasons",
        "pinlab/requests/reasons.py",
        " if reason in (None, why)}",
        "}",
        _REASONS,
    ),
]

_EVERYWHERE = [
    planted(
        "refusals-count-a-frame-too-many",
        "reasons sum to the failures, whoever asks",
        "mm/state/reasons.py",
        "] += count",
        "] += count + 1",
        f"{_SUM_UP}::test_a_frame_is_counted_once_in_an_attempt",
    ),
    planted(
        "attempts-are-blamed-for-earlier-ones",
        "reasons sum to the failures, whoever asks",
        "pinlab/requests/account.py",
        "refused=_named(refusals),",
        "refused=_named(self._refusals),",
        f"{_SUM_UP}::test_reasons_sum_to_the_failures_and_steps_to_the_time",
    ),
    planted(
        "offline-fails-for-no-reason",
        "every failure has a reason",
        "pinlab/requests/offline.py",
        "refusals=_refusals(result),",
        "refusals=None,",
        f"{_SUM_UP}::test_a_frame_is_counted_once_in_an_attempt",
    ),
]

_INTERRUPTED = [
    planted(
        "account-forgets-the-interruption",
        "a partial report",
        "pinlab/requests/account.py",
        "self._was_interrupted = self._was_interrupted or self._options.interrupted()",
        "self._was_interrupted = self._options.interrupted()",
        _ACCOUNT,
    ),
    planted(
        "account-asks-nobody-at-the-end",
        "a partial report",
        "pinlab/requests/account.py",
        "partial=self._was_interrupted or (obtained < wanted and self.interrupted),",
        "partial=self._was_interrupted,",
        _ACCOUNT,
    ),
    planted(
        "account-takes-a-signal-for-a-refusal",
        "a partial report",
        "pinlab/requests/account.py",
        "self._was_interrupted = self._was_interrupted or errno is Errno.EINTR",
        "self._was_interrupted = self._was_interrupted or errno is Errno.EAGAIN",
        _ACCOUNT,
    ),
    planted(
        "account-checks-nothing",
        "check() after every request",
        "pinlab/requests/account.py",
        "        machine.check()\n",
        "",
        _ACCOUNT,
    ),
    planted(
        "command-partial-looks-whole",
        "exit code 130",
        "pinlab/cli/request.py",
        "        raise typer.Exit(INTERRUPTED)\n",
        "        pass\n",
        f"{_CLI}::test_a_person_sees_that_it_is_partial",
    ),
    planted(
        "command-ignores-a-second-ctrl-c",
        "Ctrl-C",
        "pinlab/cli/errors.py",
        "            raise KeyboardInterrupt\n",
        "            return\n",
        f"{_CLI}::test_a_second_ctrl_c_does_not_wait",
    ),
    planted(
        "command-keeps-ctrl-c",
        "Ctrl-C",
        "pinlab/cli/errors.py",
        "        signal.signal(signal.SIGINT, before)\n",
        "        pass\n",
        f"{_CLI}::test_ctrl_c_ends_in_order_with_a_report_that_says_it_is_partial",
    ),
    planted(
        "command-swallows-foreign-options",
        "options that concern nobody",
        "pinlab/cli/request.py",
        "if value is not None and consumer not in CONCERNS.get(option, (consumer,)):",
        "if value is not None and not CONCERNS.get(option, (consumer,)):",
        f"{_CLI}::test_a_wrong_call_is_one_line",
    ),
]

_OBEYED = f"{_UNIT}/requests/test_obeyed.py"
_OFFLINE = f"{_UNIT}/requests/test_offline.py"
_GEOMETRY = f"{_UNIT}/requests/test_geometry.py"
_OPTIONS = [
    planted(
        "offline-together-comes-back",
        "N means N together",
        "pinlab/requests/offline.py",
        "        if not together:\n            _bring_back",
        "        if True:\n            _bring_back",
        f"{_OFFLINE}::test_n_means_n_together",
    ),
    planted(
        "offline-bound-of-each-alone",
        "N means N together",
        "pinlab/requests/offline.py",
        "    return min(bound, plan.bound), nr_wanted(",
        "    return max(bound, plan.bound), nr_wanted(",
        f"{_OFFLINE}::test_one_by_one_is_what_each_could_do_alone",
    ),
    planted(
        "offline-block-of-any-size",
        "sizes are those that a machine can have",
        "pinlab/requests/offline.py",
        "if nr_pages & (nr_pages - 1) or nr_pages > nr_frames:",
        "if nr_pages > nr_frames:",
        f"{_OFFLINE}::test_a_size_that_no_memory_block_has_is_refused",
    ),
    planted(
        "retries-without-a-pause",
        "an option is obeyed or refused",
        "pinlab/requests/account.py",
        "        self.machine.clock.advance(self._options.pause_ns)\n",
        "",
        f"{_OFFLINE}::test_a_block_that_stayed_is_asked_for_again_after_a_pause",
    ),
    planted(
        "option-neither-obeyed-nor-refused",
        "an option is obeyed or refused",
        "pinlab/requests/obeyed.py",
        '    "align_order": ("cma",),\n',
        '    "align_order": ("cma", "huge1g"),\n',
        f"{_OBEYED}::test_an_option_is_obeyed_or_refused_on_every_path[huge1g-scan]",
    ),
    planted(
        "wanted-counts-holes",
        "a hole is a hole",
        "pinlab/requests/account.py",
        "(frames.state != FrameState.HOLE) & np.isin(frames.node, nodes)",
        "np.isin(frames.node, nodes)",
        f"{_GEOMETRY}::test_nobody_wants_a_huge_page_of_a_hole_or_of_another_node",
    ),
    planted(
        "wanted-of-every-node",
        "a hole is a hole",
        "pinlab/requests/account.py",
        "(frames.state != FrameState.HOLE) & np.isin(frames.node, nodes)",
        "frames.state != FrameState.HOLE",
        f"{_GEOMETRY}::test_nobody_wants_a_huge_page_of_a_hole_or_of_another_node",
    ),
    planted(
        "refused-without-a-reason",
        "an option is obeyed or refused",
        "pinlab/requests/obeyed.py",
        '        because = "" if why is None else f": {why}"\n',
        '        because = ""\n',
        f"{_OBEYED}::test_the_sentence_says_why",
    ),
    planted(
        "refused-after-the-replay",
        "an option is obeyed or refused",
        "pinlab/requests/run.py",
        "    require_obeyed(request, options, may_begin=True)\n",
        "",
        f"{_OBEYED}::test_nothing_is_replayed_for_an_option_that_is_refused",
    ),
]

_MEMORY = [
    planted(
        "described-pins-in-cma",
        "long-term pins leave CMA",
        "pinlab/described/synthetic.py",
        'self._give(("gup",), self._free_below(self._cma.start))',
        'self._give(("gup",), self._free_below(self._cma.stop))',
        _DESCRIBED,
    ),
    planted(
        "described-scatters-everything",
        "grouping by mobility",
        "pinlab/described/synthetic.py",
        "int(count * (1 - self._scatter))",
        "int(count * self._scatter)",
        _DESCRIBED,
    ),
    planted(
        "described-ignores-the-seed",
        "determinism",
        "pinlab/described/synthetic.py",
        "np.random.default_rng(seed), seed)",
        "np.random.default_rng(), seed)",
        _DESCRIBED,
    ),
    planted(
        "fidelity-counts-what-came-online-again",
        "fidelity",
        "pinlab/requests/fidelity.py",
        'name.startswith("offline")',
        'name.startswith("o")',
        _FIDELITY,
    ),
    planted(
        "fidelity-counts-failed-allocations",
        "fidelity",
        "pinlab/requests/fidelity.py",
        'if step.get("rc") == 0}',
        "}",
        _FIDELITY,
    ),
    planted(
        "fidelity-bar-on-the-prediction",
        "fidelity",
        "pinlab/requests/fidelity.py",
        '"huge": off <= 0.20 * measured,',
        '"huge": off <= 0.20 * predicted,',
        _FIDELITY,
    ),
]

MUTANTS: list[Mutant] = [*_TIME, *_SUMS, *_EVERYWHERE, *_INTERRUPTED, *_OPTIONS, *_MEMORY]
