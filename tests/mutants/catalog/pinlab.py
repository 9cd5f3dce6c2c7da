"""Bugs in replaying recordings, reading contents back, comparing, and running side by side."""

from tests.mutants.mutant import Mutant

_UNIT = "tests/unit/pinlab"
_REPLAY = f"{_UNIT}/test_replay.py"
_SMALL = f"{_REPLAY}::test_the_machine_equals_the_recording_frame_by_frame[small]"
_LEDGER = f"{_UNIT}/test_ledger.py"
_COMPARE = f"{_UNIT}/test_compare.py"
_FORKED = f"{_UNIT}/test_forked.py"


def _mutant(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=name, guards=guards, file=file, old=old, new=new, tests=tests)


_REPLAYED = [
    _mutant(
        "replay-unknown-is-free",
        "unknown is never free",
        "pinlab/layout.py",
        "    frames.state[:n] = snapshot.state\n",
        "    frames.state[:n] = np.where(snapshot.state == FrameState.UNKNOWN, FrameState.FREE, "
        "snapshot.state)\n",
        _SMALL,
    ),
    _mutant(
        "replay-no-holes-at-the-end",
        "padding is holes",
        "pinlab/layout.py",
        "    frames.order[:n] = snapshot.order\n",
        "    frames.order[:n] = snapshot.order\n    frames.state[n:] = FrameState.RESERVED\n",
        _SMALL,
    ),
    _mutant(
        "replay-pageblock-types-forgotten",
        "free lists by type",
        "pinlab/layout.py",
        "[: snapshot.nr_blocks][known] = snapshot.block_migratetype[known]",
        "[: snapshot.nr_blocks][known] = 1",
        _SMALL,
    ),
    _mutant(
        "replay-pin-without-references",
        "a pin has 1024 references",
        "pinlab/replay.py",
        "self._frames.refcount[pinned] += GUP_PIN_COUNTING_BIAS",
        "self._frames.refcount[pinned] += 1",
        f"{_REPLAY}::test_a_pinned_page_has_the_references_of_one_pin_and_of_its_mapping",
    ),
    _mutant(
        "replay-one-process-only",
        "mappings as recorded",
        "pinlab/replay.py",
        "mapped = nr_mappings > process",
        "mapped = nr_mappings > process // 2",
        f"{_REPLAY}::test_a_page_that_several_processes_map_is_mapped_by_as_many",
    ),
    _mutant(
        "replay-pcp-forgotten",
        "pcp pages are on lists",
        "pinlab/replay.py",
        "machine.pcp.adopt(pcp, 0)",
        "machine.pcp.adopt(pcp[:0], 0)",
        _SMALL,
    ),
    _mutant(
        "replay-one-object-per-page",
        "objects as stored",
        "pinlab/replay.py",
        "return min(max(stored, nr_pages), most)",
        "return nr_pages",
        _SMALL,
    ),
    _mutant(
        "replay-serials-shared",
        "no two frames alike",
        "pinlab/replay.py",
        "        return self._nr_serials - count\n",
        "        return 0\n",
        f"{_REPLAY}::test_no_two_frames_hold_the_same_bytes",
    ),
    _mutant(
        "replay-seed-ignored",
        "the seed decides",
        "pinlab/replay.py",
        "default_rng([self._options.seed, *name.encode()])",
        "default_rng([0, *name.encode()])",
        f"{_UNIT}/test_compare.py::test_the_seed_changes_digests_and_nothing_that_is_about_frames",
        f"{_REPLAY}::test_the_seed_decides_about_contents_and_about_nothing_else",
    ),
    _mutant(
        "replay-strangers-welcome",
        "unknown owners are named",
        "pinlab/replay.py",
        "strangers = sorted(movable - set(known))",
        "strangers = sorted(movable - movable)",
        f"{_REPLAY}::test_a_stranger_is_named_with_those_that_exist",
    ),
    _mutant(
        "replay-map-forgets-where-owners-went",
        "maps",
        "pinlab/replay.py",
        "        klass[pfns] = CLASS_OF_OWNER[name]\n",
        "        klass[pfns[:0]] = CLASS_OF_OWNER[name]\n",
        f"{_REPLAY}::test_a_map_of_the_machine_is_the_map_of_the_recording",
    ),
]

_READ_BACK = [
    _mutant(
        "ledger-missing-is-nothing",
        "nothing is lost silently",
        "pinlab/ledger.py",
        "ReadBack(0, missing * PAGE_SIZE)",
        "ReadBack(0, 0)",
        f"{_LEDGER}::test_a_page_table_entry_that_was_dropped_is_a_page_lost",
    ),
    _mutant(
        "ledger-ousted-is-nothing",
        "nothing is lost silently",
        "pinlab/ledger.py",
        "ReadBack(0, nr_ousted * PAGE_SIZE)",
        "ReadBack(0, 0)",
        f"{_LEDGER}::test_two_pages_that_name_one_slot_lose_one_of_them",
    ),
    _mutant(
        "ledger-leftover-entries-are-nothing",
        "nothing is lost silently",
        "pinlab/ledger.py",
        "PAGE_SIZE * (not kept))",
        "0)",
        f"{_LEDGER}::test_an_entry_that_zswap_forgot_is_lost",
    ),
    _mutant(
        "ledger-blob-unread",
        "nothing is lost silently",
        "pinlab/ledger.py",
        "if found == blob or",
        "if len(found) == len(blob) or",
        f"{_LEDGER}::test_one_flipped_bit_in_a_pool_page_loses_the_object_there",
    ),
    _mutant(
        "ledger-anew-is-lost",
        "no false alarm",
        "pinlab/ledger.py",
        "if found == blob or _inflated(found) == self._page(serial):",
        "if found == blob:",
        f"{_LEDGER}::test_a_page_that_was_compressed_anew_is_not_lost",
    ),
    _mutant(
        "ledger-disk-unread",
        "no false alarm",
        "pinlab/ledger.py",
        "return area.disk.get(offset)",
        "return area.disk.get(-offset)",
        f"{_LEDGER}::test_a_page_written_to_disk_is_looked_for_there",
    ),
    _mutant(
        "ledger-swap-cache-unread",
        "no false alarm",
        "pinlab/ledger.py",
        "        if pfn >= 0:\n            return self.contents.read(pfn)\n",
        "",
        f"{_LEDGER}::test_a_page_in_the_swap_cache_is_looked_for_there",
    ),
    _mutant(
        "ledger-objects-unread",
        "nothing is lost silently",
        "pinlab/ledger.py",
        "        for owner, serials in self.objects:\n",
        "        for owner, serials in self.objects[:0]:\n",
        f"{_LEDGER}::test_one_flipped_bit_loses_its_page",
    ),
]

