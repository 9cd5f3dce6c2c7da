"""The picture of a free list: what a search meets, against the whole list sorted each time."""

import random

import numpy as np
import pytest

from mm.buddy import free_area
from mm.compaction.listed_heads import ListedHeads
from mm.machine import Machine
from mm.state.pageblock import MigrateType

NR_BLOCKS, SIZE = 48, 512
MOVABLE, UNMOVABLE = MigrateType.MOVABLE, MigrateType.UNMOVABLE


def listed(machine, zone, order):
    """Every free block of the order on the zone's MOVABLE list, ascending."""
    heads = np.flatnonzero(machine.frames.order == order)
    blocks = heads // SIZE
    mine = machine.buddy.area.zone_of_block[blocks] == zone
    return heads[mine & (machine.pageblocks.migratetype[blocks] == MOVABLE)]


def sorted_by_place(heads, is_near):
    near = is_near[heads]
    return np.concatenate((heads[near][::-1], heads[~near]))


def place(heads, is_near):
    return np.where(is_near[heads], len(is_near) - heads, len(is_near) + heads)


def after(heads, is_near, at, count):
    heads = sorted_by_place(heads, is_near)
    first = int(np.searchsorted(place(heads, is_near), at))
    return np.concatenate((heads[first:], heads[:first]))[:count].tolist()


def before(heads, is_near, at, count):
    heads = sorted_by_place(heads, is_near)
    first = int(np.searchsorted(place(heads, is_near), at))
    return np.concatenate((heads[:first][::-1], heads[first:][::-1]))[:count].tolist()


class Busy:
    """A machine of two zones on which single frames and blocks come and go."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.machine = Machine.build(nr_pages=NR_BLOCKS * SIZE, nr_nodes=2, contents="tags")
        self.is_near = np.random.default_rng(seed).random(NR_BLOCKS * SIZE) < 0.2
        self.held = []
        self.work(400)

    def work(self, nr_steps):
        rng, buddy = self.rng, self.machine.buddy
        for _ in range(nr_steps):
            if self.held and rng.random() < 0.5:
                pfn, order = self.held.pop(rng.randrange(len(self.held)))
                buddy.free(pfn, order)
            else:
                order = rng.choice((0, 0, 0, 1, 3, 6))
                pfn = buddy.alloc(order, rng.choice((MOVABLE, UNMOVABLE)), zone=rng.randrange(2))
                if pfn >= 0:
                    self.held.append((pfn, order))

    def mark(self, order):
        """A place near to which there may be a block, or at an end."""
        far = len(self.is_near)
        return self.rng.choice((0, far, 2 * far, 1 << 62, self.rng.randrange(2 * far), order))


@pytest.mark.parametrize("nr_kept", [16, 0], ids=["recorded", "forgotten"])
@pytest.mark.parametrize("order", [0, 1, 3, 9, 10])
def test_it_shows_what_is_there_when_it_is_looked_at(monkeypatch, order, nr_kept):
    """Also where the record of changes does not reach back to the last look."""
    monkeypatch.setattr(free_area, "_NR_KEPT_CHANGES", nr_kept)
    busy = Busy(order)
    pictures = [ListedHeads(zone, order, busy.is_near) for zone in range(2)]
    for _ in range(25):
        busy.work(busy.rng.choice((0, 1, 30, 300)))
        for zone, picture in enumerate(pictures):
            picture.look(busy.machine.buddy)
            heads = listed(busy.machine, zone, order)
            assert picture.nr_heads == len(heads)
            for count in (1, 5, 1000):
                at = busy.mark(order)
                assert picture.after(at, count).tolist() == after(heads, busy.is_near, at, count)
                assert picture.before(at, count).tolist() == before(heads, busy.is_near, at, count)


def test_it_goes_once_round_from_every_place():
    busy, nr_near = Busy(5), 0
    buddy = busy.machine.buddy
    singles = [buddy.alloc(0, MOVABLE, zone=0) for _ in range(200)]
    for pfn in singles[::2]:
        buddy.free(pfn, 0)
    for order in range(3):
        picture = ListedHeads(0, order, busy.is_near)
        picture.look(buddy)
        heads = listed(busy.machine, 0, order)
        for at in place(heads, busy.is_near).tolist():
            for mark in (at - 1, at, at + 1):
                assert picture.after(mark, 1000).tolist() == after(heads, busy.is_near, mark, 1000)
                assert picture.before(mark, 1000).tolist() == before(
                    heads, busy.is_near, mark, 1000
                )
        nr_near += int(busy.is_near[heads].sum())
    assert nr_near


def test_between_two_looks_it_stays_as_it_is():
    busy = Busy(1)
    picture = ListedHeads(0, 0, busy.is_near)
    picture.look(busy.machine.buddy)
    then = picture.after(0, 1000).tolist()
    busy.work(200)
    assert picture.after(0, 1000).tolist() == then
    picture.look(busy.machine.buddy)
    assert picture.after(0, 1000).tolist() != then


def test_a_pageblock_that_changes_its_type_leaves_the_list():
    busy = Busy(2)
    picture = ListedHeads(0, 0, busy.is_near)
    picture.look(busy.machine.buddy)
    block = int(picture.after(0, 1)[0]) // SIZE
    busy.machine.buddy.set_migratetype(block, UNMOVABLE)
    picture.look(busy.machine.buddy)
    assert block not in picture.after(0, 1000) // SIZE


def test_a_look_costs_what_has_changed():
    busy = Busy(3)
    picture = ListedHeads(0, 0, busy.is_near)
    picture.look(busy.machine.buddy)
    before_it = picture.nr_seen
    pfn = busy.machine.buddy.alloc(0, MOVABLE, zone=0)
    busy.machine.buddy.free(pfn)
    picture.look(busy.machine.buddy)
    assert picture.nr_seen - before_it <= 2 * SIZE
