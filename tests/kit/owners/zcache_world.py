"""zcache on a small machine, with a registry."""

from owners.compress import compressor
from owners.zcache import CleanKey, Zcache
from tests.kit.mm.machines import small_machine
from tests.kit.owners.pool_world import noise

__all__ = ["PAGE", "ZcacheWorld", "page"]

PAGE = 4096


def page(number, nr_noisy=1000):
    return noise(number, nr_noisy) + bytes(PAGE - nr_noisy)


class ZcacheWorld:
    def __init__(self, name="zlib", **kwargs):
        self.machine = small_machine(4, arena=True)
        self.registry = self.machine.use_registry()
        self.cache = Zcache(
            self.machine, compressor(name), registry=self.registry,
            **{"max_nr_pages": 20, **kwargs},
        )  # fmt: skip
        self.pool = self.cache.init_pool()
        self.shared = self.cache.init_pool(shared=True)

    def key(self, index, inode=1, pool=None):
        return CleanKey(self.pool if pool is None else pool, inode, index)

    @property
    def pfns(self):
        pages = self.cache.zbud.pages
        return pages.pfn[pages.in_use()]
