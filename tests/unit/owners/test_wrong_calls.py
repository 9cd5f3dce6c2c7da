"""Every device against every call that cannot be meant: refused, and nothing has changed."""

import io
import itertools

import numpy as np
import pytest

from mm.machine import Machine
from owners.aio.ring_format import IoEvent
from owners.aio.rings import AioRings
from owners.compress import compressor
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import IgnoresMoves, Pinner
from owners.odirect.device import Op, Policy
from owners.odirect.events import Constant
from owners.odirect.model import DeviceModel
from owners.odirect.real import RealDevice
from owners.odirect.simulated import SimulatedDevice
from owners.zram.backing import BytesBacking, FileBacking
from owners.zram.disk import ZramDisk
from owners.zram.zram import Zram
from pinpage.errors import PinpageError
from tests.kit.deep import deep_digest
from tests.kit.owners.driver_world import DriverWorld
from tests.kit.owners.io_world import IoWorld

PAGE = 4096
NO_INTEGERS = (0.5, 1.0, "0", None, True)


def columns(machine):
    """All that mm knows of frames, and how many pins there are."""
    frames = machine.frames
    return [
        frames.refcount.tobytes(),
        frames.state.tobytes(),
        frames.mapcount.tobytes(),
        frames.flags.tobytes(),
        machine.registry.statistics().nr_pins,
        len(machine.registry),
    ]


class Simulated:
    """A simulated disk of 16 blocks, with a buffer of three pages at vpn 0."""

    def __init__(self, policy=Policy.REFUSE):
        self.world = IoWorld(policy)
        self.space, self.device = self.world.process(4), self.world.device
        assert self.device.register(self.space, 0, 3) == 0

    def state(self):
        device, world = self.device, self.world
        disk = [world.disk.read(block) for block in range(16)]
        held = list(device.pinner.holdings()), device.nr_in_flight, len(world.events)
        return [*columns(world.machine), disk, held, device.counters.nr_requests]

    def calls(self):
        device, space, gup = self.device, self.space, self.world.gup
        yield from wrong_requests(device, space)
        for value in NO_INTEGERS:
            yield f"queue_depth={value!r}", lambda v=value: DeviceModel(Constant(1), queue_depth=v)
            yield (
                f"wait_bound_ns={value!r}",
                lambda v=value: DeviceModel(Constant(1), wait_bound_ns=v),
            )
        yield "no depth", lambda: DeviceModel(Constant(1), queue_depth=0)
        yield "a bound in the past", lambda: DeviceModel(Constant(1), wait_bound_ns=-1)
        yield "flags by number", lambda: DeviceModel(Constant(1), flags=2)
        yield "an event in the past", lambda: self.world.events.after(-1, lambda: None)
        for policy in ("refuse", None):
            yield (
                f"policy {policy!r}",
                lambda p=policy: SimulatedDevice(
                    "d", gup, self.world.disk, self.world.events,
                    model=DeviceModel(Constant(1)), rng=None, registry=self.world.registry,
                    policy=p,
                ),
            )  # fmt: skip


def wrong_requests(device, space):
    """Of any device, with a buffer of three pages at vpn 0 of a space of four."""
    good = {"op": Op.READ, "space": space, "vpn": 0, "nr_pages": 1, "block": 0}
    for name, value in [
        *(("op", op) for op in ("read", "write", "READ", 0, None, Policy.REFUSE)),
        *(("space", other) for other in (None, "p", 0)),
        *itertools.product(("vpn", "nr_pages", "block"), NO_INTEGERS),
        ("nr_pages", 0), ("nr_pages", -1), ("nr_pages", 17),
        ("block", -1), ("block", 16), ("block", 1 << 70),
    ]:  # fmt: skip
        yield f"submit {name}={value!r}", lambda w={name: value}: device.submit(**good | w)
    for name, value in [
        *(("space", other) for other in (None, "p", 0)),
        *itertools.product(("vpn", "nr_pages"), NO_INTEGERS),
        ("vpn", 0), ("nr_pages", 0), ("nr_pages", -2),
    ]:  # fmt: skip
        buffer = {"space": space, "vpn": 3, "nr_pages": 1, name: value}
        yield f"register {name}={value!r}", lambda b=buffer: device.register(**b)
    for where in [(space, 1), (None, 0), *((space, value) for value in NO_INTEGERS)]:
        yield f"unregister {where}", lambda w=where: device.unregister(*w)


class Restarting(Simulated):
    """The same, whose requests need a buffer."""

    def __init__(self):
        super().__init__(Policy.RESTART)

    def calls(self):
        yield from wrong_requests(self.device, self.space)
        for vpn, nr_pages in ((3, 1), (2, 2), (-1, 1)):
            yield (
                f"no buffer at {vpn}",
                lambda v=vpn, n=nr_pages: self.device.submit(Op.READ, self.space, v, n, 0),
            )


