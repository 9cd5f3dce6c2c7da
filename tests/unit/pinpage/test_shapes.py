"""No shape of pins is a cliff: work is a constant times the pins plus the blocks touched.

Work is counted, not timed: slots of the table read and written (by columns and one by one),
slots passed over because another record was there, blocks that changed their form, copies of
the table, and calls.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import log2

import numpy as np
import pytest

from pinpage import PinOwner, PinRegistry, Topology
from pinpage.store.sparse import SparseTable

BLOCK = 512
STRIDES = (2, 3, 7, 8, 64, 100, 512, 513, 1023, 17711)
DENSITIES = (0.9, 0.5, 0.2, 0.13, 0.12, 0.03, 0.001)
LEAST_DEPTH = 120  # of calls, over that of the test itself


def random_at(density: float) -> Callable[[int], np.ndarray]:
    def shape(count):
        rng = np.random.default_rng(count)
        return rng.choice(int(count / density), count, replace=False)

    return shape


def blocks_at(step: int) -> Callable[[int], np.ndarray]:
    """Whole blocks (rows of 512), one in so many."""

    def shape(count):
        starts = np.arange(-(-count // BLOCK)) * step * BLOCK
        return (starts[:, None] + np.arange(BLOCK)).ravel()[:count]

    return shape


def blocks_anywhere(count):
    rng = np.random.default_rng(30)
    nr_blocks = -(-count // BLOCK)
    starts = rng.choice(40 * nr_blocks, nr_blocks, replace=False) * BLOCK
    return (starts[:, None] + np.arange(BLOCK)).ravel()[:count]


def rows_of(width: int, step: int) -> Callable[[int], np.ndarray]:
    """Runs of `width` frames at any distance."""

    def shape(count):
        starts = np.arange(-(-count // width)) * step
        return (starts[:, None] + np.arange(width)).ravel()[:count]

    return shape


def shuffled(count):
    return np.random.default_rng(1).permutation(count)


SHAPES: dict[str, Callable[[int], np.ndarray]] = {
    "contiguous": np.arange,
    "descending": lambda count: np.arange(count)[::-1],
    "shuffled": shuffled,
    "shuffled strides": lambda count: shuffled(count) * 513,
    **{f"every {k}": lambda count, k=k: np.arange(count) * k for k in STRIDES},
    **{f"every {k}, descending": lambda count, k=k: np.arange(count)[::-1] * k for k in (8, 513)},
    **{f"random, {d:.1%}": random_at(d) for d in DENSITIES},
    **{f"every block in {step}": blocks_at(step) for step in (1, 2, 3, 64, 89)},
    "blocks anywhere": blocks_anywhere,
    "rows of 65 in each block": rows_of(65, BLOCK),
    "rows of 64 in each block": rows_of(64, BLOCK),
    "rows of 30 over the borders": rows_of(30, 497),
    "pairs": rows_of(2, 1021),
}


class Slots(np.ndarray):
    """Words of a table that count how many of them are touched."""

    touched = 0

    def take(self, places):
        Slots.touched += len(places)
        return self.view(np.ndarray).take(places)

    def __getitem__(self, places):
        found = self.view(np.ndarray)[places]
        Slots.touched += np.size(found)
        return found

    def __setitem__(self, places, words):
        Slots.touched += np.size(places)
        self.view(np.ndarray)[places] = words


@pytest.fixture
def counted(monkeypatch):
    """Tables count what is touched."""
    allocate = SparseTable._allocate

    def counting(self, bits):
        allocate(self, bits)
        self._words = self._words.view(Slots)

    monkeypatch.setattr(SparseTable, allocate.__name__, counting)


class Work:
    """What an operation has cost: see the module.

    Attributes:
        nr_slots, nr_probes, nr_conversions, nr_rebuilds, nr_calls: counted.
    """

    def __init__(self) -> None:
        self.nr_slots = self.nr_probes = self.nr_conversions = self.nr_rebuilds = 0
        self.nr_calls = 0


@contextmanager
def shallow() -> Iterator[None]:
    """No recursion: inside, calls nest little deeper than here."""
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + LEAST_DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@contextmanager
def working(registry: PinRegistry) -> Iterator[Work]:
    """Count the work of what is done inside."""
    work, before = Work(), registry.statistics()
    Slots.touched = 0

    def count(frame, event, argument):
        work.nr_calls += event in ("call", "c_call")

    with shallow():
        sys.setprofile(count)
        try:
            yield work
        finally:
            sys.setprofile(None)
    after = registry.statistics()
    work.nr_slots = Slots.touched
    for name in ("nr_probes", "nr_conversions", "nr_rebuilds"):
        setattr(work, name, getattr(after, name) - getattr(before, name))


def nr_blocks_of(columns):
    return sum(len(np.unique(column // BLOCK)) for column in columns)


MOST_SLOTS = 60  # touched for each pin, and for each block that a column comes to


def require_little(work, columns, slots_per_block=MOST_SLOTS):
    """The law of this file; each column is an operation."""
    nr_pins, nr_blocks = sum(map(len, columns)), nr_blocks_of(columns)
    room = nr_pins + nr_blocks + 1
    # Small tables are read whole.
    assert work.nr_slots <= MOST_SLOTS * nr_pins + slots_per_block * nr_blocks + 2000
    assert work.nr_probes <= 3 * room + 50
    assert work.nr_conversions <= nr_blocks
    assert work.nr_rebuilds <= log2(room) + 2
    assert work.nr_calls <= nr_pins / 20 + 12 * nr_blocks + 800 * len(columns)


def registry_for(pfns):
    registry = PinRegistry(Topology.uniform(nr_frames=int(pfns.max()) + 1))
    owner = PinOwner()
    registry.register(owner)
    return registry, owner


def columns_of(pfns, size):
    return [pfns[at : at + size] for at in range(0, len(pfns), size)]


def require_pins(registry, pfns):
    """Exactly these are pinned, each with the private that goes with it."""
    registry.check()
    found = registry.pin_columns(0, registry.topology.nr_frames)
    assert np.array_equal(found.pfns, pfns)
    assert np.array_equal(found.privates, private_of(pfns))


def private_of(pfns):
    return pfns * 3 - 5


def there_and_back(pfns, size, slots_per_block=MOST_SLOTS):
    """Pin a shape in columns of one size, look at all of it, unpin it in two halves."""
    registry, owner = registry_for(pfns)
    columns = columns_of(pfns, size)
    with working(registry) as work:
        for column in columns:
            registry.pin_many(column, owner, private_of(column))
    require_little(work, columns, slots_per_block)
    require_pins(registry, np.sort(pfns))
    with working(registry) as work:
        mask = registry.pinned_mask(0, registry.topology.nr_frames)
        registry.pin_columns(0, registry.topology.nr_frames)
        registry.owner_counts(pfns)
    assert mask.sum() == len(pfns)
    require_little(work, [pfns] * 3)
    with working(registry) as work:
        assert sum(1 for _ in registry.iter_pins()) == len(pfns)
    assert work.nr_slots <= 60 * (len(pfns) + nr_blocks_of([pfns]))
    assert work.nr_calls <= 6 * len(pfns) + 600 * nr_blocks_of([pfns])  # each pin is an object
    for first, left in ((0, 1), (1, 2)):
        some = [column[first::2] for column in columns if len(column) > first]
        with working(registry) as work:
            for column in some:
                registry.unpin_many(column, owner, private_of(column))
        if some:
            require_little(work, some, slots_per_block)
        rest = [column[left::2] for column in columns if left == 1]
        require_pins(registry, np.sort(np.concatenate([pfns[:0], *rest])))


@pytest.mark.parametrize("size", [512, 4000])
@pytest.mark.parametrize("shape", SHAPES)
def test_columns_of_every_shape(counted, shape, size):
    there_and_back(np.asarray(SHAPES[shape](4000)), size)


@pytest.mark.parametrize("size", [1, 37])
@pytest.mark.parametrize("shape", SHAPES)
def test_short_columns_of_every_shape(counted, shape, size):
    there_and_back(np.asarray(SHAPES[shape](40 * size)), size)


@pytest.mark.parametrize("shape", ["contiguous", "every 513", "random, 12.0%", "blocks anywhere"])
def test_large_columns(counted, shape):
    there_and_back(np.asarray(SHAPES[shape](40_000)), 40_000)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4096, 100_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_at_length(counted, shape, size):
    there_and_back(np.asarray(SHAPES[shape](min(size * 300, 100_000))), size)


@pytest.mark.parametrize("batch", [0, 1023])
@pytest.mark.parametrize("shape", SHAPES)
def test_pin_by_pin(counted, shape, batch):
    """One pin costs no more than a few slots, whatever was pinned before."""
    pfns = np.asarray(SHAPES[shape](500))
    topology = Topology.uniform(nr_frames=int(pfns.max()) + 1)
    registry, owner = PinRegistry(topology, batch_nr_pins=batch), PinOwner()
    registry.register(owner)
    pins = list(zip(pfns.tolist(), private_of(pfns).tolist(), strict=True))
    for act in (registry.pin, registry.unpin):
        with working(registry) as work:
            for pfn, private in pins:
                act(pfn, owner, private)
            registry.flush()
        assert work.nr_probes <= 4 * len(pins)
        assert work.nr_conversions <= 2 * nr_blocks_of([pfns])
        assert work.nr_rebuilds <= log2(len(pins)) + 2
        assert work.nr_slots <= 60 * len(pins) + 2000 * nr_blocks_of([pfns])
        assert work.nr_calls <= 110 * len(pins) + 60 * nr_blocks_of([pfns]) + 2000
        if act == registry.pin:
            require_pins(registry, np.sort(pfns))
    registry.check()
    assert len(registry) == 0


def test_coming_and_going_at_a_border_of_forms_does_not_thrash():
    """One frame more, one less, where a block turns dense and where it is given back."""
    for count in (15, 16, 17, 63, 64, 65, 66):
        registry, owner = registry_for(np.array([4 * BLOCK]))
        registry.pin_many(np.arange(count) * 7, owner, 1)
        with working(registry) as work:
            for _ in range(50):
                registry.pin_many([3], owner, 1)
                registry.unpin_many([3], owner, 1)
                registry.pin(4, owner, 1)
                registry.flush()
                registry.unpin(4, owner, 1)
        assert work.nr_conversions <= 1
        assert work.nr_rebuilds <= 1
