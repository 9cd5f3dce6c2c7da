"""Caches on a small machine, and the simplest objects that can move: a table knows each one."""

from owners.slab.cache import Slabs
from pinpage.owner import Verdict
from tests.kit.owners.driver_world import DriverWorld

__all__ = ["SlabWorld", "Table"]


class Table:
    """`ObjectOps` of objects that a table outside of all slabs points to, by a key in each."""

    def __init__(self):
        self.cache = None
        self.memory = None
        self.at = {}
        self.held = set()
        self.setting_up = Verdict.AGAIN

    def bind(self, slabs, cache):
        self.memory, self.cache = slabs.memory, cache
        return self

    def add(self, key, fill=None):
        address = self.cache.alloc()
        if address < 0:
            return address
        data = key.to_bytes(8, "little") + bytes([key % 251] * (self.cache.stride - 8))
        self.memory.store(address, data if fill is None else fill)
        self.at[key] = address
        return address

    def remove(self, key):
        self.cache.free(self.at.pop(key))

    def read_all(self):
        for key, address in self.at.items():
            data = self.memory.load(address, self.cache.stride)
            assert data == key.to_bytes(8, "little") + bytes([key % 251] * (len(data) - 8))
        assert sorted(self.at.values()) == sorted(self.cache.objects())

    # ObjectOps

    def isolate(self, objects, mode):
        keys = {address: key for key, address in self.at.items()}
        if any(address not in keys for address in objects):
            return self.setting_up
        return Verdict.BUSY if any(keys[a] in self.held for a in objects) else Verdict.YES

    def migrate(self, moved):
        for key, address in self.at.items():
            self.at[key] = moved.get(address, address)


class SlabWorld(DriverWorld):
    """A `DriverWorld` with a slab allocator and one cache of table objects, eight to a frame."""

    def __init__(self, nr_pages=64, nr_bytes=512, order=0, is_flagged=True, is_movable=True):
        super().__init__(nr_pages)
        self.slabs = Slabs(self.machine, registry=self.registry, is_flagged=is_flagged)
        self.table = Table()
        ops = self.table if is_movable else None
        cache = self.slabs.create("objects", nr_bytes, order=order, ops=ops)
        self.table.bind(self.slabs, cache)
        self.cache = cache

    def fill(self, nr_objects, first=0):
        for key in range(first, first + nr_objects):
            assert self.table.add(key) > 0

    def check_all(self):
        self.slabs.check()
        self.table.read_all()
        self.check()
