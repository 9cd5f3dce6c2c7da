"""One protocol, three pools: the same calls, the same answers, the same bytes."""

import numpy as np
import pytest

from mm.state.contents import ArenaContents
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.compress import compressor
from owners.pool.extents import (
    Extents,
    read_objects,
    read_words,
    write_objects,
    write_words,
)
from owners.zpool import ZPOOLS, make_zpool, zpool_gfp
from owners.zsmalloc.classes import class_of
from owners.zswap.zswap import Zswap
from pinpage.errors import PinpageError
from pinpage.migrate import move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode
from pinpage.testing.world import column
from tests.kit.mm.machines import small_machine
from tests.kit.owners.few_frames import FewFrames
from tests.kit.owners.pool_world import Spare, noise

SIZES = (1, 8, 63, 64, 100, 700, 1000, 2400, 2401, 3000, 3904, 3960)


def filled(zpool):
    """A pool with objects of many sizes, and what is in each."""
    pool = make_zpool(zpool, FewFrames(64))
    data = {}
    for number, nr_bytes in enumerate(SIZES * 2):
        handle = pool.alloc(nr_bytes)
        data[handle] = noise(number, nr_bytes)
        assert pool.write(handle, data[handle]) == Errno.OK
    return pool, data


@pytest.fixture(params=ZPOOLS)
def zpool(request):
    return request.param


def test_objects_are_read_back_one_by_one_and_in_part(zpool):
    pool, data = filled(zpool)
    for handle, expected in data.items():
        assert pool.read(handle, len(expected)) == expected
        half = len(expected) // 2
        assert pool.read(handle, len(expected) - half, half) == expected[half:]
    pool.check()


def test_extents_are_where_read_reads(zpool):
    pool, data = filled(zpool)
    handles = np.array(list(data), dtype=np.int64)
    extents = pool.extents_of(handles)
    lengths = np.array([len(d) for d in data.values()], dtype=np.int64)
    assert (extents.nr_bytes >= lengths).all()
    assert (extents.head % 8 == 0).all()
    assert (extents.head % 4096 + extents.head_nr_bytes <= 4096).all()
    assert list(read_objects(pool.source.contents, extents, lengths)) == list(data.values())
    assert (extents.tail >= 0).any() == (zpool == "zsmalloc")


def test_bytes_written_by_extents_are_read_one_by_one(zpool):
    pool, data = filled(zpool)
    handles = [handle for handle, old in data.items() if len(old) > 8]
    extents = pool.extents_of(np.array(handles, dtype=np.int64))
    words = np.arange(len(handles), dtype=np.uint64)
    blobs = [noise(1000 + n, len(data[handle]) - 8) for n, handle in enumerate(handles)]
    write_words(pool.source.contents, extents, words)
    write_objects(pool.source.contents, extents.after(8), blobs)
    assert (read_words(pool.source.contents, extents) == words).all()
    for word, handle, blob in zip(words.tolist(), handles, blobs, strict=True):
        assert pool.read(handle, len(data[handle])) == word.to_bytes(8, "little") + blob


@pytest.mark.parametrize("cut", [8, 16, 24, 32, 2048, 4072, 4080, 4088])
def test_what_is_after_the_first_bytes_of_an_object_that_straddles(cut):
    """An object whose head ends at each multiple of 8, and whose rest lies elsewhere."""
    whole = Extents(column(2 * 4096 - cut), column(cut), column(4 * 4096), column(4096))
    contents, data = ArenaContents(8), noise(1, 4096)
    write_objects(contents, whole, [data])
    for nr_bytes in (8, 16, 24):
        rest = whole.after(nr_bytes)
        assert rest.nr_bytes.tolist() == [4096 - nr_bytes]
        found = list(read_objects(contents, rest, rest.nr_bytes))
        assert found == [data[nr_bytes:]]
        assert read_words(contents, rest).tobytes() == data[nr_bytes : nr_bytes + 8]


def test_no_more_bytes_than_there_is_room():
    contents, extents = ArenaContents(2), Extents.whole(column(4096), column(64))
    with pytest.raises(PinpageError, match="more bytes"):
        write_objects(contents, extents, [bytes(65)])
    with pytest.raises(PinpageError, match="more bytes"):
        list(read_objects(contents, extents, column(65)))
    with pytest.raises(PinpageError, match="2 lengths for 1"):
        write_objects(contents, extents, [b"", b""])


def test_a_handle_that_was_freed_names_nothing(zpool):
    pool, data = filled(zpool)
    handle = next(iter(data))
    pool.free(handle)
    assert not pool.is_live(handle)
    for use in (pool.free, lambda h: pool.read(h, 1), lambda h: pool.write(h, b"x")):
        with pytest.raises(PinpageError, match="names no object"):
            use(handle)
    with pytest.raises(PinpageError, match="names no object"):
        pool.extents_of(column(handle))


def test_all_pages_come_back(zpool):
    pool, data = filled(zpool)
    source = pool.source
    frames = np.arange(64)
    assert pool.holds(frames).sum() == pool.pages_nr == 63 - source.nr_free
    for handle in data:
        pool.free(handle)
    assert (pool.pages_nr, source.nr_free) == (0, 63)


