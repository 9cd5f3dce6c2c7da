"""Privates: what they are taken for, and what their `__hash__` and `__eq__` may do."""

from decimal import Decimal
from enum import IntEnum

import numpy as np
import pytest

from pinpage import (
    AlreadyPinnedError,
    NotPinnedError,
    PfnError,
    PinOwner,
    PinpageError,
    PinRegistry,
    Topology,
)
from tests.kit import inside

NAN = float("nan")


class Colour(IntEnum):
    """An int of another type."""

    RED = 1


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=2048, nr_nodes=2))


@pytest.fixture
def owner(reg):
    found = PinOwner()
    reg.register(found)
    return found


# Each row: privates that are one and the same.
SAME = (
    (1, True, np.bool_(True), np.int8(1), np.uint64(1), np.int64(1), Colour.RED),
    (0, False, np.bool_(False), np.uint8(0)),
    (2**63, np.uint64(2**63)),
    (-(2**63), np.int64(-(2**63))),
    (1.0, np.float64(1.0), Decimal(1)),
    ("x", np.str_("x")),
    (("x", 1), ("x", True)),
    (NAN,),
    (None,),
)


def as_objects(value):
    array = np.empty(1, dtype=object)
    array[0] = value
    return array


# The forms in which the private of one frame can be given.
FORMS = {
    "point": lambda value: value,
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "array of objects": as_objects,
    "array": lambda value: np.array([value]) if isinstance(value, np.generic | int) else [value],
}


def pin_as(reg, owner, form, value):
    if form == "point":
        return reg.pin(5, owner, value)
    return reg.pin_many([5], owner, FORMS[form](value))


def unpin_as(reg, owner, form, value):
    if form == "point":
        return reg.unpin(5, owner, value)
    return reg.unpin_many([5], owner, FORMS[form](value))


@pytest.mark.parametrize("into", FORMS)
@pytest.mark.parametrize("out", FORMS)
@pytest.mark.parametrize("row", SAME, ids=lambda row: str(row[0]))
def test_point_and_column_forms_mean_the_same(reg, owner, row, into, out):
    for one in row:
        for other in row:
            pin_as(reg, owner, into, one)
            with pytest.raises(AlreadyPinnedError):
                pin_as(reg, owner, out, other)
            assert len(reg.pins(5)) == 1
            unpin_as(reg, owner, out, other)
            with pytest.raises(NotPinnedError):
                unpin_as(reg, owner, into, one)
    assert len(reg) == 0
    assert reg.statistics().nr_privates == 0
    reg.check()


def test_different_privates_are_different_in_every_form(reg, owner):
    """An int never equals an object private, whatever `==` says."""
    privates = [row[0] for row in SAME]
    for number, private in enumerate(privates):
        pin_as(reg, owner, sorted(FORMS)[number % len(FORMS)], private)
    assert len(reg.pins(5)) == len(privates)
    pin_as(reg, owner, "point", float("nan"))  # another one: a dict has two as well
    assert len(reg.pins(5)) == len(privates) + 1
    reg.check()


def test_a_column_of_nans_is_many_privates(reg, owner):
    column = np.full(3, NAN)
    with pytest.raises(NotPinnedError):
        reg.unpin_many([1, 2, 3], owner, column)
    reg.pin_many([1, 2, 3], owner, [NAN] * 3)
    reg.unpin_many([1, 2, 3], owner, [NAN] * 3)
    assert reg.statistics().nr_privates == 0


PFNS = (5, np.int8(5), np.uint64(5), np.int32(5))
NO_PFNS = (True, np.bool_(True), 5.0, np.float64(5), "5", None, Decimal(5), (5,))


@pytest.mark.parametrize("pfn", PFNS, ids=lambda pfn: type(pfn).__name__)
def test_a_pfn_is_any_integer(reg, owner, pfn):
    reg.pin(pfn, owner, 1)
    assert reg.is_pinned(5)
    assert [pin.pfn for pin in reg.pins(pfn)] == [5]
    reg.unpin_many([pfn], owner, 1)
    reg.pin_many((pfn,), owner, 1)
    reg.pin_range(np.int64(6), np.uint8(9), owner, 1)
    assert reg.next_pinned(pfn) == 5
    assert reg.pinned_mask(pfn, np.int16(9)).all()
    reg.unpin(pfn, owner, 1)
    assert len(reg) == 3


@pytest.mark.parametrize("pfn", NO_PFNS, ids=repr)
def test_what_is_no_integer_is_refused_in_every_form(reg, owner, pfn):
    for call in (
        lambda: reg.pin(pfn, owner),
        lambda: reg.unpin(pfn, owner),
        lambda: reg.is_pinned(pfn),
        lambda: reg.pins(pfn),
        lambda: reg.pin_many([pfn], owner),
        lambda: reg.pin_many([7, pfn], owner),
        lambda: reg.unpin_many([pfn], owner),
        lambda: reg.pin_range(pfn, 9, owner),
        lambda: reg.pinned_mask(0, pfn),
    ):
        with pytest.raises(PfnError):
            call()
    assert len(reg) == 0


class Odd:
    """A private whose `__hash__` or `__eq__` does what it is told."""

    def __init__(self, *, on_hash=None, on_eq=None):
        self.on_hash, self.on_eq = on_hash, on_eq

    def __hash__(self):
        if self.on_hash:
            return self.on_hash()
        return 7

    def __eq__(self, other):
        return self.on_eq() if self.on_eq else NotImplemented


def raising(error):
    def act():
        raise error

    return act


