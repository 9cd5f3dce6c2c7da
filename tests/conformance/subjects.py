"""How the kit drives every owner that the project has.

Each factory gets a `MachineLab` and can be named to the command, too:

    pinpage check tests.conformance.subjects:zbud
"""

import numpy as np

from mm.contents import ArenaContents
from mm.gfp import Gfp
from owners.aio import AioRings
from owners.aio_ring import IoEvent
from owners.balloon import Balloon
from owners.compress import compressor
from owners.gup import Gup
from owners.gup_flags import Foll
from owners.gup_pinner import Idle, Pinner
from owners.odirect import Op, Policy
from owners.odirect_device import SimulatedDevice
from owners.odirect_model import DeviceModel
from owners.odirect_time import Constant, EventQueue
from owners.opaque import OpaqueOwner
from owners.slab import Slabs
from owners.zcache import CleanKey, Zcache
from owners.zpool import make_zpool
from owners.zram import Zram
from owners.zswap import Zswap
from pinpage.errors import ContextError
from pinpage.owner import Verdict
from pinpage.testing.conformance import DATA_NR_BYTES, Subject
from tests.conformance.machine_lab import MachineLab

__all__ = ["SUBJECTS"]

PAGE = 4096
OBJECT_NR_BYTES = 1500  # two or more of them share a page in every pool
NOISE = np.random.default_rng(7).bytes(OBJECT_NR_BYTES)  # does not compress


def whole_page(data):
    """A page that starts with `data` and compresses to a good third."""
    return data + NOISE + bytes(PAGE - len(data) - len(NOISE))


class Opaque(Subject):
    """An owner of whose inside nothing is known: its users look at the page lock."""

    def __init__(self, lab):
        self.lab = lab
        self.owner = OpaqueOwner("opaque", movable=True, registry=lab.registry)

    def hold(self, data):
        pfn = self.lab.machine.alloc_page(Gfp.KERNEL)
        if pfn < 0:
            return None
        self.lab.pages.contents.write(pfn, data)
        return int(self.owner.adopt(np.array([pfn]))[0])

    def _at(self, key):
        pfn = int(self.owner.pfn_of(np.array([key]))[0])
        return None if self.lab.is_under_move(pfn) else pfn

    def read(self, key):
        pfn = self._at(key)
        return None if pfn is None else self.lab.pages.contents.read(pfn, 0, DATA_NR_BYTES)

    def write(self, key, data):
        pfn = self._at(key)
        if pfn is not None:
            self.lab.pages.contents.write(pfn, data)
        return pfn is not None

    def let_go(self, key):
        pfn = self._at(key)
        if pfn is not None:
            self.lab.registry.unpin(pfn, self.owner, key)
            self.lab.machine.put_page(pfn)
        return pfn is not None


class Ballooning(Subject):
    """The host keeps the data; the guest's balloon keeps the page."""

    def __init__(self, lab):
        self.contents = lab.pages.contents
        self.owner = Balloon(lab.pages, registry=lab.registry)

    def hold(self, data):
        before = set(self.owner._pfn)
        if not self.owner.inflate(1):
            return None
        (key,) = set(self.owner._pfn) - before
        self.contents.write(self.owner._pfn[key], data)
        return key

    def _at(self, key):
        return None if key in self.owner._isolated else self.owner._pfn.get(key)

    def read(self, key):
        pfn = self._at(key)
        return None if pfn is None else self.contents.read(pfn, 0, DATA_NR_BYTES)

    def write(self, key, data):
        pfn = self._at(key)
        if pfn is not None:
            self.contents.write(pfn, data)
        return pfn is not None

    def let_go(self, key):
        if key in self.owner._isolated:
            return False
        if key in self.owner._pfn:
            self.owner._let_go(key)
        return True


class Pooled(Subject):
    """Objects in a pool of compressed pages, two or more to a page."""

    def __init__(self, lab, name):
        self.pool = make_zpool(name, lab.pages, registry=lab.registry)
        self.owner = self.pool.owner

    def hold(self, data):
        handle = self.pool.alloc(OBJECT_NR_BYTES)
        if handle < 0:
            return None
        if self.write(handle, data):
            return handle
        self.pool.free(handle)
        return None

    def read(self, key):
        data = self.pool.read(key, DATA_NR_BYTES)
        return data if isinstance(data, bytes) else None

    def write(self, key, data):
        return self.pool.write(key, data) == 0

    def let_go(self, key):
        self.pool.free(key)
        return True


class Swapped(Subject):
    """zswap: pages by swap offset."""

    def __init__(self, lab, zpool):
        self.zswap = Zswap(
            lab.pages, compressor("zlib"), registry=lab.registry, zpool=zpool, max_pool_percent=90
        )
        self.owner = self.zswap.init(0).owner
        self.next = 0

    def hold(self, data):
        key, self.next = self.next, self.next + 1
        try:
            return key if self.zswap.store(0, key, whole_page(data)) else None
        except ContextError:  # its page is under the move that called us
            self.zswap.invalidate_page(0, key)
            return None

    def read(self, key):
        try:
            return self.zswap.load(0, key)
        except ContextError:
            return None

    def let_go(self, key):
        self.zswap.invalidate_page(0, key)
        return True


class Disk(Subject):
    """zram: pages by their place on the disk."""

    def __init__(self, lab):
        self.zram = Zram(lab.pages, compressor("zlib"), 64, registry=lab.registry)
        self.owner = self.zram.pool.owner
        self.next = 0

    def hold(self, data):
        key, self.next = self.next % 64, self.next + 1
        return key if self.write(key, data) else None

    def read(self, key):
        try:
            return self.zram.read_page(key)
        except ContextError:
            return None

    def write(self, key, data):
        try:
            return self.zram.write_page(key, whole_page(data)) == 0
        except ContextError:
            return False

    def let_go(self, key):
        self.zram.discard(key)
        return True


