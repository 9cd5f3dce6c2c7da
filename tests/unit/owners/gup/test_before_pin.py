"""What is done before a long pin: out of CMA, and only from there."""

import numpy as np

from mm.machine import Machine
from mm.state.errno import Errno
from mm.state.pageblock import MigrateType
from owners.gup.before_pin import MigrateBeforePin, before_pin


def mapped(machine, nr_pages):
    space = machine.memory.mmap("p", nr_pages)
    for vpn in range(nr_pages):
        machine.memory.touch(space, vpn, write=True)
    return space, space.pte[:nr_pages] - 1


def test_pages_move_out_of_cma_before_they_are_pinned():
    machine = Machine.build(nr_pages=4 * 512, contents="tags")
    machine.design = MigrateBeforePin()
    space, pfns = mapped(machine, 40)
    block = int(pfns[0]) // 512
    machine.buddy.set_migratetype(block, MigrateType.CMA)
    where = np.array(pfns)
    error, now, refused = before_pin(machine, machine.rmap, where)
    assert (error, refused) == (Errno.OK, ())
    assert (now == space.pte[:40] - 1).all()
    assert (machine.pageblocks.types_of(now) != MigrateType.CMA).all()
    assert not np.intersect1d(now, pfns).size


def test_a_page_that_somebody_holds_stays_and_is_named():
    machine = Machine.build(nr_pages=4 * 512, contents="tags")
    _, pfns = mapped(machine, 4)
    machine.buddy.set_migratetype(int(pfns[0]) // 512, MigrateType.CMA)
    machine.get_page(int(pfns[2]))
    error, now, refused = before_pin(machine, machine.rmap, pfns)
    assert error is Errno.ENOMEM
    assert [one.pfn for one in refused] == [pfns[2]]
    assert (now == pfns).all()


def test_pages_that_may_be_pinned_are_left_where_they_are():
    machine = Machine.build(nr_pages=1024, contents="tags")
    _, pfns = mapped(machine, 4)
    error, now, _ = before_pin(machine, machine.rmap, pfns)
    assert error is Errno.OK
    assert (now == pfns).all()
