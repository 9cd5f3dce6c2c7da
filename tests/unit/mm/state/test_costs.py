"""The cost model against what was measured, and the clock."""

import attrs
import numpy as np
import pytest

from mm.state.costs import CostModel, Counters, SimClock
from pinpage.errors import PinpageError

# One compact_memory each on a recorded Linux 6.1 machine of 1 GiB, half of it scattered
# anonymous memory: deltas of compact_migrate_scanned, compact_free_scanned,
# compact_isolated and pgmigrate_success.
RECORDED = {
    "anon-cmphuge-seed1": (102_896, 113_961, 111_293, 55_541),
    "anon-cmphuge-seed2": (103_038, 113_629, 111_417, 55_598),
    "gup05-cmphuge-seed1": (102_758, 114_443, 110_592, 55_263),
    "slab-cmphuge-seed1": (82_514, 79_156, 82_694, 41_257),
    "zram-cmphuge-seed1": (108_853, 121_685, 120_250, 60_050),
}


def whole_zone_compaction(costs, name):
    migrate, free, isolated, moved = RECORDED[name]
    nr_flushes = -(-moved // costs.flush_batch_nr_pages)
    return Counters(
        pages_scanned_migrate=migrate,
        pages_scanned_free=free,
        pages_isolated=isolated,
        pages_copied=moved,
        ptes_rewritten=moved,
        flushes=nr_flushes,
        lock_acquisitions=2 * nr_flushes,
        pages_freed=moved,
    )


@pytest.mark.parametrize("name", RECORDED)
def test_a_whole_zone_compaction_costs_what_a_real_one_does(name):
    costs = CostModel()
    counters = whole_zone_compaction(costs, name)
    assert 2_200 <= costs.cost_of(counters) / counters.pages_copied <= 2_300


def test_batched_flushes_make_migration_about_four_times_as_fast():
    batched, one_by_one = CostModel(), CostModel(flush_batch_nr_pages=1)
    cost = {
        costs: costs.cost_of(whole_zone_compaction(costs, "anon-cmphuge-seed1"))
        for costs in (batched, one_by_one)
    }
    assert 3.6 <= cost[one_by_one] / cost[batched] <= 4.2


def test_scanning_is_dearer_than_free_and_cheaper_than_the_measured_cap():
    assert 0 < CostModel().scan_ns < 1_000_000_000 / 2_600_000


def test_every_counter_costs_its_own_constant_once():
    prices = {
        "pages_scanned_migrate": "scan_ns",
        "pages_scanned_free": "scan_ns",
        "pages_isolated": "isolate_ns",
        "pages_copied": "copy_ns",
        "ptes_rewritten": "pte_ns",
        "callbacks": "callback_ns",
        "flushes": "flush_ns",
        "lock_acquisitions": "lock_ns",
        "pages_compressed": "compress_ns",
        "pages_decompressed": "decompress_ns",
        "pages_allocated": "allocate_ns",
        "pages_freed": "free_ns",
        "pages_retried": "retry_ns",
    }
    assert prices.keys() == attrs.fields_dict(Counters).keys()
    costs = CostModel()
    for counter, constant in prices.items():
        assert costs.cost_of(Counters(**{counter: 3})) == 3 * getattr(costs, constant)
    everything = Counters(**dict.fromkeys(prices, 1))
    assert costs.cost_of(everything) == sum(getattr(costs, name) for name in prices.values())


def test_every_constant_states_its_source():
    for constant in attrs.fields(CostModel):
        kind = constant.metadata["source"].split()[0].rstrip(":,")
        assert kind in {"assumed", "measured", "COMPACT_CLUSTER_MAX"}, constant.name


@pytest.mark.parametrize("bad", [-1, 1.5, True])
def test_a_cost_is_a_whole_number_of_ns(bad):
    with pytest.raises(PinpageError, match="lock_ns"):
        CostModel(lock_ns=bad)


@pytest.mark.parametrize("bad", [0, -32])
def test_a_flush_batch_holds_at_least_one_page(bad):
    with pytest.raises(PinpageError, match="flush_batch_nr_pages"):
        CostModel(flush_batch_nr_pages=bad)


def held_for_ns(seed, count):
    """The law behind `callback_ns`.

    Jan Kara measured how long __buffer_migrate_page kept its lock: of some 3,100 samples 93.2 %
    lay below 6 us, 97.7 % at or below 16 us, and the longest was 311 us.  The two shares fix both
    parameters; the third figure then comes out by itself, for the law expects 0.7 samples out of
    3,100 to lie beyond the longest.
    """
    drawn = np.random.default_rng(seed).lognormal(np.log(330), 1.945, count)
    return np.minimum(drawn, 311_000)


def test_the_law_of_lock_hold_times_has_the_measured_shape():
    held_ns = held_for_ns(1, 400_000)
    assert np.mean(held_ns < 6_000) == pytest.approx(0.932, abs=0.003)
    assert np.mean(held_ns <= 16_000) == pytest.approx(0.977, abs=0.002)
    assert held_ns.max() == 311_000
    assert np.mean(held_ns == 311_000) * 3_100 == pytest.approx(0.7, abs=0.4)


def test_a_callback_costs_the_mean_of_that_law():
    assert CostModel().callback_ns == pytest.approx(held_for_ns(2, 1_000_000).mean(), rel=0.02)


def test_counters_since():
    counters = Counters(pages_copied=5)
    before = counters.copy()
    counters.pages_copied += 2
    counters.callbacks += 1
    assert counters.since(before) == Counters(pages_copied=2, callbacks=1)
    assert before == Counters(pages_copied=5)


def test_the_clock_goes_forward_in_whole_ns():
    clock = SimClock()
    assert clock.advance(7) == 7
    assert clock.advance(0) == 7
    for bad in (-1, 0.5):
        with pytest.raises(PinpageError, match="cannot advance"):
            clock.advance(bad)
    assert clock.now_ns == 7


def test_counts_kept_elsewhere_are_added():
    counters = Counters(pages_copied=3)
    counters.add(Counters(pages_copied=2, callbacks=5))
    assert counters == Counters(pages_copied=5, callbacks=5)
