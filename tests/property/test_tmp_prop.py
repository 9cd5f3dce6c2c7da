import os
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from tests.kit.mm.whole_machines import SIZE, layouts

EX=settings(max_examples=int(os.environ.get("N","300")), deadline=None)

def drawn(layout,size):
    world=layout.build(); world.machine.hotplug.blocks.nr_pages=size*SIZE; return world

@EX
@given(layouts(), st.integers(1,2), st.data())
def test_verdict(layout,size,data):
    assume(len(layout.blocks)%size==0)
    block=data.draw(st.integers(0,len(layout.blocks)//size-1))
    asked,tried,planned=(drawn(layout,size) for _ in range(3))
    m=asked.machine
    verdict=m.hotplug.verdict(block,m.design)
    removable=m.hotplug.removable(m.design)
    assert (block in removable)==bool(verdict)
    scan=tried.machine.hotplug.offline(block,tried.machine.design,retry=RetryPolicy(nr_tries=4))
    plan=planned.machine.hotplug.offline(block,planned.machine.design,strategy="plan",retry=RetryPolicy(nr_tries=4))
    for w in (asked,tried,planned): w.machine.check()
    assert plan.errno is verdict.errno, (verdict,plan.errno)
    assert bool(scan)==bool(verdict), (verdict, scan.errno)
    if verdict.errno is Errno.EINVAL: assert scan.errno is Errno.EINVAL

@EX
@given(layouts(), st.integers(1,2))
def test_cheapest(layout,size):
    assume(len(layout.blocks)%size==0)
    world=drawn(layout,size); m=world.machine
    plan=m.hotplug.cheapest(m.design,want=None)
    moves=[plan.moves_of(s.start) for s in plan.spans]
    got=[m.hotplug.offline(m.hotplug.blocks.block_of(s.start),m.design,strategy="plan",retry=RetryPolicy(nr_tries=4)) for s in plan.spans]
    m.check()
    assert all(got), [g.errno for g in got]
    assert len(got)==plan.bound
