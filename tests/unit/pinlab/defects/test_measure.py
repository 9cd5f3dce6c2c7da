"""The figures of 2013: probes against their closed form, the lock against its queue."""

import pytest

from pinlab.defects.measure import (
    closed_queue,
    drawn_pfns,
    hash_probes,
    lock_use,
    probes,
    simulated_queue,
)
from pinpage.errors import PinpageError
from pinpage.rfc2013 import PinPageOwner, Rfc2013
from pinpage.rfc2013_defects import WITH_A_FLAG


@pytest.mark.parametrize(
    "nr_pins", [10_000, 100_000, pytest.param(1_000_000, marks=pytest.mark.slow)]
)
def test_mean_probes_are_within_a_hundredth_of_the_closed_form(nr_pins):
    found = probes(nr_pins)
    assert found.patch == pytest.approx(found.expected, rel=0.01)
    assert found.expected == 1 + (nr_pins - 1) / 2048
    assert 1 <= found.registry < 2


def test_a_million_pins_are_as_the_closed_form_says():
    assert hash_probes(drawn_pfns(1_000_000)) == pytest.approx(1 + 999_999 / 2048, rel=0.01)


def test_the_chains_are_those_that_a_look_up_walks():
    table, owner = Rfc2013(WITH_A_FLAG), PinPageOwner("driver", lambda pfn, private: 0)
    pfns = drawn_pfns(3000, seed=1)
    for pfn in pfns.tolist():
        table.set_pinned_page(owner, pfn)
    for pfn in pfns.tolist():
        assert table.get_pin_page_info(pfn).pfn == pfn
    assert table.nr_probes / table.nr_lookups == pytest.approx(hash_probes(pfns), rel=1e-12)
    assert len(table.chain_lengths()) == 1024
    table.check()


@pytest.mark.parametrize("nr_cpus", [1, 2, 8, 32, 256])
def test_one_lock_does_what_the_queue_says(nr_cpus):
    exact = closed_queue(nr_cpus, 100, 900)
    assert exact <= min(nr_cpus, 10) * (1 + 1e-12)
    assert simulated_queue(nr_cpus, 100, 900, seed=3) == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("nr_cpus", [1, 4, 16, 64, 256])
def test_no_sample_is_faster_than_the_lock_can_be(nr_cpus):
    for seed in range(8):
        most = min(nr_cpus, 10.0)
        assert simulated_queue(nr_cpus, 100, 900, nr_turns=4_000, seed=seed) <= most + 1e-9


def test_the_queue_of_two_by_hand():
    # One CPU alone: 1 per S + Z.  Two: the second finds the lock taken for S / (S + Z) of the time.
    assert closed_queue(2, 100, 900) == pytest.approx(2 / (100 * 1.1 + 900) * 1000)


def test_direct_io_takes_a_lock_per_page_or_none():
    patch, registry = lock_use()
    assert (patch.per_request, patch.remote_share, patch.records_left) == (64, 0.75, 4096)
    assert registry.per_request < 0.1
    assert (registry.remote_share, registry.records_left) == (0, 0)


def test_a_number_of_pins_that_cannot_be_is_refused():
    with pytest.raises(PinpageError, match="nr_pins=0: give 1"):
        probes(0)
