"""zswap over the real swap core: out through reclaim, back through unuse, writeback, faults."""

import pytest

from mm.paging.swap_core import SwapCore
from mm.state.errno import Errno
from mm.swap.swapops import swp_entry, swp_type
from owners.compress import compressor
from owners.zbud.reclaim import ZbudReclaim
from owners.zswap.zswap import Zswap
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from tests.kit.mm.swap_world import SwapWorld


class Bench:
    """A world whose swap area has zswap before it, and processes whose pages are in zswap."""

    def __init__(self, nr_frames=32, **kwargs):
        self.world = SwapWorld(nr_frames=nr_frames, nr_slots=32, frontswap=False)
        self.host = SwapCore(self.world.paging)
        self.zswap = Zswap(
            self.world.source, compressor("zlib"), host=self.host, max_pool_percent=90, **kwargs
        )
        self.pool = self.zswap.init(self.world.area.type)
        self.world.area.frontswap = self.zswap
        self.design = ZbudReclaim(self.world.source, self.zswap.pools)

    def swapped(self, *texts):
        space = self.world.process("p", *texts)
        self.world.swap_out()
        assert self.zswap.counters.stored_pages == len(texts)
        return space

    def entry(self, space, vpn):
        return self.world.entry(space, vpn)

    def handle(self, entry):
        tree = self.zswap._trees[swp_type(entry)]
        return int(self.zswap._entries.handle[tree.rows[entry & 0xFF_FFFF_FFFF]])

    def check(self):
        self.world.check()
        self.zswap.check()


@pytest.fixture
def bench():
    return Bench()


def test_pages_swapped_out_are_in_the_pool_and_faults_bring_them_back(bench):
    space = bench.swapped(b"one", b"two", b"three")
    assert bench.world.area.disk == {}
    assert [bench.world.read(space, vpn) for vpn in range(3)] == [b"one", b"two", b"three"]
    bench.check()


def test_release_brings_both_objects_back_and_frees_the_page(bench):
    space = bench.swapped(b"one", b"two")
    pfn = int(bench.pool.pages.pfn[0])
    assert bench.pool.pages_nr == 1
    assert bench.design.release(column(pfn), Mode.SYNC).tolist() == [Reason.RELEASED]
    assert (bench.pool.pages_nr, bench.zswap.counters.unused_pages) == (0, 2)
    assert (space.pte[:2] > 0).all()
    assert [bench.world.read(space, vpn) for vpn in range(2)] == [b"one", b"two"]
    assert bench.world.init_mm.mm_users == 1
    bench.check()


def test_unuse_without_memory_keeps_the_object(bench):
    space = bench.swapped(b"one", b"two")
    taken = bench.world.take_all_frames()
    pfn = int(bench.pool.pages.pfn[0])
    assert bench.design.release(column(pfn), Mode.SYNC).tolist() == [Reason.OWNER_BUSY]
    assert bench.zswap.counters.unused_pages == 1
    bench.world.give_back(taken)
    bench.check()
    assert bench.world.read(space, 0) == b"one"


def test_unuse_of_a_dying_area_is_cancelled(bench):
    space = bench.swapped(b"one")
    bench.world.area.writeok = False
    handle = bench.handle(bench.entry(space, 0))
    assert bench.zswap.unuse_entry(bench.pool, handle) == Errno.ECANCELED
    assert bench.host.get_device(7) is False
    bench.world.area.writeok = True
    assert bench.zswap.unuse_entry(bench.pool, handle) == Errno.OK
    assert bench.world.area.nr_holders == 0


def test_writeback_puts_the_page_on_disk_and_a_fault_reads_it_there(bench):
    space = bench.swapped(b"one", b"two")
    entry, nr_free = bench.entry(space, 0), bench.world.nr_free
    assert bench.zswap.writeback_entry(bench.pool, bench.handle(entry)) == Errno.OK
    assert bench.world.area.disk[entry & 0xFF].rstrip(b"\0") == b"one"
    assert bench.world.nr_free == nr_free  # the other object keeps the zbud page
    bench.check()
    assert bench.world.read(space, 0) == b"one"
    assert bench.zswap.counters.written_back_pages == 1


def test_writeback_of_a_cached_slot_is_eexist_and_without_memory_enomem(bench):
    space = bench.swapped(b"one", b"two")
    entry = bench.entry(space, 1)
    pfn = bench.host.get_cache_page(entry)
    assert bench.zswap.writeback_entry(bench.pool, bench.handle(entry)) == Errno.EEXIST
    bench.host.drop_cache_page(entry, pfn)
    taken = bench.world.take_all_frames()
    assert bench.zswap.writeback_entry(bench.pool, bench.handle(entry)) == Errno.ENOMEM
    bench.world.give_back(taken)
    bench.check()


def test_no_cache_page_for_a_slot_that_is_free(bench):
    nr_free = bench.world.nr_free
    assert bench.host.get_cache_page(swp_entry(bench.world.area.type, 9)) == Errno.ENOMEM
    assert bench.world.nr_free == nr_free


def test_a_full_pool_makes_room_on_disk():
    bench = Bench()
    bench.zswap._max_nr_pages = 1
    texts = [bytes([n]) * 9 for n in range(1, 9)]
    space = bench.world.process("p", *texts)
    bench.world.swap_out()
    assert bench.pool.pages_nr == 1  # a second one is made, and room for it
    assert bench.zswap.counters.written_back_pages > 0
    bench.check()
    assert [bench.world.read(space, vpn) for vpn in range(8)] == texts