class Real:
    """A file of 16 blocks, with a buffer of three pages at vpn 0."""

    def __init__(self, path, *, registered=True):
        self.path = path / "disk"
        self.path.write_bytes(b"".join(bytes([block + 1]) * PAGE for block in range(16)))
        self.machine = Machine.build(nr_pages=512)
        self.registry = self.machine.use_registry()
        self.used = self.registry if registered else None
        self.gup = Gup(self.machine)
        self.device = self.make()
        self.space = self.machine.memory.mmap("p", 4)
        assert self.device.register(self.space, 0, 3) == 0

    def make(self, **options):
        try:
            return RealDevice(
                "d", self.gup, options.pop("path", self.path),
                **{"registry": self.used, "nr_threads": 1} | options,
            )  # fmt: skip
        except PinpageError as error:
            if "Invalid argument" in str(error):
                pytest.skip(str(error))
            raise

    def state(self):
        self.device.drain()
        held = list(self.device.pinner.holdings()), self.device.reap(), len(self.registry.owners)
        return [*columns(self.machine), self.path.read_bytes(), held]

    def calls(self):
        device, space = self.device, self.space
        yield from wrong_requests(device, space)
        for vpn, nr_pages in ((3, 1), (2, 2), (-1, 1)):
            yield (
                f"no buffer at {vpn}",
                lambda v=vpn, n=nr_pages: device.submit(Op.READ, space, v, n, 0),
            )
        for options in (
            *({"nr_threads": value} for value in (0, -1, 2.5, "2", None, True)),
            *({"wait_bound_s": value} for value in (-1, float("nan"), float("inf"), "1", None)),
            *({"policy": value} for value in ("wait", None, Policy.CANCEL, Policy.RESTART)),
            *({"path": value} for value in (None, 3.5, "a\0b", self.path.parent)),
        ):
            yield f"{options}", lambda o=options: self.make(**o)

    def close(self):
        self.device.close()


class Closed(Real):
    """The same, closed."""

    def __init__(self, path, **how):
        super().__init__(path, **how)
        self.device.close()

    def calls(self):
        yield "submit", lambda: self.device.submit(Op.READ, self.space, 0, 1, 0)
        yield "register", lambda: self.device.register(self.space, 3, 1)


class Rings:
    """Completion rings, one of them with an event."""

    def __init__(self):
        self.world = DriverWorld()
        self.rings = AioRings(self.world.machine, registry=self.world.registry)
        self.ring = self.rings.setup(10)
        self.rings.complete(self.ring, IoEvent(1, 2, 3))

    def state(self):
        pages = [self.world.contents.read(pfn) for pfn in self.rings.pages_of(self.ring)]
        return [*columns(self.world.machine), pages, deep_digest(self.rings)]

    def calls(self):
        for value in (*NO_INTEGERS, 0, -1, 1 << 40):
            yield f"setup({value!r})", lambda v=value: self.rings.setup(v)
        for value in (*NO_INTEGERS, -1):
            yield f"get_events({value!r})", lambda v=value: self.rings.get_events(self.ring, v)
        for event in (
            None, (1, 2, 3, 4), IoEvent(-1, 0, 0), IoEvent(0, 1 << 64, 0), IoEvent(0, 0, 1 << 63),
            IoEvent(0.5, 0, 0), IoEvent("1", 0, 0),
        ):  # fmt: skip
            yield f"complete({event!r})", lambda e=event: self.rings.complete(self.ring, e)


