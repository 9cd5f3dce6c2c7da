"""The first pins, their further ones and the table below equal a dict of lists."""

import random

import numpy as np
import pytest

from pinpage import PinOwner, PinRegistry, Topology
from pinpage.store.blocks import Blocks
from pinpage.store.radix import Radix
from pinpage.store.rows import PinRows, as_run
from pinpage.store.sparse import NO_TAG, SparseTable
from pinpage.units import Span
from tests.kit import inside

START, STOP = 512, 3072
TAG = 4
BORDERS = (512, 700, 1023, 1024, 1030, 1535, 1536, 2000, 2048, 2051, 2559, 2560, 3071, 3072)


def run_of(start, stop, values):
    """Pins of a range: one value for all, or one each."""
    tags = np.full(stop - start, TAG, dtype=np.int32)
    return PinRows(np.arange(start, stop), tags, np.zeros(stop - start, np.int64) + values)


class World:
    """A radix that changes its forms early, and what should be in it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.radix = Radix(Span(START, STOP), dense_above=6, sparse_below=3)
        self.model: dict[int, list[tuple[int, int]]] = {}

    def frames(self, most: int) -> list[int]:
        """Some frames, many of them in one block."""
        block = self.rng.randrange(START, STOP, 512)
        near = self.rng.sample(range(block, block + 512), self.rng.randrange(most))
        far = self.rng.sample(range(START, STOP), self.rng.randrange(4))
        return sorted({*near, *far})

    def record(self) -> tuple[int, int]:
        return self.rng.randrange(2, 6), self.rng.randrange(-2, 3)

    def add(self) -> None:
        for pfn in self.frames(8):
            record, held = self.record(), self.model.setdefault(pfn, [])
            assert self.radix.add(pfn, *record) == (record not in held)
            if record not in held:
                held.append(record)

    def discard(self) -> None:
        held = sorted(self.model)
        for pfn in self.rng.sample(held, min(len(held), 9)):
            record = self.rng.choice([*self.model[pfn], self.record()])
            is_there = record in self.model[pfn]
            assert self.radix.discard(pfn, *record) == is_there
            if is_there:
                self.take(pfn, record)

    def take(self, pfn: int, record: tuple[int, int]) -> None:
        self.model[pfn].remove(record)
        if not self.model[pfn]:
            del self.model[pfn]

    def store(self) -> None:
        rows = []
        for pfn in self.frames(40):
            held = self.model.setdefault(pfn, [])
            for record in {self.record() for _ in range(self.rng.choice((1, 1, 1, 3)))}:
                if record not in held:
                    rows.append((pfn, *record))
                    held.append(record)
        self.radix.store(PinRows.of(rows))

    def remove(self) -> None:
        held = sorted(self.model)
        rows = []
        for pfn in sorted(self.rng.sample(held, self.rng.randrange(len(held) + 1))):
            record = self.rng.choice(self.model[pfn])
            rows.append((pfn, *record))
            self.take(pfn, record)
        self.radix.remove(PinRows.of(rows))

    def add_range(self) -> None:
        start, stop = sorted(self.rng.sample(BORDERS, 2))
        stop = min(stop, start + self.rng.choice((2, 5, 30, 2000)))
        if not any(pfn in self.model for pfn in range(start, stop)):
            values = self.rng.choice((7, np.arange(start, stop) * 3))
            self.radix.blocks.add_many(run_of(start, stop, values))
            for pfn in range(start, stop):
                self.model[pfn] = [(TAG, 7 if isinstance(values, int) else pfn * 3)]

    def remove_range(self) -> None:
        start, stop = sorted(self.rng.sample(BORDERS, 2))
        while stop > start and len(self.model.get(start, ())) != 1:
            start += 1
        last = start
        while last < stop and len(self.model.get(last, ())) == 1:
            last += 1
        if start < last:
            self.radix.blocks.remove_many(np.arange(start, last))
            for pfn in range(start, last):
                del self.model[pfn]

    def trim(self) -> None:
        self.radix.blocks.trim()

    def swap(self) -> None:
        """Another radix with the same pins; the note of a change that never began."""
        frames = self.frames(30)
        held = [row for pfn in frames for row in self.rows(pfn)]
        self.radix = self.radix.rebuilt(np.array(frames, dtype=np.int64), PinRows.of(held))

    def rows(self, pfn: int) -> list[tuple[int, int, int]]:
        return [(pfn, *record) for record in self.model.get(pfn, ())]

    def agrees(self) -> None:
        self.model = {pfn: held for pfn, held in self.model.items() if held}
        radix, blocks = self.radix, self.radix.blocks
        radix.check()
        assert radix.nr_pins == sum(map(len, self.model.values()))
        start, stop = sorted((self.rng.choice(BORDERS), self.rng.randrange(START, STOP)))
        self.range_agrees(start, stop + 1)
        self.columns_agree([*self.frames(200), *self.rng.sample(sorted(self.model), 1)])
        for pfn in self.frames(20):
            assert blocks.holds(pfn) == (pfn in self.model)
            assert radix.records_of(pfn) == self.model.get(pfn, [])

    def range_agrees(self, start: int, stop: int) -> None:
        radix, blocks = self.radix, self.radix.blocks
        stop = min(stop, STOP)
        held = [pfn for pfn in range(start, stop) if pfn in self.model]
        rows = [row for pfn in held for row in self.rows(pfn)]
        assert list(radix.pins_in(start, stop).each()) == rows
        firsts = [self.rows(pfn)[0] for pfn in held]
        assert list(blocks.first_pins(start, stop).each()) == firsts
        if start == stop:
            return
        mask = np.zeros(stop - start, dtype=np.bool_)
        blocks.fill_mask(start, stop, mask)
        assert (mask.nonzero()[0] + start).tolist() == held
        assert blocks.next_pinned(start, stop) == (held[0] if held else None)
        end = min(stop, (start | 511) + 1)
        part = blocks.mask_of_dense(start, end)
        if part is not None:
            assert part.tolist() == mask[: end - start].tolist()
        tags, values = blocks.find_many(np.arange(start, stop))
        assert (tags != NO_TAG).tolist() == mask.tolist()
        found = PinRows(np.arange(start, stop), tags, values).at(mask)
        assert list(found.each()) == firsts

    def columns_agree(self, pfns: list[int]) -> None:
        radix = self.radix
        column = np.array(sorted(set(pfns)))
        held = [self.model.get(pfn, []) for pfn in column.tolist()]
        tags, values = radix.blocks.find_many(column)
        assert tags.tolist() == [records[0][0] if records else NO_TAG for records in held]
        assert [v for v, r in zip(values.tolist(), held, strict=True) if r] == [
            records[0][1] for records in held if records
        ]
        assert radix.nr_extras_of(column).tolist() == [max(len(r) - 1, 0) for r in held]
        rows = [row for pfn in column.tolist() for row in self.rows(pfn)]
        assert list(radix.pins_of(column).each()) == rows
        asked = [(pfn, *self.record()) for pfn in column.tolist()] + rows
        there = [row[1:] in self.model.get(row[0], []) for row in sorted(asked)]
        assert radix.has_pins(PinRows.of(sorted(asked))).tolist() == there


OPERATIONS = ("add", "discard", "store", "remove", "add_range", "remove_range", "trim", "swap")


@pytest.mark.parametrize("seed", range(6))
def test_any_changes_equal_a_dict_of_lists(seed):
    world = World(seed)
    world.store()
    for _ in range(60):
        getattr(world, world.rng.choice(OPERATIONS))()
        world.store()
        world.agrees()


@pytest.mark.parametrize("stop", [1030, 1300], ids=["few pins", "many"])
def test_what_was_found_is_not_the_column_itself(stop):
    blocks = Radix(Span(START, STOP)).blocks
    blocks.add_many(run_of(1024, stop, np.arange(1024, stop)))
    _, values = blocks.find_many(np.arange(1024, stop))
    blocks.remove_many(np.arange(1024, stop))
    blocks.add_many(run_of(1024, stop, 1))
    assert values.tolist() == list(range(1024, stop))


@pytest.mark.parametrize("pfns", [[5, 7, 6, 8], [8, 7, 6, 5], [5, 5, 6, 8], [5, 6, 6, 8], [5]])
def test_a_run_is_one_frame_after_the_other(pfns):
    """Also of those whose ends are as far apart as those of a run."""
    is_run = pfns == [5]
    assert as_run(np.array(pfns)) == (slice(5, 6) if is_run else None)
    assert as_run(np.array([], dtype=np.int64)) is None
    assert as_run(np.arange(3, 2000)) == slice(3, 2000)


def test_blocks_of_both_forms_in_one_column():
    blocks = Radix(Span(START, STOP)).blocks
    blocks.add_many(run_of(1024, 1324, np.arange(300)))
    blocks.put(600, 2, -4)
    tags, values = blocks.find_many(np.array([1030, 600, 601, 1500, 1031]))
    assert tags.tolist() == [TAG, 2, NO_TAG, NO_TAG, TAG]
    assert values[[0, 1, 4]].tolist() == [6, -4, 7]


def test_a_block_that_is_given_back_has_its_pins_and_no_memory():
    blocks = Radix(Span(0, 16 * 512)).blocks
    blocks.add_many(run_of(0, 16 * 512, 1))
    blocks.remove_many(np.arange(5, 16 * 512))
    assert blocks.first_pins(0, 16 * 512).pfns.tolist() == [0, 1, 2, 3, 4]
    assert not any(blocks.is_dense)
    assert not blocks._rows.any()
    blocks.check()


def test_a_block_that_turns_dense_again_has_no_pin_of_before():
    blocks = Blocks(Span(0, 1024), (), dense_above=8, sparse_below=3)
    blocks.add_many(run_of(0, 20, 1))
    blocks.remove_many(np.arange(2, 20))
    blocks.remove_many(np.array([0, 1]))
    blocks.add_many(run_of(100, 120, 2))
    assert blocks.is_dense[0]
    assert blocks.first_pins(0, 512).pfns.tolist() == list(range(100, 120))
    blocks.check()


@pytest.fixture
def blocks():
    """Block 1 is dense: 512..521; block 0 has one pin."""
    made = Blocks(Span(0, 2048), (), dense_above=8, sparse_below=8)
    made.add_many(run_of(512, 522, 5))
    made.put(3, TAG, 5)
    return made


def test_a_block_left_by_its_pins_one_by_one_is_given_back(blocks):
    for pfn in range(512, 519):
        assert blocks.discard(pfn, TAG, 5)
    blocks.check()
    assert blocks.is_dense[1]
    blocks.trim()
    assert not blocks.is_dense[1]
    assert blocks.first_pins(512, 1024).pfns.tolist() == [519, 520, 521]
    blocks.check()


def test_coming_and_going_in_a_thin_block_is_noted_once():
    """No section is entered meanwhile that would forget the notes."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=1024)), PinOwner()
    reg.register(owner)
    reg.pin_range(0, 512, owner, 1)
    for pfn in range(2, 512):
        reg.unpin(pfn, owner, 1)
    before = reg.statistics().lock_acquisitions
    for _ in range(100):
        reg.pin(5, owner, 2)
        reg.unpin(5, owner, 2)
    assert reg.statistics().lock_acquisitions == before
    assert len(inside.shards(reg)[0].radix.blocks.thin) == 1
    reg.check()


