"""A caller's mistake with an owner: one clear line, and nothing has changed.

As `tests/refusals/test_mm_refuses.py`; locks that were taken to look are not a change here.
Devices have a table of their own.
"""

import numpy as np
import pytest

from mm.state.gfp import Gfp
from owners.balloon import Balloon
from owners.compress import compressor
from owners.hugetlb_pages import HugetlbPages
from owners.mlock import Mlock
from owners.opaque import OpaqueOwner
from owners.slab.cache import Slabs
from owners.slab.dentry import Dentries
from owners.slab.xarray import XArrays
from owners.zbud.pool import ZbudPool
from owners.zcache import CleanKey, Zcache
from owners.zpool import make_zpool
from pinpage.errors import PinpageError
from pinpage.testing.world import column
from tests.kit.deep import deep_digest
from tests.kit.mm.machines import small_machine

PAGE = bytes(4096)


class Ground:
    """A machine with a little of every owner."""

    def __init__(self):
        self.machine = m = small_machine(32, arena=True)
        registry = m.use_registry()
        self.balloon = Balloon(m, registry=registry)
        self.balloon.inflate(5)
        self.process = m.memory.mmap("process", 6)
        m.memory.write(self.process, 1, b"bytes")
        self.mlock = Mlock(m.frames, registry)
        self.mlock.lock(self.process, column(1))
        self.opaque = OpaqueOwner("opaque", movable=True, registry=registry)
        self.frame = m.alloc_page(Gfp.KERNEL)
        self.opaque.adopt(column(self.frame))
        m.hugetlb.grow(1)
        self.huge = HugetlbPages(m, m.hugetlb, registry=registry)
        self.huge.use(1)
        slabs = Slabs(m, registry=registry)
        self.arrays, self.dentries = XArrays(slabs), Dentries(slabs)
        self.arrays.store(1, 2, 3)
        self.sb = self.dentries.mount()
        self.dentries.create(self.sb, "a")
        self.pools = [make_zpool(name, m) for name in ("zbud", "z3fold", "zsmalloc")]
        self.handles = [pool.alloc(100) for pool in self.pools]
        self.zbud = next(pool for pool in self.pools if isinstance(pool, ZbudPool))
        self.zcache = Zcache(m, compressor("zlib"))
        self.fs = self.zcache.init_pool()
        self.key = CleanKey(self.fs, 1, 2)
        self.zcache.put(self.key, PAGE)

    def digest(self):
        return deep_digest(vars(self), without=("PoolLock",))


