"""An owner that was told its new place unpins by that name, whenever the move ends."""

import threading

import numpy as np
import pytest

from pinpage import NotPinnedError, PinOwner, PinRegistry, Topology
from pinpage.store import marks
from pinpage.store.blocks import Blocks
from pinpage.store.nodes import LateUnpin
from pinpage.store.radix import Radix
from pinpage.store.rows import NO_PINS, PinRows
from pinpage.store.shard import Change, Shard, apply
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


def test_the_same_late_unpin_twice_is_refused_once(reg, owner):
    reg.pin(9, owner, "key")
    answers = []

    def twice():
        for _ in range(3):
            try:
                answers.append(reg.unpin(9, owner, "key"))
            except NotPinnedError:
                answers.append("refused")

    between(reg, 1, twice)
    assert answers == [None, "refused", "refused"]
    assert [pin.pfn for pin in reg.iter_pins()] == [5]
    reg.pin(9, owner, "key")  # the same once more: nothing of the first is left
    between(reg, 1, lambda: reg.unpin(9, owner, "key"))
    assert [pin.pfn for pin in reg.iter_pins()] == [5]
    assert inside.privates(reg).nr_doubts == 0
    reg.check()


def test_a_late_unpin_of_what_a_call_that_was_cut_off_left_is_refused(reg, owner, monkeypatch):
    """The next section of that node takes it back."""

    def cut(blocks, pins, real=Blocks.add_many):
        real(blocks, pins)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Blocks, "add_many", cut)
    with pytest.raises(KeyboardInterrupt):
        reg.pin_many([20, 40], owner, 7)
    with pytest.raises(NotPinnedError):
        between(reg, 1, lambda: reg.unpin(20, owner, 7))
    assert [pin.pfn for pin in reg.iter_pins()] == [5]
    reg.check()


def test_a_late_unpin_out_of_a_range_whose_unpin_was_cut_off(monkeypatch):
    """The next section of that node puts the range back, and takes the one pin out."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2)), PinOwner()
    reg.register(owner)
    reg.pin_range(512, 1024, owner, 7)

    def cut(blocks, run, real=Blocks.remove_run):
        real(blocks, run)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Blocks, "remove_run", cut)
    with pytest.raises(KeyboardInterrupt):
        reg.unpin_range(512, 1024, owner, 7)
    for pfn, private in ((600, 8), (1024, 7)):
        with pytest.raises(NotPinnedError):
            between(reg, 1, lambda pfn=pfn, private=private: reg.unpin(pfn, owner, private))
    between(reg, 1, lambda: reg.unpin(600, owner, 7))
    assert [pin.pfn for pin in reg.iter_pins()] == [*range(512, 600), *range(601, 1024)]
    reg.check()


@pytest.mark.parametrize("where", ["queue", "nr_places"])
def test_a_late_unpin_while_the_move_goes_on_is_done_or_refused(where, monkeypatch):
    """By the old name, and the move begins, tells and ends on another thread meanwhile."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=4096, nr_nodes=2)), PinOwner()
    reg.register(owner)
    reg.pin(5, owner)
    reg.flush()  # out of the batch it would go without waiting
    real = getattr(LateUnpin, where)

    def move():
        reg.marks.begin_move(np.array([5, 400]))
        reg.marks.forward_many(np.array([5]), np.array([400]))
        reg.marks.rekey_many(np.array([5]), np.array([400]))
        reg.marks.end_move(np.array([5, 400]))

    def beside(item, *args):
        found = real(item, *args) if where == "nr_places" else None
        monkeypatch.undo()
        mover = threading.Thread(target=move)
        mover.start()
        mover.join(30)
        return found if where == "nr_places" else real(item, *args)

    monkeypatch.setattr(LateUnpin, where, beside)
    answers = []

    def unpin():
        try:
            answers.append(reg.unpin(5, owner))
        except NotPinnedError:
            answers.append("refused")

    between(reg, 1, unpin)
    assert (answers, len(reg)) in (([None], 0), (["refused"], 1))
    reg.check()


def test_a_late_unpin_that_looks_by_one_name_before_and_by_the_other_after_a_rekey(
    reg, owner, monkeypatch
):
    """Neither finds the pin; the section of the rekey has not ended, so nobody has removed it."""
    looked, applied, ended = (threading.Event() for _ in range(3))
    real_apply, real_had = marks.apply, Shard.had

    def staged(changes, work, *args):
        real_apply(changes, lambda *given: (work(*given), looked.wait(30)), *args)
        applied.set()
        ended.wait(30)

    def and_go_on(shard, pfn, record):
        found = real_had(shard, pfn, record)
        looked.set()
        assert applied.wait(30)
        return found

    monkeypatch.setattr(marks, "apply", staged)
    monkeypatch.setattr(Shard, "had", and_go_on)
    mover = threading.Thread(target=finish, args=(reg,))

    def unpin():
        mover.start()
        while not inside.shards(reg)[0].change:
            pass
        try:
            reg.unpin(700, owner, 7)
        finally:
            ended.set()

    between(reg, 1, unpin)
    mover.join(30)
    assert len(reg) == 0
    reg.check()


def test_a_look_at_a_change_that_comes_to_count_is_another(reg, owner):
    shard = inside.shards(reg)[0]
    shard.change = change = Change(np.array([5]), NO_PINS)
    before = shard.glimpse(5)
    change.commit[0] = True
    assert shard.glimpse(5) != before
    shard.change = None


def test_a_look_at_a_frame_whose_block_changes_its_form_is_another(reg, owner):
    shard = inside.shards(reg)[0]
    before = shard.glimpse(5)
    assert shard.glimpse(5) == before
    shard.radix.blocks.add_many(PinRows.alike(np.arange(100, 300), 2, 7))
    assert shard.glimpse(5) != before


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
    assert reg.marks.source_of == {701: 6}, "a name ends with the pins that had it"
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
    reg.pin(6, owner, 7)  # another move, of which only the name is told
    reg.marks.begin_move(np.array([6, 701]))
    reg.marks.forward_many(np.array([6]), np.array([701]))
    frames = {"unpin_many": ([700, 701],), "unpin_range": (700, 702)}[form]
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
