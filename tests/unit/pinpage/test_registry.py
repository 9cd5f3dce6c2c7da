"""What the registry promises beyond what the model covers: errors, forms, owners, moves."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

from pinpage import (
    AlreadyPinnedError,
    InvariantError,
    NotPinnedError,
    OwnerError,
    PfnError,
    PinOwner,
    PinpageError,
    PinRegistry,
    Topology,
    Verdict,
)
from pinpage.store.nodes import Nodes
from pinpage.store.radix import Radix
from tests.kit import inside

NR_FRAMES = 4096


class Movable(PinOwner):
    """Can migrate and release."""

    def migrate(self, pin, target):
        """Nothing to do."""

    def release(self, pin, mode):
        return Verdict.YES


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2))


@pytest.fixture
def owner(reg):
    found = PinOwner()
    reg.register(found)
    return found


BAD_CALLS = {
    "pin outside": (PfnError, "0x1000 is outside", lambda r, o: r.pin(NR_FRAMES, o)),
    "unpin below": (PfnError, "outside", lambda r, o: r.unpin(-1, o)),
    "lookup outside": (PfnError, "outside", lambda r, o: r.is_pinned(NR_FRAMES)),
    "pins outside": (PfnError, "outside", lambda r, o: r.pins(-1)),
    "range outside": (PfnError, "not within", lambda r, o: r.pin_range(4090, 4097, o)),
    "range backwards": (PfnError, "not within", lambda r, o: r.pin_range(7, 5, o)),
    "mask outside": (PfnError, "not within", lambda r, o: r.pinned_mask(0, 4097)),
    "column outside": (PfnError, "0x1000", lambda r, o: r.pin_many([3, NR_FRAMES], o)),
    "column of floats": (PfnError, "integers", lambda r, o: r.pin_many([0.5], o)),
    "stranger pins": (OwnerError, "register", lambda r, o: r.pin(1, PinOwner())),
    "stranger unpins": (OwnerError, "register", lambda r, o: r.unpin(1, PinOwner())),
    "stranger's range": (OwnerError, "register", lambda r, o: r.pin_range(1, 2, PinOwner())),
    "no owner": (OwnerError, "PinOwner", lambda r, o: r.register("zbud")),
    "twice": (OwnerError, "already", lambda r, o: r.register(o)),
    "pinned twice": (AlreadyPinnedError, "0x9 ", lambda r, o: r.pin(9, o, 9)),
    "column twice": (AlreadyPinnedError, "twice", lambda r, o: r.pin_many([5, 5], o, 1)),
    "column meets": (AlreadyPinnedError, "0x9 ", lambda r, o: r.pin_many([8, 9], o, [8, 9])),
    "range meets": (AlreadyPinnedError, "0x9 ", lambda r, o: r.pin_range(5, 900, o, 9)),
    "not pinned": (NotPinnedError, "0x5 .*'x'", lambda r, o: r.unpin(5, o, "x")),
    "other private": (NotPinnedError, "private 8", lambda r, o: r.unpin(9, o, 8)),
    "column not pinned": (NotPinnedError, "0x5 ", lambda r, o: r.unpin_many([9, 5], o, 9)),
    "range not pinned": (NotPinnedError, "0xa ", lambda r, o: r.unpin_range(9, 11, o, 9)),
    "unhashable": (PinpageError, "hashable", lambda r, o: r.pin(5, o, [])),
    "unhashable in a list": (
        PinpageError,
        "hashable",
        lambda r, o: r.pin_many([5, 6], o, ["a", []]),
    ),
    "too few privates": (
        PinpageError,
        "privates: 1 given for 2",
        lambda r, o: r.pin_many([5, 6], o, [1]),
    ),
    "still pins": (PinpageError, "1 pins", lambda r, o: r.unregister(o)),
    "negative batch": (
        PinpageError,
        "batch_nr_pins",
        lambda r, o: PinRegistry(r.topology, batch_nr_pins=-1),
    ),
    "no such node": (PinpageError, "nodes 0..1", lambda r, o: r.run_on(2)),
    "no such id": (OwnerError, "number 7", lambda r, o: r.owner_by_id(7)),
    "end of no move": (
        PinpageError,
        "0x5 is not under",
        lambda r, o: r.marks.end_move(np.array([5])),
    ),
    "rekey of no move": (
        PinpageError,
        "begin_move",
        lambda r, o: r.marks.rekey_many(np.array([9]), np.array([10])),
    ),
    "rekey onto itself": (
        PinpageError,
        "distinct",
        lambda r, o: r.marks.rekey_many(np.array([9]), np.array([9])),
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_mistake_is_named_and_changes_nothing(reg, owner, name):
    error, match, call = BAD_CALLS[name]
    reg.pin(9, owner, 9)
    before = list(reg.iter_pins())
    with pytest.raises(error, match=match):
        call(reg, owner)
    assert list(reg.iter_pins()) == before
    assert reg.owners == (owner,)
    assert reg.statistics().nr_privates == 0
    reg.check()


def test_ints_of_numpy_and_bools_are_ints(reg, owner):
    reg.pin(np.int64(3), owner, np.int32(1))
    with pytest.raises(AlreadyPinnedError):
        reg.pin(3, owner, True)
    reg.unpin(3, owner, 1)
    assert len(reg) == 0


def test_object_privates_live_as_long_as_their_pins(reg, owner):
    reg.pin(1, owner, "key")
    reg.pin_many([2, 3], owner, ["key", ("a", 1)])
    reg.pin_range(4, 6, owner, "key")
    assert reg.statistics().nr_privates == 2
    assert reg.pins(3)[0].private == ("a", 1)
    reg.unpin_many([1, 3], owner, ["key", ("a", 1)])
    reg.unpin_range(4, 6, owner, "key")
    reg.check()
    reg.unpin(2, owner, "key")
    assert reg.statistics().nr_privates == 0


def test_an_owner_is_known_by_identity(reg):
    class Equal(PinOwner):
        """Equal to all, hashable by none."""

        def __eq__(self, other):
            return True

        __hash__ = None

    one, two = Equal(), Equal()
    reg.register(one)
    reg.register(two)
    reg.pin(1, one)
    reg.pin(1, two)
    assert [pin.owner is who for pin, who in zip(reg.pins(1), (one, two), strict=True)] == [
        True,
        True,
    ]


def test_planners_see_who_can_move(reg, owner):
    mover = Movable()
    reg.register(mover)
    reg.pin_many([1, 2, 600], mover)
    reg.pin_many([2, 3], owner)
    frames = np.array([600, 4, 3, 2, 1])
    assert reg.can_migrate_mask(frames).tolist() == [True, False, False, False, True]
    assert reg.can_release_mask(frames).tolist() == [True, False, False, False, True]
    movable, releasable, nr_pins = reg.abilities(frames)
    assert (movable == reg.can_migrate_mask(frames)).all()
    assert (releasable == reg.can_release_mask(frames)).all()
    assert (nr_pins == reg.owner_counts(frames)).all()
    reg.fault(mover, "lied")
    reg.fault(mover, "again")
    assert reg.is_faulty(mover)
    assert reg.why_faulty(mover) == "lied"
    assert not reg.is_faulty(owner)
    assert not reg.can_migrate_mask(frames).any()


def test_all_owners_of_a_frame_speak_for_it_in_whatever_order_they_came(reg, owner):
    mover = Movable()
    reg.register(mover)
    orders = [who for n in range(4) for who in product((mover, owner), repeat=n)]
    frames = np.arange(len(orders))[::-1] * 200  # on both nodes
    for frame, who in zip(frames.tolist(), orders, strict=True):
        for nth, one in enumerate(who):
            reg.pin(frame, one, nth)
    expected = [len(who) > 0 and owner not in who for who in orders]
    assert reg.can_migrate_mask(frames).tolist() == expected
    assert reg.can_migrate_mask(np.repeat(frames, 2)).tolist() == np.repeat(expected, 2).tolist()


def test_pins_travel_in_order_and_across_nodes(reg, owner):
    other = PinOwner()
    reg.register(other)
    for who, private in ((other, 1), (owner, 5), (owner, "x"), (other, 0)):
        reg.pin(7, who, private)
    reg.pin(8, owner, "equal")
    reg.pin(3000, owner, "equal")
    assert reg.marks.begin_move(np.array([7, 8, 7])).tolist() == [True, True, False]
    reg.marks.rekey_many(np.array([8, 7]), np.array([3000, 3001]))
    reg.marks.end_move(np.array([7, 8]))
    assert [(pin.owner, pin.private) for pin in reg.pins(3001)] == [
        (owner, 5),
        (owner, "x"),
        (other, 1),
        (other, 0),
    ]
    assert len(reg.pins(3000)) == 1  # two equal pins became one
    assert not reg.is_pinned(7)
    reg.check()


def test_the_mover_itself_is_told_to_come_again(reg, owner):
    reg.marks.begin_move(np.array([5]))
    assert reg.pin(5, owner) is Verdict.AGAIN
    assert reg.pin(5, owner, "x") is Verdict.AGAIN
    assert reg.pin_many([5, 6], owner) is Verdict.AGAIN
    assert reg.pin_range(4, 6, owner, "x") is Verdict.AGAIN
    assert len(reg) == 0
    reg.marks.end_move(np.array([5]))
    assert reg.pin(5, owner) is Verdict.YES
    reg.check()


def test_a_pin_dropped_under_move_does_not_travel(reg, owner):
    reg.pin_many([5, 6, 7], owner)
    reg.marks.begin_move(np.array([5, 6, 7]))
    reg.unpin(5, owner)
    reg.unpin_many([6], owner)
    assert reg.statistics().nr_died == 2
    reg.marks.rekey_many(np.array([5, 6, 7]), np.array([15, 16, 17]))
    assert [pin.pfn for pin in reg.iter_pins()] == [17]


def test_force_drops_what_an_owner_left(reg, owner):
    other = PinOwner()
    reg.register(other)
    reg.pin_range(0, 1000, owner, "x")
    reg.pin_many([5, 6], other)
    reg.unregister(owner, force=True)
    assert [pin.owner for pin in reg.iter_pins()] == [other, other]
    with pytest.raises(OwnerError):
        reg.pin(1, owner)
    reg.register(owner)
    assert reg.owners == (other, owner)
    reg.check()


def test_statistics_tell_the_forms(reg, owner):
    reg.pin_range(0, 512, owner)
    reg.pin_many(np.arange(600, 800), owner, np.arange(200))
    reg.pin(600, owner, "second")
    reg.pin(700, owner, "third")
    reg.pin_many([1100, 1200], owner)
    reg.flush()
    other = PinOwner()
    reg.register(other)
    reg.pin(900, other)
    reg.flush()
    found = reg.statistics()
    assert (found.nr_runs, found.nr_dense, found.nr_sparse) == (512, 201, 2)
    assert (found.nr_extra, found.nr_leaves, found.nr_pins) == (2, 2, 717)


def test_check_notices_pins_of_strangers(reg, owner):
    reg.pin(5, owner)
    reg.flush()
    inside.nodes(reg).shards[0].radix.add(6, 9 << 1, 0)
    with pytest.raises(InvariantError, match="R1"):
        reg.check()


def test_check_notices_a_lost_private(reg, owner):
    reg.pin(5, owner, "x")
    inside.privates(reg).drop(1)
    with pytest.raises(InvariantError, match="P2"):
        reg.check()


def test_who_moves_one_of_the_frames_never_waits_whatever_node_it_is_on():
    """Two movers that each pin what the other one moves would wait for each other."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2)), PinOwner()
    reg.register(owner)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two, ThreadPoolExecutor(1) as none:
        one.submit(reg.marks.begin_move, np.array([5])).result(30)
        two.submit(reg.marks.begin_move, np.array([3000])).result(30)
        waits = none.submit(reg.pin_many, [5, 3000], owner)
        mover = two.submit(reg.pin_many, [5, 3000], owner)
        try:
            assert mover.result(5) is Verdict.AGAIN
            assert not waits.done(), "who moves neither waits"
        finally:
            reg.marks.end_move(np.array([5, 3000]))
        assert waits.result(30) is Verdict.YES