OWNERS = [
    (lambda g: g.balloon.inflate(-1), "nr_pages=-1"),
    (lambda g: g.balloon.inflate(1.5), "nr_pages=1.5"),
    (lambda g: g.balloon.deflate(-1), "nr_pages=-1"),
    (lambda g: g.mlock.lock(g.process, column(1, 6)), "vpn=6"),
    (lambda g: g.mlock.lock(g.process, column(-1)), "vpn=-1"),
    (lambda g: g.mlock.lock(g.process, column(1, 2)), "nothing at vpn 0x2"),
    (lambda g: g.mlock.unlock(g.process, column(1, -1)), "vpn=-1"),
    (lambda g: OpaqueOwner("new", movable=True, references=-1), "references=-1"),
    (lambda g: g.opaque.adopt(column(4, 5), references=column(1)), "1 references for 2 pfns"),
    (lambda g: g.opaque.adopt(column(4, 5), references=column(1, -1)), "references=-1"),
    (lambda g: g.opaque.adopt(column(1 << 40)), "outside"),
    (lambda g: g.opaque.pfn_of(column(1)), "object_id=1"),
    (lambda g: g.opaque.pfn_of(column(-1)), "object_id=-1"),
    (lambda g: g.huge.use(1), "user 1 has a page already"),
    (lambda g: g.huge.unuse(2), "user 2 has no page"),
    (lambda g: g.huge.head_of(2), "user 2 has no page"),
    (lambda g: g.arrays.store(-1, 2, 3), "tree=-1"),
    (lambda g: g.arrays.store(1, -2, 3), "index=-2"),
    (lambda g: g.arrays.store(1, 2, -3), "value=-3"),
    (lambda g: g.arrays.store(1, 1 << 62, 3), "index=4611686018427387904"),
    (lambda g: g.arrays.store(1, 2, 3.5), "value=3.5"),
    (lambda g: g.dentries.create(g.sb + 1, "b"), "no file system 2"),
    (lambda g: g.dentries.create(g.sb, ""), "name ''"),
    (lambda g: g.dentries.create(g.sb, "x" * 41), "give 1 to 40 bytes"),
    (lambda g: g.dentries.get(g.sb + 1, "a"), "no file system 2"),
    (lambda g: g.dentries.unlink(g.sb + 1, "a"), "no file system 2"),
    (lambda g: g.dentries.umount(g.sb + 1), "no file system 2"),
    (lambda g: g.zcache.put(CleanKey(g.fs, -1, 2), PAGE), "inode=-1"),
    (lambda g: g.zcache.put(CleanKey(g.fs, 1, 1 << 64), PAGE), "index=18446744073709551616"),
    (lambda g: g.zcache.put(g.key, b"short"), "5 bytes are not a page"),
    (lambda g: g.zcache.put(CleanKey(g.fs + 1, 1, 2), PAGE), "pool"),
    (lambda g: g.zcache.get(CleanKey(g.fs + 1, 1, 2)), "pool"),
    (lambda g: g.zcache.invalidate_pool(g.fs + 1), "pool"),
    (lambda g: g.zcache.shrink(-1), "nr_pages=-1"),
    (lambda g: next(g.zbud.reclaim_steps(-1, lambda pool, handle: 0)), "page -1 is none"),
    (lambda g: next(g.zbud.reclaim_steps(9, lambda pool, handle: 0)), "page 9 is none"),
    (lambda g: next(g.zbud.reclaim_steps(1 << 40, lambda pool, handle: 0)), "is none"),
]
POOLS = [
    (lambda g, at: g.pools[at].free(-1), "."),
    (lambda g, at: g.pools[at].free(0), "."),
    (lambda g, at: g.pools[at].read(1 << 62, 10), "."),
    (lambda g, at: g.pools[at].read(g.handles[at], -1), "."),
    (lambda g, at: g.pools[at].read(g.handles[at], 10, -1), "."),
    (lambda g, at: g.pools[at].read(g.handles[at], 4097), "."),
    (lambda g, at: g.pools[at].write(-1, b"x"), "."),
    (lambda g, at: g.pools[at].write(g.handles[at], b"x", -1), "."),
    (lambda g, at: g.pools[at].write(g.handles[at], bytes(4097)), "."),
]


@pytest.fixture(scope="module")
def ground():
    return Ground()


def refuse(ground, call, says):
    before = ground.digest()
    with pytest.raises(PinpageError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert ground.digest() == before
    ground.machine.check()


@pytest.mark.parametrize(
    ("call", "says"), OWNERS, ids=[f"{at}-{says}" for at, (_, says) in enumerate(OWNERS)]
)
def test_it_is_refused_before_anything_has_changed(ground, call, says):
    refuse(ground, lambda: call(ground), says)


@pytest.mark.parametrize("at", [0, 1, 2], ids=["zbud", "z3fold", "zsmalloc"])
@pytest.mark.parametrize(("call", "says"), POOLS, ids=range(len(POOLS)))
def test_a_pool_refuses_handles_and_bytes_that_are_not_there(ground, at, call, says):
    refuse(ground, lambda: call(ground, at), says)


def test_a_handle_freed_twice():
    ground = Ground()
    for pool, handle in zip(ground.pools, ground.handles, strict=True):
        pool.free(handle)
        refuse(ground, lambda pool=pool, handle=handle: pool.free(handle), ".")


def test_a_column_of_nothing_is_no_mistake(ground):
    none = np.empty(0, dtype=np.int64)
    assert len(ground.opaque.pfn_of(none)) == len(ground.opaque.adopt(none)) == 0
