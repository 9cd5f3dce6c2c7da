"""Processes as load: more memory touched than there is, families that fork, locked memory.

All go through page faults.  What does not fit is swapped out, compressed by zswap
while it has room.
"""

from collections.abc import Iterator

import numpy as np

from mm.state.address_space import AddressSpace, Vpns
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from owners.mlock import Mlock
from owners.zbud.pool import ZbudPool
from owners.zpool import ZpoolName
from owners.zswap.zswap import Zswap
from pinlab.load.workload import NOTHING, Action, Holding, LoadedMachine, Workload, pool_holding

__all__ = ["Families", "LockedMemory", "SwapPressure"]

_NR_PROCESSES = 8
_RUN_NR_PAGES = 8
_MOST_TRIES = 10_000


class SwapPressure(Workload):
    """Processes that write, read and drop pages, with swap and zswap behind them.

    A few pages are in use all the time and most hardly ever, so that what is swapped out is
    mostly left alone, as in life.  A slot is process * pages per process + vpn.

    Attributes:
        zswap: the compressed cache.
        spaces: the processes.
    """

    def __init__(
        self,
        world: LoadedMachine,
        name: str,
        *,
        nr_slots: int,
        pace_ns: int,
        zpool: ZpoolName = "zbud",
    ) -> None:
        """`nr_slots` virtual pages in all; zswap keeps its pages in a pool of kind `zpool`.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
            zpool: kind of the pool.
        """
        per_process = max(nr_slots // _NR_PROCESSES, 1)
        super().__init__(world, name, nr_slots=_NR_PROCESSES * per_process, pace_ns=pace_ns)
        self._per_process = per_process
        machine, registry = world.machine, world.registry
        self.zswap = Zswap(
            machine, world.compressor, host=machine.swap_core, registry=registry, zpool=zpool,
            handles="address" if registry is None and zpool == "zbud" else "indirect",
        )  # fmt: skip
        area = machine.swap.swapon(_NR_PROCESSES * per_process, self.zswap)
        self._pool = self.zswap.init(area.type)
        if isinstance(self._pool, ZbudPool):
            world.zbud_pools.append(self._pool)
        self.spaces = [
            machine.memory.mmap(f"{name}{at}", per_process) for at in range(_NR_PROCESSES)
        ]

    def start(self) -> None:
        """Write every page once, so that memory is full when time begins.

        Reclaim first ages what was used since it last looked, and frees nothing meanwhile;
        whoever is refused then comes again, as kswapd's work would let him.
        """
        for slot in range(len(self.pages.serials)):
            for _ in range(_MOST_TRIES):
                if self._write(slot):
                    break

    def actions(self) -> Iterator[Action]:
        """Of ten: six writes, three reads, and one MADV_DONTNEED of eight pages."""
        while True:
            which = self.below(10)
            slot = self.below(_NR_PROCESSES) * self._per_process + self.skewed(self._per_process)
            if which < 6:
                yield self.act("write", done=self._write(slot))
            elif which < 9:
                yield self.act("read", done=self._read(slot))
            else:
                self._drop(self.below(len(self.pages.serials)))
                yield self.act("dontneed")

    def _place(self, slot: int) -> tuple[AddressSpace, int]:
        return self.spaces[slot // self._per_process], slot % self._per_process

    def _write(self, slot: int) -> bool:
        space, vpn = self._place(slot)
        serial = self.pages.draw()
        if self.world.machine.memory.write(space, vpn, self.pages.page(serial)) != Errno.OK:
            return False
        self.pages.store(slot, serial)
        return True

    def _read(self, slot: int) -> bool:
        if self.pages.serials.item(slot) == NOTHING:
            return True
        data = self.world.machine.memory.read(*self._place(slot))
        if data is not None:
            self.pages.compare(slot, data)
        return data is not None

    def _drop(self, slot: int) -> None:
        space, vpn = self._place(slot)
        count = min(_RUN_NR_PAGES, self._per_process - vpn)
        self.world.machine.memory.dontneed(space, np.arange(vpn, vpn + count))
        self.pages.drop(slot, count)

    def read_back(self) -> None:
        """What is present at one go, the rest by page faults, as a process would."""
        stored, machine = self.pages, self.world.machine
        slots = stored.stored()
        ptes = np.concatenate([space.pte for space in self.spaces])[slots]
        present = ptes > 0
        stored.compare_frames(machine.contents, slots[present], ptes[present] - 1)
        for slot in slots[~present].tolist():
            stored.compare(slot, machine.memory.read(*self._place(slot)))

    def holdings(self) -> Iterator[Holding]:
        """The pages of zswap's pool."""
        yield pool_holding(self.world, self._pool)

    def let_go(self) -> None:
        """All processes exit; swap and the pool are empty then."""
        for space in self.spaces:
            self.world.machine.memory.exit(space)

    def check(self) -> None:
        """The compressed cache: its trees and its pool."""
        self.zswap.check()


class Families(Workload):
    """A parent that forks children; all of them write to pages that they share.

    Attributes:
        members: the parent first; None where a child has exited.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """`nr_slots` pages in all: a parent and up to three children alike.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        self._nr_pages = max(nr_slots // 4, 1)
        super().__init__(world, name, nr_slots=4 * self._nr_pages, pace_ns=pace_ns)
        self.members: list[AddressSpace | None] = [None] * 4

    def start(self) -> None:
        """The parent, with all of its pages."""
        self.members[0] = self.world.machine.memory.mmap(self.name, self._nr_pages)
        for vpn in range(self._nr_pages):
            self._write(0, vpn)

    def actions(self) -> Iterator[Action]:
        """Of sixteen: one fork or exit; else half writes and half reads."""
        while True:
            which, member, vpn = self.below(16), self.below(4), self.below(self._nr_pages)
            if which == 0 and member:
                yield self.act(self._fork_or_exit(member))
            elif self.members[member] is None:
                yield self.act("rest")
            elif which % 2:
                yield self.act("write", done=self._write(member, vpn))
            else:
                yield self.act("read", done=self._read(member, vpn))

    def _row(self, member: int) -> slice:
        return slice(member * self._nr_pages, (member + 1) * self._nr_pages)

    def _fork_or_exit(self, member: int) -> str:
        child, parent = self.members[member], self.members[0]
        memory, serials = self.world.machine.memory, self.pages.serials
        if child is None and parent is not None:
            self.members[member] = memory.fork(parent, f"{self.name}{member}")
            if self.members[member] is None:  # no memory to copy pinned pages: none is, here
                return "rest"
            serials[self._row(member)] = serials[self._row(0)]
            return "fork"
        if child is not None:
            memory.exit(child)
        self.members[member] = None
        serials[self._row(member)] = NOTHING
        return "exit"

    def _write(self, member: int, vpn: int) -> bool:
        serial, space = self.pages.draw(), self.members[member]
        if space is None:
            return False
        if self.world.machine.memory.write(space, vpn, self.pages.page(serial)) != Errno.OK:
            return False
        self.pages.store(member * self._nr_pages + vpn, serial)
        return True

    def _read(self, member: int, vpn: int) -> bool:
        slot, space = member * self._nr_pages + vpn, self.members[member]
        if space is None or self.pages.serials.item(slot) == NOTHING:
            return True
        data = self.world.machine.memory.read(space, vpn)
        if data is not None:
            self.pages.compare(slot, data)
        return data is not None

    def read_back(self) -> None:
        """Every page of every member, by page faults."""
        for slot in self.pages.stored().tolist():
            space = self.members[slot // self._nr_pages]
            data = space and self.world.machine.memory.read(space, slot % self._nr_pages)
            self.pages.compare(slot, data or None)

    def let_go(self) -> None:
        """All exit."""
        for space in filter(None, self.members):
            self.world.machine.memory.exit(space)


class LockedMemory(Workload):
    """A process that locks runs of its pages for a while: they stay in memory, not in place.

    Attributes:
        space: the process.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """`nr_slots` pages.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.space = world.machine.memory.mmap(name, nr_slots)
        registry = world.registry
        self._mlock = None if registry is None else Mlock(world.machine.frames, registry)

    def actions(self) -> Iterator[Action]:
        """Of eight: four writes, two reads, a run locked, a run unlocked."""
        while True:
            which, vpn, serial = self.below(8), self.below(self.space.nr_vpns), self.pages.draw()
            run = np.arange(vpn, min(vpn + _RUN_NR_PAGES, self.space.nr_vpns))
            if which < 4:
                yield self.act("write", done=self._write(vpn, serial))
            elif which < 6:
                yield self.act("read", done=self._read(vpn))
            elif which == 6:
                yield self.act("lock", done=self._lock(run))
            else:
                self._unlock(run)
                yield self.act("unlock")

    def _write(self, vpn: int, serial: int) -> bool:
        page = self.pages.page(serial)
        done = self.world.machine.memory.write(self.space, vpn, page) == Errno.OK
        if done:
            self.pages.store(vpn, serial)
        return done

    def _read(self, vpn: int) -> bool:
        if self.pages.serials.item(vpn) == NOTHING:
            return True
        data = self.world.machine.memory.read(self.space, vpn)
        if data is not None:
            self.pages.compare(vpn, data)
        return data is not None

    def _lock(self, run: Vpns) -> bool:
        """Fault the run in and lock it; False without memory for it."""
        memory = self.world.machine.memory
        for vpn in run.tolist():
            if memory.touch(self.space, vpn) < 0:
                return False
        if bool((self.space.pte[run] <= 0).any()):  # the last of them ousted the first
            return False
        if self._mlock is not None:
            self._mlock.lock(self.space, run)
        else:
            self._mark(run, locked=True)
        return True

    def _unlock(self, run: Vpns) -> None:
        if self._mlock is not None:
            self._mlock.unlock(self.space, run)
        else:
            self._mark(run, locked=False)

    def _mark(self, run: Vpns, *, locked: bool) -> None:
        """Without a registry there is only the flag, as in the kernel."""
        frames = self.world.machine.frames
        pfns = self.space.pte[run]
        pfns = pfns[pfns > 0] - 1
        for flag in (PageFlag.MLOCKED, PageFlag.UNEVICTABLE):
            if locked:
                frames.set_flag(pfns, flag)
            else:
                frames.clear_flag(pfns, flag)

    def read_back(self) -> None:
        """Every page, by page faults."""
        for vpn in self.pages.stored().tolist():
            self.pages.compare(vpn, self.world.machine.memory.read(self.space, vpn))

    def let_go(self) -> None:
        """Nothing is locked; the process exits."""
        self._unlock(np.arange(self.space.nr_vpns))
        self.world.machine.memory.exit(self.space)

    def check(self) -> None:
        """What is locked is mapped, and where."""
        if self._mlock is not None:
            self._mlock.check()
