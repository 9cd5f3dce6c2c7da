"""Ranges in one step: the same as columns of the same frames, and left to them when not simple."""

import numpy as np
import pytest

from pinpage import AlreadyPinnedError, NotPinnedError, OwnerError, PinOwner, PinRegistry, Topology
from tests.kit import inside

NR_FRAMES, BORDER = 8192, 4096  # two nodes of eight pageblocks
TAG, VALUE = 0, 7  # of the first owner's pins


class World:
    """A registry with two owners, whose blocks are dense above 8 pins."""

    def __init__(self):
        topology = Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2)
        self.reg = PinRegistry(topology, sparse_below=4, dense_above=8)
        self.owner, self.other = PinOwner(), PinOwner()
        self.reg.register(self.owner)
        self.reg.register(self.other)
        self.writes = inside.writes(self.reg)

    def state(self):
        """Pins, counts and forms of all blocks, and what each part says of itself."""
        self.reg.check()
        blocks = [shard.radix.blocks for shard in inside.shards(self.reg)]
        pins = [(pin.pfn, pin.owner is self.owner, pin.private) for pin in self.reg.iter_pins()]
        return pins, [list(b.counts) for b in blocks], [list(b.is_dense) for b in blocks]


def nothing(world):
    """No pins."""


def pins_of_another(*pfns):
    return lambda world: world.reg.pin_many(pfns, world.other, 3)


def under_move(world):
    world.reg.marks.begin_move(np.array([3000]))


def leave(world):
    world.reg.unregister(world.owner)


SIMPLE = {
    "a block": (nothing, 512, 1024),
    "blocks": (nothing, 512, 2560),
    "part of a block": (nothing, 520, 529),
    "from within a block to within another": (nothing, 700, 1800),
    "the end of a block and the beginning of the next": (nothing, 1015, 1033),
    "all of a node": (nothing, BORDER, NR_FRAMES),
    "up to the end": (nothing, NR_FRAMES - 9, NR_FRAMES),
    "between blocks with pins": (pins_of_another(511, 1536), 512, 1536),
    "where pins were": (
        lambda w: (w.reg.pin_range(512, 900, w.owner), w.reg.unpin_range(512, 900, w.owner)),
        512,
        1024,
    ),
}
NOT_SIMPLE = {
    "nothing": (nothing, 512, 512),
    "few frames": (nothing, 520, 528),
    "few frames of the first block": (nothing, 1020, 1536),
    "few frames of the last block": (nothing, 512, 1028),
    "two nodes": (nothing, BORDER - 512, BORDER + 512),
    "a pin in the first block": (pins_of_another(513), 520, 1536),
    "a pin in the last block": (pins_of_another(1535), 512, 1530),
    "a pin between": (pins_of_another(1100), 512, 1536),
    "a pin in a batch": (lambda w: w.reg.pin(1100, w.other, 3), 512, 1536),
    "frames under move": (under_move, 512, 1024),
    "an owner that left": (leave, 512, 1024),
}


@pytest.mark.parametrize("case", SIMPLE)
def test_a_range_is_pinned_in_one_step(case):
    prepare, start, stop = SIMPLE[case]
    world, columns = World(), World()
    prepare(world)
    prepare(columns)
    before = world.reg.statistics().nr_conversions
    assert world.writes.add_run(slice(start, stop), TAG, VALUE)
    columns.reg.pin_many(np.arange(start, stop), columns.owner, VALUE)
    assert world.state() == columns.state()
    assert world.reg.statistics().nr_direct == columns.reg.statistics().nr_direct
    made = world.reg.statistics().nr_leaves
    assert world.reg.statistics().nr_conversions - before == made
    assert world.writes.remove_run(slice(start, stop), TAG, VALUE)
    columns.reg.unpin_many(np.arange(start, stop), columns.owner, VALUE)
    assert world.state() == columns.state()
    assert world.reg.statistics().nr_conversions - before == 2 * made


@pytest.mark.parametrize("case", NOT_SIMPLE)
def test_a_range_that_is_not_simple_to_pin_is_left_alone(case):
    prepare, start, stop = NOT_SIMPLE[case]
    world = World()
    prepare(world)
    before = world.state()
    assert not world.writes.add_run(slice(start, stop), TAG, VALUE)
    assert world.state() == before
    assert all(shard.change is None for shard in inside.shards(world.reg))


@pytest.mark.parametrize("case", [case for case in NOT_SIMPLE if NOT_SIMPLE[case][0] is not leave])
def test_and_then_it_is_pinned_as_a_column(case):
    prepare, start, stop = NOT_SIMPLE[case]
    world, columns = World(), World()
    prepare(world)
    prepare(columns)
    world.reg.pin_range(start, stop, world.owner, VALUE)
    columns.reg.pin_many(np.arange(start, stop), columns.owner, VALUE)
    assert world.state() == columns.state()
    world.reg.unpin_range(start, stop, world.owner, VALUE)
    columns.reg.unpin_many(np.arange(start, stop), columns.owner, VALUE)
    assert world.state() == columns.state()


def beside(pfn):
    return lambda world: world.reg.pin(pfn, world.other, 3)


