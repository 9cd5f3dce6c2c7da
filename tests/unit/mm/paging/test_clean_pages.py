"""Clean page cache, counted: whatever changes a page, the count is that of a look at all."""

import random

import numpy as np
import pytest

from mm.paging import clean_pages
from mm.paging.clean_pages import is_clean_cache
from mm.paging.paging import bit
from mm.state.frames import PageFlag
from pinpage.errors import InvariantError
from pinpage.testing.world import column
from tests.kit.mm.ranges import Ranged


def world(*blocks):
    drawn = Ranged(*blocks)
    drawn.machine.reclaimer.count()
    return drawn


def clean(machine, active):
    """The clean pages of a list, the oldest first, by a look at all of it."""
    members = machine.lru.members(active=active)
    return members[is_clean_cache(machine.frames, machine.rmap, members)].tolist()


def agree(machine):
    """What is counted, and which are oldest, is what a look at all of it says."""
    counted = machine.reclaimer.clean
    expected = [clean(machine, active) for active in (False, True)]
    assert [counted.nr_pages(active=active) for active in (False, True)] == [*map(len, expected)]
    assert machine.reclaimer.nr_reclaimable() == sum(map(len, expected))
    machine.check()
    for active in (False, True):
        for count in (0, 2, 1000):
            assert counted.oldest(count, active=active).tolist() == expected[active][:count]
    machine.check()


def _second_mapping(drawn):
    drawn.machine.rmap.map_page(drawn.space, 0, 0)


def _second_mappings(drawn):
    drawn.machine.rmap.map_many(drawn.space, column(0, 1), column(0, 1))


def _reference(drawn):
    drawn.machine.get_page(0)


def _held(drawn):
    drawn.machine.paging.get_page(0)


def _locked(drawn):
    drawn.machine.paging.lock_page(0)


def _dirtied(drawn):
    drawn.machine.paging.set_bits(0, bit(PageFlag.DIRTY))


def _all_dirtied(drawn):
    drawn.machine.frames.set_flag(column(0, 1), PageFlag.DIRTY)


def _isolated(drawn):
    drawn.machine.lru.del_many(column(0))


def _one_isolated(drawn):
    drawn.machine.lru.del_page(0)


def _unmapped(drawn):
    drawn.machine.rmap.unmap_page(drawn.cache, int(drawn.machine.rmap.first_vpn[0]))


def _all_unmapped(drawn):
    drawn.machine.rmap.unmap_many(column(0, 1))


def _put(drawn):
    drawn.machine.put_page(0)


def _no_more_held(drawn):
    drawn.machine.paging.put_page(0)


def _unlocked(drawn):
    drawn.machine.paging.unlock_page(0)


def _cleaned(drawn):
    drawn.machine.paging.clear_bits(0, bit(PageFlag.DIRTY))


def _all_cleaned(drawn):
    drawn.machine.frames.clear_flag(column(0, 1), PageFlag.DIRTY)


def _back(drawn):
    drawn.machine.lru.add_many(column(0))


def _one_back(drawn):
    drawn.machine.lru.add_page(0)


def _only_a_process_maps_it(drawn):
    _second_mapping(drawn)
    _unmapped(drawn)


def _one_mapping_less(drawn):
    drawn.machine.rmap.unmap_page(drawn.space, 0)


def _mapped_again(drawn):
    drawn.machine.rmap.map_page(drawn.cache, 0, 0)


def _all_mapped_again(drawn):
    drawn.machine.rmap.map_many(drawn.cache, column(0, 1), column(0, 1))


@pytest.mark.parametrize("nr_kept", [clean_pages._NR_TOUCHED, 0], ids=["asked", "at once"])
@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (_second_mapping, _one_mapping_less), (_second_mappings, _one_mapping_less),
        (_reference, _put), (_held, _no_more_held), (_locked, _unlocked), (_dirtied, _cleaned),
        (_all_dirtied, _all_cleaned), (_isolated, _back), (_one_isolated, _one_back),
        (_only_a_process_maps_it, _mapped_again), (_unmapped, _mapped_again),
        (_all_unmapped, _all_mapped_again),
    ],
)  # fmt: skip
def test_whatever_makes_a_page_unclean_or_clean_is_noted(monkeypatch, change, undo, nr_kept):
    """Also where what was noted is looked at at once, maybe before the change is whole."""
    monkeypatch.setattr(clean_pages, "_NR_TOUCHED", nr_kept)
    drawn = world("cccc....")
    counted = drawn.machine.reclaimer.clean
    for step in (change, undo):
        counted.settle()
        step(drawn)
        counted.check()
        assert counted.nr_pages(active=False) == len(clean(drawn.machine, False))


