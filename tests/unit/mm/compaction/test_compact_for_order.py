"""Compaction for one block of an order: what it takes, where from, and what it remembers."""

import pytest

from mm.compaction.compact_control import CompactControl, CompactReport, CompactResult
from mm.compaction.free_scanner_for_order import FreeSearcher
from mm.compaction.migrate_scan import SearchEffort
from mm.state.pageblock import MigrateType
from pinpage.owner import Mode, Reason
from tests.kit.mm.machines import Drawn

MOVABLE, UNMOVABLE = MigrateType.MOVABLE, MigrateType.UNMOVABLE
SPARSE = "a.a.a.a."
BIG = 64


def hints(drawn):
    return drawn.machine.compaction.hints(drawn.machine.zones[0])


def big(*blocks):
    """Pageblocks of 64 frames, each given as a repeated pattern."""
    return Drawn(*(block * (BIG // len(block)) for block in blocks), size=BIG)


def block_of(drawn, number, size=BIG):
    return "".join(drawn.picture())[number * size : (number + 1) * size]


def watch(drawn):
    """The sizes of the batches that are moved."""
    sizes, mover = [], drawn.machine.mover
    migrate = mover.migrate

    def counted(pfns, *rest):
        sizes.append(len(pfns))
        return migrate(pfns, *rest)

    mover.migrate = counted
    return sizes


# When it ends.


def test_it_stops_when_the_order_is_there():
    drawn = Drawn(*[SPARSE] * 6)
    report = drawn.compact(order=3)
    assert (report.result, report.pages_moved) == (CompactResult.SUCCESS, 4)
    assert drawn.picture()[0] == "........"


def test_nothing_is_done_where_it_is_there_already():
    drawn = Drawn(SPARSE, "........")
    report = drawn.compact(order=3)
    assert (report.result, report.pages_moved, report.pages_scanned_migrate) == (
        CompactResult.SUCCESS, 0, 0,
    )  # fmt: skip


@pytest.mark.parametrize("direct", [True, False])
def test_where_they_meet_the_next_scan_starts_anew(direct):
    drawn = Drawn(*["#.#.#.#."] * 4)
    report = drawn.compact(order=3, direct=direct)
    assert report.result is CompactResult.COMPLETE
    at = hints(drawn)
    assert (at.migrate_async, at.migrate_sync, at.free) == (0, 0, 24)
    assert at.is_stale == direct  # kcompactd's meeting makes no hint stale


def test_a_scan_that_began_in_the_middle_is_partial():
    drawn = Drawn(*["#.#.#.#."] * 4)
    at = hints(drawn)
    at.migrate_async = at.migrate_sync = 8
    assert drawn.compact(order=3).result is CompactResult.PARTIAL_SKIPPED
    at.migrate_async = at.migrate_sync = 8
    assert drawn.compact(order=3, whole_zone=True).result is CompactResult.COMPLETE
    assert drawn.compact(order=3).result is CompactResult.COMPLETE


def test_positions_outside_the_zone_are_not_believed():
    drawn = Drawn(*[SPARSE] * 4)
    at = hints(drawn)
    at.migrate_sync, at.free = 400, 400
    assert (at.migrate_from(Mode.SYNC), at.free_from()) == (0, 24)


def test_a_signal_ends_it():
    drawn = Drawn(*["aaaaaaa."] * 4)
    assert drawn.compact(order=3, stop=lambda: True).result is CompactResult.CONTENDED
    assert drawn.compact(order=3, stop=lambda: True).pages_moved == 0


def test_out_of_targets_with_space_between_the_scanners_is_contended():
    drawn = Drawn(*[SPARSE] * 6, marks=(20, 20, 20))
    report = drawn.compact(order=3)
    assert report.result is CompactResult.CONTENDED
    assert report.refused[Reason.NO_TARGET] >= 1
    assert drawn.machine.buddy.nr_free() == 24


@pytest.mark.parametrize(
    ("wanted", "other", "found"),
    [
        (MOVABLE, MOVABLE, True),
        (UNMOVABLE, MOVABLE, True),
        (MOVABLE, UNMOVABLE, True),
        (MOVABLE, MigrateType.CMA, True),
        (UNMOVABLE, MigrateType.CMA, False),
        (MOVABLE, MigrateType.HIGHATOMIC, False),
    ],
)
def test_a_block_counts_if_the_request_may_have_it(wanted, other, found):
    types = [other, MOVABLE, MOVABLE]
    drawn = Drawn("a.......", "a#.#.#.#", "a#.#.#.#", types=types)
    report = drawn.compact(order=3, migratetype=wanted)
    assert (report.result is CompactResult.SUCCESS) == found


def test_small_blocks_of_other_types_count_for_kernel_requests_only():
    """Order 0 is below half a pageblock's order: a movable request may not steal it."""
    picture = ("#.#.#.#.", "#a#a#a#a", "########")
    for wanted, found in ((UNMOVABLE, True), (MOVABLE, False)):
        types = [MigrateType.RECLAIMABLE, MigrateType.HIGHATOMIC, MOVABLE]
        drawn = Drawn(*picture, types=types)
        report = drawn.compact(order=0, migratetype=wanted)
        assert (report.result is CompactResult.SUCCESS) == found


# Sources.


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("wanted", [MOVABLE, UNMOVABLE])
def test_async_for_an_allocation_takes_sources_of_its_own_type(mode, wanted):
    drawn = Drawn(*[SPARSE] * 2, *["aaa.aaaa"] * 4, types=[UNMOVABLE] + [MOVABLE] * 5)
    drawn.compact(order=3, migratetype=wanted, mode=mode, ignore_skip_hint=False)
    first_is_a_source = mode > Mode.ASYNC or wanted == UNMOVABLE
    assert (drawn.picture()[0] != SPARSE) == first_is_a_source


@pytest.mark.parametrize("spoiler", ["#", "r", "p", "x"])
@pytest.mark.parametrize("mode", Mode)
def test_async_direct_leaves_a_run_with_anything_stuck_alone(spoiler, mode):
    """An order-2 run of one stuck and three movable pages: none is isolated."""
    full, sieve = "aaaaaaaa", "a#.##.#."
    drawn = Drawn(f"aaa{spoiler}aaa#", full, full, sieve, sieve, sieve, movable=False)
    drawn.compact(order=2, mode=mode)
    stays = mode == Mode.ASYNC
    assert (drawn.picture()[0][:3] == "aaa") == stays


def test_32_frames_move_first_and_then_the_rest_of_the_block_at_once():
    drawn = big("aaa.", "a...", "a.a.", "a.a.")
    sizes = watch(drawn)
    assert drawn.compact(order=6).result is CompactResult.SUCCESS
    assert sizes == [32, 16]
    assert block_of(drawn, 0) == "." * BIG
    drawn = Drawn("a" * 120 + "." * 8, *["a.a." * 32] * 3, size=128)
    sizes = watch(drawn)
    drawn.compact(order=7)
    assert sizes == [32, 88]


def test_async_has_moved_32_before_it_sees_the_frame_that_stays():
    drawn = Drawn("a" * 63 + "#", *["#a.a.a.#" * 8] * 4, *[".a.a.a.#" * 8] * 4, size=BIG)
    sizes = watch(drawn)
    drawn.compact(order=6, mode=Mode.ASYNC)
    assert sizes == [32]
    assert block_of(drawn, 0) == "." * 32 + "a" * 31 + "#"


def test_a_page_that_fails_to_move_ends_its_block_in_async_only():
    for mode, moved_on in ((Mode.ASYNC, False), (Mode.SYNC_LIGHT, True)):
        drawn = big("aaa.", *[".aa#"] * 9)
        mover, classify = drawn.machine.mover, drawn.machine.mover.classify

        def late_reference(pfns, *rest, mover=mover, classify=classify, drawn=drawn, **how):
            found = classify(pfns, *rest, **how)
            if pfns[0] == 0:  # somebody looks at the page between the look and the move
                drawn.machine.get_page(0)
            return found

        mover.classify = late_reference
        drawn.compact(order=6, mode=mode)
        assert (block_of(drawn, 0)[44:] == "." * 20) == moved_on


# Hints.


def test_a_hint_is_set_by_whoever_takes_a_blocks_first_page():
    drawn = Drawn(SPARSE, ".a.a.a.#", *["aaaaa.#."] * 6)
    drawn.compact(order=3, ignore_skip_hint=False)
    assert drawn.machine.pageblocks.skip[0]
    drawn = Drawn(".a.a.a.#", *["aaaaa.#."] * 6)
    drawn.compact(order=3, ignore_skip_hint=False)
    assert not drawn.machine.pageblocks.skip[0]


def test_a_hint_is_set_where_nothing_was_found_and_counts_until_ignored():
    drawn = Drawn("#.#.#.#.", *[SPARSE] * 5)
    drawn.compact(order=3, mode=Mode.SYNC_LIGHT, ignore_skip_hint=False)
    assert drawn.machine.pageblocks.skip[0]
    assert hints(drawn).migrate_sync == 16
    drawn = Drawn(*[SPARSE] * 6)
    drawn.machine.pageblocks.skip[0] = True
    drawn.compact(order=3, ignore_skip_hint=False)
    assert drawn.picture()[0] == SPARSE
    drawn.compact(order=3, whole_zone=True)
    assert drawn.picture()[0] == "........" or drawn.picture()[1] == "........"


def test_the_next_scan_starts_one_block_beyond_the_last_one_scanned():
    drawn = big("aaa.", *[".a.a"] * 7)
    drawn.compact(order=6, mode=Mode.ASYNC, ignore_skip_hint=False)
    at = hints(drawn)
    assert (at.migrate_async, at.migrate_sync) == (2 * BIG, 0)
    drawn = big("aaa.", *["a.a."] * 5)
    drawn.compact(order=6, mode=Mode.SYNC_LIGHT, ignore_skip_hint=False)
    at = hints(drawn)
    assert (at.migrate_async, at.migrate_sync) == (2 * BIG, 2 * BIG)


def test_while_async_isolates_nothing_a_sync_scan_need_not_look_there_either():
    drawn = big("#.#.", "#.#.", "aaa.", *[".a.a"] * 13)
    drawn.compact(order=6, mode=Mode.ASYNC, ignore_skip_hint=False)
    at = hints(drawn)
    assert at.migrate_sync == 3 * BIG
    assert at.migrate_async == 4 * BIG


def test_the_search_for_a_nearly_empty_block_passes_it_over():
    """As in 6.1: it sets the hint, and the scan then finds the hint set."""
    drawn = big("aaa.", "aaaaaaaa........", *[".a.a"] * 8)
    drawn.compact(order=6, mode=Mode.ASYNC, ignore_skip_hint=False)
    assert drawn.machine.pageblocks.skip[1]
    assert block_of(drawn, 1).startswith("aaaaaaaa")
    assert hints(drawn).migrate_async >= 3 * BIG
    assert not drawn.machine.pageblocks.skip[2]


def test_hints_are_kept_where_there_is_nothing_to_scan():
    drawn = Drawn("#######.", "########", *[SPARSE] * 2, "########", "#######.")
    machine, zone = drawn.machine, drawn.machine.zones[0]
    machine.pageblocks.skip[:] = True
    machine.compaction.reset_isolation_suitable(zone)
    assert machine.pageblocks.skip.tolist() == [False, True, False, False, True, False]
    at = hints(drawn)
    assert (at.migrate_async, at.free, at.init_free) == (0, 40, 40)


def test_a_reset_starts_from_the_outermost_blocks_with_anything_to_scan():
    drawn = Drawn("########", *[SPARSE] * 3, "########")
    machine = drawn.machine
    machine.compaction.reset_isolation_suitable(machine.zones[0])
    at = hints(drawn)
    assert (at.migrate_async, at.migrate_sync, at.init_migrate) == (8, 8, 8)
    assert (at.free, at.init_free) == (24, 24)


# Targets.


def searcher(drawn, migrate=0, **control):
    machine = drawn.machine
    control = CompactControl(machine.zones[0], order=control.pop("order", 3), **control)
    at = machine.compaction.hints(machine.zones[0])
    return FreeSearcher(machine.buddy, control, at, SearchEffort(), lambda: migrate)


def given(search, count=1):
    pfns = search.take(count)
    search._buddy.put_taken(pfns)
    search.release()
    return pfns.tolist()


def test_the_top_quarter_is_searched_first_then_the_top_half():
    full, one = "########", "#.######"
    drawn = Drawn(one, full, one, full, full, full, one, full)
    assert given(searcher(drawn, mode=Mode.ASYNC)) == [49]
    drawn = Drawn(one, full, full, full, one, full, full, full)
    search = searcher(drawn, mode=Mode.ASYNC)
    assert given(search) == [33]
    assert search.position == 56  # found on the list: nothing was scanned


def test_where_the_search_fails_a_scan_goes_on_from_the_middle():
    full = "########"
    drawn = Drawn("######.#", "#.######", full, full, full, full, full, full)
    search = searcher(drawn, mode=Mode.SYNC_LIGHT)
    assert given(search) == [9]
    assert search.position < 32


def test_kcompactds_scan_goes_on_where_it_stood():
    full = "########"
    drawn = Drawn("######.#", "#.######", full, full, full, full, full, full)
    search = searcher(drawn, mode=Mode.SYNC_LIGHT, direct=False)
    search._hints.init_free = 56
    assert given(search) == [9]
    assert drawn.machine.pageblocks.skip[4:].all()


def test_synchronous_scans_take_the_rest_of_the_block_too():
    full = "########"
    drawn = Drawn("######.#", *[full] * 6, "#.#.##.#")
    search = searcher(drawn, mode=Mode.SYNC_LIGHT)
    search.nr_wanted = 3
    taken = search.take(3)
    assert sorted(taken.tolist()) == [57, 59, 62]
    search.give_back(taken)
    search.release()
    drawn.machine.check()


def test_the_min_watermark_is_kept_by_search_and_scan():
    for picture in (
        ["########"] * 7 + ["....####"],
        ["########"] + ["....####"] + ["########"] * 6,
    ):
        drawn = Drawn(*picture, marks=(2, 2, 2))
        taken = searcher(drawn, order=0).take(4)
        assert len(taken) == 1
        drawn.machine.buddy.put_taken(taken)


@pytest.mark.parametrize("migratetype", [MigrateType.UNMOVABLE, MigrateType.ISOLATE])
def test_targets_are_movable_blocks_unless_any_will_do(migratetype):
    drawn = Drawn("######.#", "########", "#.#.#.#.", types=[UNMOVABLE, MOVABLE, migratetype])
    assert given(searcher(drawn, any_target=False, migrate=0)) == []
    found = given(searcher(drawn, any_target=True, migrate=0))
    assert bool(found) == (migratetype != MigrateType.ISOLATE)


def test_what_was_not_needed_is_found_again_by_the_next_scan():
    drawn = Drawn("######.#", "########", "#.#.#.#.", "########")
    at = hints(drawn)
    search = searcher(drawn, mode=Mode.SYNC_LIGHT)
    search.nr_wanted = 3
    taken = search.take(1)
    at.free = 8
    search.release()
    assert at.free == 16
    assert drawn.machine.buddy.nr_free() == 4
    drawn.machine.buddy.put_taken(taken)
    drawn.machine.check()


def test_a_search_meets_the_newest_merge_candidates_first_and_then_goes_upward():
    """Blocks beside a free block of the next order, downward; then the others, upward."""
    drawn = Drawn("..#.#.#.", "#.#.#.#.", "..#.#.##", "########")
    lists = hints(drawn).lists
    lists.look(drawn.machine.buddy)
    met = lists.heads(drawn.machine.buddy, 0, 0).tolist()
    assert met == [19, 3, 5, 7, 9, 11, 13, 15, 21]
    assert lists.newest(drawn.machine.buddy, 0, 0).tolist() == met[::-1]
    lists.looked_at(15, 0)
    assert lists.newest(drawn.machine.buddy, 0, 0).tolist()[:2] == [13, 11]


def test_reports_count_list_entries_and_frames():
    drawn = Drawn(*[SPARSE] * 6)
    before = drawn.machine.counters.copy()
    report = drawn.compact(order=3)
    done = drawn.machine.counters.since(before)
    assert isinstance(report, CompactReport)
    assert done.pages_scanned == report.pages_scanned_migrate + report.pages_scanned_free
    assert report.pages_scanned_migrate == 8
    assert report.pages_scanned_free >= report.pages_moved == 4
    assert done.pages_copied == 4


def test_an_isolated_block_in_the_middle_is_not_touched():
    isolated = [MOVABLE, MOVABLE, MigrateType.ISOLATE, MOVABLE, MOVABLE]
    drawn = Drawn("######.#", "######.#", "#.#.#.#.", "########", "########", types=isolated)
    search = searcher(drawn, mode=Mode.SYNC_LIGHT, migrate=8)
    search.nr_wanted = 4
    taken = search.take(4)
    assert not set(taken.tolist()) & set(range(16, 24))
