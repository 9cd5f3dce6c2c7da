"""A zbud pool under real threads: what one thread stored, it finds, and nothing is left over.

Schedules of named steps are in `tests/unit/owners`; this is for what nobody has named.
"""

import threading

import numpy as np
import pytest

from owners.compress import compressor
from owners.zswap.zswap import Zswap
from tests.kit.owners.few_frames import FewFrames
from tests.kit.owners.zswap_bench import ScriptedHost, page

NR_THREADS, NR_ROUNDS, NR_SLOTS = 4, 120, 6


class LockedFrames(FewFrames):
    """The allocator's own lock, which a page source of one thread does not need."""

    def __init__(self, nr_frames):
        super().__init__(nr_frames)
        self._lock = threading.RLock()

    def alloc_page(self, gfp=0):
        with self._lock:
            return super().alloc_page(gfp)

    def get_page(self, pfn):
        with self._lock:
            super().get_page(pfn)

    def put_page(self, pfn):
        with self._lock:
            return super().put_page(pfn)


@pytest.mark.parametrize("exclusive", [False, True])
def test_stores_loads_invalidations_and_writebacks_side_by_side(exclusive):
    source, host = LockedFrames(64), ScriptedHost()
    zswap = Zswap(source, compressor("zlib"), host=host, max_pool_percent=15)
    pool = zswap.init(0)
    pool.exclusive = exclusive
    errors = []

    def work(number):
        rng = np.random.default_rng(number)
        stored = {}
        try:
            for _ in range(NR_ROUNDS):
                offset = number * NR_SLOTS + int(rng.integers(NR_SLOTS))
                if rng.random() < 0.3:
                    zswap.invalidate_page(0, offset)
                    stored.pop(offset, None)
                    assert zswap.load(0, offset) is None
                    continue
                content = int(rng.integers(20))
                if zswap.store(0, offset, page(content, noise=1500)):
                    stored[offset] = content
                else:
                    zswap.invalidate_page(0, offset)
                    stored.pop(offset, None)
                for known, kept in stored.items():
                    found = zswap.load(0, known)  # None: another thread's store wrote it back
                    assert found in (None, page(kept, noise=1500))
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(NR_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert zswap.counters.pool_limit_hit > 0
    zswap.check()
    zswap.invalidate_area(0)
    assert (pool.pages_nr, zswap.counters.stored_pages) == (0, 0)
    assert source.nr_free == 63
