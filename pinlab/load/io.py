"""Devices as load: direct I/O to a disk, and a network ring whose buffers stay pinned.

Both hold pages of a process that may be swapped out, moved or written at any time but while
the device uses them; what the device read or wrote must be found by the process, and the
other way round.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from mm.state.contents import ArenaContents
from mm.state.errno import Errno
from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves, PinIds, Pinner
from owners.odirect.device import Completion, Op, Policy
from owners.odirect.events import Lognormal
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from pinlab.load.workload import Action, Holding, LoadedMachine, Workload
from pinlab.replay.contents import fill_arena
from pinpage.units import Pfns

__all__ = ["DirectIo", "NetworkRing"]

_LATENCY = Lognormal(median_ns=10_000_000)
"""That of a disk which is busy, so that compaction meets requests in flight."""
_NR_PAGES_PER_REQUEST = 4
_NR_DESCRIPTORS = 8


class DirectIo(Workload):
    """A process that reads and writes a simulated disk past the page cache.

    The process leaves a buffer alone while a request is in flight on it, and touches a block
    only once at a time, as any sane program does.  Slots are the buffer's pages;
    what the disk stores is kept apart.

    Attributes:
        device: the disk, twice as large as the buffer.
        space: the process.
    """

    def __init__(
        self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int, policy: Policy
    ) -> None:
        """`nr_slots` pages of buffer; `policy` is what the device does when asked to let go.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
            policy: what the device does when it is asked to let go.
        """
        nr_slots = max(nr_slots, 2 * _NR_PAGES_PER_REQUEST)
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self._disk_pages = world.stored_pages(f"{name}/disk", 2 * nr_slots)
        self.device = SimulatedDevice(
            name, world.gup, ArenaContents(2 * nr_slots), world.interrupts,
            model=DeviceModel(latency=_LATENCY), rng=world.streams.take(f"{name}/latency"),
            registry=world.registry, policy=policy,
        )  # fmt: skip
        self.space = world.machine.memory.mmap(name, nr_slots)
        self._busy_vpns: set[int] = set()
        self._busy_blocks: set[int] = set()

    def start(self) -> None:
        """Something on every block and in every page of the buffer."""
        stored, blocks = self._disk_pages, np.arange(self.device.nr_blocks)
        stored.serials[:] = stored.draw_many(len(blocks))
        fill_arena(self.device.disk, self.world.corpus, blocks, stored.serials)
        for vpn in range(self.space.nr_vpns):
            self._write_buffer(vpn)
        if self.device.policy is Policy.RESTART:
            self._register()

    def _register(self) -> None:
        error = self.device.register(self.space, 0, self.space.nr_vpns)
        if error:
            raise MemoryError(f"{self.name}: the buffer was refused: {Errno(error).name}")

    def actions(self) -> Iterator[Action]:
        """Take in what has ended; then submit a read, or fill a page and submit a write."""
        while True:
            op = (Op.READ, Op.WRITE)[self.below(2)]
            vpn = self.below(self.space.nr_vpns - _NR_PAGES_PER_REQUEST + 1)
            block = self.below(self.device.nr_blocks - _NR_PAGES_PER_REQUEST + 1)
            count = 1 + self.below(_NR_PAGES_PER_REQUEST)
            serial = self.pages.draw()
            self._reap()
            if self._is_busy(vpn, block, count):
                yield self.act("wait")
                continue
            if op is Op.WRITE and self._store(vpn, serial) != Errno.OK:
                yield self.act("write", done=False)
                continue
            yield self.act(op.value, done=self._submit(op, vpn, block, count))

    def _is_busy(self, vpn: int, block: int, count: int) -> bool:
        vpns, blocks = range(vpn, vpn + count), range(block, block + count)
        return not (self._busy_vpns.isdisjoint(vpns) and self._busy_blocks.isdisjoint(blocks))

    def _submit(self, op: Op, vpn: int, block: int, count: int) -> bool:
        if self.device.submit(op, self.space, vpn, count, block) < 0:
            return False
        self._busy_vpns.update(range(vpn, vpn + count))
        self._busy_blocks.update(range(block, block + count))
        return True

    def _write_buffer(self, vpn: int) -> Errno:
        return self._store(vpn, self.pages.draw())

    def _store(self, vpn: int, serial: int) -> Errno:
        error = self.world.machine.memory.write(self.space, vpn, self.pages.page(serial))
        if error == Errno.OK:
            self.pages.store(vpn, serial)
        return error

    def _reap(self) -> None:
        for done in self.device.reap():
            self._end(done)

    def _end(self, done: Completion) -> None:
        """Both sides agree on what was transferred; what was read is looked at at once."""
        vpns = slice(done.vpn, done.vpn + done.nr_pages)
        blocks = slice(done.block, done.block + done.nr_pages)
        self._busy_vpns.difference_update(range(vpns.start, vpns.stop))
        self._busy_blocks.difference_update(range(blocks.start, blocks.stop))
        if done.op is Op.WRITE:
            self._disk_pages.serials[blocks] = self.pages.serials[vpns]
            return
        self.pages.serials[vpns] = self._disk_pages.serials[blocks]
        for vpn in range(vpns.start, vpns.stop):
            data = self.world.machine.memory.read(self.space, vpn)
            if data is not None:
                self.pages.compare(vpn, data)

    def read_back(self) -> None:
        """Once nothing is in flight: the buffer by page faults, and the whole disk."""
        self.device.drain()
        self._reap()
        for vpn in self.pages.stored().tolist():
            self.pages.compare(vpn, self.world.machine.memory.read(self.space, vpn))
        blocks = np.arange(self.device.nr_blocks)
        self._disk_pages.compare_frames(self.device.disk, blocks, blocks)
        self.pages.found += self._disk_pages.found

    def holdings(self) -> Iterator[Holding]:
        """Requests in flight, or the registered buffer."""
        yield _held_by(self.device.pinner)

    def let_go(self) -> None:
        """Nothing in flight, no buffer registered; the process exits."""
        self.device.drain()
        if self.device.policy is Policy.RESTART:
            self.device.unregister(self.space, 0)
        self.world.machine.memory.exit(self.space)

    def check(self) -> None:
        """The device, its descriptors and its pins."""
        self.device.check()


class NetworkRing(Workload):
    """A receive ring: buffers that a device may write to at any moment, pinned for long.

    Each descriptor is a run of pages pinned with LONGTERM.  Packets arrive at the frame that
    the pin names; the process reads them through its page tables.  Used buffers are given
    back and others pinned in their place.

    Attributes:
        pinner: the driver.
        space: the process.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """`nr_slots` pages of buffers, of which half are pinned at a time.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        run = max(nr_slots // (2 * _NR_DESCRIPTORS), 1)
        super().__init__(world, name, nr_slots=2 * _NR_DESCRIPTORS * run, pace_ns=pace_ns)
        self._run = run
        handler = None if world.registry is None else IgnoresMoves()
        self.pinner = Pinner(name, registry=world.registry, handler=handler)
        self.space = world.machine.memory.mmap(name, len(self.pages.serials))
        self._free: deque[int] = deque(range(2 * _NR_DESCRIPTORS))
        self._posted: deque[tuple[int, PinIds]] = deque()

    def start(self) -> None:
        """Fill the ring."""
        for _ in range(_NR_DESCRIPTORS):
            self._post()

    def actions(self) -> Iterator[Action]:
        """Of sixteen: one refill; else a packet arrives and is read."""
        while True:
            which, at = self.below(16), self.below(_NR_DESCRIPTORS * self._run)
            serial = self.pages.draw()
            if which == 0:
                self._retire()
                yield self.act("refill", done=self._post())
            elif len(self._posted) == 0:
                yield self.act("refill", done=self._post())
            else:
                self._receive(at % (len(self._posted) * self._run), serial)
                yield self.act("packet")

    def _post(self) -> bool:
        """Pin the next run of buffers; False without memory for it."""
        run, gup = self._free[0], self.world.gup
        flags = Foll.PIN | Foll.LONGTERM | Foll.WRITE
        got = gup.get_user_pages(self.space, run * self._run, self._run, self.pinner, flags)
        if got.error:
            gup.put_user_pages(self.pinner, got.pins)
            return False
        self._posted.append((self._free.popleft(), got.pins))
        return True

    def _retire(self) -> None:
        """Let go of the oldest run, which the device has written to."""
        if self._posted:
            run, pins = self._posted.popleft()
            self.world.gup.put_user_pages(self.pinner, pins, dirty=True)
            self._free.append(run)

    def _receive(self, at: int, serial: int) -> None:
        run, pins = self._posted[at // self._run]
        vpn = run * self._run + at % self._run
        pfn = self.pinner.pfn_of(pins[at % self._run])
        self.world.machine.contents.write(pfn, self.pages.page(serial))
        self.pages.store(vpn, serial)
        self.pages.compare(vpn, self.world.machine.memory.read(self.space, vpn))

    def read_back(self) -> None:
        """Every packet, through the page tables."""
        for vpn in self.pages.stored().tolist():
            self.pages.compare(vpn, self.world.machine.memory.read(self.space, vpn))

    def holdings(self) -> Iterator[Holding]:
        """The pins of all posted buffers."""
        yield _held_by(self.pinner)

    def let_go(self) -> None:
        """Nothing is posted; the process exits."""
        while self._posted:
            self._retire()
        self.world.machine.memory.exit(self.space)

    def check(self) -> None:
        """The pinner's table."""
        self.pinner.check()


def _held_by(pinner: Pinner) -> Holding:
    held = list(pinner.holdings())
    table: Pfns = np.array(held, dtype=np.int64).reshape(-1, 2)
    return Holding(table[:, 0], table[:, 1])