def without(*pfns):
    return lambda world: world.reg.unpin_many(pfns, world.owner, VALUE)


def instead(world):
    without(600)(world)
    beside(600)(world)


REMOVED = {
    "the whole": (nothing, 512, 1800, VALUE),
    "a part": (nothing, 600, 1500, VALUE),
    "all but a few": (nothing, 515, 1800, VALUE),
    "several pins of a frame before": (beside(599), 600, 1500, VALUE),
    "several pins of a frame behind": (beside(1500), 600, 1500, VALUE),
}
KEPT = {
    "another private": (nothing, 600, 1500, 8),
    "a frame before the pins": (nothing, 511, 1500, VALUE),
    "a frame behind the pins": (nothing, 600, 1801, VALUE),
    "a frame without a pin": (without(1499), 600, 1500, VALUE),
    "a pin of another owner": (instead, 600, 1500, VALUE),
    "several pins of the first frame": (beside(600), 600, 1500, VALUE),
    "several pins of the last frame": (beside(1499), 600, 1500, VALUE),
    "frames under move": (under_move, 600, 1500, VALUE),
    "a block with few pins": (
        lambda w: w.reg.pin_many(range(2600, 2603), w.owner, VALUE),
        2600,
        2603,
        VALUE,
    ),
}


@pytest.mark.parametrize("case", REMOVED)
def test_a_range_is_unpinned_in_one_step(case):
    prepare, start, stop, value = REMOVED[case]
    world, columns = World(), World()
    for each in (world, columns):
        each.reg.pin_many(np.arange(512, 1800), each.owner, VALUE)
        prepare(each)
    assert world.writes.remove_run(slice(start, stop), TAG, value)
    columns.reg.unpin_many(np.arange(start, stop), columns.owner, value)
    assert world.state() == columns.state()


@pytest.mark.parametrize("case", KEPT)
def test_a_range_that_is_not_simple_to_unpin_is_left_alone(case):
    prepare, start, stop, value = KEPT[case]
    world = World()
    world.reg.pin_many(np.arange(512, 1800), world.owner, VALUE)
    prepare(world)
    before = world.state()
    assert not world.writes.remove_run(slice(start, stop), TAG, value)
    assert world.state() == before
    assert all(shard.change is None for shard in inside.shards(world.reg))


def test_what_stood_in_the_column_does_not_come_back():
    """A block that was given back one by one is empty for a range."""
    world = World()
    world.reg.pin_range(512, 600, world.owner, 1)
    for pfn in range(512, 600):
        world.reg.unpin(pfn, world.owner, 1)
    world.reg.pin_range(520, 530, world.owner, 2)
    assert [pin.pfn for pin in world.reg.iter_pins()] == list(range(520, 530))
    world.reg.check()


@pytest.mark.parametrize(
    "private", [None, True, -(1 << 63), (1 << 63) - 1, np.int32(5), "x", 1 << 63]
)
def test_a_range_has_the_private_that_was_given(private):
    world = World()
    world.reg.pin_range(512, 1024, world.owner, private)
    assert {pin.private for pin in world.reg.iter_pins()} == {private}
    with pytest.raises(AlreadyPinnedError):
        world.reg.pin_range(1023, 1536, world.owner, private)
    with pytest.raises(NotPinnedError):
        world.reg.unpin_range(512, 1024, world.other, private)
    world.reg.unpin_range(512, 1024, world.owner, private)
    assert len(world.reg) == 0
    assert world.reg.statistics().nr_privates == 0
    world.reg.check()


def test_a_range_of_an_owner_that_left_meanwhile():
    """Its tag was looked up before it left."""
    world = World()
    leave(world)
    assert not world.writes.add_run(slice(512, 1024), TAG, VALUE)
    with pytest.raises(OwnerError):
        world.reg.pin_range(512, 1024, world.owner, VALUE)
    assert len(world.reg) == 0


def test_no_pin_in_a_batch_is_overlooked():
    world = World()
    world.reg.pin(600, world.owner, VALUE)
    with pytest.raises(AlreadyPinnedError):
        world.reg.pin_range(512, 1024, world.owner, VALUE)
    assert len(world.reg) == 1
    world.reg.pin_range(601, 1024, world.owner, VALUE)
    world.reg.unpin_range(600, 1024, world.owner, VALUE)
    assert len(world.reg) == 0
    world.reg.check()


@pytest.mark.parametrize("nr_frames", [4095, 4096, 4097, 9000])
def test_a_long_range_is_written_and_read_in_parts(nr_frames):
    reg, owner = PinRegistry(Topology.uniform(nr_frames=16384)), PinOwner()
    reg.register(owner)
    start, stop = 10, 10 + nr_frames
    reg.pin_range(start, stop, owner, VALUE)
    reg.check()
    assert reg.pinned_mask(0, 16384).nonzero()[0].tolist() == list(range(start, stop))
    last = slice(start, stop)
    reg.unpin(stop - 1, owner, VALUE)
    assert not inside.writes(reg).remove_run(last, TAG, VALUE)
    reg.unpin_range(start, stop - 1, owner, VALUE)
    assert len(reg) == 0
    reg.check()
