"""A whole machine of a few pageblocks, under everything that it offers, in any order.

The model is two dicts of tags: what processes stored, and what kernel users put into their
frames.  After every step each tag is read back where it lies (in a frame or in its swap
slot), every reference is accounted for, and every frame is somewhere.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mm.compaction.compact_control import CompactControl
from mm.paging.vmscan import shrink_active, shrink_inactive
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from owners.opaque import OpaqueOwner
from pinpage.owner import Mode
from pinpage.testing.world import column
from tests.kit.mm.machines import SIZE, small_machine

NR_BLOCKS, NR_VPNS, NR_SLOTS, NR_SPACES = 6, 6, 24, 4
VPNS = st.integers(0, NR_VPNS - 1)


class MachineAgainstModel(RuleBasedStateMachine):
    """One node with a registry and owners, or two nodes where kernel pages just stay."""

    @initialize(nr_nodes=st.sampled_from((1, 1, 2)), mark=st.sampled_from((0, 2)))
    def start(self, nr_nodes: int, mark: int) -> None:
        marks = (mark, mark, mark)
        self.machine = small_machine(NR_BLOCKS, nr_nodes=nr_nodes, marks=marks)
        self.machine.swap.swapon(NR_SLOTS)
        self.registry = self.machine.use_registry() if nr_nodes == 1 else None
        self.slab = OpaqueOwner("slab", movable=False, registry=self.registry)
        self.gup = OpaqueOwner("gup", movable=False, registry=self.registry)
        self.spaces: dict[str, object] = {}
        self.stored: dict[tuple[str, int], int] = {}
        self.objects: dict[int, int] = {}  # slab object -> tag
        self.pinned: set[int] = set()  # gup object, each a reference to some page
        self.strays: list[int] = []  # references that nobody registered
        self.blocks: list[tuple[int, int]] = []
        self.serial = 0

    def tag(self) -> int:
        self.serial += 1
        return self.serial

    def any_space(self, data: st.DataObject) -> object:
        return self.spaces[data.draw(st.sampled_from(sorted(self.spaces)))]

    def write(self, pfn: int) -> int:
        tag = self.tag()
        self.machine.contents.set_tags(column(pfn), column(tag).astype(np.uint64))
        return tag

    def slab_pfn(self, which: int) -> int:
        return int(self.slab.pfn_of(column(which))[0])

    def gup_pfn(self, which: int) -> int:
        return int(self.gup.pfn_of(column(which))[0])

    def mapped(self) -> list[int]:
        return np.flatnonzero(self.machine.frames.mapcount >= 0).tolist()

    # Processes.

    @precondition(lambda self: len(self.spaces) < NR_SPACES)
    @rule()
    def mmap(self) -> None:
        name = f"p{self.tag()}"
        self.spaces[name] = self.machine.memory.mmap(name, NR_VPNS)

    @precondition(lambda self: 0 < len(self.spaces) < NR_SPACES)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        parent, name = self.any_space(data), f"p{self.tag()}"
        self.spaces[name] = self.machine.memory.fork(parent, name)
        copies = {(name, v): tag for (n, v), tag in self.stored.items() if n == parent.name}
        self.stored.update(copies)

    @precondition(lambda self: self.spaces)
    @rule(data=st.data())
    def exit(self, data: st.DataObject) -> None:
        space = self.any_space(data)
        self.machine.memory.exit(space)
        del self.spaces[space.name]
        self.stored = {key: tag for key, tag in self.stored.items() if key[0] != space.name}

    @precondition(lambda self: self.spaces)
    @rule(data=st.data(), vpns=st.lists(VPNS, min_size=1, unique=True))
    def store(self, data: st.DataObject, vpns: list[int]) -> None:
        space = self.any_space(data)
        for vpn in vpns:
            pfn = self.machine.memory.touch(space, vpn, write=True)
            if pfn >= 0:
                self.stored[space.name, vpn] = self.write(pfn)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        name, vpn = data.draw(st.sampled_from(sorted(self.stored)))
        pfn = self.machine.memory.touch(self.spaces[name], vpn)
        assert pfn == Errno.ENOMEM or self.tag_at(pfn) == self.stored[name, vpn]

    @precondition(lambda self: self.spaces)
    @rule(data=st.data(), vpns=st.lists(VPNS, unique=True))
    def dontneed(self, data: st.DataObject, vpns: list[int]) -> None:
        space = self.any_space(data)
        self.machine.memory.dontneed(space, column(*vpns))
        for vpn in vpns:
            self.stored.pop((space.name, vpn), None)

    # Kernel users.

    @rule(movable=st.booleans(), who=st.sampled_from(("slab", "gup")))
    def declare(self, movable: bool, who: str) -> None:
        getattr(self, who).movable = movable

    @rule(count=st.integers(1, 4))
    def slab_alloc(self, count: int) -> None:
        for _ in range(count):
            pfn = self.machine.alloc_page(Gfp.KERNEL)
            if pfn >= 0:
                self.objects[int(self.slab.adopt(column(pfn))[0])] = self.write(pfn)

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def slab_free(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.objects)))
        del self.objects[which]
        pfn = self.slab_pfn(which)
        if self.registry is not None:
            self.registry.unpin(pfn, self.slab, which)
        self.machine.free_page(pfn)

    @precondition(lambda self: self.mapped())
    @rule(data=st.data())
    def gup_pin(self, data: st.DataObject) -> None:
        pfn = data.draw(st.sampled_from(self.mapped()))
        self.machine.get_page(pfn)
        self.pinned.add(int(self.gup.adopt(column(pfn))[0]))

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def gup_unpin(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.pinned)))
        self.pinned.discard(which)
        pfn = self.gup_pfn(which)
        if self.registry is not None:
            self.registry.unpin(pfn, self.gup, which)
        self.machine.put_page(pfn)

    @precondition(lambda self: self.mapped())
    @rule(data=st.data())
    def stray_reference(self, data: st.DataObject) -> None:
        pfn = data.draw(st.sampled_from(self.mapped()))
        self.machine.get_page(pfn)
        self.strays.append(pfn)

    @precondition(lambda self: self.strays)
    @rule()
    def stray_reference_gone(self) -> None:
        self.machine.put_page(self.strays.pop())

    # Policies.

    @rule(nr_pages=st.integers(1, 16))
    def reclaim(self, nr_pages: int) -> None:
        for _ in range(2):
            shrink_active(self.machine.paging, nr_pages)
            shrink_inactive(self.machine.paging, nr_pages)

    @precondition(lambda self: any(len(space.swapped()) for space in self.spaces.values()))
    @rule()
    def swap_in(self) -> None:
        """Everything back, and still in the swap cache."""
        for space in self.spaces.values():
            for vpn in space.swapped().tolist():
                self.machine.memory.touch(space, vpn)

    @rule(strategy=st.sampled_from(("scan", "plan")), mode=st.sampled_from(Mode))
    def compact(self, strategy: str, mode: Mode) -> None:
        self.machine.pcp.drain_all()
        nr_free = self.nr_in(FrameState.FREE)
        before = int(self.machine.buddy.wholly_free().sum())
        compacted = self.machine.compact(strategy, mode)
        wholly_free = int(self.machine.buddy.wholly_free().sum())
        assert self.nr_in(FrameState.FREE) == nr_free
        assert wholly_free <= compacted.bound
        assert compacted.report.pageblocks_emptied == wholly_free - before
        if compacted.plan is not None:
            assert wholly_free == compacted.plan.nr_wholly_free == compacted.bound
            assert compacted.report.pages_moved == compacted.plan.nr_moves

    @rule(
        order=st.integers(0, 3),
        mode=st.sampled_from(Mode),
        wanted=st.sampled_from((MigrateType.UNMOVABLE, MigrateType.MOVABLE)),
        hints=st.booleans(),
        flags=st.tuples(st.booleans(), st.booleans()),
    )
    def compact_for_order(
        self, order: int, mode: Mode, wanted: MigrateType, hints: bool, flags: tuple[bool, bool]
    ) -> None:
        self.machine.pcp.drain_all()
        for zone in self.machine.zones:
            control = CompactControl(zone, mode, order, wanted, hints, *flags)
            self.machine.compaction.compact_zone(control, self.machine.design)

    @rule(order=st.integers(1, 3), kernel=st.booleans())
    def alloc_block(self, order: int, kernel: bool) -> None:
        head = self.machine.alloc_pages(order, Gfp.KERNEL if kernel else Gfp.HIGHUSER_MOVABLE)
        if head >= 0:
            assert head % (1 << order) == 0
            self.blocks.append((head, order))

    @precondition(lambda self: self.blocks)
    @rule()
    def free_block(self) -> None:
        head, order = self.blocks.pop(0)
        self.machine.buddy.free(head, order)

    @rule(count=st.integers(1, 3), claim=st.booleans())
    def huge_pages(self, count: int, claim: bool) -> None:
        pool = self.machine.hugetlb
        before = pool.nr_huge_pages
        got = pool.claim(count) if claim else pool.grow(count)
        assert pool.nr_huge_pages == before + got <= before + count

    @rule(count=st.integers(1, 3))
    def huge_pages_back(self, count: int) -> None:
        self.machine.hugetlb.shrink(count)

    @rule()
    def drain(self) -> None:
        self.machine.pcp.drain_all()

    # What holds after every step.

    def nr_in(self, *states: FrameState) -> int:
        return int(np.isin(self.machine.frames.state, states).sum())

    def tag_at(self, pfn: int) -> int:
        return int(self.machine.contents.tags(column(pfn))[0])

    @invariant()
    def everything_checks(self) -> None:
        self.machine.check()
        holders: dict[int, int] = {}
        for pfn in [*self.strays, *(self.gup_pfn(which) for which in self.pinned)]:
            holders[pfn] = holders.get(pfn, 0) + 1
        self.machine.paging.check(holders)

    @invariant()
    def every_tag_is_there(self) -> None:
        for (name, vpn), tag in self.stored.items():
            pte = int(self.spaces[name].pte[vpn])
            pfn = pte - 1 if pte > 0 else self.machine.swap.cache.lookup(-pte - 1)
            if pfn >= 0:
                assert self.tag_at(pfn) == tag
            else:
                area, offset = self.machine.swap.locate(-pte - 1)
                assert int.from_bytes(area.read_page(offset)[:8], "little") == tag
        for which, tag in self.objects.items():
            assert self.tag_at(self.slab_pfn(which)) == tag

    @invariant()
    def every_frame_is_somewhere(self) -> None:
        frames, size = self.machine.frames, SIZE
        homed = {pfn for pfn in range(frames.nr_frames) if self.machine.rmap.mappers(pfn)}
        homed |= set(np.flatnonzero(self.machine.swap.cache.entry_of >= 0).tolist())
        homed |= {self.gup_pfn(which) for which in self.pinned} | set(self.strays)
        homed |= {self.slab_pfn(which) for which in self.objects}
        nr_used = len(homed) + sum(1 << order for _, order in self.blocks)
        nr_used += size * self.machine.hugetlb.nr_huge_pages
        assert self.nr_in(FrameState.USED) == nr_used
        assert nr_used + self.nr_in(FrameState.FREE, FrameState.PCP) == frames.nr_frames

    @invariant()
    def pages_of_a_process_can_be_reclaimed(self) -> None:
        mapped = column(*self.mapped())
        assert self.machine.frames.has_flag(mapped, PageFlag.LRU).all()


TestMachine = MachineAgainstModel.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
