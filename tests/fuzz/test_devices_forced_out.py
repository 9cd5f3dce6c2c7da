"""Devices whose owners are forced out at any moment of their threads' work, over and over."""

import errno
import time

import numpy as np
import pytest

from mm.machine import Machine
from owners.gup.gup import Gup
from owners.odirect.device import Op, Policy
from owners.odirect.real import RealDevice
from pinpage.errors import PinpageError
from tests.fuzz.budget import SECONDS, SEED
from tests.kit.owners.real_io import Churn

pytestmark = pytest.mark.fuzz

PAGE = 4096
NR_PAGES = 256


def one_life(path, rng):
    """A device, requests, moves, and its owners forced out somewhere in between."""
    machine = Machine.build(nr_pages=512)
    registry = machine.use_registry()
    policy = (Policy.REFUSE, Policy.WAIT)[int(rng.integers(2))]
    device = RealDevice("disk", Gup(machine), path, registry=registry, nr_threads=3, policy=policy)
    space = machine.memory.mmap("p", NR_PAGES)
    try:
        assert device.register(space, 0, NR_PAGES) == 0
        churn = Churn(machine, rng)
        leaving = [owner for owner in (device.flights, device.pinner) if rng.random() < 0.7]
        at = rng.integers(12, size=len(leaving))
        known = set()
        for step in range(12):
            for owner in [owner for owner, when in zip(leaving, at, strict=True) if when == step]:
                registry.unregister(owner, force=True)
            for vpn in rng.choice(NR_PAGES, 6, replace=False).tolist():
                if device.flights in registry.owners:
                    known.add(device.submit(Op.READ, space, vpn, 1, vpn))
            churn.step(space)
        device.drain()
        done = device.reap()
        assert {one.request for one in done} == known
        assert {one.error for one in done} <= {0, -errno.ENODEV}
        for one in done:
            if not one.error:
                expected = (one.vpn + 1).to_bytes(2, "little") * (PAGE // 2)
                assert machine.memory.read(space, one.vpn) == expected, one
        device.check()
        device.unregister(space, 0)
        device.close()
        assert len(registry) == 0
        machine.memory.exit(space)
        machine.check()
        machine.pcp.drain_all()
        assert int(machine.buddy.nr_free()) == 512, "a reference is left"
    finally:
        device.close()
    return churn.nr_moved


def test_nothing_is_left_of_owners_forced_out_at_any_moment(tmp_path, capsys):
    path = tmp_path / "disk"
    path.write_bytes(b"".join((n + 1).to_bytes(2, "little") * 2048 for n in range(NR_PAGES)))
    nr_lives = nr_moved = 0
    ends = time.monotonic() + SECONDS
    while not nr_lives or time.monotonic() < ends:
        try:
            nr_moved += one_life(path, np.random.default_rng(SEED + nr_lives))
        except PinpageError as error:
            if "opened for direct I/O" in str(error):
                pytest.skip(str(error))
            raise
        except BaseException:
            with capsys.disabled():
                print(f"\nagain: PINPAGE_FUZZ_SEED={SEED + nr_lives}")
            raise
        nr_lives += 1
    with capsys.disabled():
        print(f"\n{nr_lives} lives of a device, {nr_moved} pages moved")