@pytest.mark.parametrize("steps", [(_dirtied, _cleaned), (_all_dirtied, _all_cleaned)])
def test_what_is_remembered_has_an_end(monkeypatch, steps):
    monkeypatch.setattr(clean_pages, "_NR_TOUCHED", 3)
    drawn = world("cccc....")
    before = drawn.machine.reclaimer.clean.nr_looked_at
    for step in steps * 2:
        step(drawn)
    assert drawn.machine.reclaimer.clean.nr_looked_at > before


def test_places_that_are_numbered_anew_are_walked_anew():
    drawn = world(*["cccccccc"] * 4)
    machine, lru = drawn.machine, drawn.machine.lru
    assert machine.reclaimer.clean.oldest(8, active=False).tolist() == list(range(8))
    numbering = lru.numbering(active=False)
    while lru.numbering(active=False) == numbering:
        lru.del_many(column(0, 1))
        lru.add_many(column(0, 1))
    agree(machine)


def test_the_count_can_be_read_without_being_changed():
    drawn = world("cccc....")
    _dirtied(drawn)
    counted = drawn.machine.reclaimer.clean
    before = counted.nr_looked_at
    assert [counted.nr_pages(active=False) for _ in range(2)] == [3, 3]
    assert counted.nr_looked_at == before


def test_a_page_that_becomes_clean_late_is_among_the_oldest():
    drawn = world("cccccc..")
    machine = drawn.machine
    machine.get_page(1)
    assert machine.reclaimer.clean.oldest(2, active=False).tolist() == [0, 2]
    machine.put_page(1)
    assert machine.reclaimer.clean.oldest(2, active=False).tolist() == [0, 1]
    agree(machine)


@pytest.mark.parametrize("nr_kept", [clean_pages._NR_TOUCHED, 3], ids=["asked", "full"])
@pytest.mark.parametrize("seed", range(4))
def test_a_long_history(monkeypatch, seed, nr_kept):
    """Also where touched frames are looked at long before anybody asks."""
    monkeypatch.setattr(clean_pages, "_NR_TOUCHED", nr_kept)
    drawn, rng = world(*["cacdcacc"] * 40), random.Random(seed)
    machine, held = drawn.machine, []
    for step in range(300):
        on_lru = np.flatnonzero(machine.frames.has_flag(np.arange(320), PageFlag.LRU))
        pfns = np.sort(rng.sample(on_lru.tolist(), min(len(on_lru), 5)))
        what = rng.randrange(6)
        if what == 0:
            machine.get_page(int(pfns[0]))
            held.append(int(pfns[0]))
        elif what == 1 and held:
            machine.put_page(held.pop())
        elif what == 2:
            machine.lru.activate(pfns)
        elif what == 3:
            machine.frames.set_flag(pfns[:2], PageFlag.DIRTY)
        elif what == 4:
            machine.lru.del_many(pfns)
            machine.lru.add_many(pfns)
        elif step % 5 == 0:
            machine.reclaimer.shrink(2)
        if step % 7 == 0:
            agree(machine)
    agree(machine)


def test_dropping_all_of_it_looks_at_each_place_about_once():
    drawn = world(*["cccaaaaa"] * 200)
    counted = drawn.machine.reclaimer.clean
    before = counted.nr_looked_at
    while drawn.machine.reclaimer.shrink(8):
        pass
    assert drawn.machine.reclaimer.nr_dropped == 600
    assert counted.nr_looked_at - before < 8 * 1600


def test_a_change_that_nobody_noted_is_found():
    drawn = world("cccc....")
    drawn.machine.frames.refcount[0] += 1
    with pytest.raises(InvariantError, match="CP1"):
        drawn.machine.check()


def test_a_page_that_was_passed_over_is_found():
    drawn = world("cccc....")
    counted = drawn.machine.reclaimer.clean
    counted.oldest(2, active=False)
    counted._walks[False].met.clear()
    with pytest.raises(InvariantError, match="CP2"):
        counted.check()


def test_where_there_is_swap_nobody_counts():
    drawn = world("cccc....")
    drawn.machine.swap.swapon(64)
    assert drawn.machine.reclaimer.count() is None
    assert drawn.machine.frames.touched is None
