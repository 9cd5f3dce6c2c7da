"""The table of designs: every name in it can be run, and no other."""

import attrs
import numpy as np
import pytest

from pinlab.replay.corpus import Corpus
from pinlab.replay.designs import DESIGNS, Dispatch, design
from pinlab.replay.replay import replay
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import small_recording


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_in_the_table_can_be_put_in_force(name):
    entry = design(name)
    assert entry.name == name
    assert entry.summary
    machine = replay(small_recording(), Corpus.build(nr_pages=64), design_name=name).machine
    assert machine.design.name == name
    assert (machine.registry is not None) == entry.dispatch.has_registry
    assert type(machine.design) is entry.kind


def test_only_a_design_that_asks_owners_takes_a_coverage():
    asked = ["rfc2013", "movable-ops", "type-keyed", "registry"]
    assert [name for name in DESIGNS if design(name).takes_coverage] == asked


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(PinpageError, match=r"unmovable, zbud-reclaim, zbud-migrate, .*, registry"):
        design("Registry")


def test_each_way_of_finding_holders_is_somebodys():
    assert {entry.dispatch for entry in DESIGNS.values()} == set(Dispatch)


def compacted(name, movable, strategy="scan"):
    replayed = replay(
        small_recording(), Corpus.build(nr_pages=64), design_name=name, movable=movable
    )
    replayed.machine.compact(strategy)
    replayed.machine.check()
    read = replayed.expected.read_back(
        replayed.machine.contents, replayed.zswap, replayed.machine.swap
    )
    assert read.bytes_lost == 0
    return replayed.machine


@pytest.mark.parametrize("strategy", ["scan", "plan"])
@pytest.mark.parametrize(
    ("narrow", "asked"),
    [
        ("zbud-migrate", {"zbud"}),
        ("movable-ops", {"zbud", "kernel"}),
        ("type-keyed", {"slab", "zbud"}),
        ("linux-6.1", set()),
    ],
)
def test_what_a_narrower_design_moves_the_registry_moves_alike(narrow, asked, strategy):
    movable = frozenset(asked) if design(narrow).takes_coverage else frozenset()
    ours = compacted("registry", frozenset(asked), strategy)
    theirs = compacted(narrow, movable, strategy)
    for column in ("state", "flags", "refcount", "mapcount"):
        same = getattr(ours.frames, column) == getattr(theirs.frames, column)
        assert same.all(), column


@pytest.mark.parametrize("name", ["migrate-before-pin", "confinement"])
def test_whose_effect_is_not_on_recorded_memory_is_unmovable_there(name):
    mine, usual = (compacted(kind, frozenset()) for kind in (name, "unmovable"))
    assert mine.digest() == usual.digest()
    assert design(name).note


def test_the_patch_empties_by_giving_owners_pages_of_their_own():
    before = replay(small_recording(), Corpus.build(nr_pages=64), design_name="rfc2013").machine
    machine = compacted("rfc2013", frozenset({"slab", "zbud"}))
    assert machine.design.nr_callbacks > 300
    assert (machine.frames.state == before.frames.state).mean() < 1
    assert machine.design.core.nr_probes > 0
    machine.design.core.check()


def test_capabilities_differ_between_designs_that_differ():
    rows = {name: attrs.astuple(entry.kind.capabilities) for name, entry in DESIGNS.items()}
    several = [name for name, entry in DESIGNS.items() if entry.kind.capabilities.several_owners]
    assert several == ["registry"]
    assert rows["registry"] != rows["type-keyed"] != rows["movable-ops"]
    assert np.all([row[-2] >= 0 for row in rows.values()])