def test_only_pools_that_evict_make_space(zpool):
    pool, _ = filled(zpool)
    pages_nr = pool.pages_nr
    evicting = make_zpool(zpool, FewFrames(8), evict=lambda pool, handle: pool.free(handle) or 0)
    assert evicting.alloc(100) > 0
    expected = Errno.EINVAL if zpool == "zsmalloc" else Errno.OK
    assert evicting.reclaim_lru_page(8) == expected
    assert bool(evicting.pages_nr) == (zpool == "zsmalloc")
    assert pool.reclaim_lru_page(8) == Errno.EINVAL
    assert pool.pages_nr == pages_nr


def test_under_move_reads_and_writes_are_put_off(zpool):
    machine = small_machine(4, arena=True)
    registry = machine.use_registry()
    pool = make_zpool(zpool, machine, registry=registry)
    handle = pool.alloc(1000)
    pool.write(handle, noise(1, 1000))
    pfns = np.flatnonzero(pool.holds(np.arange(machine.frames.nr_frames)))
    seen = set()
    for step in move_steps(registry, machine.mover, pfns, Spare(machine), Mode.SYNC):
        if step is Step.TARGET:
            seen = {pool.read(handle, 10), pool.write(handle, b"late")}
    assert seen == {Errno.EAGAIN}
    assert pool.read(handle, 1000) == noise(1, 1000)
    assert not pool.holds(pfns).any()
    pool.check()


@pytest.mark.parametrize(
    ("zpool", "options"),
    [
        ("zpool", {}),
        ("z3fold", {"handles": "address"}),
        ("zsmalloc", {"coverage": "unuse"}),
        ("z3fold", {"coverage": "unuse"}),
        ("zbud", {"handles": "address", "coverage": "migrate"}),
    ],
)
def test_what_a_pool_does_not_have_is_refused(zpool, options):
    with pytest.raises(PinpageError):
        make_zpool(zpool, FewFrames(4), **options)


def test_only_zsmalloc_asks_for_movable_memory():
    assert [bool(zpool_gfp(zpool) & Gfp.MOVABLE) for zpool in ZPOOLS] == [False, False, True]


@pytest.mark.parametrize("percent", [20, 100])
def test_zswap_stores_with_the_gfp_of_its_pool(zpool, percent):
    asked = []

    class Source(FewFrames):
        def alloc_page(self, gfp=Gfp.NONE):
            asked.append(gfp)
            return super().alloc_page(gfp)

    zswap = Zswap(Source(32), compressor("zlib"), zpool=zpool, max_pool_percent=percent)
    zswap.init(0)
    assert zswap.store(0, 5, bytes(4096))
    # A pool without a registry never moves: zsmalloc then takes MOVABLE back.
    assert asked == [Gfp.ZSWAP | (zpool_gfp(zpool) & ~Gfp.MOVABLE)]


# zsmalloc's bulk adoption.


def adoptable(nr_pages, nr_frames=64):
    pool = make_zpool("zsmalloc", FewFrames(nr_frames))
    return pool, np.array([pool.source.alloc_page() for _ in range(nr_pages)], dtype=np.int64)


def test_adopted_zspages_are_as_if_allocated():
    sizes = (100, 2400, 4000)
    classes = [class_of(size) for size in sizes]
    pool, pfns = adoptable(sum(c.nr_pages for c in classes))
    counts = np.array([classes[0].nr_objects, 2, 1])
    handles = pool.adopt(pfns, np.array([c.index for c in classes]), counts)
    pool.check()
    assert len(handles) == counts.sum()
    assert pool.pages_nr == len(pfns)
    extents = pool.extents_of(handles)
    assert (extents.head[-1] >> 12) == pfns[-1]
    blobs = [noise(n, int(size)) for n, size in enumerate(extents.nr_bytes)]
    write_objects(pool.source.contents, extents, blobs)
    for handle, blob in zip(handles.tolist(), blobs, strict=True):
        assert pool.read(handle, len(blob)) == blob
    assert pool.alloc(2400) > 0
    assert pool.pages_nr == len(pfns)
    for handle in handles.tolist():
        pool.free(handle)
    pool.check()


@pytest.mark.parametrize(("nr_pages", "count"), [(2, 1), (4, 1), (3, 0), (3, 6)])
def test_zspages_that_are_not_whole_are_not_adopted(nr_pages, count):
    size_class = class_of(2400)  # 3 pages, 5 objects
    pool, pfns = adoptable(nr_pages)
    with pytest.raises(PinpageError, match="zsmalloc: adopt"):
        pool.adopt(pfns, np.array([size_class.index]), np.array([count]))
    assert pool.pages_nr == 0


def test_frames_of_others_are_not_adopted_as_zspages():
    huge = np.array([class_of(4000).index] * 2)
    pool, pfns = adoptable(2)
    with pytest.raises(PinpageError, match="without duplicates"):
        pool.adopt(pfns[[0, 0]], huge, np.array([1, 1]))
    with pytest.raises(PinpageError, match="not a plain used frame"):
        pool.adopt(column(60, 61), huge, np.array([1, 1]))
    pool.adopt(pfns, huge, np.array([1, 1]))
    with pytest.raises(PinpageError, match="not a plain used frame"):
        pool.adopt(pfns, huge, np.array([1, 1]))
    pool.check()
