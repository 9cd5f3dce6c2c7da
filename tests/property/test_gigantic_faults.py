"""Gigantic and huge pages with something going wrong at every point where it can.

For every n: the n-th destination is not there, the n-th callback refuses, a signal comes at
the n-th time that anybody looks.  Afterwards the machine holds together, everybody has their
bytes, and no pageblock is left isolated.
"""

import itertools

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from mm.state.pageblock import MigrateType
from owners.hugetlb_pages import HugetlbPages
from pinpage.owner import Verdict
from pinpage.units import Span
from tests.kit import inside
from tests.kit.mm.machines import SIZE, Drawn, small_machine

NR_PAGES = 4 * SIZE
BLOCKS = (
    "xa.a....",
    "a.....x.",
    "...x....",
    "a.x.a...",
    "....a..x",
    *["x...a..."] * 3,
    *["........"] * 3,
)


class Fault:
    """True at the n-th asking, counted from 0."""

    def __init__(self, n):
        self.n, self.asked = n, 0

    def __call__(self):
        self.asked += 1
        return self.asked == self.n + 1

    @property
    def came(self):
        return self.asked > self.n


def no_destination(drawn, fault):
    def wrap(alloc_pages):
        return lambda *how: -1 if fault() else alloc_pages(*how)

    inside.alloc_pages_through(drawn.machine.evacuator, wrap)
    return RetryPolicy()


def callback_refuses(drawn, fault):
    agrees = drawn.owner.isolate_many

    def asked(pfns, privates, mode):
        verdicts = agrees(pfns, privates, mode)
        return np.full_like(verdicts, Verdict.BUSY) if fault() else verdicts

    drawn.owner.isolate_many = asked
    return RetryPolicy()


def signal_comes(drawn, fault):
    return RetryPolicy(signal_pending=fault)


def walks(drawn, retry, knowledge):
    pages = drawn.machine.hugetlbs.gigantic_of(NR_PAGES)
    if knowledge == "plan":
        return pages.alloc_planned(retry=retry)[0]
    return pages.walk(None, knowledge, retry=retry)


def holds_together(machine):
    machine.check()
    assert not (machine.pageblocks.migratetype == MigrateType.ISOLATE).any()


@pytest.mark.parametrize("knowledge", ["frames", "blocks", "plan"])
@pytest.mark.parametrize("plant", [no_destination, callback_refuses, signal_comes])
def test_a_gigantic_page_whatever_fails_and_whenever(plant, knowledge):
    for n in itertools.count():
        drawn, fault = Drawn(*BLOCKS, movable=True), Fault(n)
        walk = walks(drawn, plant(drawn, fault), knowledge)
        holds_together(drawn.machine)
        drawn.check_contents()
        used = drawn.machine.frames.state[walk.head : walk.head + NR_PAGES]
        assert walk.head == -1 or len(set(used.tolist())) == 1
        assert (walk.errno is Errno.OK) == (walk.head >= 0)
        if not fault.came:
            assert walk.head >= 0, "nothing went wrong"
            break
    planned_destinations = plant is no_destination and knowledge == "plan"
    assert n == 0 if planned_destinations else n > 3


def pool_of_three(fault):
    """Three huge pages in blocks 0..2, two of them used; fresh ones fail when `fault` says so."""
    machine = small_machine(6, arena=True)
    registry = machine.use_registry()
    machine.hugetlb.claim(3)
    owner = HugetlbPages(machine, machine.hugetlb, registry=registry)
    for user in (1, 2):
        machine.contents.write(owner.use(user) + 5, bytes([user]) * 4096)
    source = machine.hugetlb.source
    alloc = source.alloc
    source.alloc = lambda node, *, hard: -1 if fault() else alloc(node, hard=hard)
    return machine, owner


@pytest.mark.parametrize("keep", [True, False])
def test_huge_pages_make_way_or_stay_whole_whenever_there_is_no_other(keep):
    retry = RetryPolicy() if keep else RetryPolicy(nr_tries=None, timeout_ns=1)
    for n in itertools.count():
        fault = Fault(n)
        machine, owner = pool_of_three(fault)
        span = Span(0, 24)
        assert machine.evacuator.isolate(span, machine.design)
        machine.evacuator.evacuate(span, machine.design, retry=retry)
        machine.evacuator.undo(span)
        owner.adopt()
        owner.check()
        holds_together(machine)
        for user in (1, 2):
            assert machine.contents.read(owner.head_of(user) + 5, 0, 1) == bytes([user])
        assert machine.hugetlb.nr_huge_pages >= (3 if keep else 2)
        if not fault.came:
            break
    assert n >= 2
