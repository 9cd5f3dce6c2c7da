"""The compaction daemon: for an order, and for the score."""

import pytest

from mm.compaction.compact_control import CompactReport, CompactResult
from mm.compaction.kcompactd import CHECK_INTERVAL_NS, score_marks
from mm.state.nodes import Zone
from mm.state.pageblock import MOST_NR_ORDERS
from pinpage.errors import PinpageError
from pinpage.owner import Mode
from pinpage.units import Span
from tests.kit.mm.machines import Drawn

SPARSE, KERNEL = "a.a.a.a.", "#.#.#.#."


def daemon_of(*blocks, **build):
    drawn = Drawn(*blocks, **build)
    return drawn, drawn.machine.kcompactd[0]


def controls_of(drawn, result=CompactResult.COMPLETE):
    """The requests that compaction gets from now on; it does nothing and ends so."""
    seen, compaction = [], drawn.machine.compaction

    def compact_zone(control, design):
        seen.append(control)
        return CompactReport(result)

    compaction.compact_zone = compact_zone
    return seen


# For an order.


def test_it_makes_the_block_that_was_asked_for():
    drawn, daemon = daemon_of(*[SPARSE] * 8)
    assert daemon.run(3).result is CompactResult.SUCCESS
    assert drawn.picture()[0] == "........"
    assert drawn.machine.allocator.deferral(drawn.machine.zones[0]).failed_order == MOST_NR_ORDERS
    drawn.machine.check()
    drawn.check_contents()


def test_it_is_sync_light_respects_hints_and_is_on_nobodys_behalf():
    drawn, daemon = daemon_of(*[KERNEL] * 8)
    (seen,) = [controls_of(drawn)]
    daemon.run(3)
    (control,) = seen
    assert (control.mode, control.order) == (Mode.SYNC_LIGHT, 3)
    assert not control.ignore_skip_hint
    assert not control.is_direct
    assert not control.whole_zone
    assert not control.any_target


def test_a_failure_defers_the_zone_for_everybody():
    drawn, daemon = daemon_of(*[KERNEL] * 8)
    seen = controls_of(drawn)
    results = [daemon.run(3).result for _ in range(3)]
    assert results == [CompactResult.COMPLETE, CompactResult.DEFERRED, CompactResult.COMPLETE]
    assert len(seen) == 2
    deferral = drawn.machine.allocator.deferral(drawn.machine.zones[0])
    assert (deferral.shift, deferral.failed_order) == (2, 3)


def test_contention_and_success_defer_nothing():
    for result in (CompactResult.CONTENDED, CompactResult.SUCCESS):
        drawn, daemon = daemon_of(*[KERNEL] * 8)
        controls_of(drawn, result)
        daemon.run(3)
        assert drawn.machine.allocator.deferral(drawn.machine.zones[0]).shift == 0


def test_zones_that_have_the_block_or_too_little_memory_are_left_alone():
    for blocks in ([*[SPARSE] * 8, "........"], ["#######."] * 3):
        drawn, daemon = daemon_of(*blocks)
        seen = controls_of(drawn)
        daemon.run(3)
        assert seen == []


def test_only_its_own_node_is_compacted():
    drawn = Drawn(*[SPARSE] * 16, nr_nodes=2)
    drawn.machine.kcompactd[1].run(3)
    assert drawn.picture()[:8] == [SPARSE] * 8
    assert drawn.picture()[8] == "........"


def test_a_zone_without_memory_has_no_share():
    drawn, daemon = daemon_of(*[KERNEL] * 4)
    drawn.machine.zones += (Zone(1, "Movable", 0, Span(32, 32), 0),)
    assert [zone.index for zone in daemon.zones] == [0]


# For the score.


@pytest.mark.parametrize(
    ("proactiveness", "marks"), [(0, (100, 100)), (20, (80, 90)), (97, (5, 15)), (100, (5, 15))]
)
def test_marks(proactiveness, marks):
    assert score_marks(proactiveness) == marks


@pytest.mark.parametrize("proactiveness", [-1, 101])
def test_proactiveness_is_a_percentage(proactiveness):
    with pytest.raises(PinpageError, match="percentage"):
        score_marks(proactiveness)


def test_it_looks_every_500_ms_and_compacts_until_the_score_is_80():
    drawn, daemon = daemon_of(*[SPARSE] * 40)
    assert daemon.score() == 99  # all of it useless, less the kernel's rounding
    assert daemon.look(CHECK_INTERVAL_NS - 1) is None
    report = daemon.look(CHECK_INTERVAL_NS)
    assert report.result is CompactResult.SUCCESS
    # 160 frames are free; at 4 whole blocks the score is 80 exactly, and no fifth is made.
    assert report.pageblocks_emptied == 4
    assert daemon.score() == 79
    assert daemon.next_look_ns == 2 * CHECK_INTERVAL_NS
    assert daemon.look(2 * CHECK_INTERVAL_NS) is None  # not above 90
    drawn.check_contents()


def test_no_gain_and_it_does_not_look_again_for_32_s():
    drawn, daemon = daemon_of(*[KERNEL] * 40)
    assert daemon.look(CHECK_INTERVAL_NS) is not None
    assert daemon.next_look_ns == CHECK_INTERVAL_NS + 32_000_000_000
    assert daemon.nr_proactive == 1
    assert drawn.machine.counters.pages_copied == 0


def test_it_begins_above_90_only():
    whole = ["........"] * 2  # 16 of 176 useful: 90.9 percent are not, rounded down to 90
    _, daemon = daemon_of(*[SPARSE] * 40, *whole)
    assert daemon.score() <= 90
    assert daemon.look(CHECK_INTERVAL_NS) is None


def test_switched_off_it_never_looks():
    _, daemon = daemon_of(*[SPARSE] * 40)
    daemon.proactiveness = 0
    assert daemon.look(10 * CHECK_INTERVAL_NS) is None


def test_it_takes_all_blocks_hints_or_not_and_starts_at_the_ends():
    drawn, daemon = daemon_of(*[KERNEL] * 40)
    seen = controls_of(drawn)
    daemon.look(CHECK_INTERVAL_NS)
    (control,) = seen
    assert (control.mode, control.order) == (Mode.SYNC_LIGHT, -1)
    assert control.ignore_skip_hint
    assert control.whole_zone
    assert not control.any_target