def many_ways(reg, owner, private):
    """Every call that takes a private."""
    return {
        "pin": lambda: reg.pin(5, owner, private),
        "pin beside": lambda: reg.pin(1, owner, private),
        "pin many": lambda: reg.pin_many([5, 1029], owner, ["new", private]),
        "pin range": lambda: reg.pin_range(5, 9, owner, private),
        "unpin": lambda: reg.unpin(1, owner, private),
        "unpin many": lambda: reg.unpin_many([1, 2], owner, [7, private]),
        "unpin range": lambda: reg.unpin_range(1, 3, owner, private),
    }


@pytest.mark.parametrize("error", [RuntimeError, TypeError, MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["on_hash", "on_eq"])
@pytest.mark.parametrize("way", many_ways(None, None, None))
def test_what_they_raise_comes_out_and_nothing_has_changed(reg, owner, way, where, error):
    """Every bucket has one of the same hash, so that `==` is asked."""
    other = Odd()
    reg.pin_many([1, 2], owner, [other, "plain"])
    before = list(reg.iter_pins())
    odd = Odd(**{where: raising(error("mine"))})
    raised = PinpageError if (error, where) == (TypeError, "on_hash") else error
    with pytest.raises(raised):
        many_ways(reg, owner, odd)[way]()
    assert list(reg.iter_pins()) == before
    reg.check()
    assert reg.statistics().nr_privates == 2
    reg.unpin_many([1, 2], owner, [other, "plain"])
    assert reg.statistics().nr_privates == 0


def test_one_whose_answer_has_no_truth_is_refused(reg, owner):
    reg.pin(1, owner, Odd())
    for way, call in many_ways(reg, owner, Odd(on_eq=lambda: np.array([True, False]))).items():
        with pytest.raises(ValueError, match="truth value"):
            pytest.fail(f"{way}: {call()}")
    assert len(reg) == 1
    assert reg.statistics().nr_privates == 1
    reg.check()


def test_an_array_is_no_private(reg, owner):
    for call in (
        lambda: reg.pin(1, owner, np.array([1])),
        lambda: reg.pin_many([1], owner, [np.array([1])]),
        lambda: reg.pin_range(1, 2, owner, np.array(1)),
    ):
        with pytest.raises(PinpageError):
            call()
    assert len(reg) == 0
    reg.check()


@pytest.mark.parametrize("says", [True, False])
def test_liars_are_taken_at_their_word(reg, owner, says):
    """All equal, or none but itself: what is in the table is what was asked first."""
    one, two = Odd(on_eq=lambda: says), Odd(on_eq=lambda: says)
    reg.pin(1, owner, one)
    if says:
        with pytest.raises(AlreadyPinnedError):
            reg.pin(1, owner, two)
    else:
        reg.pin(1, owner, two)
    reg.check()
    for private in (one, two)[: 1 + (not says)]:
        reg.unpin(1, owner, private)
    assert len(reg) == 0
    assert reg.statistics().nr_privates == 0
    reg.check()


def test_a_hash_that_changes_loses_only_its_own(reg, owner):
    hashes = iter(range(10, 1000))
    fickle = Odd(on_hash=lambda: next(hashes))
    reg.pin(1, owner, fickle)
    with pytest.raises(NotPinnedError):
        reg.unpin(1, owner, fickle)
    reg.pin(2, owner, "plain")
    reg.unpin(2, owner, "plain")
    assert [pin.private for pin in reg.iter_pins()] == [fickle]
    reg.unregister(owner, force=True)
    assert reg.statistics().nr_privates == 0
    reg.check()


@pytest.mark.parametrize("where", ["on_hash", "on_eq"])
def test_they_may_ask_the_registry_or_are_refused(reg, owner, where):
    """Whatever comes of it: no deadlock, no half of anything."""
    reg.pin(1, owner, Odd())
    reg.pin(3, owner, 3)

    def use():
        use.calls += 1
        if use.calls > 1:
            return 7 if where == "on_hash" else False
        for call in (
            lambda: reg.pin(2, owner, ("inner",)),
            lambda: reg.pins(1),
            lambda: reg.pinned_mask(0, 1500),
            lambda: reg.unpin(3, owner, 3),
            lambda: reg.unregister(owner),
        ):
            try:
                call()
            except PinpageError:
                continue
        return 7 if where == "on_hash" else False

    use.calls = 0
    for call in many_ways(reg, owner, Odd(**{where: use})).values():
        use.calls = 0
        try:
            call()
        except PinpageError:
            continue
    assert not reg.is_pinned(3)
    assert len(reg) == len(list(reg.iter_pins()))
    reg.check()
    reg.unregister(owner, force=True)
    assert reg.statistics().nr_privates == 0


def test_five_thousand_owners_leave_nothing_behind(reg):
    nodes, table = inside.nodes(reg), inside.owner_table(reg)

    def sizes():
        of_table = [len(value) for value in vars(table).values() if hasattr(value, "__len__")]
        of_shards = [
            len(value)
            for shard in nodes.shards
            for name in vars(shard)
            if hasattr(value := getattr(shard, name), "__len__")
        ]
        return of_table, of_shards, len(inside.privates(reg))

    def come_and_go():
        owner = PinOwner()
        reg.register(owner)
        reg.pin(5, owner, ("a", "key"))
        reg.pin_many([6, 1600], owner, 1)
        reg.fault(owner, "lied")
        with reg.calling(owner):
            pass
        reg.unregister(owner, force=True)

    come_and_go()
    before = sizes()
    for _ in range(5000):
        owner = PinOwner()
        reg.register(owner)
        reg.unregister(owner)
    for _ in range(100):
        come_and_go()
    assert sizes() == before
    reg.check()
