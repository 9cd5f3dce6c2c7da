"""The registry against a dict of lists: random calls of every kind, good and bad, in small worlds.

Configurations are such that every form of storage and every change between them is common.
"""

import random

import numpy as np
import pytest

from pinpage.errors import (
    AlreadyPinnedError,
    NotPinnedError,
    OwnerError,
    PfnError,
    PinpageError,
)
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from pinpage.units import Span
from tests.fuzz.budget import rounds
from tests.fuzz.registry_model import Model, key_of

pytestmark = pytest.mark.fuzz

BLOCK = 512
NR_CALLS = 3000
"""Calls in one world; then comes the next."""
MOST_PINS = 6000
CONFIGURATIONS = ((1, 0), (1, 1), (1, 7), (1, 1023), (3, 0), (3, 7), (3, 1023), (2, 1), (2, 1023))
"""Nodes, and pins in a batch."""
FORMS = ((16, 64), (1, 1), (2, 5), (1, 3), (4, 300))
"""`sparse_below` and `dense_above`."""
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


class Same(PinOwner):
    """Says that it equals every other owner; who it is counts, not what it says."""

    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 7


class Throwing:
    """A private that cannot be looked up."""

    def __hash__(self):
        raise RuntimeError("no hash today")


class Odd(int):
    """An int that is not quite one."""


class Equal:
    """An object that is equal to others of its number."""

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return self.number % 3  # collisions are common

    def __eq__(self, other):
        return isinstance(other, Equal) and other.number == self.number


PRIVATES = (
    *(None, 0, 1, -1, 2, 3, 7, True, False, LOWEST, LOWEST + 1, HIGHEST, LOWEST - 1, HIGHEST + 1),
    *(2**64, 2**200, "", "a", "b", b"a", (1,), (1, 2), 0.5, -2.5, float("inf"), frozenset({1})),
    *(np.int64(5), np.int8(5), np.uint64(2**63), np.uint64(7), np.str_("a"), Odd(9), Odd(2**70)),
    *(Equal(1), Equal(4), Equal(77), ..., NotImplemented, int, complex(1, 2)),
)
UNHASHABLE = ([1], {}, Throwing())


def containers(rng, pfns):
    """The same pfns in one of the many ways in which callers have them."""
    if not all(LOWEST <= pfn <= HIGHEST for pfn in pfns):
        return rng.choice((list(pfns), tuple(pfns)))
    column = np.array(pfns, dtype=np.int64)
    twice = np.zeros(2 * len(column), dtype=np.int64)
    twice[::2] = column
    frozen = column.copy()
    frozen.setflags(write=False)
    ways = [list(pfns), tuple(pfns), column, twice[::2], column[::-1].copy()[::-1], frozen]
    if all(0 <= pfn < 2**31 for pfn in pfns):
        ways += [column.astype(kind) for kind in ("int32", "uint32", "uint64", ">i8")]
    return rng.choice(ways)


