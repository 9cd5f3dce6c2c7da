"""Reading back loses nothing silently: whatever goes missing is counted, and counted in full."""

import attrs
import numpy as np
import pytest

from mm.paging.swap_state import read_swap_cache_async
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swapops import swp_entry
from pinlab.replay.corpus import Corpus
from pinlab.replay.read_back import ReadBack
from pinlab.replay.replay import replay
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from tests.kit.pinlab.small import NR_OBJECTS, small_recording

K = FrameClass
SNAPSHOT = small_recording()
CORPUS = Corpus.build(nr_pages=64)
WHOLE = [K.ANON, K.FILE, K.SLAB, K.PAGETABLE, K.OTHER, K.GUP]


@pytest.fixture
def replayed():
    return replay(SNAPSHOT, CORPUS, movable={"zbud", "slab"})


def read_back(replayed):
    return replayed.expected.read_back(
        replayed.machine.contents, replayed.zswap, replayed.machine.swap
    )


def lost(replayed):
    return read_back(replayed).bytes_lost


def pfns_of(*classes):
    return np.flatnonzero(np.isin(SNAPSHOT.klass, classes))


def unmapped_twice(klass):
    """A pfn of the class whose page is in one page table only."""
    pfns = pfns_of(klass)
    return int(pfns[SNAPSHOT.mapcount[pfns] <= 1][11])


@pytest.mark.parametrize("klass", WHOLE)
@pytest.mark.parametrize("offset", [0, 1999, 4095])
def test_one_flipped_bit_loses_its_page(replayed, klass, offset):
    assert lost(replayed) == 0
    pfn = unmapped_twice(klass)
    page = replayed.machine.contents
    page.write(pfn, bytes([page.read(pfn)[offset] ^ 1]), offset)
    assert lost(replayed) == 4096


@pytest.mark.parametrize("klass", WHOLE)
def test_two_frames_whose_contents_changed_places_are_both_lost(replayed, klass):
    contents = replayed.machine.contents
    one, other = unmapped_twice(klass), int(pfns_of(klass)[-1])
    saved = contents.read(one)
    contents.write(one, contents.read(other))
    contents.write(other, saved)
    assert lost(replayed) == 2 * 4096


def with_file_flags(flags):
    """The recording, with these flags on every page of the page cache."""
    changed = SNAPSHOT.flags.copy()
    changed[pfns_of(K.FILE)] |= flags
    return replay(attrs.evolve(SNAPSHOT, flags=changed), CORPUS, movable={"zbud", "slab"})


def drop_an_entry(replayed, index):
    space = replayed.expected.spaces[index][0]
    space.pte[np.flatnonzero(space.pte > 0)[20]] = 0


def test_a_page_table_entry_that_was_dropped_is_a_page_lost(replayed):
    drop_an_entry(replayed, 0)
    assert lost(replayed) == 4096


def test_a_clean_page_of_the_cache_that_was_dropped_is_on_disk(replayed):
    before = read_back(replayed)
    drop_an_entry(replayed, -1)
    after = read_back(replayed)
    assert (after.bytes_lost, before.bytes_verified - after.bytes_verified) == (0, 4096)


@pytest.mark.parametrize("flag", [PageFlag.DIRTY, PageFlag.SWAPBACKED])
def test_one_that_is_nowhere_else_is_lost(flag):
    replayed = with_file_flags(flag.mask)
    drop_an_entry(replayed, -1)
    assert lost(replayed) == 4096


def test_two_entries_that_point_at_one_frame_lose_the_other_page(replayed):
    space = replayed.expected.spaces[0][0]
    present = space.present()
    space.pte[present[30]] = space.pte[present[31]]
    assert lost(replayed) == 4096


def test_an_object_that_its_owner_looks_for_elsewhere_is_lost(replayed):
    owner, _ = replayed.expected.objects[0]
    free = int(pfns_of(K.FREE)[0])
    owner.migrate_many(np.array([0]), np.array([3]), np.array([free]))
    assert lost(replayed) == 4096


# Compressed pages.


def stored(replayed):
    """(vpn, offset, serial) of some swapped-out pages, and the area."""
    space, serials = replayed.expected.spaces[0]
    vpns = space.swapped()[[5, 6]]
    offsets = -space.pte[vpns] - 1 - swp_entry(0, 0)
    return space, vpns, offsets.tolist(), serials[vpns]


