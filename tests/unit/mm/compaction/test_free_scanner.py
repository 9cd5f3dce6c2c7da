"""The free scanner: which frames become targets, in which order, and what it leaves alone."""

import pytest

from mm.compaction.free_scanner import FreeScanner
from mm.state.pageblock import MigrateType
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn


def scanner(drawn, **options):
    machine = drawn.machine
    top = machine.pageblocks.nr_blocks - 1
    return FreeScanner(machine.buddy, machine.pageblocks, machine.zones[0], top, **options)


def test_blocks_from_the_top_frames_ascending():
    drawn = Drawn("aa......", "a..a....", "......a.")
    targets = scanner(drawn)
    assert targets.take(3).tolist() == [16, 17, 18]
    assert targets.take(7).tolist() == [19, 20, 21, 23, 9, 10, 12]


def test_the_floor_is_not_crossed():
    drawn = Drawn("aa......", "a..a....", "......a.")
    targets = scanner(drawn)
    targets.floor = 1
    assert len(targets.take(99)) == 7
    assert targets.block == 1


def test_a_wholly_free_block_is_what_compaction_is_for():
    targets = scanner(Drawn("a.......", "........", "a......."))
    assert 8 not in targets.take(14).tolist()
    assert targets.nr_scanned == 8


@pytest.mark.parametrize("migratetype", MigrateType)
def test_only_movable_and_cma_blocks_are_filled(migratetype):
    suitable = migratetype in (MigrateType.MOVABLE, MigrateType.CMA)
    drawn = Drawn("a.......", "a.......", types=[MigrateType.MOVABLE, migratetype])
    assert len(scanner(drawn).take(7)) == (7 if suitable else 0)
    drawn = Drawn("a.......", "a.......", types=[MigrateType.MOVABLE, migratetype])
    isolated = migratetype == MigrateType.ISOLATE
    assert len(scanner(drawn, any_target=True).take(7)) == (0 if isolated else 7)


def test_free_memory_stays_above_the_min_watermark():
    for low, given in ((6, []), (5, []), (4, [13]), (2, [13, 14, 15])):
        drawn = Drawn("aaaaa...", "aaaaa...", marks=(low, low, low))
        assert scanner(drawn).take(4).tolist() == given  # of six free ones
        drawn.machine.buddy.put_taken(column(*given))
        drawn.machine.check()


def test_what_is_left_over_goes_back_and_is_found_again():
    drawn = Drawn("a.......", "aaaaaa..", "aaaaaa..")
    targets = scanner(drawn)
    assert targets.take(3).tolist() == [22, 23, 14]
    targets.give_back(column(23, 14))
    assert targets.take(1).tolist() == [23]
    drawn.machine.buddy.put_taken(column(22, 23))
    targets.release()
    drawn.machine.check()
    assert targets.block == 1
    assert targets.take(2).tolist() == [14, 15]


def test_a_block_without_free_frames_is_hinted_and_the_hint_is_kept():
    drawn = Drawn("a.......", "aaaaaa..", "aaaaaaaa")
    skip = drawn.machine.pageblocks.skip
    assert scanner(drawn).take(2).tolist() == [14, 15]
    assert skip.tolist() == [False, False, True]
    drawn.free_of(16)
    drawn.machine.buddy.put_taken(column(14, 15))
    assert scanner(drawn, ignore_skip_hint=False).take(1).tolist() == [14]
    assert scanner(drawn, ignore_skip_hint=True).take(1).tolist() == [16]