class Disk:
    """A zram device, its two backing stores, and the disk on top."""

    def __init__(self, path):
        self.file = path / "backing"
        self.file.write_bytes(bytes(4 * PAGE))
        self.machine = Machine.build(nr_pages=512)
        self.registry = self.machine.use_registry()
        self.bytes, self.on_file = BytesBacking(bytearray(4 * PAGE)), FileBacking(self.file)
        self.shut = FileBacking(self.file)
        self.shut.close()
        self.zram = Zram(
            self.machine, compressor("zlib"), 8, registry=self.registry, backing=self.bytes
        )
        self.zram.write_page(1, b"ab" * 2048)
        self.disk, self.closed = ZramDisk(self.zram), ZramDisk(self.zram)
        self.closed.close()

    def state(self):
        held = self.zram.mm_stat(), self.zram.bd_stat(), bytes(self.bytes.data), self.disk.tell()
        return [*columns(self.machine), held, self.file.read_bytes(), len(self.registry.owners)]

    def calls(self):
        zram, disk = self.zram, self.disk
        page = bytes(PAGE)
        for value in NO_INTEGERS:
            yield f"write_page({value!r})", lambda v=value: zram.write_page(v, page)
            yield f"read_page({value!r})", lambda v=value: zram.read_page(v)
            yield f"discard({value!r})", lambda v=value: zram.discard(v)
            yield f"discard(0, {value!r})", lambda v=value: zram.discard(0, v)
            yield f"is_stored({value!r})", lambda v=value: zram.is_stored(v)
            yield f"mem_limit={value!r}", lambda v=value: setattr(zram, "mem_limit", v)
            yield f"pread({value!r})", lambda v=value: disk.pread(v, 1)
            yield f"pread(0, {value!r})", lambda v=value: disk.pread(0, v)
            yield f"pwrite({value!r})", lambda v=value: disk.pwrite(v, b"x")
            yield f"seek({value!r})", lambda v=value: disk.seek(v)
            yield f"a disk of {value!r}", lambda v=value: self.make(nr_pages=v)
            yield f"a limit of {value!r}", lambda v=value: self.make(mem_limit=v)
            for store in (self.bytes, self.on_file):
                yield f"{store} read({value!r})", lambda s=store, v=value: s.read(v)
                yield f"{store} write({value!r})", lambda s=store, v=value: s.write(v, page)
        for data in ("x" * PAGE, [0] * PAGE, None, page + b"x", page[1:], np.zeros(PAGE)):
            what = type(data).__name__
            yield f"write_page {what}", lambda d=data: zram.write_page(0, d)
            for store in (self.bytes, self.on_file):
                yield f"{store} write {what}", lambda s=store, d=data: s.write(1, d)
        for store, block in itertools.product((self.bytes, self.on_file), (-1, 4, 1 << 70)):
            yield f"{store} read {block}", lambda s=store, b=block: s.read(b)
            yield f"{store} write {block}", lambda s=store, b=block: s.write(b, page)
        yield "a backing of what cannot be written", lambda: BytesBacking(bytes(2 * PAGE))
        for limit in (-1, 0.5, "1", True):
            yield f"writeback limit={limit!r}", lambda v=limit: zram.writeback("huge", v)
        yield "text to the disk", lambda: disk.pwrite(0, "text")
        yield "a negative length", lambda: disk.pread(0, -1)
        yield "no such whence", lambda: disk.seek(0, 7)
        shut = self.closed
        for name, call in {
            "pread": lambda: shut.pread(0, 1), "pwrite": lambda: shut.pwrite(0, b"x"),
            "seek": lambda: shut.seek(0, io.SEEK_END), "write": lambda: shut.write(b"x"),
            "readinto": lambda: shut.readinto(bytearray(1)),
            "backing read": lambda: self.shut.read(1),
            "backing write": lambda: self.shut.write(1, page),
        }.items():  # fmt: skip
            yield f"closed: {name}", call

    def make(self, **options):
        return Zram(
            self.machine, compressor("zlib"), **{"nr_pages": 4, "registry": self.registry} | options
        )

    def close(self):
        self.on_file.close()


class Pins:
    """get_user_pages, and a pinner with one pin."""

    def __init__(self):
        self.world = IoWorld()
        self.space, self.pinner = self.world.process(2), self.world.pinner("driver", IgnoresMoves())
        (self.pin,) = self.world.gup.get_user_pages(self.space, 0, 1, self.pinner, Foll.PIN).pins

    def state(self):
        return [*columns(self.world.machine), list(self.pinner.holdings()), self.space.has_pinned]

    def calls(self):
        gup = self.world.gup
        good = {
            "space": self.space, "vpn": 1, "nr_pages": 1, "pinner": self.pinner, "flags": Foll.GET
        }  # fmt: skip
        for name, value in [
            *(("space", other) for other in (None, "p", 0)),
            *itertools.product(("vpn", "nr_pages"), NO_INTEGERS),
            ("nr_pages", 0), ("pinner", None), ("pinner", "driver"), ("flags", 2),
            ("flags", "GET"), ("flags", Foll.NONE), ("flags", Foll.GET | Foll.PIN),
        ]:  # fmt: skip
            yield f"{name}={value!r}", lambda w={name: value}: gup.get_user_pages(**good | w)
        for pins in ([99], [self.pin, 99], [self.pin, self.pin], [None]):
            yield f"put {pins}", lambda p=pins: gup.put_user_pages(self.pinner, p)
        yield "a handler nobody finds", lambda: Pinner("p", handler=IgnoresMoves())


SUBJECTS = {
    "simulated": lambda path: Simulated(),
    "restarting": lambda path: Restarting(),
    "real": Real,
    "real, no registry": lambda path: Real(path, registered=False),
    "real, closed": Closed,
    "real, closed, no registry": lambda path: Closed(path, registered=False),
    "completion rings": lambda path: Rings(),
    "zram": Disk,
    "get_user_pages": lambda path: Pins(),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_is_refused_before_anything_has_changed(name, tmp_path):
    subject = SUBJECTS[name](tmp_path)
    try:
        before, nr_calls = subject.state(), 0
        for what, call in subject.calls():
            nr_calls += 1
            message = refusal(call, f"{name}: {what}")
            assert "\n" not in message, what
            after = subject.state()
            assert after == before, f"{name}: {what} has changed something"
        assert nr_calls >= 2
    finally:
        getattr(subject, "close", lambda: None)()


def refusal(call, what):
    """The message of a call that must be refused."""
    try:
        got = call()
    except PinpageError as error:
        return str(error)
    pytest.fail(f"{what} was not refused: {got!r}")
