"""zswap over a few frames and a swap core that does as a test says."""

import numpy as np

from mm.state.errno import Errno
from mm.swap.swapops import swp_entry
from owners.compress import compressor
from owners.zswap.zswap import BLOB_HEADER_NR_BYTES, Zswap
from tests.kit.owners.few_frames import PAGE, FewFrames, live_handles

__all__ = ["TYPE", "ScriptedHost", "ZswapBench", "page"]

TYPE = 1


def page(number, noise=1000):
    """A page of which about `noise` bytes do not compress."""
    rng = np.random.default_rng(number)
    return rng.bytes(noise) + bytes([number % 256]) * (PAGE - noise)


class ScriptedHost:
    """A swap core whose answers a test sets; `events` says what it was asked."""

    def __init__(self):
        self.events = []
        self.disk = {}
        self.cache_error = 0
        self.writeok = True
        self.on_cache_page = lambda entry: None
        self.on_unuse = lambda entry: Errno.OK
        self.nr_holders = 0

    def get_cache_page(self, entry):
        self.events.append(("cache", entry))
        self.on_cache_page(entry)
        return self.cache_error or 77

    def write_page(self, entry, pfn, page):
        self.events.append(("write", entry))
        self.disk[entry] = page

    def drop_cache_page(self, entry, pfn):
        self.events.append(("drop", entry))

    def get_device(self, swap_type):
        self.nr_holders += self.writeok
        return self.writeok

    def put_device(self, swap_type):
        self.nr_holders -= 1

    def unuse(self, entry):
        self.events.append(("unuse", entry))
        return self.on_unuse(entry)


class ZswapBench:
    def __init__(self, nr_frames=64, **kwargs):
        self.source = FewFrames(nr_frames)
        self.host = ScriptedHost()
        self.zswap = Zswap(self.source, compressor("zlib"), host=self.host, **kwargs)
        self.pool = self.zswap.init(TYPE)

    def handle(self, offset):
        """The object that holds the page of this slot, by the header that zswap wrote."""
        for handle in live_handles(self.pool):
            pfn, at = self.pool.map(handle)
            header = self.source.contents.read(pfn, at, BLOB_HEADER_NR_BYTES)
            self.pool.unmap(handle)
            if int.from_bytes(header, "little") == swp_entry(TYPE, offset):
                return handle
        raise KeyError(offset)

    def writeback(self, offset):
        return self.zswap.writeback_entry(self.pool, self.handle(offset))

    @property
    def counters(self):
        return self.zswap.counters
