"""How the kit drives every owner that the project has.

Each factory gets a `MachineLab` and can be named to the command, too:

    pinpage check tests.kit.conformance.subjects:zbud
"""

import numpy as np

from mm.state.gfp import Gfp
from owners.balloon import Balloon
from owners.compress import compressor
from owners.odirect.device import Policy
from owners.opaque import OpaqueOwner
from owners.slab.cache import Slabs
from owners.zcache import CleanKey, Zcache
from owners.zpool import make_zpool
from owners.zram.zram import Zram
from owners.zswap.zswap import Zswap
from pinlab.lab.machine import MachineLab
from pinpage.errors import ContextError
from pinpage.owner import Verdict
from pinpage.testing.conformance.lab import DATA_NR_BYTES, Subject
from tests.kit import inside
from tests.kit.conformance.subjects_io import Completions, DirectIo, Pinned, RealIo, WholePages
from tests.kit.conformance.subjects_more import HugePages, Locked, Names, OneCallback, Trees

__all__ = ["SUBJECTS"]

PAGE = 4096
OBJECT_NR_BYTES = 1500  # two or more of them share a page in every pool
NOISE = np.random.default_rng(7).bytes(OBJECT_NR_BYTES)  # does not compress


def whole_page(data):
    """A page that starts with `data` and compresses to a good third."""
    return data + NOISE + bytes(PAGE - len(data) - len(NOISE))


class Opaque(WholePages):
    """An owner of whose inside nothing is known: its users look at the page lock."""

    def __init__(self, lab):
        self.lab = lab
        self.contents = lab.pages.contents
        self.owner = OpaqueOwner("opaque", movable=True, registry=lab.registry)

    def hold(self, data):
        pfn = self.lab.machine.alloc_page(Gfp.KERNEL)
        if pfn < 0:
            return None
        key = int(self.owner.adopt(np.array([pfn]))[0])
        self.contents.write(pfn, data)
        return key

    def _at(self, key):
        pfn = int(self.owner.pfn_of(np.array([key]))[0])
        return None if self.lab.is_under_move(pfn) else pfn

    def let_go(self, key):
        pfn = self._at(key)
        if pfn is not None:
            self.lab.registry.unpin(pfn, self.owner, key)
            self.lab.machine.put_page(pfn)
        return pfn is not None


class Ballooning(WholePages):
    """The host keeps the data; the guest's balloon keeps the page."""

    def __init__(self, lab):
        self.contents, self.registry = lab.pages.contents, lab.registry
        self.owner = Balloon(lab.pages, registry=lab.registry)

    def pages(self):
        """Page number -> where it is, as the registry has it."""
        pins = (pin for pfn in self.owner.host for pin in self.registry.pins(pfn))
        return {pin.private: pin.pfn for pin in pins if pin.owner is self.owner}

    def hold(self, data):
        before = self.pages().keys()
        if not self.owner.inflate(1):
            return None
        ((key, pfn),) = (page for page in self.pages().items() if page[0] not in before)
        self.contents.write(pfn, data)
        return key

    def _at(self, key):
        return None if key in inside.isolated(self.owner) else self.pages().get(key)

    def let_go(self, key):
        if key in inside.isolated(self.owner):
            return False
        if key in self.pages():
            self.owner._give_back(key)
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
odirect_real = _named("odirect_real", RealIo)
slab = _named("slab", Objects)
slab_xarray = _named("slab_xarray", Trees)
slab_dentry = _named("slab_dentry", Names)
hugetlb = _named("hugetlb", HugePages)
mlock = _named("mlock", Locked)
one_callback = _named("one_callback", OneCallback)

SUBJECTS = [
    opaque, balloon, zbud, z3fold, zsmalloc, zswap_on_zbud, zswap_on_zsmalloc, zram,
    zcache_drops, zcache_moves, gup, odirect_refuse, odirect_wait, odirect_cancel,
    odirect_restart, odirect_real, aio, slab, slab_xarray, slab_dentry, hugetlb, mlock,
    one_callback,
]  # fmt: skip
