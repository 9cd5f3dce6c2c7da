"""Direct I/O of several pages while memory is compacted: every byte, against an obvious model.

What is drawn depends on the seed alone; what the device's threads are doing meanwhile does not.
"""

import time

import numpy as np
import pytest

from mm.machine import Machine
from owners.gup.gup import Gup
from owners.odirect.device import Op, Policy
from owners.odirect.real import RealDevice
from pinpage.errors import PinpageError
from pinpage.owner import Mode
from tests.fuzz.budget import SECONDS, SEED
from tests.kit.owners.real_io import Churn

pytestmark = pytest.mark.fuzz

PAGE = 4096
NR_BLOCKS = NR_BUFFERS = 64
NR_HOLES = 600


def filled(byte):
    return bytes([byte]) * PAGE


class Load:
    """Requests of one to three pages; what memory and disk hold once each has ended."""

    def __init__(self, path, policy, seed):
        path.write_bytes(b"".join(filled(block + 1) for block in range(NR_BLOCKS)))
        self.path, self.rng = path, np.random.default_rng(seed)
        self.machine = Machine.build(nr_pages=1024)
        self.registry = self.machine.use_registry()
        self.device = RealDevice(
            "disk", Gup(self.machine), path, registry=self.registry, nr_threads=4, policy=policy
        )
        memory = self.machine.memory
        self.space, self.hole = memory.mmap("p", NR_BUFFERS), memory.mmap("hole", NR_HOLES)
        assert self.device.register(self.space, 0, NR_BUFFERS) == 0
        for vpn in range(NR_HOLES):
            memory.touch(self.hole, vpn)
        self.churn = Churn(self.machine, self.rng)
        self.churn.is_active = lambda: self.device.nr_in_flight > 0
        self.memory = dict.fromkeys(range(NR_BUFFERS), bytes(PAGE))
        self.disk = {block: filled(block + 1) for block in range(NR_BLOCKS)}
        self.busy = {}  # request -> (its pages, its blocks)
        self.nr_done = 0

    def submit(self):
        """One more request on pages and blocks that no other is using; False if there are none."""
        count = int(self.rng.integers(1, 4))
        vpn = int(self.rng.integers(NR_BUFFERS - count + 1))
        block = int(self.rng.integers(NR_BLOCKS - count + 1))
        op = Op.READ if self.rng.random() < 0.5 else Op.WRITE
        pages, blocks = set(range(vpn, vpn + count)), set(range(block, block + count))
        for other_pages, other_blocks in self.busy.values():
            if pages & other_pages or blocks & other_blocks:
                return False
        for page in sorted(pages) if op is Op.WRITE else ():
            self.memory[page] = filled(int(self.rng.integers(256)))
            self.machine.memory.write(self.space, page, self.memory[page])
        self.busy[self.device.submit(op, self.space, vpn, count, block)] = pages, blocks
        return True

    def reap(self):
        """Compare every byte of what has ended."""
        for done in self.device.reap():
            assert done.error == 0, done
            for n in range(done.nr_pages):
                vpn, block = done.vpn + n, done.block + n
                if done.op is Op.READ:
                    self.memory[vpn] = self.disk[block]
                else:
                    self.disk[block] = self.memory[vpn]
                assert self.machine.memory.read(self.space, vpn) == self.memory[vpn], done
            del self.busy[done.request]
            self.nr_done += 1

    def move(self):
        """Compact in any mode; now and then scatter the buffers, or punch new holes."""
        rng, memory = self.rng, self.machine.memory
        match int(rng.integers(4)):
            case 0:
                self.churn.step(self.space)
            case 1:
                vpns = rng.choice(NR_HOLES, 200, replace=False)
                memory.dontneed(self.hole, np.sort(vpns[:100]))
                for vpn in vpns[100:].tolist():
                    memory.touch(self.hole, vpn)
            case _:
                mode = list(Mode)[int(rng.integers(len(Mode)))]
                self.machine.compact(mode=mode, with_bound=False)

    def end(self):
        """All that was written is there, and nothing is left."""
        self.device.drain()
        self.reap()
        for vpn, data in self.memory.items():
            assert self.machine.memory.read(self.space, vpn) == data, f"vpn {vpn}"
        self.device.check()
        self.device.unregister(self.space, 0)
        self.device.close()
        self.machine.check()
        assert len(self.registry) == 0
        raw = self.path.read_bytes()
        for block, data in self.disk.items():
            assert raw[block * PAGE : (block + 1) * PAGE] == data, f"block {block}"


@pytest.mark.parametrize("policy", [Policy.REFUSE, Policy.WAIT])
def test_every_byte_arrives_beside_compaction(policy, tmp_path, capsys):
    try:
        load = Load(tmp_path / "disk", policy, SEED)
    except PinpageError as error:
        if "opened for direct I/O" not in str(error):
            raise
        pytest.skip(str(error))
    ends = time.monotonic() + SECONDS / 2
    try:
        while load.nr_done < 50 or time.monotonic() < ends:
            while len(load.busy) < 16 and load.submit():
                pass
            load.move()
            load.reap()
        load.end()
    except BaseException:
        with capsys.disabled():
            print(f"\nagain: PINPAGE_FUZZ_SEED={SEED} PINPAGE_FUZZ_SECONDS={SECONDS}")
        raise
    finally:
        load.device.close()
    with capsys.disabled():
        print(
            f"\n{policy.value}: {load.nr_done} requests, {load.churn.nr_moved} pages moved, "
            f"{load.churn.nr_moved_during_io} of them during I/O"
        )
    assert load.churn.nr_moved > 0