def test_one_flipped_bit_in_a_pool_page_loses_the_object_there(replayed):
    zswap, contents = replayed.zswap, replayed.machine.contents
    pfn = int(pfns_of(K.ZBUD)[0])
    page = np.frombuffer(contents.read(pfn), dtype=np.uint8).copy()
    blobs = [blob for _, _, blob in zswap.read_back() if bytes(blob) in page.tobytes()]
    assert 1 <= len(blobs) <= 2
    at = page.tobytes().find(blobs[0])
    page[at + len(blobs[0]) - 1] ^= 1
    contents.write(pfn, page.tobytes())
    assert lost(replayed) == len(blobs[0])


def test_an_entry_that_zswap_forgot_is_lost(replayed):
    _, _, offsets, _ = stored(replayed)
    replayed.zswap.invalidate_page(0, offsets[0])
    assert lost(replayed) == 4096


def test_two_pages_that_name_one_slot_lose_one_of_them(replayed):
    space, vpns, _, _ = stored(replayed)
    space.pte[vpns[0]] = space.pte[vpns[1]]
    assert lost(replayed) == 4096


def test_two_pages_that_changed_slots_are_both_lost(replayed):
    space, vpns, _, serials = stored(replayed)
    space.pte[vpns] = space.pte[vpns[::-1]]
    assert lost(replayed) == int(CORPUS.blob_nr_bytes(serials).sum())


def test_a_swapped_page_table_entry_that_was_dropped_is_a_page_lost(replayed):
    space, vpns, _, _ = stored(replayed)
    space.pte[vpns[0]] = 0
    assert lost(replayed) == 4096


def test_a_pool_that_is_gone_has_lost_every_page_in_it(replayed):
    read = replayed.expected.read_back(replayed.machine.contents, None, replayed.machine.swap)
    assert read.bytes_lost == NR_OBJECTS * 4096


# What is not lost.


def test_a_page_written_to_disk_is_looked_for_there(replayed):
    area = replayed.machine.swap.areas[0]
    for _ in range(40):
        assert replayed.pool.reclaim_lru_page(8) == Errno.OK
    assert len(area.disk) >= 40
    assert replayed.zswap.counters.stored_pages == NR_OBJECTS - len(area.disk)
    assert lost(replayed) == 0
    offset = next(iter(area.disk))
    area.disk[offset] = bytes(4096)
    assert lost(replayed) == 4096


def test_a_page_in_the_swap_cache_is_looked_for_there(replayed):
    _, _, offsets, _ = stored(replayed)
    pfn = read_swap_cache_async(replayed.machine.paging, swp_entry(0, offsets[0]))
    replayed.zswap.invalidate_page(0, offsets[0])
    assert lost(replayed) == 0
    replayed.machine.contents.write(pfn, b"\0" * 64)
    assert lost(replayed) == 4096


def test_a_page_that_was_compressed_anew_is_not_lost(replayed):
    _, _, offsets, _ = stored(replayed)
    area = replayed.machine.swap.areas[0]
    page = area.read_page(offsets[0])
    assert replayed.zswap.store(0, offsets[0], page)
    assert lost(replayed) == 0
    assert replayed.zswap.store(0, offsets[0], page[:-1] + b"?")
    assert lost(replayed) > 0


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_nothing_is_lost_by_moving(replayed, strategy):
    before = read_back(replayed)
    assert replayed.machine.compact(strategy).report.pages_moved > 100
    assert read_back(replayed) == before
    assert before.bytes_lost == 0


def test_a_compressed_page_brought_back_counts_in_full(replayed):
    before = read_back(replayed)
    unused = replay(SNAPSHOT, CORPUS, design_name="zbud-reclaim")
    unused.machine.compact("scan")
    after = read_back(unused)
    nr_back = unused.zswap.counters.unused_pages
    assert nr_back > 100
    assert after.bytes_lost == 0
    assert before.bytes_verified < after.bytes_verified <= before.bytes_verified + nr_back * 4096


def test_a_machine_that_stores_nothing_has_nothing_to_lose():
    klass = np.where(SNAPSHOT.klass == K.FREE, K.FREE, K.RESERVED).astype(np.uint8)
    snapshot = attrs.evolve(SNAPSHOT, klass=klass, state=STATE_OF_CLASS[klass])
    assert read_back(replay(snapshot, CORPUS)) == ReadBack(0, 0)
