"""Pools of huge pages against a list of who has what: whatever the order of events.

Two nodes, pages of 8 frames, users that keep a tag in every frame of their page, passers-by
that hold a reference for a while, and somebody who wants ranges of memory.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from pinpage.owner import Mode
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, small_machine

NR_BLOCKS = 12
_counts, _nodes = st.integers(0, NR_BLOCKS), st.sampled_from([None, 0, 1])


class Pools(RuleBasedStateMachine):
    """The pool, and what it should be."""

    def __init__(self):
        super().__init__()
        self.machine = small_machine(NR_BLOCKS, nr_nodes=2)
        self.pool = self.machine.hugetlb
        self.pool.on_moved = self.follow
        self.heads = {}  # user -> head
        self.held = []  # frames with a reference of ours
        self.ranges = []  # (start, stop) that somebody took

    def follow(self, head, target):
        self.heads = {u: target if h == head else h for u, h in self.heads.items()}

    def users_on(self, node):
        return len({h for h in self.heads.values() if self.pool.node_of(h) == node})

    @rule(count=_counts, node=_nodes, hard=st.booleans())
    def resize(self, count, node, hard):
        pool, others = self.pool, [n for n in (0, 1) if n != node]
        before = [pool.nr_on(n) for n in (0, 1)]
        persistent = pool.set_max(count, node=node, hard=hard)
        assert persistent == pool.nr_persistent
        if node is None:
            assert persistent <= count
        else:
            assert [pool.nr_on(n) for n in others] <= [before[n] for n in others]
            assert pool.nr_on(node) - pool.nr_surplus[node] <= count
        assert all(pool.nr_on(n) >= self.users_on(n) for n in (0, 1)), "users keep their pages"

    @rule(count=st.integers(0, 3))
    def overcommit(self, count):
        self.pool.nr_overcommit = count

    @rule(node=_nodes)
    def use(self, node):
        pool, had = self.pool, self.pool.nr_free
        head = pool.alloc_huge_page(node)
        assert (head >= 0) or not had
        if head >= 0:
            user = max(self.heads, default=0) + 1
            assert head not in self.heads.values()
            self.heads[user] = head
            tags = np.full(SIZE, user, dtype=np.uint64)
            self.machine.contents.set_tags(pool.frames_of(head), tags)

    @precondition(lambda self: self.heads)
    @rule(data=st.data())
    def unuse(self, data):
        user = data.draw(st.sampled_from(sorted(self.heads)))
        self.pool.free_huge_page(self.heads.pop(user))

    @precondition(lambda self: self.pool.heads)
    @rule(data=st.data(), offset=st.integers(0, SIZE - 1))
    def hold(self, data, offset):
        pfn = data.draw(st.sampled_from(self.pool.heads)) + offset
        self.machine.get_page(pfn)
        self.held.append(pfn)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data):
        pfn = data.draw(st.sampled_from(self.held))
        self.held.remove(pfn)
        self.machine.put_page(pfn)

    @rule(count=st.integers(0, 3))
    def shrink(self, count):
        free = self.pool.nr_free
        assert self.pool.shrink(count) == min(count, free)

    @rule(block=st.integers(0, NR_BLOCKS - 2), length=st.integers(1, 12), keep=st.booleans())
    def want_a_range(self, block, length, keep):
        start, stop = block * SIZE + 2, block * SIZE + 2 + length
        if (start < 48 < stop) or any(a < stop and start < b for a, b in self.ranges):
            return
        size = self.pool.nr_huge_pages
        if keep:
            got = self.machine.contig.alloc_contig_range(start, stop, self.machine.design)
            assert self.pool.nr_huge_pages == size or got.errno is not Errno.OK
            if got.errno is Errno.OK:
                self.ranges.append((start, stop))
        else:
            span = Span(start, stop)
            isolated = self.machine.evacuator.isolate(span, self.machine.design, offline=True)
            if isolated:
                huge = self.machine.evacuator.parts.hugetlb
                errno = huge.vacate(span, Mode.SYNC, keep=False)
                if errno is Errno.OK:
                    errno = huge.dissolve(span)
                left = self.machine.frames.has_flag(np.arange(start, stop), PageFlag.HUGE)
                assert (errno is Errno.OK) == (not left.any())
                self.machine.evacuator.undo(span)

    @precondition(lambda self: self.ranges)
    @rule()
    def give_a_range_back(self):
        start, stop = self.ranges.pop()
        assert self.machine.contig.free_contig_range(start, stop - start) == 0
        self.machine.pcp.drain_all()

    @invariant()
    def it_holds_together(self):
        self.machine.check()
        pool = self.pool
        for user, head in self.heads.items():
            tags = self.machine.contents.tags(pool.frames_of(head))
            assert set(tags.tolist()) == {user}, "somebody's bytes are gone"
            assert pool.nr_users(head) == 1
        for pfn in self.held:
            assert self.machine.frames.state[pfn] == FrameState.USED
            assert pfn - pfn % SIZE in pool.heads, "held, and given back nevertheless"


Pools.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestPools = Pools.TestCase
