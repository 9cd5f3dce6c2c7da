"""What becomes of privates and pfns of every type; the side table of object privates."""

import numpy as np
import pytest

from pinpage import (
    AlreadyPinnedError,
    ContextError,
    NotPinnedError,
    PfnError,
    PinOwner,
    PinpageError,
    PinRegistry,
    Topology,
)
from pinpage.store.privates import (
    NONE_NUMBER,
    Privates,
    as_int,
    objects_of,
    pins_to_find,
    pins_to_store,
)
from pinpage.store.rows import PinRows, as_pfn, as_pfns
from pinpage.store.threads import Threads
from tests.kit import inside

BIG = 1 << 63


PFNS = np.array([7, 5])


@pytest.fixture
def threads():
    return Threads()


@pytest.fixture
def table(threads):
    return Privates(threads)


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2))


@pytest.fixture
def owner(reg):
    found = PinOwner()
    reg.register(found)
    return found


@pytest.mark.parametrize(
    ("private", "wanted"),
    [
        (5, 5),
        (True, 1),
        (np.bool_(True), 1),
        (np.uint8(7), 7),
        (np.int64(-1), -1),
        (BIG - 1, BIG - 1),
        (-BIG, -BIG),
        (BIG, None),
        (-BIG - 1, None),
        (np.uint64(BIG), None),
        (1.0, None),
        ("x", None),
        (None, None),
    ],
)
def test_what_is_stored_as_an_int(private, wanted):
    found = as_int(private)
    assert found == wanted
    assert type(found) in (int, type(None))


def test_a_duration_is_no_int(reg, owner):
    """Numpy counts it among its integers; five of one unit are not five of another."""
    given = [np.timedelta64(5, "ns"), np.timedelta64(5, "Y"), np.timedelta64("NaT")]
    for private in given:
        reg.pin(1, owner, private)
    assert [type(pin.private) for pin in reg.pins(1)] == [np.timedelta64] * 3
    assert as_int(given[0]) is None
    for private in given:
        reg.unpin(1, owner, private)
    assert len(reg) == 0


@pytest.mark.parametrize(
    "given",
    [
        [3, 1],
        (3, True),
        range(3, 0, -2),
        np.array([3, 1], dtype=np.uint8),
        np.array([3, 1], dtype=np.uint64),
        [np.int64(3), np.bool_(True)],
        np.array([3, 1], dtype=object),
    ],
    ids=repr,
)
def test_columns_of_ints_need_no_table(table, given):
    held: dict[int, int] = {}
    pins = pins_to_store(table, 4, PFNS, given, held)
    assert list(pins.each()) == [(7, 8, 3), (5, 8, 1)]
    assert (pins.tags.dtype, pins.values.dtype) == (np.int32, np.int64)
    assert not held
    assert len(table) == 0


def test_bools_in_an_array_are_ints(table):
    pins = pins_to_store(table, 4, PFNS, np.array([True, False]), {})
    assert pins.values.tolist() == [1, 0]


@pytest.mark.parametrize(
    "given",
    [
        [BIG, 1],
        np.array([BIG, 1], dtype=np.uint64),
        np.array([1.5, 1]),
        np.array(["x", 1], dtype=object),
        ["x", 1],
    ],
    ids=["int", "uint64", "float", "object", "str"],
)
def test_what_is_no_int_of_64_bits_goes_to_the_table(table, given):
    held: dict[int, int] = {}
    pins = pins_to_store(table, 4, PFNS, given, held)
    assert pins.tags[0] == 9
    assert table.object_at(int(pins.values[0])) == given[0]
    assert objects_of(pins) == held
    assert list(pins_to_find(table, 4, PFNS, given).each()) == list(pins.each())


