"""An owner that was told its new place unpins by that name, whenever the move ends."""

import threading

import numpy as np
import pytest

from pinpage import NotPinnedError, PinOwner, PinRegistry, Topology
from pinpage.store import marks
from pinpage.store.radix import Radix
from pinpage.store.shard import Shard, apply
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


def between(reg, node, work):
    """Do something inside a section of a node, as a finalizer would."""
    return inside.nodes(reg).run([inside.shards(reg)[node]], work)


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("name", ["source", "target"])
@pytest.mark.parametrize(("source", "target"), [(5, 3000), (3000, 5), (5, 6), (3000, 3001)])
def test_a_late_unpin_by_either_name_on_any_node(source, target, name, node):
    """Inside a section of either node: the pin is gone for whoever looks afterwards."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2)), PinOwner()
    reg.register(owner)
    reg.pin(source, owner, "key")
    reg.marks.begin_move(np.array([source, target]))
    reg.marks.forward_many(np.array([source]), np.array([target]))
    given = {"source": source, "target": target}[name]
    if name == "target" or reg.topology.node_of(source) <= node:
        between(reg, node, lambda: reg.unpin(given, owner, "key"))
    else:  # a node that may still be locked: nothing is late
        reg.unpin(given, owner, "key")
    assert not reg.is_pinned(source)
    assert len(reg) == 0
    reg.marks.end_move(np.array([source, target]))
    reg.check()


@pytest.mark.parametrize("name", ["source", "target"])
@pytest.mark.parametrize(("source", "target"), [(5, 3000), (3000, 5), (5, 6)])
@pytest.mark.parametrize("where", ["pins_of", "remove", "store"])
def test_a_late_unpin_inside_the_section_that_rekeys_its_pin(
    source, target, name, where, monkeypatch
):
    reg, owner = PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2)), PinOwner()
    reg.register(owner)
    reg.pin(source, owner, "key")
    reg.marks.begin_move(np.array([source, target]))
    reg.marks.forward_many(np.array([source]), np.array([target]))
    real = getattr(Radix, where)

    def and_unpin(radix, *args):
        monkeypatch.undo()
        found = real(radix, *args)
        reg.unpin({"source": source, "target": target}[name], owner, "key")
        return found

    monkeypatch.setattr(Radix, where, and_unpin)
    reg.marks.rekey_many(np.array([source]), np.array([target]))
    assert not reg.is_pinned(source)
    assert not reg.is_pinned(target)
    assert len(reg) == 0
    reg.check()


def test_a_late_unpin_of_nothing_is_refused_and_leaves_no_doubt(reg, owner):
    reg.pin(9, owner, "key")
    with pytest.raises(NotPinnedError):
        between(reg, 0, lambda: reg.unpin(10, owner, "key"))
    assert inside.privates(reg).nr_doubts == 0
    reg.check()


@pytest.mark.parametrize("form", ["unpin_many", "unpin_range"])
def test_a_column_of_which_some_have_been_rekeyed_and_some_not(reg, owner, form):
    """Each goes by the name that holds for it."""
    reg.pin(6, owner, 7)
    reg.marks.begin_move(np.array([6, 701]))
    reg.marks.forward_many(np.array([6]), np.array([701]))
    reg.marks.rekey_many(OLD, NEW)
    frames = {"unpin_many": ([701, 700],), "unpin_range": (700, 702)}[form]
    getattr(reg, form)(*frames, owner, 7)
    assert len(reg) == 0
    reg.check()


@pytest.mark.parametrize("form", ["unpin_many", "unpin_range"])
def test_a_column_goes_by_its_new_name_after_a_rekey_that_was_cut_off(
    reg, owner, form, monkeypatch
):
    """Between the pins and the names: the names are stale until the move ends."""

    def cut(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(marks, "apply", lambda *args: (apply(*args), cut()))
    with pytest.raises(KeyboardInterrupt):
        reg.marks.rekey_many(OLD, NEW)
    assert [pin.pfn for pin in reg.iter_pins()] == [700]
    frames = {"unpin_many": ([700],), "unpin_range": (700, 701)}[form]
    with pytest.raises(NotPinnedError):
        getattr(reg, form)(*frames, owner, 8)
    getattr(reg, form)(*frames, owner, 7)
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