class CleanPages(Subject):
    """zcache: may drop a page at any time, but never gives back another."""

    def __init__(self, lab, coverage):
        self.cache = Zcache(
            lab.pages, compressor("zlib"), registry=lab.registry, coverage=coverage, max_nr_pages=40
        )
        self.owner = self.cache.zbud.owner
        self.pool = self.cache.init_pool(shared=True)
        self.next = 0

    def hold(self, data):
        key, self.next = CleanKey(self.pool, 1, self.next), self.next + 1
        return key if self.cache.put(key, whole_page(data)) else None

    def read(self, key):
        return self.cache.get(key)

    def let_go(self, key):
        self.cache.invalidate_page(key)
        return True


class Pinned(Subject):
    """A driver that keeps the addresses of a process's pages."""

    def __init__(self, lab):
        self.contents = lab.pages.contents
        self.memory = lab.machine.memory
        self.space = self.memory.mmap("process", 64)
        self.gup = Gup(lab.pages)
        self.owner = Pinner("driver", registry=lab.registry, handler=Idle())
        self.next = 0

    def hold(self, data):
        vpn, self.next = self.next % 64, self.next + 1
        self.memory.write(self.space, vpn, data)
        got = self.gup.get_user_pages(self.space, vpn, 1, self.owner, Foll.PIN | Foll.WRITE)
        return got.pins[0] if got.pins else None

    def _at(self, key):
        return None if key in self.owner._quiet else self.owner.pfn_of(key)

    def read(self, key):
        pfn = self._at(key)
        return None if pfn is None else self.contents.read(pfn, 0, DATA_NR_BYTES)

    def write(self, key, data):
        pfn = self._at(key)
        if pfn is not None:
            self.contents.write(pfn, data)
        return pfn is not None

    def let_go(self, key):
        self.gup.put_user_pages(self.owner, [key], dirty=True)
        return True


class DirectIo(Subject):
    """A disk that reads into registered buffers; time passes only when the kit says so."""

    def __init__(self, lab, policy):
        self.memory = lab.machine.memory
        self.space = self.memory.mmap("process", 16)
        self.blocks = ArenaContents(16)
        self.device = SimulatedDevice(
            "disk", Gup(lab.pages), self.blocks, EventQueue(lab.machine.clock),
            model=DeviceModel(Constant(1000)), rng=np.random.default_rng(0),
            registry=lab.registry, policy=policy,
        )  # fmt: skip
        self.owner = self.device.pinner
        self.unused = list(range(16))
        self.in_flight = {}

    def hold(self, data):
        if not self.unused:
            return None
        vpn = self.unused[0]
        self.memory.write(self.space, vpn, bytes(8))  # there is a page now
        if self.device.register(self.space, vpn, 1) != 0:
            return None
        self.unused.pop(0)
        if self.write(vpn, data):
            return vpn
        self.let_go(vpn)
        return None

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
        self.device.drain()

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


class Objects(Subject):
    """A cache of slab objects, and the one who keeps their addresses."""

    def __init__(self, lab):
        self.slabs = Slabs(lab.pages, registry=lab.registry)
        self.owner = self.slabs.create("dentry", OBJECT_NR_BYTES, ops=self)
        self.address_of = {}
        self.next = 0

    def isolate(self, objects, mode):
        return Verdict.YES

    def migrate(self, moved):
        for key, address in self.address_of.items():
            self.address_of[key] = moved.get(address, address)

    def hold(self, data):
        address = self.owner.alloc()
        if address < 0:
            return None
        self.slabs.memory.store(address, data)
        key, self.next = self.next, self.next + 1
        self.address_of[key] = address
        return key

    def read(self, key):
        address = self.address_of[key]
        if self.slabs.memory.is_quiet(address):
            return None
        return self.slabs.memory.load(address, DATA_NR_BYTES)

    def write(self, key, data):
        self.slabs.memory.store(self.address_of[key], data)
        return True

    def let_go(self, key):
        if self.slabs.memory.is_quiet(self.address_of[key]):
            return False
        self.owner.free(self.address_of.pop(key))
        return True


def _named(name, kind, *arguments):
    def make(lab):
        return kind(lab, *arguments)

    make.__name__ = name
    make.make_lab = MachineLab
    return make


opaque = _named("opaque", Opaque)
balloon = _named("balloon", Ballooning)
zbud = _named("zbud", Pooled, "zbud")
z3fold = _named("z3fold", Pooled, "z3fold")
zsmalloc = _named("zsmalloc", Pooled, "zsmalloc")
zswap_on_zbud = _named("zswap_on_zbud", Swapped, "zbud")
zswap_on_zsmalloc = _named("zswap_on_zsmalloc", Swapped, "zsmalloc")
zram = _named("zram", Disk)
zcache_drops = _named("zcache_drops", CleanPages, "unuse")
zcache_moves = _named("zcache_moves", CleanPages, "migrate")
gup = _named("gup", Pinned)
odirect_refuse = _named("odirect_refuse", DirectIo, Policy.REFUSE)
odirect_wait = _named("odirect_wait", DirectIo, Policy.WAIT)
odirect_cancel = _named("odirect_cancel", DirectIo, Policy.CANCEL)
odirect_restart = _named("odirect_restart", DirectIo, Policy.RESTART)
aio = _named("aio", Completions)
slab = _named("slab", Objects)

SUBJECTS = [
    opaque, balloon, zbud, z3fold, zsmalloc, zswap_on_zbud, zswap_on_zsmalloc, zram,
    zcache_drops, zcache_moves, gup, odirect_refuse, odirect_wait, odirect_cancel,
    odirect_restart, aio, slab,
]  # fmt: skip