def test_a_block_that_filled_again_stays_dense(blocks):
    for pfn in range(512, 519):
        assert blocks.discard(pfn, TAG, 5)
    for pfn in range(600, 610):
        assert blocks.put(pfn, TAG, 5)
    assert list(blocks.thin) == [1]
    blocks.trim()
    assert blocks.is_dense[1]
    assert not blocks.thin
    assert blocks.nr_conversions == 1
    blocks.check()


def test_a_run_leaves_a_dense_block_as_it_is():
    radix = Radix(Span(0, 2048))
    radix.store(run_of(0, 100, 7))
    radix.store(run_of(100, 1024, 8))
    assert radix.blocks.nr_conversions == 2
    radix.check()


# The table.


def probes_of(table, pfns):
    """Slots passed over when all of these are looked for."""
    before = table.nr_probes
    assert table.locate(pfns).is_there.all()
    return table.nr_probes - before


@pytest.mark.parametrize("first", [0, 1 << 20], ids=["first node", "another node"])
@pytest.mark.parametrize(
    "step", [1, 16, 512, 513], ids=["run", "some of each block", "one a block", "diagonal"]
)
def test_no_pattern_makes_long_chains(first, step):
    table = SparseTable(Span(first, first + (1 << 20)))
    pfns = first + np.arange(2000) * step
    table.put_many(pfns, np.zeros(len(pfns), dtype=np.int32), pfns)
    assert probes_of(table, pfns) < len(pfns)


