"""Bugs planted in memory hotplug: blocks, zones, the loop, what survives, what is foretold."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

HOTPLUG, LOOP = "mm/hotplug/memory_hotplug.py", "mm/hotplug/offline_loop.py"
FORGET, BLOCKS = "mm/hotplug/forget.py", "mm/hotplug/memory_block.py"
RESIZE, NOTIFY = "mm/hotplug/zones.py", "mm/hotplug/notify.py"
OBSTACLES = "mm/move/obstacles.py"
PLAN = "mm/hotplug/verdict.py"
AREA, PCP, REQUEST = "mm/buddy/free_area.py", "mm/buddy/pcp.py", "pinlab/requests/offline.py"
GUP, SNAPSHOT = "owners/gup/longterm.py", "pinlab/snapshot/image.py"

UNIT = "tests/unit/mm/hotplug/test_memory_hotplug.py"
UNIT_BLOCKS, UNIT_RESIZE = (
    "tests/unit/mm/hotplug/test_memory_block.py",
    "tests/unit/mm/hotplug/test_zones.py",
)
UNIT_PCP, UNIT_REQUEST = (
    "tests/unit/mm/buddy/test_pcp.py",
    "tests/unit/pinlab/requests/test_offline.py",
)
RACES = "tests/races/test_r24_hot_remove_vs_pins.py"
PROPERTY = "tests/property/test_hotplug_machine.py"


def _hp(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=name, guards=guards, file=file, old=old, new=new, tests=tests)


MUTANTS: list[Mutant] = [
    # What may go.
    _hp(
        "hotplug-holes-do-not-matter", "offline step 1: holes are EINVAL", HOTPLUG,
        "        if is_cut_off or self.blocks.nr_ram_pages(span) != span.nr_pages:\n",
        "        if not self.blocks.nr_ram_pages(span):\n",
        f"{UNIT}::test_what_is_not_whole_may_not_go",
    ),
    _hp(
        "hotplug-two-zones-do-not-matter", "offline step 1: one zone", HOTPLUG,
        "Errno.OK if len(zones) == 1 and zones[0] >= 0 else Errno.EINVAL",
        "Errno.OK if zones[0] >= 0 else Errno.EINVAL",
        f"{UNIT}::test_two_zones_in_a_block_may_not_go",
    ),
    _hp(
        "hotplug-veto-ignored", "offline step 4: GOING_OFFLINE may be vetoed", NOTIFY,
        "                if errno is not Errno.OK:\n                    return errno\n",
        "                if errno is Errno.EEXIST:\n                    return errno\n",
        f"{UNIT}::test_a_veto_leaves_all_as_it_was_and_everybody_hears_of_it",
    ),
    _hp(
        "hotplug-veto-is-not-cancelled", "offline step 4: everybody hears of a veto", NOTIFY,
        "                self.notify(cancel, block)\n", "                pass\n",
        f"{UNIT}::test_a_veto_leaves_all_as_it_was_and_everybody_hears_of_it",
    ),
    _hp(
        "hotplug-isolation-stays-after-failure", "failure undoes everything (R-33)", HOTPLUG,
        "                evacuator.undo(span)\n", "                pass\n",
        f"{UNIT}::test_a_pinned_page_is_accepted_and_spins_until_a_signal",
        f"{PROPERTY}::test_the_nth_destination_is_not_there",
    ),
    # The loop.
    _hp(
        "offline-one-round-too-many", "R-32: bounded retries", LOOP,
        "elif self.nr_rounds == self._retry.nr_tries:",
        "elif self.nr_rounds - 1 == self._retry.nr_tries:",
        f"{UNIT}::test_a_bounded_attempt_gives_up_after_its_rounds",
    ),
    _hp(
        "offline-empty-is-not-tested", "offline step 7: test_pages_isolated", LOOP,
        "            if once.errno is Errno.OK and first_not_isolated("
        "host.buddy, span, offline=True) < 0:\n",
        "            if once.errno is Errno.OK:\n",
        f"{RACES}::test_pages_that_nobody_can_move_are_not_taken_for_gone",
    ),
    _hp(
        "offline-timeout-is-ebusy", "offline step 5: `timeout` is a signal", LOOP,
        "            self._ends = Errno.EINTR\n            self.report.timed_out = True",
        "            self._ends = Errno.EBUSY\n            self.report.timed_out = True",
        f"{UNIT}::test_time_ends_it_as_timeout_does",
    ),
    _hp(
        "offline-repeats-are-free", "rounds that are counted cost time", LOOP,
        "count * nr_repeats for", "count for",
        f"{UNIT}::test_rounds_that_are_only_counted_come_to_the_same",
    ),
    _hp(
        "offline-repeats-although-the-world-goes-on", "between_tries may change anything", LOOP,
        "began is None or not retry.is_alone or nr", "began is None or nr",
        f"{RACES}::test_a_short_pin_is_waited_for", f"{RACES}::test_time_and_io_go_on_together",
    ),
    _hp(
        "offline-refusals-counted-each-time", "a frame counts once", LOOP,
        "report.refusals = report.refusals, Refusals()",
        "report.refusals = Refusals(), report.refusals",
        f"{RACES}::test_pages_that_nobody_can_move_are_not_taken_for_gone",
    ),
    _hp(
        "offline-reasons-end-as-timeout", "one taxonomy: the reason of the last try", LOOP,
        "        if not once.nr_tries and before.total:\n", "        if False:\n",
        f"{UNIT}::test_a_pinner_without_a_callback_is_named_when_the_time_is_over",
    ),
    _hp(
        "offline-into-zone-movable", "pages of kernel zones do not enter ZONE_MOVABLE", LOOP,
        "return Gfp.HIGHMEM if zone.kind is ZoneKind.MOVABLE else Gfp.NONE", "return Gfp.HIGHMEM",
        f"{UNIT}::test_pages_of_a_kernel_zone_do_not_leave_for_zone_movable",
    ),
    _hp(
        "offline-same-node-first", "destinations: another node first", LOOP,
        "        self._other_nodes = sorted(", "        self._other_nodes = [] and sorted(",
        f"{UNIT}::test_pages_leave_for_another_node_if_there_is_one",
    ),
    # Nothing survives.
    _hp(
        "hotplug-pins-survive", "R-25, HP1: zero records in what goes", FORGET,
        '        self._require_none(span, self._pinned(span), "a pin")\n', "",
        f"{UNIT}::test_a_pin_that_outlives_its_frame_is_found_before_the_frame_goes",
        f"{RACES}::test_a_pin_that_is_still_in_its_threads_batch_is_a_record_too",
    ),
    _hp(
        "hotplug-pins-looked-for-in-the-design-only", "R-25: whatever design is in force", FORGET,
        "        if self._host.registry is not None:\n", "        if False:\n",
        f"{RACES}::test_a_record_counts_whatever_design_is_in_force",
    ),
    _hp(
        "hotplug-not-looked-through-before", "R-25: before the frame goes", HOTPLUG,
        "            self._forgetter.require_unknown(span)\n            self._note_managed()\n",
        "            self._note_managed()\n",
        f"{UNIT}::test_a_pin_that_outlives_its_frame_is_found_before_the_frame_goes",
    ),
    _hp(
        "hotplug-bytes-survive", "R-25: not even its bytes", FORGET,
        "        host.contents.forget(pfns)\n", "",
        f"{RACES}::test_no_bytes_come_back",
    ),
    _hp(
        "hotplug-check-forgets-what-is-gone", "HP1 in check", HOTPLUG,
        "            span = self.blocks.span(block)\n            self._forgetter",
        "            span = Span(0, 0)\n            self._forgetter",
        f"{UNIT}::test_a_pin_that_comes_when_the_frame_is_gone_is_found_by_check",
    ),
    _hp(
        "hotplug-pageblocks-stay-isolated", "HP3", FORGET,
        "            host.buddy.set_migratetype(block, MigrateType.MOVABLE)\n", "",
        f"{UNIT}::test_memory_comes_back_free_and_movable_and_is_used_last",
    ),
    _hp(
        "longterm-pins-enter-what-goes", "R-24", GUP,
        "(MigrateType.CMA, MigrateType.ISOLATE)", "(MigrateType.CMA,)",
        f"{RACES}::test_a_long_pin_that_comes_too_late_moves_its_page_out_first",
    ),
    _hp(
        "longterm-pins-enter-zone-movable", "R-24: a movable zone can always go", GUP,
        " & ~is_movable_zone[host.frames.zone[pfns]]", "",
        f"{RACES}::test_no_long_pin_enters_what_came_back_as_movable",
    ),
    # Per-CPU lists.
    _hp(
        "pcp-disabled-is-not-drained", "R-22", PCP,
        "        self.resize(zone)\n        self.drain_all()\n", "        self.resize(zone)\n",
        f"{UNIT_PCP}::test_a_disabled_zone_keeps_nothing_back_until_enabled_again",
    ),
    _hp(
        "pcp-drained-and-filled-again", "R-21, R-22: bypass, not only drain", PCP,
        "(1, 0) if off else (batch, high)", "(batch, high)",
        f"{UNIT_PCP}::test_a_disabled_zone_keeps_nothing_back_until_enabled_again",
        f"{RACES}::test_pages_freed_while_the_block_is_emptied_are_found",
    ),
    _hp(
        "pcp-disabled-for-good", "R-33: the lists come back", PCP,
        "            self._nr_disabled[zone.index] -= 1\n", "            pass\n",
        f"{UNIT_PCP}::test_a_disabled_zone_keeps_nothing_back_until_enabled_again",
    ),
    # Zones.
    _hp(
        "zone-watermarks-do-not-follow", "watermarks follow the zone", RESIZE,
        "        setup_watermarks(\n            self._zones,\n",
        "        setup_watermarks(\n            (),\n",
        f"{UNIT_RESIZE}::test_watermarks_reserves_and_lists_follow_the_size",
    ),
    _hp(
        "zone-reserves-do-not-follow", "lowmem reserve follows the zone", RESIZE,
        "        setup_lowmem_reserve(self._zones)\n", "",
        f"{UNIT_RESIZE}::test_watermarks_reserves_and_lists_follow_the_size",
    ),
    _hp(
        "zone-lists-do-not-follow", "per-CPU lists follow the zone", RESIZE,
        "            self._pcp.resize(zone)\n", "            pass\n",
        f"{UNIT_RESIZE}::test_watermarks_reserves_and_lists_follow_the_size",
    ),
    _hp(
        "zone-min-free-set-by-hand-is-lost", "min_free_kbytes is somebody's word", RESIZE,
        "self._min_nr_pages = self._set_by_hand(self._by_formula)", "self._min_nr_pages = None",
        f"{UNIT_RESIZE}::test_what_somebody_set_to_be_kept_free_is_shared_out_anew",
    ),
    _hp(
        "zone-managed-pages-stay", "HP2: managed pages follow", RESIZE,
        "        zone.managed_nr_pages -= nr_pages\n", "",
        f"{UNIT}::test_counts_and_watermarks_follow",
    ),
    _hp(
        "hotplug-pages-get-lost", "HP2", HOTPLUG,
        "        self._nr_managed += span.nr_pages - gone.nr_pages",
        "        self._nr_managed += span.nr_pages",
        f"{UNIT}::test_memory_comes_back_free_and_movable_and_is_used_last",
    ),
    _hp(
        "zone-of-a-block-is-stale-on-the-lists", "B5: a list is of one zone", AREA,
        "        self._key[rows] = (zone * NR_MIGRATETYPES + types).tolist()\n", "",
        f"{UNIT_RESIZE}::test_zones_may_overlap_and_the_free_lists_know_whose_a_block_is",
    ),
    _hp(
        "memory-that-came-back-is-used-first", "online: what was there is used first", FORGET,
        "        host.buddy.area.serve_last(", "        (lambda *_: None)(",
        f"{UNIT}::test_what_came_back_is_used_after_blocks_as_large",
    ),
    _hp(
        "compaction-across-overlapping-zones", "zones may overlap", "mm/compaction/free_scanner.py",
        "        if self._buddy.area.zone_of_block.item(block) != self._zone.index:\n",
        "        if False:\n",
        f"{UNIT}::test_overlapping_zones_are_compacted_each_in_its_own_blocks",
    ),
    # Memory blocks.
    _hp(
        "block-offline-keeps-a-frame", "MB1", BLOCKS,
        "            require(not there.any(), ", "            require(True, ",
        f"{UNIT_BLOCKS}::test_a_frame_of_a_block_that_is_gone_is_a_hole",
    ),
    _hp(
        "block-ram-in-pieces", "MB2", BLOCKS,
        "        if joined and span.start <= joined[-1].stop:",
        "        if joined and span.start < joined[-1].stop:",
        f"{UNIT_BLOCKS}::test_ram_can_be_told_where_frames_cannot_say",
    ),
    # Foresight.
    _hp(
        "plan-moves-before-it-knows", "plan: no move without success", HOTPLUG,
        "            if not no:\n", "            if no is None:\n",
        f"{UNIT}::test_plan_names_who_is_in_the_way_and_moves_nothing",
    ),
    _hp(
        "plan-does-not-count-room", "plan: room elsewhere", HOTPLUG,
        "if outcome is not RangeOutcome.CHOSEN and not planner.goes()[0]:", "if False:",
        f"{UNIT}::test_plan_knows_when_there_is_no_room",
        f"{PROPERTY}::test_the_verdict_is_what_trying_comes_to",
    ),
    _hp(
        "plan-released-frames-are-stuck", "plan: what can be given up can leave", PLAN,
        " with_released=True, for_ranges=True,", " for_ranges=True,",
        f"{UNIT}::test_what_can_only_be_given_up_can_leave",
    ),
    _hp(
        "plan-zones-are-one", "plan: what leaves a kernel zone stays in kernel zones", PLAN,
        "if from_movable or zone.kind is not ZoneKind.MOVABLE]\n", "if zone]\n",
        f"{UNIT}::test_pages_of_a_kernel_zone_do_not_leave_for_zone_movable",
    ),
    _hp(
        "hotplug-interrupted-is-not-cancelled", "failure undoes everything, Ctrl-C too", HOTPLUG,
        "                if agreed:\n", "                if False:\n",
        f"{UNIT}::test_an_interrupt_puts_everything_back",
    ),
    _hp(
        "plan-blames-nobody", "plan: names pfn and owner", OBSTACLES,
        "    holder = codes[pfns].astype(np.int64)\n",
        "    holder = np.zeros(len(pfns), dtype=np.int64)\n",
        f"{UNIT}::test_plan_names_who_is_in_the_way_and_moves_nothing",
    ),
    _hp(
        "plan-forgets-huge-pages", "plan: huge pages can leave", PLAN,
        "            leaves = huge.could_leave(self._mode, keep=False)\n"
        "            stays_free = huge.dissolves(Span(0, self._host.frames.nr_frames))\n",
        "            leaves, stays_free = census.movable, census.free\n",
        f"{UNIT}::test_a_free_huge_page_is_dissolved",
    ),
    _hp(
        "offline-huge-pages-cost-nothing", "rounds that are counted cost time", LOOP,
        "        ends = self._why()\n        meter.lap()\n", "        ends = self._why()\n",
        f"{UNIT}::test_a_huge_page_that_somebody_has_pinned_keeps_it_going",
    ),
    # The request.
    _hp(
        "offline-request-stops-at-the-first-timeout", "a timeout is not Ctrl-C", REQUEST,
        "            timed_out=result.report.timed_out,\n", "",
        f"{UNIT_REQUEST}::test_a_pinned_page_ends_the_attempt_and_not_the_request",
    ),
    _hp(
        "offline-request-brings-all-back-as-kernel", "Movable comes back as movable", REQUEST,
        '"movable" if result.zone_kind is ZoneKind.MOVABLE else "kernel"', '"kernel"',
        f"{UNIT_REQUEST}::test_movable_memory_comes_back_as_movable",
    ),
    _hp(
        "offline-request-ignores-count", "count: as many as are wanted", REQUEST,
        " and obtained != options.count:", ":",
        f"{UNIT_REQUEST}::test_one_block_alone_and_as_many_as_are_wanted",
    ),
    _hp(
        "offline-request-plans-from-the-bottom-up", "plan: the cheapest blocks first", REQUEST,
        "        blocks = first + [block for block in blocks if block not in first]\n", "",
        f"{UNIT_REQUEST}::test_where_two_are_enough_plan_takes_the_cheapest",
    ),
    _hp(
        "snapshot-forgets-where-ram-is", "holes of a recording are known", SNAPSHOT,
        '            "ram": [[span.start, span.stop] for span in self.ram],\n', "",
        "tests/unit/pinlab/procfs/test_linux61.py"
        "::test_where_ram_is_comes_from_iomem_if_that_was_recorded",
    ),
    _hp(
        "replay-forgets-where-ram-is", "holes of a recording are known", "pinlab/replay/replay.py",
        "            machine.hotplug.blocks.ram = self._snapshot.ram\n", "            pass\n",
        "tests/unit/pinlab/replay/test_replay.py::test_a_hole_that_looks_reserved_is_known_as_one",
    ),
    _hp(
        "a-block-that-is-cut-off-may-go", "EINVAL for what is not all there", HOTPLUG,
        "if is_cut_off or self.blocks", "if self.blocks",
        "tests/property/test_hotplug_machine.py"
        "::test_the_last_memory_block_may_be_cut_off_with_huge_pages_in_it",
    ),
]  # fmt: skip
