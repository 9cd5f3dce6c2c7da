"""A machine of a few frames for the tests of the process side: no buddy, no zones."""

from collections.abc import Callable

import numpy as np

from mm.paging.memory import ProcessMemory, mmput
from mm.paging.paging import Paging
from mm.paging.swapfile import Pending, no_signal, try_to_unuse_swp_entry
from mm.paging.vmscan import Reclaimed, shrink_inactive
from mm.state.address_space import AddressSpace
from mm.state.contents import ArenaContents, Contents, TagContents
from mm.state.costs import Counters
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.lru import Lru
from mm.state.page_ref import Refs
from mm.state.rmap import Rmap
from mm.swap.swap import Swap
from mm.swap.swap_area import SwapArea
from pinpage.errors import PinpageError


class DictFrontSwap:
    """FrontSwap as a dict; `refuse` makes it decline stores, `lose` loads of one page."""

    def __init__(self) -> None:
        self.pages: dict[tuple[int, int], bytes] = {}
        self.refuse = False
        self.calls: list[tuple[str, int]] = []
        self.on_store: Callable[[], None] = lambda: None

    def store(self, swap_type: int, offset: int, page: bytes) -> bool:
        self.calls.append(("store", offset))
        self.on_store()
        if self.refuse:
            return False
        self.pages[swap_type, offset] = page
        return True

    def load(self, swap_type: int, offset: int) -> bytes | None:
        self.calls.append(("load", offset))
        return self.pages.get((swap_type, offset))

    def invalidate_page(self, swap_type: int, offset: int) -> None:
        self.calls.append(("invalidate", offset))
        self.pages.pop((swap_type, offset), None)

    def invalidate_area(self, swap_type: int) -> None:
        self.calls.append(("invalidate_area", swap_type))
        self.pages = {key: page for key, page in self.pages.items() if key[0] != swap_type}


class StackSource:
    """PageSource from a stack of free frames."""

    def __init__(self, frames: Frames, contents: Contents) -> None:
        self._frames, self._contents = frames, contents
        frames.state[:] = FrameState.FREE
        self.free = list(range(frames.nr_frames))[::-1]

    @property
    def frames(self) -> Frames:
        return self._frames

    @property
    def contents(self) -> Contents:
        return self._contents

    def alloc_page(self, gfp: Gfp) -> int:
        if not self.free:
            return -1
        pfn = self.free.pop()
        assert self._frames.refcount[pfn] == 0
        self._frames.state[pfn] = FrameState.USED
        self._frames.refcount[pfn] = 1
        self._frames.mapcount[pfn] = MAPCOUNT_NONE
        self._frames.flags[pfn] = 0
        return pfn

    def free_page(self, pfn: int) -> None:
        if self._frames.refcount[pfn] != 1:
            raise PinpageError(f"free of pfn {pfn:#x} with other references")
        self.put_page(pfn)

    def get_page(self, pfn: int) -> None:
        self._frames.refcount[pfn] += 1

    def put_page(self, pfn: int) -> bool:
        self._frames.refcount[pfn] -= 1
        assert self._frames.refcount[pfn] >= 0
        if self._frames.refcount[pfn]:
            return False
        self.release(pfn)
        return True

    def release(self, pfn: int) -> None:
        """The frame of a page whose last reference is gone."""
        assert self._frames.mapcount[pfn] == MAPCOUNT_NONE
        self._frames.refcount[pfn] = 0
        self._frames.flags[pfn] = 0
        self._frames.state[pfn] = FrameState.FREE
        self.free.append(pfn)


class SwapWorld:
    """Frames, paging, memory, and one swap area with frontswap before it."""

    def __init__(
        self, nr_frames: int = 16, nr_slots: int = 16, *, tags: bool = False, frontswap: bool = True
    ) -> None:
        self.frames = Frames(nr_frames)
        self.contents: Contents = TagContents(nr_frames) if tags else ArenaContents(nr_frames)
        self.source = StackSource(self.frames, self.contents)
        self.rmap = Rmap(self.frames)
        self.lru = Lru(self.frames)
        self.counters = Counters()
        self.refs = Refs(self.frames, self.lru, self.source.release, self.counters)
        self.swap = Swap(self.frames, self.rmap)
        self.paging = Paging(self.source, self.refs, self.rmap, self.lru, self.swap)
        self.memory = ProcessMemory(self.paging)
        self.front = DictFrontSwap()
        self.area: SwapArea = self.swap.swapon(nr_slots, self.front if frontswap else None)
        self.init_mm = self.swap.mmlist.init_mm

    @property
    def nr_free(self) -> int:
        return len(self.source.free)

    def process(self, name: str, *texts: bytes, nr_vpns: int = 8) -> AddressSpace:
        """A process with one page per text."""
        space = self.memory.mmap(name, nr_vpns)
        for vpn, text in enumerate(texts):
            assert self.memory.write(space, vpn, text) == Errno.OK
        return space

    def pfn(self, space: AddressSpace, vpn: int) -> int:
        return int(space.pte[vpn]) - 1

    def entry(self, space: AddressSpace, vpn: int) -> int:
        assert space.pte[vpn] < 0
        return -int(space.pte[vpn]) - 1

    def offset(self, space: AddressSpace, vpn: int) -> int:
        return self.entry(space, vpn) & 0xFF_FFFF_FFFF

    def forget_references(self) -> None:
        """Nobody looked at anything lately: reclaim may take all."""
        for flag in (PageFlag.REFERENCED, PageFlag.ACTIVE):
            used = np.flatnonzero(self.frames.flags & flag.mask)
            on_lru = self.frames.has_flag(used, PageFlag.LRU)
            self.lru.del_many(used[on_lru])
            self.frames.clear_flag(used, flag)
            self.lru.add_many(used[on_lru])

    def swap_out(self) -> Reclaimed:
        """Everything that can go, out."""
        self.forget_references()
        return shrink_inactive(self.paging, self.frames.nr_frames)

    def read(self, space: AddressSpace, vpn: int) -> bytes:
        page = self.memory.read(space, vpn)
        assert page is not None
        return page.rstrip(b"\0")

    def take_all_frames(self) -> list[int]:
        """No memory left; hand the frames back through `give_back`."""
        taken = self.source.free
        self.source.free = []
        return taken

    def give_back(self, taken: list[int]) -> None:
        self.source.free = taken

    def check(self, holders: dict[int, int] | None = None) -> None:
        self.frames.check()
        self.paging.check(holders)


def unuse(
    world: SwapWorld,
    entry: int,
    start_mm: AddressSpace | None = None,
    pending: Pending = no_signal,
) -> tuple[Errno, AddressSpace]:
    """One entry, with a user count that the caller takes and gives back; as the loop does."""
    start_mm = start_mm or world.init_mm
    start_mm.mm_users += 1
    area, _ = world.swap.locate(entry)
    error, start_mm = try_to_unuse_swp_entry(world.paging, start_mm, area, entry, pending=pending)
    mmput(world.paging, start_mm)
    return error, start_mm


def swapped(*names: str, nr_frames: int = 16) -> tuple[SwapWorld, list[AddressSpace], int]:
    """Processes that share one page, swapped out; the first one made it, the rest are forks.

    The ring is init_mm, the first, the last, ..., the second.
    """
    world = SwapWorld(nr_frames)
    spaces = [world.process(names[0], b"shared")]
    spaces += [world.memory.fork(spaces[0], name) for name in names[1:]]
    world.swap_out()
    return world, spaces, world.entry(spaces[0], 0)
