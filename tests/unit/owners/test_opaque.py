"""Opaque owners: frames of which only the name is known."""

import numpy as np
import pytest

from owners.opaque import OpaqueOwner
from pinpage.errors import PinpageError
from pinpage.owner import Mode, Pin, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import column
from pinpage.topology import Topology


@pytest.fixture
def registry():
    return PinRegistry(Topology.uniform(nr_frames=4096))


def test_adopted_frames_are_pinned_under_object_ids(registry):
    slab = OpaqueOwner("slab", movable=False, registry=registry)
    assert slab.adopt(column(9, 4)).tolist() == [0, 1]
    assert slab.adopt(column(7)).tolist() == [2]
    assert registry.pins(4) == [Pin(4, slab, 1)]
    assert slab.pfn_of(np.array([2, 0])).tolist() == [7, 9]
    assert (len(registry), slab.nr_objects) == (3, 3)
    assert registry.owners == (slab,)


def test_it_moves_when_declared_movable(registry):
    slab = OpaqueOwner("slab", movable=False, registry=registry)
    ids = slab.adopt(column(9, 4, 7))
    assert (slab.can_migrate, slab.can_release) == (False, False)
    assert (slab.isolate_many(column(9, 4, 7), ids, Mode.SYNC) == Verdict.BUSY).all()
    assert slab.isolate(Pin(9, slab, 0), Mode.SYNC) is Verdict.BUSY
    slab.movable = True
    assert slab.can_migrate
    assert (slab.isolate_many(column(9, 4, 7), ids, Mode.SYNC) == Verdict.YES).all()
    assert slab.isolate(Pin(9, slab, 0), Mode.SYNC) is Verdict.YES
    slab.migrate_many(column(7, 9), np.array([2, 0]), column(100, 101))
    slab.putback_many(column(4), np.array([1]))
    slab.migrate(Pin(4, slab, 1), 102)
    assert slab.pfn_of(ids).tolist() == [101, 102, 100]


def test_references_are_as_declared(registry):
    gup = OpaqueOwner("gup", movable=False, references=1025)
    gup.adopt(column(1, 2))
    gup.adopt(column(3, 4), references=np.array([2, 3]))
    assert gup.references(column(4, 1), np.array([3, 0])).tolist() == [3, 1025]
    with pytest.raises(PinpageError, match="1 references for 2"):
        gup.adopt(column(5, 6), references=np.array([1]))
    assert gup.nr_objects == 4


def test_a_refused_adoption_changes_nothing(registry):
    slab = OpaqueOwner("slab", movable=True, registry=registry)
    slab.adopt(column(1))
    with pytest.raises(PinpageError):
        slab.adopt(column(2, 999999))
    assert (slab.nr_objects, len(registry)) == (1, 1)