@pytest.mark.parametrize(("given", "tag"), [(3, 8), (None, 9), ("x", 9)])
def test_one_private_for_all(table, given, tag):
    held: dict[int, int] = {}
    assert pins_to_find(table, 4, PFNS, "x") is None
    pins = pins_to_store(table, 4, PFNS, given, held)
    assert pins.tags.tolist() == [tag, tag]
    assert pins.values[0] == pins.values[1]
    assert held == ({int(pins.values[0]): 2} if given == "x" else {})
    assert list(pins_to_find(table, 4, PFNS, given).each()) == list(pins.each())
    assert len(pins_to_store(table, 4, PFNS[:0], given, {})) == 0


@pytest.mark.parametrize(("pfn", "match"), [(True, "True"), (np.bool_(0), "integer"), (1.0, "1.0")])
def test_no_pfn(pfn, match):
    with pytest.raises(PfnError, match=match):
        as_pfn(pfn)
    with pytest.raises(PfnError):
        as_pfns([pfn, 3])


def test_pfns_of_any_integer_type():
    assert as_pfn(np.uint16(7)) == 7
    assert as_pfns(np.array([1, 2], dtype=np.uint8)).dtype == np.int64
    assert len(as_pfns([])) == 0
    with pytest.raises(PfnError):
        as_pfns([[1, 2]])
    with pytest.raises(PfnError):
        as_pfns(np.array([True]))


def test_rows_keep_their_privates_when_they_are_sorted(reg, owner):
    reg.pin_many([9, 8, 7], owner, [1, 2, 3])
    reg.pin_many([900, 8, 700], owner, ["a", "b", 4])
    assert {pin.pfn: pin.private for pin in reg.iter_pins(9)} == {9: 1, 700: 4, 900: "a"}
    assert [pin.private for pin in reg.pins(8)] == [2, "b"]
    reg.unpin_many([8, 900, 9], owner, ["b", "a", 1])
    assert [(pin.pfn, pin.private) for pin in reg.iter_pins()] == [(7, 3), (8, 2), (700, 4)]
    reg.check()


def test_a_frame_given_twice_and_a_gap_are_no_range(reg, owner):
    reg.pin_many([5, 5, 7], owner, [1, 2, 3])
    assert [(pin.pfn, pin.private) for pin in reg.iter_pins()] == [(5, 1), (5, 2), (7, 3)]
    reg.unpin_many([5, 5, 7], owner, [2, 1, 3])
    assert len(reg) == 0
    reg.check()


def test_a_range_over_two_nodes_keeps_its_privates(reg, owner):
    given = list(range(100, 164))
    reg.pin_range(2016, 2080, owner, given)
    assert [pin.private for pin in reg.iter_pins()] == given
    with pytest.raises(NotPinnedError):
        reg.unpin_range(2016, 2080, owner, [*given[:-1], 0])
    reg.unpin_range(2016, 2080, owner, given)
    assert len(reg) == 0


# Uses of object privates.


def users(reg):
    assert inside.privates(reg).nr_doubts == 0
    reg.check()
    return reg.statistics().nr_privates


def test_a_refused_pin_gives_its_private_back(reg, owner):
    reg.pin(5, owner, "x")
    for _ in range(2):
        with pytest.raises(AlreadyPinnedError):
            reg.pin(5, owner, "x")
        with pytest.raises(AlreadyPinnedError):
            reg.pin_many([6, 5, 7], owner, ["y", "x", "y"])
        with pytest.raises(AlreadyPinnedError):
            reg.pin_range(4, 7, owner, "x")
        reg.flush()
    with pytest.raises(PinpageError, match="hashable"):
        reg.pin_many([8, 9, 10], owner, ["z", "z", []])
    with pytest.raises(PinpageError, match="hashable"):
        reg.pin(9, owner, [])
    assert users(reg) == 1
    reg.unpin(5, owner, "x")
    assert users(reg) == 0


