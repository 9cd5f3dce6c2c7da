"""Who is found through a page, and who is not."""

import numpy as np
import pytest

from mm.designs.linux61 import Linux61
from mm.designs.movable_ops import MovableOps
from mm.designs.rfc2013 import OwnPages
from mm.designs.type_keyed import TypeKeyed
from mm.machine import Machine
from mm.move.design import Answer
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.opaque import OpaqueOwner
from pinpage.owner import Mode, Reason


@pytest.fixture
def machine():
    machine = Machine.build(nr_pages=1024, contents="tags")
    machine.use_registry()
    return machine


def held_by(machine, *names):
    """One page with a movable owner of each name."""
    pfn = machine.alloc_page(Gfp.KERNEL)
    for nth, name in enumerate(names):
        if nth:
            machine.get_page(pfn)
        OpaqueOwner(name, movable=True, registry=machine.registry).adopt(np.array([pfn]))
    return pfn


def answer(design, pfn):
    answers, reasons = design.ask(np.array([pfn]), Mode.SYNC)
    return Answer(int(answers[0])), Reason(int(reasons[0]))


def test_one_owner_is_found_and_two_are_not(machine):
    design = MovableOps(machine.registry, machine.mover)
    assert answer(design, held_by(machine, "gpu"))[0] is Answer.MOVE
    assert answer(design, held_by(machine, "x", "y")) == (Answer.NO, Reason.NO_OWNER)
    assert answer(design, held_by(machine, "slab")) == (Answer.NO, Reason.NO_OWNER)


def test_6_1_finds_those_with_operations(machine):
    design = Linux61(machine.registry, machine.mover)
    assert answer(design, held_by(machine, "zram"))[0] is Answer.MOVE
    gpu = held_by(machine, "gpu")
    assert answer(design, gpu) == (Answer.NO, Reason.NO_OWNER)
    codes, names = design.holders(1024)
    assert names[codes[gpu]] == "unknown"


def test_a_type_has_one_set_of_operations(machine):
    design = TypeKeyed(machine.registry, machine.mover, machine.frames)
    first, second = held_by(machine, "dentry"), held_by(machine, "radix_tree_node")
    assert answer(design, first)[0] is Answer.MOVE
    assert answer(design, second) == (Answer.NO, Reason.NO_OWNER)
    dentry, other = machine.registry.owners
    assert design.set_movable_ops(dentry, "slab") is Errno.OK
    assert design.set_movable_ops(other, "slab") is Errno.EBUSY
    assert design.set_movable_ops(other, "gpu") is Errno.EINVAL


def test_a_type_outlives_its_pin_until_the_page_is_free(machine):
    design = TypeKeyed(machine.registry, machine.mover, machine.frames)
    pfn = held_by(machine, "zram")
    assert design.claims(pfn, pfn + 1)[0]
    machine.registry.unpin(pfn, machine.registry.owners[0], 0)
    assert design.claims(pfn, pfn + 1)[0]
    assert answer(design, pfn) == (Answer.NO, Reason.OWNER_BUSY)
    machine.free_page(pfn)
    assert not design.claims(pfn, pfn + 1)[0]


def test_t11_a_second_owner_is_no_assertion_but_a_vote(machine):
    """The series of August 2013 forbade nesting; here both owners of a page are asked, and go."""
    pfn = held_by(machine, "x", "y")
    one = np.array([pfn])
    report = machine.design.move(one, OwnPages(machine), Mode.SYNC)
    (target,) = report.targets.tolist()
    assert report.reasons.tolist() == [Reason.MOVED]
    for owner in machine.registry.owners:
        assert owner.pfn_of(np.array([0])).tolist() == [target]
    assert machine.frames.refcount[target] == 2


@pytest.mark.parametrize("kind", [MovableOps, Linux61, TypeKeyed, None])
def test_t11_a_page_whose_owner_is_unknown_never_counts_as_moved(machine, kind):
    """There, 0 came back for it: its caller believed that it had moved, and dropped its reference.

    An owner that has left is unknown, and so is a page that never had one.
    """
    more = () if kind is not TypeKeyed else (machine.frames,)
    design = kind(machine.registry, machine.mover, *more) if kind else machine.design
    left, never = held_by(machine, "zram"), machine.alloc_page(Gfp.KERNEL)
    (owner,) = machine.registry.owners
    assert answer(design, left)[0] is Answer.MOVE
    machine.registry.unpin(left, owner, 0)
    machine.registry.unregister(owner)
    pfns = np.sort([left, never])
    for reasons in (
        design.move(pfns, OwnPages(machine), Mode.SYNC).reasons,
        design.release(pfns, Mode.SYNC),
    ):
        assert (reasons > Reason.RELEASED).all()
    assert machine.frames.refcount[pfns].tolist() == [1, 1]
    assert [answer(design, pfn)[0] for pfn in pfns.tolist()] == [Answer.NO, Answer.NO]


def test_a_page_is_locked_to_isolate_it_and_to_migrate_it(machine):
    design = MovableOps(machine.registry, machine.mover)
    pfns = np.sort([held_by(machine, "gpu") for _ in range(3)])
    machine.get_page(int(pfns[0]))  # that one stays
    assert design.move(pfns, OwnPages(machine), Mode.SYNC).nr_moved == 2
    assert design.lock_acquisitions == 3 + 2
