"""Direct I/O to a real file while pages move: the load, with every byte checked.

One thread is the machine's: it fills buffers, submits, reaps, compares and moves pages; the
device's threads do the I/O.  Block b holds, in its version v, a page that no other (b, v) has.
"""

import time

import numpy as np

from owners.gup.gup import Gup
from owners.odirect.device import Op
from owners.odirect.real import RealDevice
from pinpage.owner import Mode, Reason
from tests.kit.owners.gup_world import AnyFree

__all__ = ["Churn", "RealLoad", "page_of", "write_file"]

NR_BLOCKS = 512


def page_of(block, version):
    """The one page that block `block` has in version `version`."""
    words = np.arange(512, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (words + np.uint64(block << 32 | version)).view(np.uint8)


def write_file(path, nr_blocks=NR_BLOCKS):
    path.write_bytes(b"".join(page_of(block, 0).tobytes() for block in range(nr_blocks)))
    return path


class Churn:
    """Moves pages without end: scatters those of one process, compacts, and so on.

    Attributes:
        is_active: asked at the moment at which moved pages take their new place.
        nr_moved, nr_moved_during_io: pages, the latter while `is_active()`.
    """

    def __init__(self, machine, rng):
        self.machine, self.rng = machine, rng
        self.is_active = lambda: False
        self.nr_moved = self.nr_moved_during_io = 0
        self.reasons = np.zeros(len(Reason), dtype=np.int64)
        rekey = machine.mover.rekey

        def counted(sources, targets):
            self.nr_moved += len(sources)
            self.nr_moved_during_io += len(sources) if self.is_active() else 0
            return rekey(sources, targets)

        machine.mover.rekey = counted

    def step(self, space):
        """Scatter 64 pages of `space`, then compact all memory."""
        mover, design = self.machine.mover, self.machine.design
        pfns = np.sort(space.pte[self.rng.choice(space.nr_vpns, 64, replace=False)] - 1)
        found = mover.classify(pfns, design, Mode.SYNC)
        movable = found.answers > 0
        if movable.any():
            targets = AnyFree(self.machine, self.rng)
            report = mover.migrate(pfns[movable], found.alone[movable], targets, design, Mode.SYNC)
            self.reasons += np.bincount(report.reasons, minlength=len(Reason))
        self.machine.compact()


class RealLoad:
    """256 buffers of one page; half of the requests read, half write.

    Args:
        machine: with a registry, which the device uses if `registered`.
        path: a file of `write_file`, this load's own.
        options: of the device.
    """

    def __init__(self, machine, path, rng, *, registered=True, nr_buffers=256, **options):
        self.machine, self.rng = machine, rng
        self.registry = machine.registry if registered else None
        name = "registered" if registered else "unregistered"
        self.device = RealDevice(name, Gup(machine), path, registry=self.registry, **options)
        self.space = machine.memory.mmap(name, nr_buffers)
        assert self.device.register(self.space, 0, nr_buffers) == 0
        self.free_buffers = list(range(nr_buffers))
        self.free_blocks = list(range(self.device.nr_blocks))
        self.version = dict.fromkeys(self.free_blocks, 0)
        self.nr_done = {Op.READ: 0, Op.WRITE: 0}

    @property
    def is_active(self):
        return self.device.nr_in_flight > 0

    def submit(self, count):
        """Up to `count` requests, as far as there are buffers."""
        memory = self.machine.memory
        for _ in range(min(count, len(self.free_buffers))):
            vpn = self.free_buffers.pop(int(self.rng.integers(len(self.free_buffers))))
            block = self.free_blocks.pop(int(self.rng.integers(len(self.free_blocks))))
            op = Op.WRITE if self.rng.random() < 0.5 else Op.READ
            self.version[block] += op is Op.WRITE
            page = page_of(block, self.version[block]) if op is Op.WRITE else _POISON
            memory.write(self.space, vpn, page.tobytes())
            self.device.submit(op, self.space, vpn, 1, block)

    def reap(self):
        """What was read is what the block holds; what was written is still in memory."""
        for done in self.device.reap():
            assert done.error == 0, f"errno {done.error}"
            seen = self.machine.memory.read(self.space, done.vpn)
            expected = page_of(done.block, self.version[done.block]).tobytes()
            assert seen == expected, f"{done.op} of block {done.block} at vpn {done.vpn}"
            self.free_buffers.append(done.vpn)
            self.free_blocks.append(done.block)
            self.nr_done[done.op] += 1

    def run(self, nr_requests, move=lambda: time.sleep(0)):
        """That many requests or a few more, `move()` called all the while; seconds it took."""
        began = time.monotonic()
        target = sum(self.nr_done.values()) + nr_requests
        while sum(self.nr_done.values()) < target:
            self.submit(len(self.free_buffers))
            move()
            self.reap()
        self.device.drain()
        self.reap()
        return time.monotonic() - began

    def close(self, path):
        """Every invariant holds, and the file has every block in its last version."""
        self.device.drain()
        self.reap()
        self.device.check()
        self.device.close()
        expected = b"".join(page_of(b, v).tobytes() for b, v in sorted(self.version.items()))
        assert path.read_bytes() == expected


_POISON = np.full(4096, 0xEE, dtype=np.uint8)