class Fuzz:
    """One world: a registry, its model, and calls made to both."""

    def __init__(self, name):
        self.name = name
        self.rng = rng = random.Random(name)
        nr_nodes, batch_nr_pins = rng.choice(CONFIGURATIONS)
        sparse_below, dense_above = rng.choice(FORMS)
        self.nr_frames = BLOCK * nr_nodes * rng.choice((1, 4, 64)) + rng.choice((0, 0, 1, 300))
        self.registry = PinRegistry(
            self._topology(nr_nodes),
            batch_nr_pins=batch_nr_pins,
            sparse_below=sparse_below,
            dense_above=dense_above,
        )
        self.model, self.owners, self.registered = Model(), [], []
        self.log = []
        for _ in range(4):
            self.join()
        self.hot = [rng.randrange(self.nr_frames) for _ in range(300)]
        self.hot_blocks = [rng.randrange(-(-self.nr_frames // BLOCK)) for _ in range(3)]

    def _topology(self, nr_nodes):
        if nr_nodes != 3:
            return Topology.uniform(nr_frames=self.nr_frames, nr_nodes=nr_nodes)
        last = BLOCK * (self.nr_frames // BLOCK - 1)
        borders = (0, BLOCK, last, self.nr_frames)
        return Topology([Span(borders[at], borders[at + 1]) for at in range(3)])

    # What is drawn.

    def pfn(self):
        x, rng = self.rng.random(), self.rng
        if x < 0.5:
            return rng.choice(self.hot)
        if x < 0.85:
            start = rng.choice(self.hot_blocks) * BLOCK
            return min(self.nr_frames - 1, start + rng.randrange(BLOCK))
        if x < 0.98:
            return rng.randrange(self.nr_frames)
        return rng.choice((-1, self.nr_frames, 2**39, 2**63, 2**64, LOWEST, 2**100))

    def owner(self):
        return Same("stranger") if self.rng.random() < 0.01 else self.rng.choice(self.registered)

    def private(self):
        x = self.rng.random()
        if x < 0.4:
            return self.rng.randrange(-3, 4)
        if x < 0.5:
            return None
        return self.rng.choice(PRIVATES if x < 0.98 else UNHASHABLE)

    # Owners.

    def number(self, owner):
        """Its place among all that ever were; None for a stranger."""
        return next((at for at, known in enumerate(self.owners) if known is owner), None)

    def is_registered(self, owner):
        return any(owner is known for known in self.registered)

    def join(self):
        owner = Same(f"owner {len(self.owners)}")
        self.registry.register(owner)
        self.owners.append(owner)
        self.registered.append(owner)

    def leave(self):
        owner, force = self.rng.choice(self.registered), self.rng.random() < 0.6
        self.log.append(("unregister", owner.name, force))
        number = self.number(owner)
        if self.model.of_owner(number) and not force:
            with pytest.raises(PinpageError):
                self.registry.unregister(owner)
            return
        self.registry.unregister(owner, force=force)
        self.model.drop_owner(number)
        self.registered = [known for known in self.registered if known is not owner]
        if len(self.registered) < 2:
            self.join()

    # Calls.

    def refused(self, pfns, owner, privates):
        """What a caller's mistakes are answered with; nothing if there is none."""
        wrong = []
        if not all(0 <= pfn < self.nr_frames for pfn in pfns):
            wrong.append(PfnError)
        if not self.is_registered(owner):
            wrong.append(OwnerError)
        if any(isinstance(private, list | dict | Throwing) for private in privates):
            wrong += [PinpageError, RuntimeError]
        return wrong

    def call(self, what, pfns, owner, privates, act, *, unpin):
        """One call, its outcome compared, and the model kept."""
        self.log.append((what, pfns if len(pfns) < 20 else len(pfns), owner.name, privates[:20]))
        wrong = self.refused(pfns, owner, privates)
        pins = []
        if not wrong:
            number = self.number(owner)
            keys = map(key_of, privates)
            pins = [(pfn, (number, key)) for pfn, key in zip(pfns, keys, strict=True)]
            if not self.model.fits(pins, pinned=unpin):
                wrong = [NotPinnedError if unpin else AlreadyPinnedError]
        if wrong:
            with pytest.raises(tuple(wrong)):
                act()
            return
        act()
        for pfn, record in pins:
            (self.model.remove if unpin else self.model.add)(pfn, record)

    def one(self, *, unpin):
        pfn, owner, private = self.pfn(), self.owner(), self.private()
        known = self.model.at.get(pfn)
        if unpin and known and self.rng.random() < 0.9:
            number, (kind, private) = self.rng.choice(known)
            owner = self.owners[number]
            if kind == "int" and self.rng.random() < 0.2:
                private = np.int64(private)
        act = self.registry.unpin if unpin else self.registry.pin
        self.call("one", [pfn], owner, [private], lambda: act(pfn, owner, private), unpin=unpin)

    def column(self, *, unpin):
        count = self.rng.choice((0, 1, 3, 8, 33, 150, 700)) if self.rng.random() < 0.3 else 5
        owner = self.owner()
        if unpin and self.is_registered(owner):
            mine = self.model.of_owner(self.number(owner))
            drawn = self.rng.sample(mine, min(count, len(mine)))
            pfns, privates = [pfn for pfn, _ in drawn], [key[1] for _, (_, key) in drawn]
        else:
            pfns = [self.pfn() for _ in range(count)]
            privates = [self.private() for _ in pfns]
        if pfns and self.rng.random() < 0.1:  # the same twice
            pfns, privates = [*pfns, pfns[0]], [*privates, privates[0]]
        given = containers(self.rng, pfns)
        act = self.registry.unpin_many if unpin else self.registry.pin_many
        self.call("many", pfns, owner, privates, lambda: act(given, owner, privates), unpin=unpin)

    def range(self, *, unpin):
        start = self.rng.choice(self.hot)
        count = self.rng.choice((0, 1, 2, 5, 17, 40, 100, 600, 2000))
        stop = min(self.nr_frames, start + count) if self.rng.random() < 0.97 else start + count
        owner, pfns = self.owner(), list(range(start, stop))
        base = self.rng.randrange(-5, 5)
        given, privates = self.rng.choice(
            (
                (None, [None] * len(pfns)),
                (base, [base] * len(pfns)),
                (range(base, base + len(pfns)), list(range(base, base + len(pfns)))),
                (np.arange(len(pfns), dtype=np.int32), list(range(len(pfns)))),
                ("all", ["all"] * len(pfns)),
            )
        )
        act = self.registry.unpin_range if unpin else self.registry.pin_range
        self.call(
            "range", pfns, owner, privates, lambda: act(start, stop, owner, given), unpin=unpin
        )

    def nonsense(self):
        """Neither a column of pfns nor privates for it: refused, and nothing has changed."""
        owner = self.registered[0]
        for pfns in ([1.5], [True, False], np.zeros((2, 2), int), ["a"], np.array(3), [[1]]):
            with pytest.raises(PinpageError):
                self.registry.pin_many(pfns, owner)
        with pytest.raises(PinpageError):
            self.registry.pin_range(0, 5, owner, [1, 2])
        with pytest.raises(PfnError):
            self.registry.pins(self.nr_frames)

    def thin(self):
        """Bring the population down now and then."""
        for owner in self.registered if len(self.model) > MOST_PINS else ():
            mine = self.model.of_owner(self.number(owner))
            privates = [key[1] for _, (_, key) in mine]
            self.registry.unpin_many([pfn for pfn, _ in mine], owner, privates)
            self.model.drop_owner(self.number(owner))

    def step(self):
        x = self.rng.random()
        unpin = self.rng.random() < 0.47
        if x < 0.72:
            self.one(unpin=unpin)
        elif x < 0.80:
            self.range(unpin=unpin)
        elif x < 0.93:
            self.column(unpin=unpin)
        elif x < 0.96:
            self.look_at(self.pfn())
        elif x < 0.962:
            self.leave()
        elif x < 0.965 and len(self.registered) < 7:
            self.join()
        elif x < 0.97:
            self.nonsense()
        elif x < 0.98:
            self.registry.flush()
        else:
            self.thin()

    # Comparing.

    def shown(self, pins):
        return [(pin.pfn, (self.number(pin.owner), key_of(pin.private))) for pin in pins]

    def look_at(self, pfn):
        if not 0 <= pfn < self.nr_frames:
            return
        assert self.shown(self.registry.pins(pfn)) == [(pfn, r) for r in self.model.on(pfn)]
        assert self.registry.is_pinned(pfn) == (pfn in self.model.at)

    def compare(self):
        registry, model, nr_frames = self.registry, self.model, self.nr_frames
        registry.check()
        assert len(registry) == len(model) == registry.statistics().nr_pins
        assert registry.statistics().nr_privates == len(model.objects())
        start = self.rng.randrange(nr_frames)
        for first, stop in ((0, nr_frames), (start, self.rng.randrange(start, nr_frames + 1))):
            expected = model.everything(first, stop)
            assert self.shown(registry.iter_pins(first, stop)) == expected
            pinned = [pfn - first for pfn in sorted(model.at) if first <= pfn < stop]
            assert np.flatnonzero(registry.pinned_mask(first, stop)).tolist() == pinned
            columns = registry.pin_columns(first, stop)
            assert columns.pfns.tolist() == [pfn for pfn, _ in expected]
            assert list(map(key_of, columns.privates)) == [key for _, (_, key) in expected]
        assert registry.next_pinned(start) == min((p for p in model.at if p >= start), default=None)
        pfns = np.array([self.rng.randrange(nr_frames) for _ in range(50)])
        assert registry.owner_counts(pfns).tolist() == [len(model.on(p)) for p in pfns.tolist()]
        privates = registry.single_pins(pfns)[1]
        for pfn, private in zip(pfns.tolist(), privates, strict=True):
            records = model.on(pfn)
            assert len(records) != 1 or key_of(private) == records[0][1]

    def run(self):
        for at in range(NR_CALLS):
            self.step()
            if at < 50 or at % 100 == 0:
                self.compare()
        self.compare()
        for owner in list(self.registered):
            self.registry.unregister(owner, force=True)
        assert len(self.registry) == self.registry.statistics().nr_privates == 0
        self.registry.check()


def test_whatever_is_called_the_registry_is_the_dict_of_lists():
    for name in rounds():
        fuzz = Fuzz(name)
        try:
            fuzz.run()
        except BaseException as error:
            error.add_note(f"world {name}; the last calls: {fuzz.log[-5:]}")
            raise