_COMPARED = [
    _mutant(
        "compare-checks-nothing-first",
        "refused before anything runs",
        "pinlab/compare.py",
        "    check_runs(snapshot, runs)\n",
        "    check_runs(snapshot, runs[:0])\n",
        f"{_COMPARE}::test_a_run_that_cannot_be_made_is_refused_before_the_first_one_starts",
    ),
    _mutant(
        "compare-any-strategy",
        "refused before anything runs",
        "pinlab/compare.py",
        "if run.strategy not in get_args(Strategy):",
        "if not run.strategy:",
        f"{_COMPARE}::test_a_run_that_cannot_be_made_is_refused_before_the_first_one_starts",
    ),
    _mutant(
        "compare-whole-operation-counts",
        "measured",
        "pinlab/compare.py",
        "pages_moved=measured.pgmigrate_success if moved is None else moved",
        "pages_moved=measured.pgmigrate_fail if moved is None else moved",
        f"{_COMPARE}::test_where_the_phases_are_not_told_apart_the_whole_operation_counts",
    ),
    _mutant(
        "compare-any-operation-is-measured",
        "measured",
        "pinlab/compare.py",
        'measured.operation != "cmphuge" or ',
        "",
        f"{_COMPARE}::test_nothing_was_measured_where_another_request_was_recorded",
    ),
    _mutant(
        "compare-growth-forgotten",
        "growth is counted",
        "pinlab/compare.py",
        "pages_grown = _nr_used(machine) - used_before",
        "pages_grown = 0 * used_before",
        f"{_COMPARE}::test_only_reclaim_makes_memory_grow",
    ),
    _mutant(
        "compare-memory-not-made-anew",
        "runs do not depend on each other",
        "pinlab/compare.py",
        "            contents = _filled(snapshot, corpus, seed)\n    return",
        "    return",
        f"{_COMPARE}::test_where_nothing_forks_the_rows_are_the_same",
    ),
    _mutant(
        "compare-none-is-an-owner",
        "coverage",
        "pinlab/compare.py",
        'return () if owners == ("none",) else owners',
        "return owners",
        f"{_COMPARE}::test_a_coverage_by_name",
    ),
    _mutant(
        "machine-callbacks-cost-nothing",
        "modelled time",
        "mm/machine.py",
        "            callbacks=self.design.nr_callbacks,\n",
        "",
        f"{_COMPARE}::test_modelled_time_charges_what_a_callback_and_a_decompression_cost",
    ),
    _mutant(
        "machine-decompression-costs-nothing",
        "modelled time",
        "mm/machine.py",
        "            pages_decompressed=sum(area.nr_loaded for area in areas),\n",
        "",
        f"{_COMPARE}::test_modelled_time_charges_what_a_callback_and_a_decompression_cost",
    ),
    _mutant(
        "forked-answers-out-of-order",
        "order of the tasks",
        "pinlab/forked.py",
        "return [results[index] for index in range(len(tasks))]",
        "return list(results.values())",
        f"{_FORKED}::test_results_come_in_the_order_of_the_tasks",
    ),
    _mutant(
        "forked-ctrl-c-reaches-children",
        "Ctrl-C",
        "pinlab/forked.py",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.getsignal(signal.SIGINT)",
        f"{_FORKED}::test_a_child_ignores_the_ctrl_c_that_its_parent_answers",
    ),
    _mutant(
        "forked-children-outlive-an-error",
        "nothing is left behind",
        "pinlab/forked.py",
        "            child.process.terminate()\n            child.process.join()\n",
        "            pass\n",
        f"{_FORKED}::test_an_error_ends_the_other_children",
    ),
    _mutant(
        "forked-child-cleans-up",
        "a child touches nothing of its parent's",
        "pinlab/forked.py",
        "    os._exit(0)\n",
        "    raise SystemExit(0)\n",
        f"{_FORKED}::test_a_child_leaves_without_cleaning_up_what_is_its_parents",
    ),
    _mutant(
        "forked-unpicklable-error-hangs-up",
        "errors arrive",
        "pinlab/forked.py",
        "            pickle.loads(answer)  #",
        "            _ = answer  #",
        f"{_FORKED}::test_what_a_task_raises_is_raised_here",
    ),
]

MUTANTS: list[Mutant] = [*_REPLAYED, *_READ_BACK, *_COMPARED]
