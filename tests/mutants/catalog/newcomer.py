"""Bugs in what somebody meets who has pasted files and no manual."""

from tests.mutants.mutant import Mutant, planted

_TAKEN = "tests/unit/pinlab/report/test_taken.py"
_TRUST = "tests/unit/pinlab/report/test_trust.py"
_NEWER = "tests/unit/pinlab/sources/test_newer_kernels.py"
_CLI = "tests/cli/test_newcomer.py"
_DIAGNOSIS = "tests/unit/pinlab/diagnose/test_diagnosis.py"
_BLOCKS = "tests/unit/pinlab/report/test_blocks.py"
_FREE = "tests/cli/test_free_not_recorded.py"
_UNREAD = "tests/unit/pinlab/procfs/test_unread.py"
_CALLS = "tests/cli/test_calls.py::test_what_makes_no_sense_is_a_wrong_call"
_PAGE = "tests/unit/pinlab/whatif/test_page.py"

MUTANTS: list[Mutant] = [
    planted(
        "check-works-in-silence", "what takes long says so", "pinlab/cli/main.py",
        'with waiting_progress(f"checking {target}"):', "with contextlib.nullcontext():",
        "tests/cli/test_manners.py::test_what_may_take_long_says_that_it_is_at_work",
    ),
    planted(
        "help-breaks-where-the-source-does", "help flows", "pinlab/cli/main.py",
        '"\\n\\n".join(" ".join(part.split()) for part in text.split("\\n\\n"))', "text",
        "tests/cli/test_manners.py::test_a_paragraph_of_help_is_as_wide_as_the_terminal",
    ),
    planted(
        "unknown-is-told-in-two-ways", "a number is found again in the table",
        "pinlab/report/trust.py",
        "nr_listed = 0 if is_named else min(row.recorded or 0, nr_unknown)", "nr_listed = 0",
        f"{_TRUST}::test_the_line_before_the_table_tells_how_its_number_comes_about",
    ),
    planted(
        "description-without-its-file", "an error names the file", "pinlab/described/synthetic.py",
        "is_file = is_description(text) and not text.startswith(PREFIX)", "is_file = False",
        "tests/unit/pinlab/described/test_synthetic.py::test_a_file_that_cannot_be_used_is_named",
    ),
    planted(
        "label-without-its-file", "an error names the file", "pinlab/snapshot/labels.py",
        'where = f"{name}: {frames[1:]}"', "where = name",
        "tests/unit/pinlab/snapshot/test_labels.py::test_what_is_wrong_in_a_file_names_the_file",
    ),
    planted(
        "taken-allocation-before-the-range", "since when", "pinlab/report/taken.py",
        "    first += ends <= span.start\n", "",
        f"{_TAKEN}::test_a_range_has_the_allocations_that_have_a_frame_in_it",
    ),
    planted(
        "taken-by-the-allocator", "the function that asked", "pinlab/report/taken.py",
        "if not _OF_ALLOCATOR.fullmatch(function):", "if function:",
        f"{_NEWER}::test_the_function_that_asked_is_none_of_the_allocators",
    ),
    planted(
        "taken-of-free-frames", "since when", "pinlab/report/frames.py",
        "taken=None if owner in _FREE else taken_in(", "taken=taken_in(",
        f"{_NEWER}::test_a_frame_that_is_free_again_was_taken_by_nobody",
    ),
    planted(
        "trust-any-difference-is-drift", "differences are explained", "pinlab/report/trust.py",
        "if abs(more) > drift:", "if abs(more) > drift + (1 << 20):",
        f"{_TRUST}::test_totals_agree_within_the_drift_or_the_text_says_by_how_much_not_and_why",
    ),
    planted(
        "trust-drift-forgotten", "totals agree within the drift", "pinlab/report/trust.py",
        "if abs(more) > drift:", "if abs(more) > 0:",
        f"{_TRUST}::test_totals_agree_within_the_drift_or_the_text_says_by_how_much_not_and_why",
    ),
    planted(
        "trust-late-memory-was-taken", "differences are explained", "pinlab/report/trust.py",
        'if row.use == "managed" and more < 0:', 'if row.use == "managed" and more > 0:',
        f"{_TRUST}::test_memory_that_is_yet_to_be_initialised_is_why_meminfo_counts_more",
    ),
    planted(
        "trust-lines-as-wide-as-they-come", "lines fit into a mail", "pinlab/report/trust.py",
        "textwrap.fill(text, _WIDTH, subsequent_indent=\"  \") for text in sentences",
        "text for text in sentences",
        f"{_TRUST}::test_no_sentence_is_wider_than_a_mail",
    ),
    planted(
        "diagnose-holes-are-places", "a place has memory in it", "pinlab/diagnose/diagnosis.py",
        "    starts = starts[_sums(snapshot.klass != FrameClass.HOLE, starts, nr_pages) > 0]\n", "",
        f"{_DIAGNOSIS}::test_where_there_is_no_memory_there_is_no_place",
    ),
    planted(
        "diagnose-unknown-stays-for-ever", "unknown is not known to stay",
        "pinlab/diagnose/show.py",
        "any(map(_may_be_had, diagnosis.nearest))", "False",
        f"{_DIAGNOSIS}::test_what_nobody_knows_is_not_said_to_stay_for_ever",
    ),
    planted(
        "blocks-every-order-has-every-owner", "pages of the pool leave larger blocks",
        "pinlab/report/blocks.py",
        "row.of_owner.get(name)", "row.of_owner[name]",
        f"{_BLOCKS}::test_pages_of_the_pool_stand_in_small_blocks_and_leave_larger_ones",
    ),
    planted(
        "page-weight-without-bound", "a page can be opened", "pinlab/whatif/page.py",
        "runs if in_order else _runs(_by_owner(codes))", "runs",
        f"{_PAGE}::test_a_page_of_too_many_runs_keeps_the_counts_of_each_block_and_says_so",
    ),
    planted(
        "page-types-tabs-alone", "texts as mails have them", "pinlab/sources/page_types.py",
        "cells = tuple(line.split())", 'cells = tuple(line.split(b"\\t"))',
        f"{_NEWER}::test_page_types_as_a_mail_has_it",
    ),
    planted(
        "thp-tails-are-files", "a compound page is one owner's", "pinlab/procfs/infer.py",
        "klass[late], guessed[late] = FrameClass.ANON, True", "guessed[late] = True",
        f"{_NEWER}::test_page_types_as_a_mail_has_it",
    ),
    planted(
        "option-names-before-a-comma", "errors name options as they are typed",
        "pinlab/cli/errors.py",
        r'rf"\b{argument}=(?=[^\s,;.:)])"', r'rf"\b{argument}=(?=\S)"',
        "tests/docs/test_docstrings.py",
    ),
    planted(
        "counts-have-no-indices", "what can be said is said", "pinlab/cli/look.py",
        "open_recording(memory, needs_frames=False)", "open_recording(memory)",
        f"{_CLI}::test_counts_alone_have_their_indices_and_no_other_view",
    ),
    planted(
        "unknown-file-is-a-cut-npz", "a refusal says what the file is",
        "pinlab/snapshot/open.py",
        "    require_known(path)\n", "",
        f"{_CLI}::test_a_file_that_is_no_source_is_told_what_it_is",
    ),
    planted(
        "free-memory-is-always-recorded", "not recorded is not none", "pinlab/snapshot/image.py",
        'return "order" not in self.unknown_fields', "return True",
        _FREE,
    ),
    planted(
        "list-of-some-pages-says-what-is-free", "not recorded is not none",
        "pinlab/sources/source.py",
        'missing |= set() if (snapshot.klass == FrameClass.FREE).any() else {"order"}', "",
        _FREE,
    ),
    planted(
        "fleet-counts-what-nobody-recorded", "not recorded is not none", "pinlab/sources/fleet.py",
        "    if not snapshot.says_free:", "    if not snapshot:",
        f"{_FREE}::test_fleet_leaves_its_cells_empty_and_out_of_the_spread",
    ),
    planted(
        "replay-of-what-is-not-free", "not recorded is not none", "pinlab/cli/errors.py",
        "        if needs_free:", "        if not needs_frames:",
        f"{_FREE}::test_what_depends_on_free_memory_is_refused",
    ),
    planted(
        "labels-are-called-as-rows-are", "a name means one thing",
        "pinlab/snapshot/label_rules.py",
        "{klass.name.lower() for klass in FrameClass} | {KERNEL, ALL, HOME}",
        '{"slab", "zbud", "kernel"}',
        "tests/unit/pinlab/snapshot/test_labels.py::"
        "test_no_label_is_called_as_a_row_or_a_holder_is",
    ),
    planted(
        "release-that-no-run-keeps", "an option that changes nothing is refused",
        "pinlab/compare/compare.py",
        "    for name in release:\n", "    for name in ():\n",
        "tests/unit/pinlab/compare/test_compare.py::test_a_release_that_no_run_keeps_is_refused",
    ),
    planted(
        "closed-stdout-is-well", "what is lost is no success", "pinlab/cli/start.py",
        "if sys.stdout is None:", "if sys.stdout is sys.stderr:",
        "tests/cli/test_errors.py::test_a_closed_stdout_is_one_line_in_every_command",
    ),
    planted(
        "lines-of-proc-passed-over-in-silence", "what is not read is counted",
        "pinlab/procfs/unread.py",
        "if line.strip() and not form.fullmatch(line.rstrip())", "if not line",
        _UNREAD,
    ),
    planted(
        "sizes-are-told-in-pages", "a refusal names what was typed", "pinlab/cli/request.py",
        "if given[option] is not None and said in str(error):", "if said == str(error):",
        _CALLS,
    ),
    planted(
        "objects-without-a-pool-are-ignored", "an option that changes nothing is refused",
        "pinlab/described/synthetic.py",
        'if asked.objects != "usual" and not pools:', "if not asked.objects:",
        _CALLS,
    ),
    planted(
        "release-is-called-movable", "a refusal names what was typed",
        "pinlab/replay/take_over.py",
        'f"{argument}={label}: its owner', 'f"movable={label}: its owner',
        _CALLS,
    ),
    planted(
        "blocks-beyond-memory-are-listed", "no block of frames that are not there",
        "pinlab/report/blocks.py",
        "1 << order > max(snapshot.nr_frames, 1 << UNIT_ORDER)", "order > MOST_ORDER",
        _CALLS,
    ),
    planted(
        "drift-that-nobody-measured-is-none", "not recorded is not none",
        "pinlab/snapshot/image.py",
        "return 0 if is_compared and nr_free ==", "return 0 if not is_compared or nr_free !=",
        "tests/cli/test_sources.py::test_no_drift_is_told_where_nobody_compared",
    ),
    planted(
        "record-passes-over-page-types", "what is not taken is said", "pinlab/cli/main.py",
        "if proc is not None and (left := _not_taken(proc)):", "if (left := \"\"):",
        f"{_CLI}::test_a_folder_with_more_than_proc_says_what_would_take_it",
    ),
]  # fmt: skip