@pytest.mark.parametrize("given", [-3, 1 << 40])
@pytest.mark.parametrize("form", ["pin_many", "unpin_many"])
def test_a_column_that_is_changed_after_it_was_looked_at(reg, owner, given, form, monkeypatch):
    """By another thread of the caller's: refused, and nothing has changed."""
    pfns, real = np.array([5, 9, 700]), Nodes.require_pfns
    if form == "unpin_many":
        reg.pin_many(pfns, owner)

    def and_change(nodes, column):
        real(nodes, column)
        column[0] = given

    before = len(reg)
    monkeypatch.setattr(Nodes, "require_pfns", and_change)
    with pytest.raises(PfnError, match="outside the topology"):
        getattr(reg, form)(pfns, owner)
    assert len(reg) == before
    reg.check()


def test_the_length_is_never_that_of_half_a_flush(reg, owner, monkeypatch):
    """Pins leave the batch between the two figures that are added up."""
    for pfn in range(100):
        reg.pin(pfn, owner, pfn)
    real = Radix.nr_pins.fget

    def and_flush(radix):
        found = real(radix)
        monkeypatch.undo()
        flusher = threading.Thread(target=reg.flush)
        flusher.start()
        flusher.join(30)
        return found

    monkeypatch.setattr(Radix, "nr_pins", property(and_flush))
    assert len(reg) == 100


