"""Whatever is a property, or named nr_*, is_* or has_*, can be read without changing anything.

Two worlds are run, and every instance of a public class of `mm`, `owners` and `pinpage` that
comes to be in one of them is kept.  Then all that can be read of it is read, and a digest of
everything that can be reached, private state and caches included, is the same as before.
"""

import collections
import enum
import importlib
import inspect
import pkgutil
from functools import cached_property

import numpy as np
import pytest

import mm
import owners
import pinpage
from mm.state.frames import PageFlag
from pinpage.errors import PinpageError
from pinpage.owner import PinOwner
from pinpage.store.rows import PinRows
from pinpage.units import Span
from tests.kit.deep import deep_digest, reachable
from tests.reading.worlds import WORLDS

NR_KEPT = 3
PREFIXES = ("nr_", "is_", "has_")
WITH_THREADS = {"RealDevice", "InFlight", "IoThreads"}  # of a real file; its own tests make them


def public_classes():
    """Every concrete public class that has something to read."""
    for package in (mm, owners, pinpage):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if found.name.startswith("pinpage.testing"):
                continue
            module = importlib.import_module(found.name)
            for name in getattr(module, "__all__", ()):  # a folder has none
                kind = getattr(module, name)
                if inspect.isclass(kind) and kind.__module__ == found.name and _is_concrete(kind):
                    yield kind


def _is_concrete(kind):
    unfit = issubclass(kind, (enum.Enum, BaseException)) or getattr(kind, "_is_protocol", False)
    return not unfit and not inspect.isabstract(kind) and bool(readings(kind))


def readings(kind):
    """The names of what can be read of an instance."""
    found = []
    for name in dir(kind):
        what = inspect.getattr_static(kind, name)
        is_property = isinstance(what, (property, cached_property))
        if not name.startswith("_") and (
            is_property or (callable(what) and name.startswith(PREFIXES))
        ):
            found.append(name)
    return found


class Kept:
    """The last instances of each class that were made while a world ran."""

    def __init__(self):
        self.of = {kind: collections.deque(maxlen=NR_KEPT) for kind in public_classes()}

    def record(self, monkeypatch):
        for kind in self.of:
            self._watch(kind, monkeypatch)

    def _watch(self, kind, monkeypatch):
        made, of = kind.__init__, self.of

        def make(self, *args, **kwargs):
            made(self, *args, **kwargs)
            if type(self) is kind:
                of[kind].append(self)

        monkeypatch.setattr(kind, "__init__", make)

    def add(self, things):
        for thing in things:
            kept = self.of.get(type(thing))
            if kept is not None and len(kept) < NR_KEPT:
                kept.append(thing)


def argument(kept, parameter, default_of):
    """Something that a reading takes by that name and annotation."""
    wanted = parameter.annotation
    if inspect.isclass(wanted) and issubclass(wanted, enum.Enum):
        return next(iter(wanted))
    if inspect.isclass(wanted) and kept.of.get(wanted):
        return kept.of[wanted][0]
    if wanted is PinOwner:
        return default_of["owner"]
    if wanted is Span:
        return Span(0, 8)
    if wanted is PinRows:
        return PinRows.of([(0, 1, 2)])
    if parameter.name in ("pfns", "page_ids", "batch"):
        return np.array([0, 1], dtype=np.int64)
    return {"flag": PageFlag.LRU, "active": False, "stop": 8}.get(parameter.name, 0)


def read(kept, thing, name, default_of):
    """One reading; a refusal is an answer, too."""
    try:
        what = getattr(thing, name)
        if callable(what) and not isinstance(inspect.getattr_static(type(thing), name), property):
            wanted = [
                p for p in inspect.signature(what).parameters.values() if p.default is p.empty
            ]
            what(**{p.name: argument(kept, p, default_of) for p in wanted})
    except (PinpageError, KeyError, IndexError):
        return


@pytest.fixture(scope="module")
def worlds():
    """Each world's roots, and what came to be in it."""
    return [_run(make) for make in WORLDS]


def _run(make):
    kept = Kept()
    with pytest.MonkeyPatch.context() as monkeypatch:
        kept.record(monkeypatch)
        roots = make()
    kept.add(reachable(roots))
    return roots, kept


def test_every_public_class_comes_to_be(worlds):
    made = {kind for _, kept in worlds for kind, things in kept.of.items() if things}
    missing = [
        kind.__name__ for kind in public_classes() if not any(issubclass(m, kind) for m in made)
    ]
    assert set(missing) == WITH_THREADS


@pytest.mark.parametrize("which", range(len(WORLDS)), ids=[make.__name__ for make in WORLDS])
def test_reading_changes_nothing(worlds, which):
    roots, kept = worlds[which]
    all_kept = [list(things) for things in kept.of.values()]
    default_of = {"owner": next(t for t in reachable(roots) if isinstance(t, PinOwner))}
    before = deep_digest(roots, all_kept)
    for kind, things in kept.of.items():
        for thing in things:
            for name in readings(kind):
                read(kept, thing, name, default_of)
    if deep_digest(roots, all_kept) == before:
        return
    pytest.fail("changed by reading: " + ", ".join(culprits(roots, kept, default_of)))


def culprits(roots, kept, default_of):
    """Of which classes a reading changes something when all are made once more."""
    found, all_kept = [], [list(things) for things in kept.of.values()]
    before = deep_digest(roots, all_kept)
    for kind in [kind for kind, things in kept.of.items() if things]:
        for thing in kept.of[kind]:
            for name in readings(kind):
                read(kept, thing, name, default_of)
        last, before = before, deep_digest(roots, all_kept)
        if last != before:
            found.append(f"{kind.__module__}.{kind.__name__}")
    return found or ["something is kept at the first reading"]
