"""What the registry counts, which locks it leaves alone, and whose is what in a column."""

import sys

import numpy as np
import pytest

from pinpage import NotPinnedError, PfnError, PinOwner, PinpageError, PinRegistry, Topology, Verdict
from pinpage.store.privates import Seen
from pinpage.store.sparse import SparseTable
from pinpage.units import Span, require_page_size

NR_FRAMES = 1 << 14


class Mover(PinOwner):
    """Can migrate, and cannot release."""

    def migrate(self, pin, target):
        """Nothing to do."""


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2))


@pytest.fixture
def owners(reg):
    found = [PinOwner(), Mover(), PinOwner()]
    for owner in found:
        reg.register(owner)
    return found


def nr_locks(reg):
    counted = reg.statistics()
    return counted.nr_local + counted.nr_remote


def locks_taken_by(reg, work):
    """Beyond those that asking for the figures takes."""
    by_asking = -nr_locks(reg) + nr_locks(reg)
    before = nr_locks(reg)
    work()
    return nr_locks(reg) - before - by_asking


def test_the_documented_number_of_pins_costs_one_lock(owners):
    assert "per 1023 pins" in " ".join(sys.modules["pinpage.registry"].__doc__.split())
    one = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
    one.register(owners[0])
    at = 0
    while one.statistics().nr_pending == at:
        one.pin(2 * at, owners[0])  # even frames: no block of few becomes dense meanwhile
        at += 1
    assert at == 1023 + 1


@pytest.mark.parametrize("block", [0, 1, 3])
def test_the_mask_of_a_full_block_takes_no_lock(reg, owners, block):
    start = block * 512
    reg.pin_range(start, start + 512, owners[0])
    assert locks_taken_by(reg, lambda: reg.pinned_mask(start, start + 512)) == 0
    assert reg.pinned_mask(start, start + 512).all()
    assert locks_taken_by(reg, lambda: reg.pinned_mask(start, start + 513)) > 0


@pytest.fixture
def searches(monkeypatch):
    """How often a table of scattered pins was searched, frame by frame or as a whole."""
    counted = [0]

    def counting(search):
        def call(*args):
            counted[0] += 1
            return search(*args)

        return call

    for name in ("locate", "live"):
        monkeypatch.setattr(SparseTable, name, counting(getattr(SparseTable, name)))
    return counted


def test_blocks_without_a_pin_are_not_searched(reg, owners, searches):
    reg.pin_many(np.arange(2048, 6144, 16), owners[0])
    searches[0] = 0
    reg.pin_range(512, 1024, owners[0])
    reg.pin_many(np.arange(1024, 1536), owners[0])
    assert reg.pinned_mask(0, 2048).sum() == 1024
    assert searches[0] == 0
    assert reg.pinned_mask(0, 4096).sum() == 1024 + 128
    assert searches[0] > 0


def test_who_runs_elsewhere_takes_locks_of_another_node(reg, owners):
    reg.run_on(1)
    for pfn in (3, 5):
        reg.pin_range(pfn, pfn + 1, owners[0])
    counted = reg.statistics()
    assert counted.nr_remote >= 2
    nr_remote, nr_local = counted.nr_remote, counted.nr_local
    for pfn in range(NR_FRAMES - 9, NR_FRAMES):
        reg.pin_range(pfn, pfn + 1, owners[0])
    counted = reg.statistics()
    assert counted.nr_local - nr_local > counted.nr_remote - nr_remote


def test_an_unpin_from_the_table_takes_no_lock(reg, owners):
    reg.pin_many([3, 700, NR_FRAMES - 5], owners[0], 7)
    assert locks_taken_by(reg, lambda: reg.unpin(700, owners[0], 7)) == 0
    assert len(reg) == 2


def test_a_column_of_two_nodes_is_counted_on_each(reg, owners):
    border = NR_FRAMES // 2
    before = reg.statistics().nr_direct
    reg.pin_many([1, 2, border + 1, border + 2, border + 3], owners[0])
    assert reg.statistics().nr_direct == before + 5


def test_many_pins_are_read_at_a_time(reg, owners):
    reg.pin_many(np.arange(0, NR_FRAMES, 2), owners[0])
    assert locks_taken_by(reg, lambda: list(reg.iter_pins())) <= 8


