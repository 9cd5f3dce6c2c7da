"""Processes and files keep their bytes, whatever is swapped, unused, forked and dropped.

The model is a dict from (space, page) to bytes.  After every step every byte is read back
where it lies, in a frame or in its slot, and every reference and every count is accounted.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mm.paging.memory import mmput
from mm.paging.shmem import shmem_create, shmem_getpage
from mm.paging.swap_state import read_swap_cache_async
from mm.paging.swapfile import swapoff, try_to_unuse, try_to_unuse_swp_entry
from mm.paging.vmscan import shrink_active, shrink_inactive
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.swap.swapops import swp_entry
from tests.kit.mm.swap_world import SwapWorld

NR_FRAMES, NR_SLOTS, NR_VPNS, NR_SPACES = 6, 6, 2, 4

VPNS = st.integers(0, NR_VPNS - 1)
BYTES = st.sampled_from((b"a", b"bb", b"ccc", b"d"))


class SwapAgainstModel(RuleBasedStateMachine):
    """A world too small for what is asked of it: no memory and no slot are common answers."""

    @initialize(nr_children=st.integers(0, NR_SPACES - 1), out=st.booleans())
    def start(self, nr_children: int, out: bool) -> None:
        """A family that shares its pages already, in memory or in swap."""
        self.world = SwapWorld(NR_FRAMES, NR_SLOTS)
        self.file = shmem_create(self.world.paging, "tmpfs", NR_VPNS)
        self.model: dict[tuple[str, int], bytes] = {}
        self.spaces: dict[str, AddressSpace] = {}
        self.holders: dict[int, int] = {}
        self.nr_born = 0
        self.mmap()
        for vpn in range(NR_VPNS):
            self.world.memory.write(self.spaces["p1"], vpn, b"start")
            self.model["p1", vpn] = b"start"
        for _ in range(nr_children):
            self._fork(self.spaces["p1"])
        if out:
            self.world.swap_out()

    def born(self) -> str:
        self.nr_born += 1
        return f"p{self.nr_born}"

    def any_space(self, data: st.DataObject) -> AddressSpace:
        return self.spaces[data.draw(st.sampled_from(sorted(self.spaces)))]

    def swapped(self) -> list[int]:
        """Entries that a PTE names."""
        everybody = [*self.spaces.values(), self.file]
        return sorted({-int(p) - 1 for space in everybody for p in space.pte[space.pte < 0]})

    # Processes.

    @precondition(lambda self: len(self.spaces) < NR_SPACES)
    @rule()
    def mmap(self) -> None:
        name = self.born()
        self.spaces[name] = self.world.memory.mmap(name, NR_VPNS)

    @precondition(lambda self: 0 < len(self.spaces) < NR_SPACES)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        self._fork(self.any_space(data))

    def _fork(self, parent: AddressSpace) -> None:
        name = self.born()
        self.spaces[name] = self.world.memory.fork(parent, name)
        for vpn in range(NR_VPNS):
            if (parent.name, vpn) in self.model:
                self.model[name, vpn] = self.model[parent.name, vpn]

    @precondition(lambda self: self.spaces)
    @rule(data=st.data())
    def exit(self, data: st.DataObject) -> None:
        space = self.any_space(data)
        self.world.memory.exit(space)
        del self.spaces[space.name]
        self.model = {key: text for key, text in self.model.items() if key[0] != space.name}

    @precondition(lambda self: self.spaces)
    @rule(data=st.data(), vpn=VPNS, text=BYTES)
    def store(self, data: st.DataObject, vpn: int, text: bytes) -> None:
        space = self.any_space(data)
        if self.world.memory.write(space, vpn, text) == Errno.OK:
            before = self.model.get((space.name, vpn), b"")
            self.model[space.name, vpn] = text + before[len(text) :]

    @precondition(lambda self: self.spaces)
    @rule(data=st.data(), vpn=VPNS)
    def load(self, data: st.DataObject, vpn: int) -> None:
        space = self.any_space(data)
        page = self.world.memory.read(space, vpn)
        if page is not None:
            expected = self.model.setdefault((space.name, vpn), b"")
            assert page == expected.ljust(4096, b"\0")

    @precondition(lambda self: self.spaces)
    @rule(data=st.data(), vpns=st.lists(VPNS, unique=True))
    def dontneed(self, data: st.DataObject, vpns: list[int]) -> None:
        space = self.any_space(data)
        nr_dropped = self.world.memory.dontneed(space, np.array(vpns, dtype=np.int64))
        keys = [(space.name, vpn) for vpn in vpns if (space.name, vpn) in self.model]
        assert nr_dropped == len(keys)
        for key in keys:
            del self.model[key]

    @rule(index=VPNS, text=BYTES)
    def file_store(self, index: int, text: bytes) -> None:
        pfn = shmem_getpage(self.world.paging, self.file, index)
        if pfn >= 0:
            self.world.contents.write(pfn, text)
            before = self.model.get(("tmpfs", index), b"")
            self.model["tmpfs", index] = text + before[len(text) :]

    # Reclaim and swap.

    @rule(nr_pages=st.integers(1, NR_FRAMES), second_look=st.booleans())
    def reclaim(self, nr_pages: int, second_look: bool) -> None:
        shrink_active(self.world.paging, nr_pages)
        for _ in range(1 + second_look):
            shrink_inactive(self.world.paging, nr_pages)

    @rule(refuse=st.booleans())
    def frontswap_declines(self, refuse: bool) -> None:
        self.world.front.refuse = refuse

    @precondition(lambda self: self.world.front.pages)
    @rule(data=st.data())
    def frontswap_writes_back(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.front.pages)))
        self.world.area.write_disk(key[1], self.world.front.pages.pop(key))

    @precondition(lambda self: self.swapped())
    @rule(data=st.data(), fail_at=st.integers(0, 6))
    def unuse(self, data: st.DataObject, fail_at: int) -> None:
        """From any space of the ring; the `fail_at`-th charge fails, 0 and beyond: none."""
        world, entry = self.world, data.draw(st.sampled_from(self.swapped()))
        ring = [world.init_mm, *(s for s in self.spaces.values() if s in world.swap.mmlist)]
        start_mm = data.draw(st.sampled_from(ring))
        nr_asked = 0

        def charge(space: AddressSpace) -> Errno:
            nonlocal nr_asked
            nr_asked += 1
            return Errno.ENOMEM if nr_asked == fail_at else Errno.OK

        world.paging.charge = charge
        start_mm.mm_users += 1
        error, start_mm = try_to_unuse_swp_entry(world.paging, start_mm, world.area, entry)
        mmput(world.paging, start_mm)
        world.paging.charge = lambda space: Errno.OK
        assert (entry in self.swapped()) == (error != Errno.OK)
        if error == Errno.OK:
            assert world.swap.cache.lookup(entry) == -1

    @rule(budget=st.integers(1, 3))
    def shrink_frontswap(self, budget: int) -> None:
        before = int(self.world.area.frontswap_map.sum())
        error = try_to_unuse(
            self.world.paging, self.world.area, frontswap=True, pages_to_unuse=budget
        )
        if error == Errno.OK:
            assert self.world.area.frontswap_map.sum() == max(0, before - budget)

    @rule(nr_entries=st.integers(0, 12))
    def swapoff(self, nr_entries: int) -> None:
        """A signal comes after some entries; if it came too late, swap on a new area."""
        left = iter(range(nr_entries))
        error = swapoff(self.world.paging, 0, pending=lambda: next(left, None) is None)
        assert (error == Errno.OK) == (0 not in self.world.swap.areas)
        if error == Errno.OK:
            assert not self.swapped()
            assert len(self.world.swap.cache) == 0
            assert self.world.front.pages == {}
            self.world.area = self.world.swap.swapon(NR_SLOTS, self.world.front)

    @precondition(lambda self: self.swapped())
    @rule(data=st.data())
    def look_up(self, data: st.DataObject) -> None:
        """Readahead: into the swap cache, mapped nowhere, and held for a while."""
        pfn = read_swap_cache_async(self.world.paging, data.draw(st.sampled_from(self.swapped())))
        if pfn >= 0:
            self.holders[pfn] = self.holders.get(pfn, 0) + 1

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        pfn = data.draw(st.sampled_from(sorted(self.holders)))
        self.world.paging.put_page(pfn)
        self.holders[pfn] -= 1
        if not self.holders[pfn]:
            del self.holders[pfn]

    @invariant()
    def accounts_balance(self) -> None:
        self.world.check(self.holders)
        assert self.world.init_mm.mm_users == 1
        assert all(space.mm_users == 1 for space in self.spaces.values())
        assert not self.world.paging.in_reclaim
        reachable = self.world.nr_free + sum(
            bool(self.world.rmap.mappers(pfn))
            or self.world.swap.cache.entry_of[pfn] >= 0
            or pfn in self.holders
            for pfn in range(NR_FRAMES)
        )
        assert reachable == NR_FRAMES  # no frame leaks

    @invariant()
    def every_byte_is_there(self) -> None:
        everybody = {**self.spaces, "tmpfs": self.file}
        found = {
            (name, vpn): self.bytes_at(int(space.pte[vpn]))
            for name, space in everybody.items()
            for vpn in np.flatnonzero(space.pte).tolist()
        }
        assert found == {key: text for key, text in self.model.items() if key in found}
        assert all(key in found or text == b"" for key, text in self.model.items())

    @invariant()
    def counts_are_users(self) -> None:
        for offset in range(1, NR_SLOTS):
            expected = swp_entry(0, offset)
            names = sum(int((space.pte == -expected - 1).sum()) for space in self.spaces.values())
            names += int((self.file.pte == -expected - 1).sum())
            assert self.world.area.count(offset) == names

    def bytes_at(self, pte: int) -> bytes:
        if pte > 0:
            return self.world.contents.read(pte - 1).rstrip(b"\0")
        pfn = self.world.swap.cache.lookup(-pte - 1)
        if pfn >= 0:
            return self.world.contents.read(pfn).rstrip(b"\0")
        return self.world.area.read_page(self.world.swap.locate(-pte - 1)[1]).rstrip(b"\0")


TestSwap = SwapAgainstModel.TestCase
TestSwap.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