def test_check_notices_a_wrong_length(reg, owner, monkeypatch):
    monkeypatch.setattr(PinRegistry, "__len__", lambda self: 5)
    with pytest.raises(InvariantError, match="R3"):
        reg.check()


def test_scattered_pins_beside_a_dense_block_are_found(reg, owner):
    """One scan over both forms, whichever comes first, and parts of either."""
    dense = list(range(512, 1024, 3))  # and few on each side of it, in the block behind too
    few = [3, 500, 511, 1024, 1030, 1535, 1536, 3000]
    reg.pin_many([*dense, *few], owner, [*dense, *few])
    reg.pin(1030, owner, "beside")
    reg.flush()
    assert reg.statistics().nr_leaves == 1
    pinned = sorted([*dense, *few])
    for start, stop in (
        (0, NR_FRAMES),
        (500, 1031),
        (511, 1025),
        (600, 1031),
        (3, 600),
        (700, 900),
    ):
        wanted = [pfn for pfn in pinned if start <= pfn < stop]
        assert (reg.pinned_mask(start, stop).nonzero()[0] + start).tolist() == wanted
        pins = [pin for pin in reg.iter_pins(start, stop) if pin.private != "beside"]
        assert [(pin.pfn, pin.private) for pin in pins] == [(pfn, pfn) for pfn in wanted]
        assert reg.next_pinned(start) == wanted[0]
        both = [pfn for pfn in wanted for _ in range(1 + (pfn == 1030))]
        assert reg.pin_columns(start, stop).pfns.tolist() == both
    frames = np.array(pinned[::-1])
    assert reg.owner_counts(frames).tolist() == [1 + (pfn == 1030) for pfn in frames.tolist()]
    assert reg.single_pins(frames[:2])[1].tolist() == pinned[:-3:-1]


def test_a_refused_leave_leaves_the_owner_what_it_was(reg, owner):
    """Its number, its place in the order, its pins and those to come: its own."""
    other = Movable()
    reg.register(other)
    reg.pin(5, owner, 1)
    with pytest.raises(PinpageError, match="1 pins"):
        reg.unregister(owner)
    reg.pin(6, owner, 2)
    reg.pin_many([7, 2049], owner, ["x", 3])
    reg.pin(6, other, 2)
    third = PinOwner()
    reg.register(third)
    reg.pin(6, third, 2)
    reg.flush()
    assert [(pin.pfn, pin.owner) for pin in reg.iter_pins()] == [
        (5, owner),
        (6, owner),
        (6, other),
        (6, third),
        (7, owner),
        (2049, owner),
    ]
    assert reg.owners == (owner, other, third)
    assert reg.can_migrate_mask(np.array([5, 6])).tolist() == [False, False]
    reg.unregister(owner, force=True)
    assert [pin.owner for pin in reg.iter_pins()] == [other, third]
    reg.check()