def test_who_is_forced_out_while_pins_are_read_is_in_none_of_them(reg, owners, monkeypatch):
    reg.pin_many([1, 2, 3], owners[0])
    reg.pin_many([2, 4], owners[1])
    real = Seen.privates_of

    def and_leave(*args):
        monkeypatch.undo()
        reg.unregister(owners[0], force=True)
        return real(*args)

    monkeypatch.setattr(Seen, "privates_of", and_leave)
    assert [(pin.pfn, pin.owner) for pin in reg.iter_pins()] == [(2, owners[1]), (4, owners[1])]


def test_a_block_is_dense_until_it_has_too_few_pins(reg, owners):
    least = 16
    reg.pin_range(0, 512, owners[0])
    reg.unpin_range(0, 512 - least, owners[0])
    assert reg.statistics().nr_leaves == 1
    reg.unpin_range(512 - least, 512 - least + 1, owners[0])
    assert reg.statistics().nr_leaves == 0


def test_a_frame_that_is_not_there_is_told_where_memory_ends(reg):
    with pytest.raises(PfnError, match=r"0x4000 is outside the topology \(0\.\.0x3fff\)"):
        reg.is_pinned(NR_FRAMES)


def test_several_owners_that_can_move_can_move_together(reg, owners):
    """The first to register is none of them."""
    another = Mover()
    reg.register(another)
    for owner in (owners[1], another):
        reg.pin(5, owner)
        reg.pin(6, owner)
    reg.pin(6, owners[2])
    assert reg.can_migrate_mask(np.array([5, 6])).tolist() == [True, False]


def test_a_column_says_whose_each_pin_is(reg, owners):
    for pfn, owner in enumerate(owners):
        reg.pin(pfn, owner, 7)
    columns = reg.pin_columns(0, 9)
    assert [reg.owner_by_id(number) for number in columns.owner_ids.tolist()] == owners


def test_who_can_move_and_who_can_release_are_two_columns(reg, owners):
    reg.pin(0, owners[0])
    reg.pin(1, owners[1])
    movable, releasable, nr_pins = reg.abilities(np.array([0, 1, 2]))
    assert movable.tolist() == [False, True, False]
    assert releasable.tolist() == [False, False, False]
    assert nr_pins.tolist() == [1, 1, 0]


def registering_late(reg, owner, call):
    """Run a call that meets a stranger, who registers before it looks again."""

    def in_call(frame, event, arg):
        if event == "exception":
            sys.settrace(None)
            frame.f_trace = None
            reg.register(owner)
        return in_call

    def trace(frame, event, arg):
        is_it = frame.f_code in (PinRegistry.pin.__code__, PinRegistry.unpin.__code__)
        return in_call if is_it else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


def test_who_registers_while_it_pins_pins_for_itself(reg, owners):
    late = PinOwner()
    assert registering_late(reg, late, lambda: reg.pin(5, late, 7)) is Verdict.YES
    assert [pin.owner for pin in reg.pins(5)] == [late]


def test_who_registers_while_it_unpins_takes_nobody_s_pin(reg, owners):
    late = PinOwner()
    reg.pin(5, owners[0], 7)
    with pytest.raises(NotPinnedError, match="0x5"):
        registering_late(reg, late, lambda: reg.unpin(5, late, 7))
    assert [pin.owner for pin in reg.pins(5)] == [owners[0]]


def test_a_pin_that_is_given_twice_is_named_by_its_frame(reg, owners):
    with pytest.raises(PinpageError, match="pfn 0x5 is given twice"):
        reg.pin_many([4, 5, 5], owners[0], [70, 77, 77])


def test_a_table_that_grew_was_rebuilt(reg, owners):
    reg.pin_many(np.arange(0, NR_FRAMES, 16), owners[0])
    counted = reg.statistics()
    assert counted.nr_sparse == NR_FRAMES // 16
    assert counted.nr_rebuilds >= 1


def test_a_record_that_nobody_probes_past_leaves_nothing():
    table = SparseTable(Span(0, NR_FRAMES))
    table.put(5, 2, 7)
    assert table.discard(5, 2, 7)
    assert (table.nr_used, table.nr_dead) == (0, 0)
    table.check()


@pytest.mark.parametrize("nr_bytes", [4096, 16384, 65536])
def test_pages_come_in_powers_of_two(nr_bytes):
    require_page_size(nr_bytes, "machine")
    for wrong in (nr_bytes - 1, nr_bytes * 3, nr_bytes + 2):
        with pytest.raises(PinpageError, match=f"page_nr_bytes={wrong}"):
            require_page_size(wrong, "machine")
