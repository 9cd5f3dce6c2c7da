"""A zsmalloc pool and a zram device under real threads, while a mover takes page after page.

Schedules of named steps are in `test_zsmalloc_moves`; this is for what nobody has named.
"""

import threading

import numpy as np

from mm.errno import Errno
from mm.frames import FrameState
from owners.compress import compressor
from owners.zram import Zram
from owners.zram_backing import BytesBacking
from owners.zsmalloc import ZsPool
from owners.zsmalloc_mapping import MapMode
from owners.zsmalloc_wait import read_when_still, write_when_still
from pinpage.owner import Mode, Verdict
from tests.unit.owners.worlds import FewFrames, column
from tests.unit.owners.zs_world import noise

NR_THREADS, NR_ROUNDS = 3, 150
SIZES = (20, 900, 2400, 3000, 4096)


class Frames(FewFrames):
    """The allocator's own lock; a frame in the mover's hands is put by whoever drops it last."""

    def __init__(self, nr_frames):
        super().__init__(nr_frames)
        self.lock = threading.RLock()

    def alloc_page(self, gfp=0):
        with self.lock:
            return super().alloc_page(gfp)

    def put_page(self, pfn):
        with self.lock:
            return super().put_page(pfn)

    def move_one(self, pool, rng):
        """The owner's side of a move, with the reference held across it; whether it moved."""
        with pool.lock:
            ids = pool.zspages.all_page_ids()
            if not len(ids):
                return False
            page_id = ids[[int(rng.integers(len(ids)))]]
            private = pool.zspages.privates(page_id)
        target = self.alloc_page()
        if target < 0:
            return False
        if pool.owner.isolate_many(column(0), private, Mode.SYNC)[0] != Verdict.YES:
            self.put_page(target)
            return False
        with pool.lock:  # freed meanwhile, it is nobody's any more
            source = int(pool.zspages.pfns_of(page_id)[0])
            alive = pool.zspages.from_privates(private)[1][0]
            if alive:
                self.get_page(source)
        if not alive:
            self.put_page(target)
            return False
        self.contents.copy(column(source), column(target))
        pool.owner.migrate_many(column(source), private, column(target))
        with pool.lock:
            moved = bool(pool.zspages.from_privates(private)[1][0])
        self.put_page(source)
        self.put_page(source if moved else target)
        return moved


def run(source, pool, work):
    """Threads that work, and one that moves pages until they are done; pages moved."""
    errors, done, moved = [], threading.Event(), [0]

    def guarded(body):
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            errors.append(error)

    def mover():
        rng = np.random.default_rng(9)
        while not done.wait(1e-5):
            moved[0] += source.move_one(pool, rng)

    workers = [
        threading.Thread(target=guarded, args=(lambda n=n: work(n),)) for n in range(NR_THREADS)
    ]
    moving = threading.Thread(target=guarded, args=(mover,))
    for thread in (*workers, moving):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    moving.join()
    assert not errors, errors
    assert moved[0] > 0, "nothing moved: nothing was tested"


def test_objects_are_used_freed_compacted_and_moved_side_by_side():
    source = Frames(128)
    pool = ZsPool(source)

    def work(number):
        rng, model = np.random.default_rng(number), {}
        for round_ in range(NR_ROUNDS):
            handle = pool.alloc(SIZES[int(rng.integers(len(SIZES)))])
            if handle > 0:
                model[handle] = noise(number * NR_ROUNDS + round_, 20)
                write_when_still(pool, handle, model[handle])
            if len(model) > 12:
                pool.free(next(iter(model)))
                del model[next(iter(model))]
            for known in list(model)[:3]:
                assert read_when_still(pool, known, 20) == model[known]
            mapping = pool.map(list(model)[-1], MapMode.RW)
            if not isinstance(mapping, Errno):
                assert bytes(mapping.view[:20]) == model[mapping.handle]
                mapping.view[19] = model[mapping.handle][0]
                pool.unmap(mapping)
                data = model[mapping.handle]
                model[mapping.handle] = data[:19] + data[:1]
            if round_ % 20 == 0:
                pool.compact()
        for handle in model:
            pool.free(handle)

    run(source, pool, work)
    assert pool.pages_nr == 0
    pool.check()
    assert source.nr_free == 127


def test_a_disk_is_written_read_and_written_back_side_by_side():
    source = Frames(128)
    zram = Zram(source, compressor("zlib"), 48, backing=BytesBacking(bytearray(4096 * 20)))

    def work(number):
        rng, model = np.random.default_rng(number), {}
        for round_ in range(NR_ROUNDS):
            slot = number * 16 + int(rng.integers(16))
            nr_noise = (8, 900, 4096)[int(rng.integers(3))]
            page = noise(number * NR_ROUNDS + round_, nr_noise) + bytes(4096 - nr_noise)
            assert zram.write_page(slot, page) is Errno.OK
            model[slot] = page
            other = number * 16 + int(rng.integers(16))
            assert zram.read_page(other) == model.get(other, bytes(4096))
            if round_ % 7 == 0:
                zram.discard(other)
                model.pop(other, None)
            if round_ % 10 == number:
                zram.writeback("huge", limit=4)
        assert [zram.read_page(s) for s in model] == list(model.values())

    run(source, zram.pool, work)
    zram.check()
    zram.reset()
    assert zram.pool.pages_nr == 0
    assert int((source.frames.state == FrameState.USED).sum()) == 0
