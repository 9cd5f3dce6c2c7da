"""An owner that was told its new place unpins by that name, whenever the move ends."""

import threading

import numpy as np
import pytest

from pinpage import NotPinnedError, PinOwner, PinRegistry, Topology
from pinpage.store.shard import Shard
from tests.kit import inside

OLD, NEW = np.array([5]), np.array([700])


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2))


@pytest.fixture
def owner(reg):
    """Has a pin that moves, and knows where to."""
    found = PinOwner()
    reg.register(found)
    reg.pin(5, found, 7)
    reg.marks.begin_move(np.array([5, 700]))
    reg.marks.forward_many(OLD, NEW)
    return found


def finish(reg):
    reg.marks.rekey_many(OLD, NEW)
    reg.marks.end_move(np.array([5, 700]))


def test_a_late_unpin_whose_pin_is_rekeyed_while_it_looks(reg, owner, monkeypatch):
    """By a finalizer in another node's section: the mover goes on meanwhile."""
    real = Shard.records_of

    def and_finish(shard, pfn):
        found = real(shard, pfn)
        monkeypatch.undo()
        mover = threading.Thread(target=finish, args=(reg,))
        mover.start()
        mover.join(30)
        return found

    monkeypatch.setattr(Shard, "records_of", and_finish)
    inside.shards(reg)[1].run(reg.unpin, 700, owner, 7)
    assert len(reg) == 0
    reg.check()


@pytest.mark.parametrize("form", ["unpin", "unpin_many", "unpin_range"])
def test_what_has_neither_name_is_refused(reg, owner, form):
    frames = {"unpin": (700,), "unpin_many": ([700],), "unpin_range": (700, 701)}[form]
    with pytest.raises(NotPinnedError):
        getattr(reg, form)(*frames, owner, 8)
    finish(reg)
    with pytest.raises(NotPinnedError):
        getattr(reg, form)(*frames, owner, 8)
    assert [pin.pfn for pin in reg.iter_pins()] == [700]
    reg.check()