def test_a_refused_unpin_keeps_the_private(reg, owner):
    reg.pin_many([5, 6], owner, "x")
    for work in (
        lambda: reg.unpin(7, owner, "x"),
        lambda: reg.unpin_many([5, 7], owner, "x"),
        lambda: reg.unpin_many([5, 5], owner, "x"),
        lambda: reg.unpin_many([5, 6], owner, ["x", "y"]),
        lambda: reg.unpin_range(5, 8, owner, "x"),
    ):
        with pytest.raises(NotPinnedError):
            work()
        assert users(reg) == 1
        assert len(reg) == 2
    reg.unpin_many([6, 5], owner, ["x", "x"])
    assert users(reg) == 0


def test_a_pin_that_is_to_come_again_gives_its_private_back(reg, owner):
    reg.marks.begin_move(np.array([5]))
    reg.pin(5, owner, "x")
    reg.pin_many([4, 5, 9], owner, ["x", "y", "y"])
    reg.pin_range(4, 9, owner, "x")
    assert users(reg) == 0


def test_an_owner_that_is_forced_out_leaves_no_private(reg, owner):
    other = PinOwner()
    reg.register(other)
    reg.pin_many([5, 6, 7, 3000], owner, ["x", None, 4, "x"])
    reg.pin(7, other, "x")
    reg.unregister(owner, force=True)
    assert users(reg) == 1
    reg.unpin(7, other, "x")
    assert users(reg) == 0


def test_merged_pins_share_no_private(reg, owner):
    reg.pin_many([5, 6], owner, ["x", "x"])
    reg.marks.begin_move(np.array([5]))
    reg.marks.rekey_many(np.array([5]), np.array([6]))
    reg.marks.end_move(np.array([5]))
    assert users(reg) == 1
    reg.unpin(6, owner, "x")
    assert users(reg) == 0


def test_equal_objects_are_one_and_none_is_not_counted(table):
    held: dict[int, int] = {}
    number = table.hold(("a", 1), held)
    assert table.hold(("a", 1), held, 3) == number
    assert table.hold(None, held) == NONE_NUMBER
    assert held == {number: 4}
    assert (table.number_of(("a", 1)), table.number_of("b"), table.number_of(None)) == (
        number,
        None,
        NONE_NUMBER,
    )
    table.drop(number, 3)
    table.drop(NONE_NUMBER)
    assert table.object_at(number) == ("a", 1)
    table.check({number: 1})
    table.drop(number)
    assert len(table) == 0
    assert table.object_at(number) is None
    table.check({})
    rows = [(1, 9, 3), (2, 9, 3), (3, 9, NONE_NUMBER), (4, 8, 7)]
    assert objects_of(PinRows.of(rows)) == {3: 2}


class Same:
    """All have one hash, and each equals itself only."""

    def __hash__(self):
        return 7


def test_objects_of_one_hash_are_told_apart(table):
    one, two = Same(), Same()
    numbers = [table.hold(private, {}) for private in (one, two)]
    assert numbers[0] != numbers[1]
    table.drop(numbers[0])
    assert table.number_of(one) is None
    assert table.number_of(two) == numbers[1]
    table.check({numbers[1]: 1})


class NoLock:
    """Instead of the table's lock: nobody may wait for it here."""

    def __enter__(self):
        raise AssertionError("would wait for itself")

    def __exit__(self, *what):
        """Never entered."""


class Nosy:
    """A private whose hash or comparison uses the table."""

    def __init__(self, use) -> None:
        self.use = use

    def __hash__(self):
        return 7

    def __eq__(self, other):
        self.use()
        return False


def test_a_private_may_not_use_the_table_and_what_it_drops_is_dropped_later(table, threads):
    number = table.hold("x", {})
    table.hold(Same(), {})
    real = table._lock

    def use():
        table._lock = NoLock()
        try:
            with pytest.raises(ContextError):
                table.hold("y", {})
            table.drop(number)
            assert table.number_of("x") == number
        finally:
            table._lock = real

    held: dict[int, int] = {}
    mine = table.hold(Nosy(use), held)
    assert held == {mine: 1}
    assert table.number_of("x") is None
    assert threads.current.top == 0
    assert len(table) == 2