@pytest.mark.parametrize("in_one", [True, False], ids=["column", "one by one"])
def test_the_table_is_never_half_full(in_one):
    table = SparseTable(Span(0, 1 << 20))
    pfns = np.arange(5000) * 7
    for column in np.split(pfns, 50):
        if in_one:
            table.put_many(column, np.zeros(len(column), dtype=np.int32), column)
        else:
            assert all(table.put(pfn, 0, pfn) for pfn in column.tolist())
        assert 2 * table.nr_used < table.nr_slots
    table.check()


def chain(table, count):
    """Frames that all want the same slot."""
    pfns = np.arange(1 << 20)
    homes = table._homes(pfns)
    return pfns[homes == homes[0]][:count]


@pytest.mark.parametrize("count", [5, 100], ids=["one by one", "in rounds"])
def test_a_chain_goes_on_behind_what_was_removed(count):
    table = SparseTable(Span(0, 1 << 20))
    pfns = chain(table, count)
    table.put_many(pfns, np.zeros(count, dtype=np.int32), pfns)
    order = np.argsort(table.locate(pfns).places)
    gone, left = pfns[order[: count // 2]], pfns[order[count // 2 :]]
    table.remove_many(table.locate(gone).places)
    table.check()
    assert table.locate(left).is_there.all()
    assert not table.locate(gone).is_there.any()
    assert [table.get(pfn) for pfn in left.tolist()] == [(0, pfn) for pfn in left.tolist()]
    assert table.put(int(gone[0]), 2, 1)
    table.check()


def test_a_stretch_of_memory_with_few_pins_does_not_end_before_them():
    """Each stretch may cost a reading of the whole table, so there are few, however far apart."""
    radix = Radix(Span(0, 1 << 30), dense_above=6, sparse_below=3)
    for pfn in (0, 1 << 28, (1 << 29) + 5):
        radix.add(pfn, TAG, 0)
    assert radix.blocks.border_after(0, 32_768) > (1 << 29) + 5


def test_a_large_table_is_read_a_few_times():
    radix = Radix(Span(0, 1 << 24), dense_above=6, sparse_below=3)
    radix.blocks.add_many(PinRows(np.arange(0, 1 << 24, 512), np.full(1 << 15, TAG, np.int32),
                           np.zeros(1 << 15, np.int64)))  # fmt: skip
    start, nr_readings = 0, 0
    while start < 1 << 24:
        start, nr_readings = radix.blocks.border_after(start, 16), nr_readings + 1
    assert nr_readings <= 16


@pytest.mark.parametrize(
    ("start", "stop"), [(1020, 1540), (1020, 1537), (1000, 1540), (1020, 2052)]
)
def test_a_run_that_begins_and_ends_in_blocks_with_few_pins(start, stop):
    """Its ends are in the table, what lies between in columns; and away again."""
    radix = Radix(Span(START, STOP), dense_above=6, sparse_below=3)
    radix.blocks.add_many(run_of(start, stop, 7))
    dense = [block for block in range(1, 6) if radix.blocks.is_dense[block]]
    whole = range(start, stop)
    counts = {block: sum(pfn >> 9 == block for pfn in whole) for block in range(1, 6)}
    assert dense == [block for block in counts if counts[block] > 6]
    assert radix.blocks.sparse.nr_live == sum(n for b, n in counts.items() if b not in dense)
    radix.check()
    assert radix.blocks.first_pins(START, STOP).pfns.tolist() == list(whole)
    radix.blocks.remove_many(np.arange(start, stop))
    radix.check()
    assert radix.blocks.nr_frames == 0
