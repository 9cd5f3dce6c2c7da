"""How the kit drives owners that do I/O: pinners, direct I/O simulated and real, completions."""

import os
import tempfile
from pathlib import Path

import numpy as np

from mm.state.contents import ArenaContents
from owners.aio.ring_format import IoEvent
from owners.aio.rings import AioRings
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import IgnoresMoves, Pinner
from owners.odirect.device import Op
from owners.odirect.events import Constant, EventQueue
from owners.odirect.model import DeviceModel
from owners.odirect.real import RealDevice
from owners.odirect.simulated import SimulatedDevice
from pinpage.owner import Verdict
from pinpage.testing.conformance.lab import DATA_NR_BYTES, Subject
from tests.kit import inside

__all__ = ["Completions", "DirectIo", "Pinned", "RealIo", "WholePages"]

PAGE = 4096


class WholePages(Subject):
    """Things that are the first bytes of a frame each; `_at` says which frame, None if not now."""

    def read(self, key):
        pfn = self._at(key)
        return None if pfn is None else self.contents.read(pfn, 0, DATA_NR_BYTES)

    def write(self, key, data):
        pfn = self._at(key)
        if pfn is not None:
            self.contents.write(pfn, data)
        return pfn is not None


class Buffers(Subject):
    """Things in registered buffers of a device, one page each."""

    def hold(self, data):
        if not self.unused:
            return None
        vpn = self.unused[0]
        self.memory.write(self.space, vpn, bytes(PAGE))  # there is a page now
        if self.device.register(self.space, vpn, 1) != 0:
            return None
        self.unused.pop(0)
        if self.write(vpn, data):
            return vpn
        self.let_go(vpn)
        return None


class Pinned(WholePages):
    """A driver that keeps the addresses of a process's pages."""

    def __init__(self, lab):
        self.contents = lab.pages.contents
        self.memory = lab.machine.memory
        self.space = self.memory.mmap("process", 64)
        self.gup = Gup(lab.pages)
        self.owner = Pinner("driver", registry=lab.registry, handler=IgnoresMoves())
        self.next = 0

    def hold(self, data):
        vpn, self.next = self.next % 64, self.next + 1
        self.memory.write(self.space, vpn, data)
        got = self.gup.get_user_pages(self.space, vpn, 1, self.owner, Foll.PIN | Foll.WRITE)
        return got.pins[0] if got.pins else None

    def _at(self, key):
        return None if key in inside.quiet(self.owner) else self.owner.pfn_of(key)

    def let_go(self, key):
        self.gup.put_user_pages(self.owner, [key], dirty=True)
        return True


class DirectIo(Buffers):
    """A disk that reads into registered buffers; time passes only when the kit says so."""

    def __init__(self, lab, policy):
        self.memory = lab.machine.memory
        self.space = self.memory.mmap("process", 16)
        self.blocks = ArenaContents(16)
        self.events = EventQueue(lab.machine.clock)
        self.device = SimulatedDevice(
            "disk", Gup(lab.pages), self.blocks, self.events,
            model=DeviceModel(Constant(1000)), rng=np.random.default_rng(0),
            registry=lab.registry, policy=policy,
        )  # fmt: skip
        self.owner = self.device.pinner
        self.unused = list(range(16))
        self.in_flight = {}

    def read(self, key):
        self._reap()
        if key in self.in_flight.values():
            return None
        return self.memory.read(self.space, key)

    def write(self, key, data):
        self._reap()
        if key in self.in_flight.values():
            return False
        self.blocks.write(key, data)
        request = self.device.submit(Op.READ, self.space, key, 1, key)
        if request >= 0:
            self.in_flight[request] = key
        return request >= 0

    def let_go(self, key):
        self._reap()
        if key in self.in_flight.values():
            return False
        self.device.unregister(self.space, key)
        self.unused.append(key)
        return True

    def tick(self):
        """Whatever is going to happen; a request whose page a mover holds still goes on later."""
        while self.events.step():
            pass

    def _reap(self):
        for done in self.device.reap():
            self.in_flight.pop(done.request, None)


class Completions(Subject):
    """Rings of completions, one ring for each thing."""

    def __init__(self, lab):
        self.rings = AioRings(lab.pages, registry=lab.registry)
        self.owner = self.rings

    def hold(self, data):
        key = self.rings.setup(200)
        if key < 0:
            return None
        self._complete(key, data)
        return key

    def _complete(self, key, data):
        assert self.rings.complete(key, IoEvent(int.from_bytes(data, "little"), 0, 0, 0)) == 0

    def _take(self, key):
        events = self.rings.get_events(key, 9)
        if not isinstance(events, list):
            return None
        return events[-1].data.to_bytes(DATA_NR_BYTES, "little")

    def read(self, key):
        data = self._take(key)
        if data is not None:
            self._complete(key, data)
        return data

    def write(self, key, data):
        if self._take(key) is None:
            return False
        self._complete(key, data)
        return True

    def let_go(self, key):
        return self.rings.destroy(key) == 0


class RealIo(Buffers):
    """Registered buffers of a real file: what is to be kept is written there and read back by DMA.

    The file lies in the directory for temporary files, which must allow direct I/O.  One
    device at a time: the next one closes the last.
    """

    _last = None

    def __init__(self, lab):
        if RealIo._last is not None:
            RealIo._last.close()
        self.registry = lab.registry
        self.memory = lab.machine.memory
        self.space = self.memory.mmap("process", 16)
        with tempfile.NamedTemporaryFile() as file:
            os.truncate(file.name, 16 * PAGE)
            self.device = RealIo._last = RealDevice(
                "disk", Gup(lab.machine), Path(file.name), registry=lab.registry, nr_threads=1
            )
        self.owner = self.device.pinner
        self.unused = list(range(16))

    def _is_quiet(self, vpn):
        """A request would wait for the mover, which is this very thread: so nobody submits one."""
        pfn, flights = int(self.space.pte[vpn]) - 1, self.device.flights
        number = flights.begin()
        is_quiet = self.registry.pin(pfn, flights, number, wait=False) is not Verdict.YES
        if not is_quiet:
            self.registry.unpin(pfn, flights, number)
        flights.end(number)
        return is_quiet

    def _transfer(self, op, vpn):
        self.device.submit(op, self.space, vpn, 1, vpn)
        self.device.drain()
        (done,) = self.device.reap()
        return done.error == 0

    def read(self, key):
        """From memory to the disk, over it, and back: a stale address would not survive that."""
        if self._is_quiet(key) or not self._transfer(Op.WRITE, key):
            return None
        self.memory.write(self.space, key, b"\xee" * PAGE)
        return self.memory.read(self.space, key) if self._transfer(Op.READ, key) else None

    def write(self, key, data):
        if self._is_quiet(key):
            return False
        self.memory.write(self.space, key, data)
        return self.read(key) is not None

    def let_go(self, key):
        if self._is_quiet(key):
            return False
        self.device.unregister(self.space, key)
        self.unused.append(key)
        return True
