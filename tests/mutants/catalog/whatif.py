"""Bugs in what-ifs, in diagnoses and in the reports of blocks that they rest on."""

from tests.mutants.mutant import Mutant, planted

_GAME = "tests/unit/pinlab/whatif/test_game.py"
_CHEAPEST = "tests/unit/pinlab/whatif/test_cheapest.py"
_SCANNERS = "tests/unit/pinlab/whatif/test_scanners.py"
_ANSWER = "tests/unit/pinlab/whatif/test_answer.py"
_HOLDINGS = "tests/unit/pinlab/snapshot/test_holdings.py"
_DIAGNOSIS = "tests/unit/pinlab/diagnose/test_diagnosis.py"
_AGAIN = "tests/unit/pinlab/diagnose/test_again.py"
_BLOCKS = "tests/unit/pinlab/report/test_blocks.py"
_TAINT = "tests/unit/pinlab/report/test_taint.py"
_FRAMES = "tests/unit/pinlab/report/test_frames.py"
_FRAGMENTATION = "tests/unit/pinlab/report/test_fragmentation.py"
_PAGE = "tests/unit/pinlab/whatif/test_page.py"
_CHARTS = "tests/unit/pinlab/report/test_charts.py"

MUTANTS: list[Mutant] = [
    planted(
        "game-one-owner-in-the-way-is-enough", "what-if is exact", "pinlab/whatif/game.py",
        "inside = (self.signatures & ~np.int64(members)) == 0",
        "inside = (self.signatures & np.int64(members)) == self.signatures >> 1 << 1",
        f"{_GAME}::test_every_set_of_owners_is_worth_what_brute_force_says",
    ),
    planted(
        "game-free-memory-is-no-bound", "room for what leaves", "pinlab/whatif/game.py",
        "return int(np.minimum(self._clean_by_pool(members), nr_free // self.nr_pages).sum())",
        "return int(self._clean_by_pool(members).sum())",
        f"{_GAME}::test_every_set_of_owners_is_worth_what_brute_force_says",
    ),
    planted(
        "game-block-shared-by-all-players", "Shapley value", "pinlab/whatif/game.py",
        "share = nr_blocks / np.maximum(has.sum(axis=0), 1)",
        "share = nr_blocks / len(self.players)",
        f"{_GAME}::test_shares_add_up_to_what_all_gain_together",
    ),
    planted(
        "game-every-order-weighs-the-same", "Shapley value", "pinlab/whatif/game.py",
        "factorial(size) * factorial(nr_players - size - 1) / factorial(nr_players)",
        "1 / 2 ** (nr_players - 1)",
        f"{_GAME}::test_the_fair_share_is_the_mean_over_every_order_of_joining",
    ),
    planted(
        "game-unknown-moves-anyhow", "unknown is not free", "pinlab/whatif/game.py",
        "    if not unknown_moves:\n", "    if unknown_moves:\n",
        f"{_GAME}::test_unknown_frames_stay_or_move",
    ),
    planted(
        "game-released-frames-are-not-free", "release", "pinlab/whatif/game.py",
        "        if name in released:\n", "        if name not in players:\n",
        f"{_GAME}::test_who_releases_makes_free_memory",
    ),
    planted(
        "game-one-pool-for-all-zones", "pages stay in their zone", "pinlab/whatif/game.py",
        "if holdings.order > holdings.pageblock_order:", "if holdings.order:",
        f"{_GAME}::test_room_is_counted_zone_by_zone_up_to_a_pageblock_and_together_beyond",
    ),
    planted(
        "cheapest-is-the-smallest-set", "cheapest set", "pinlab/whatif/cheapest.py",
        "np.lexsort((enough, sizes, np.round(cost[enough], 9)))",
        "np.lexsort((enough, np.round(cost[enough], 9), sizes))",
        f"{_CHEAPEST}::test_it_is_the_cheapest_and_greed_is_within_what_it_states",
    ),
    planted(
        "greed-states-one-block-too-many", "the gap is stated", "pinlab/whatif/cheapest.py",
        "row = int(np.searchsorted(reached, want))",
        "row = int(np.searchsorted(reached, want + 1))",
        f"{_CHEAPEST}::test_it_is_the_cheapest_and_greed_is_within_what_it_states",
    ),
    planted(
        "scanners-fill-any-pageblock", "targets of compaction", "pinlab/whatif/scanners.py",
        "fillable = np.isin(types, (MigrateType.MOVABLE, MigrateType.CMA))",
        "fillable = types >= 0",
        f"{_SCANNERS}::test_only_movable_and_cma_pageblocks_are_filled_and_no_free_one_is",
    ),
    planted(
        "scanners-fill-free-pageblocks", "targets of compaction", "pinlab/whatif/scanners.py",
        "is_target = fillable & ~free_before", "is_target = fillable",
        f"{_SCANNERS}::test_the_pageblocks_that_the_kernel_emptied",
    ),
    planted(
        "scanners-fill-the-block-they-empty", "where they meet", "pinlab/whatif/scanners.py",
        "above = targets[::-1].cumsum()[::-1] - targets", "above = targets[::-1].cumsum()[::-1]",
        f"{_SCANNERS}::test_they_stop_where_they_meet",
    ),
    planted(
        "scanners-spend-the-reserve", "min watermark", "pinlab/whatif/scanners.py",
        "(nr_free - reserve + holdings.nr_pages - 1)", "(nr_free + holdings.nr_pages - 1)",
        f"{_SCANNERS}::test_the_watermark_is_left_alone",
    ),
    planted(
        "scanners-fill-what-is-on-lists", "per-CPU lists", "pinlab/whatif/scanners.py",
        "certain[mine] = can & _fits(leaving, left)", "certain[mine] = can & fits",
        f"{_SCANNERS}::test_what_a_refilled_per_cpu_list_holds_is_no_target",
    ),
    planted(
        "scanners-every-kernel-doubles", "per-CPU lists", "pinlab/whatif/scanners.py",
        "    if said and (int(said[1]), int(said[2])) < _FIRST_TO_DOUBLE:\n        return batch\n",
        "",
        f"{_SCANNERS}::test_what_a_refilled_per_cpu_list_holds_is_no_target",
    ),
    planted(
        "scanners-split-block-stays-free", "per-CPU lists", "pinlab/whatif/scanners.py",
        "np.count_nonzero(certain[mine])) - nr_split", "np.count_nonzero(certain[mine]))",
        f"{_SCANNERS}::test_the_list_splits_a_free_pageblock_last_and_leaves_the_rest_as_targets",
    ),
    planted(
        "scanners-rest-of-split-block-is-lost", "per-CPU lists", "pinlab/whatif/scanners.py",
        "left[split[-1]] = max(len(split) * nr_pages - nr_more, 0)", "left[split[-1]] = 0",
        f"{_SCANNERS}::test_the_list_splits_a_free_pageblock_last_and_leaves_the_rest_as_targets",
    ),
    planted(
        "scanners-take-huge-pages-apart", "large folios", "pinlab/whatif/scanners.py",
        "    moving[_one_folio(snapshot)] = 0\n", "",
        f"{_SCANNERS}::test_a_folio_that_fills_its_pageblock_is_passed_over",
    ),
    planted(
        "what-if-names-stand-for-nobody", "groups", "pinlab/snapshot/holdings.py",
        "of_it = {*_GROUPS.get(name, (name,))} & {*holdings.owner_names}",
        "of_it = {name} & {*holdings.owner_names}",
        f"{_ANSWER}::test_a_group_is_all_of_its_owners_and_labels_are_owners",
    ),
    planted(
        "what-if-cheapest-among-the-named", "cheapest set", "pinlab/whatif/answer.py",
        "tuple(dict.fromkeys([*blocks.in_the_way(), *gives]))", "tuple(gives)",
        f"{_ANSWER}::test_the_cheapest_set_is_looked_for_among_all_in_the_way",
    ),
    planted(
        "holdings-end-of-memory-is-free", "every frame once", "pinlab/snapshot/holdings.py",
        "    nr_never[-1:] += nr_blocks * size - len(codes)\n", "",
        f"{_HOLDINGS}::test_every_frame_is_counted_once_at_each_order",
    ),
    planted(
        "holdings-pins-are-the-process-s", "pinned frames stay", "pinlab/snapshot/holdings.py",
        "codes[pinned[processes]] = FrameClass.GUP", "codes[pinned[processes]] = FrameClass.ANON",
        f"{_HOLDINGS}::test_a_process_s_frame_that_is_pinned_is_its_pinner_s",
    ),
    planted(
        "holdings-cma-is-anybody-s-range", "isolation", "pinlab/snapshot/holdings.py",
        "one_zone & ~(self.in_cma & (self.order > self.pageblock_order))", "one_zone",
        f"{_HOLDINGS}::test_pageblocks_of_cma_are_nobody_else_s_range",
    ),
    planted(
        "holdings-zone-borders-are-ignored", "a block lies in one zone",
        "pinlab/snapshot/holdings.py",
        "(self.lowest_zone == self.highest_zone) & (self.nr_never < self.nr_pages)",
        "self.nr_never < self.nr_pages",
        f"{_GAME}::test_a_block_over_a_border_of_zones_is_nobodys",
    ),
    planted(
        "diagnose-per-cpu-frames-are-stuck", "per-CPU lists are drained",
        "pinlab/diagnose/census.py",
        "np.isin(codes, (FrameClass.FREE, FrameClass.PCP)) & ours",
        "np.isin(codes, (FrameClass.FREE,)) & ours",
        f"{_DIAGNOSIS}::test_the_census_counts_as_the_holdings_do",
    ),
    planted(
        "diagnose-whoever-moves-there-is-none", "verdict", "pinlab/diagnose/diagnosis.py",
        'return "never" if choice is None else "after callbacks"', 'return "never"',
        f"{_DIAGNOSIS}::test_the_verdict",
    ),
    planted(
        "diagnose-cma-gives-its-pageblocks", "isolation", "pinlab/diagnose/diagnosis.py",
        "cma_stays=beyond and area is None", "cma_stays=False",
        f"{_DIAGNOSIS}::test_a_range_of_whole_memory_may_not_take_pageblocks_of_cma",
    ),
    planted(
        "diagnose-farthest-first", "the nearest places", "pinlab/diagnose/diagnosis.py",
        "(plan.costs_nr_moves[rows], plan.nr_stuck[rows], nr_for_good[rows] > 0)",
        "(plan.nr_stuck[rows], plan.costs_nr_moves[rows], nr_for_good[rows] > 0)",
        f"{_DIAGNOSIS}::test_the_nearest_are_those_with_the_fewest_frames_in_the_way",
    ),
    planted(
        "again-any-owner-still-holds-it", "transient pins", "pinlab/diagnose/again.py",
        "held = same_name & later_stuck[pfns]", "held = later_stuck[pfns]",
        f"{_AGAIN}::test_a_frame_that_is_somebody_else_s_by_then_was_let_go_of",
    ),
    planted(
        "again-owners-by-number", "transient pins", "pinlab/diagnose/again.py",
        "same_name = np.array(names)[codes[pfns]] == np.array(names_later)[codes_later[pfns]]",
        "same_name = codes[pfns] == codes_later[pfns]",
        f"{_AGAIN}::test_labels_are_told_apart_by_name",
    ),
    planted(
        "blocks-unknown-goes-before-tainted", "each block is one thing",
        "pinlab/report/blocks.py",
        "        (stuck > 0, 2),\n        (blocks.nr_unknown > 0, 3),\n",
        "        (blocks.nr_unknown >= 0, 3),\n        (stuck > 0, 2),\n",
        f"{_BLOCKS}::test_one_by_one_the_table_is_exact",
    ),
    planted(
        "taint-an-odd-block-is-lost", "taint by order", "pinlab/report/taint.py",
        "            frames = np.append(frames, False)\n", "            frames = frames[:-1]\n",
        f"{_TAINT}::test_an_odd_number_of_blocks_is_counted_too",
    ),
    planted(
        "taint-clustering-upside-down", "K", "pinlab/report/taint.py",
        "return density / float(-np.expm1(np.log1p(-tainted) / nr_pages))",
        "return float(-np.expm1(np.log1p(-tainted) / nr_pages)) / density",
        f"{_TAINT}::test_the_average_of_a_fleet_is_clustered_86_times",
    ),
    planted(
        "frames-runs-ignore-references", "runs of like frames", "pinlab/report/frames.py",
        "changes[1:] |= column[1:] != column[:-1]", "changes[1:] |= False",
        f"{_FRAMES}::test_a_run_ends_where_anything_differs",
    ),
    planted(
        "fragmentation-columns-before-buddyinfo", "kernel's own counts",
        "pinlab/report/fragmentation.py",
        "        if not counts:\n", "        if True:\n",
        f"{_FRAGMENTATION}::test_what_buddyinfo_counts_goes_before_what_the_columns_do",
    ),
    planted(
        "page-unknown-frames-are-clean", "the page counts alike", "pinlab/whatif/page_script.py",
        "if (!unknown) clean[0]", "clean[0]", f"{_PAGE}::test_the_page_counts_as_the_library_does",
    ),
    planted(
        "page-runs-of-127-at-most", "every frame is shown", "pinlab/whatif/page.py",
        "            left >>= 7\n", "            left >>= 8\n",
        f"{_PAGE}::test_every_frame_is_in_the_page",
    ),
    planted(
        "page-switches-are-not-heard", "a switch counts again", "pinlab/whatif/page_script.py",
        "if (box.checked) turned.add(name);", "if (!box.checked) turned.add(name);",
        f"{_PAGE}::test_a_switch_counts_again_and_a_click_shows_frames",
    ),
    planted(
        "page-colours-by-their-last-name", "each colour is named", "pinlab/whatif/page_script.py",
        "[...(rest.get(colour) || []), name]", "[name]",
        f"{_PAGE}::test_each_colour_on_the_map_is_named",
    ),
    planted(
        "charts-svg-of-the-day", "the same bytes", "pinlab/report/heatmap_png.py",
        '    same = {"svg.hashsalt": "pinpage"}', "    same: dict[str, str] = {}",
        f"{_CHARTS}::test_the_same_input_is_the_same_bytes",
    ),
]  # fmt: skip
