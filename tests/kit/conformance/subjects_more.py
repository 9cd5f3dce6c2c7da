"""How the kit drives hugetlb, locked memory, trees of slab objects, and a driver of 2013."""

import numpy as np

from mm.state.gfp import Gfp
from owners.hugetlb_pages import HugetlbPages
from owners.mlock import Mlock
from owners.slab.cache import Slabs
from owners.slab.dentry import Dentries
from owners.slab.xarray import XArrays
from pinpage.owner import CallbackOwner, Verdict
from pinpage.testing.conformance.lab import DATA_NR_BYTES, Subject

__all__ = ["HugePages", "Locked", "Names", "OneCallback", "Trees"]


class Locked(Subject):
    """A process that has locked its memory, and that waits at the page lock while mm moves it."""

    def __init__(self, lab):
        self.lab = lab
        self.memory = lab.machine.memory
        self.space = self.memory.mmap("process", 64)
        self.owner = Mlock(lab.machine.frames, lab.registry)
        self.next = 0

    def hold(self, data):
        vpn, self.next = self.next % 64, self.next + 1
        if self.memory.write(self.space, vpn, data) != 0:
            return None
        if self.owner.lock(self.space, np.array([vpn])) is Verdict.YES:
            return vpn
        self.memory.dontneed(self.space, np.array([vpn]))
        return None

    def _is_quiet(self, key):
        return self.lab.is_under_move(int(self.space.pte[key]) - 1)

    def read(self, key):
        return None if self._is_quiet(key) else self.memory.read(self.space, key)

    def write(self, key, data):
        return not self._is_quiet(key) and self.memory.write(self.space, key, data) == 0

    def let_go(self, key):
        self.owner.unlock(self.space, np.array([key]))
        self.memory.dontneed(self.space, np.array([key]))
        return True


class HugePages(Subject):
    """A pool of huge pages of 8 frames; a used one makes way as long as there is another."""

    def __init__(self, lab):
        machine = lab.machine
        self.contents = lab.pages.contents
        self.pool = machine.hugetlb
        self.owner = HugetlbPages(lab.pages, self.pool, registry=lab.registry)
        self.owner.may_dissolve = True
        self.next = 0

    def hold(self, data):
        key, self.next = self.next, self.next + 1
        if not self.owner.nr_free and self.pool.grow(1):
            self.owner.adopt()
        if self.owner.use(key) < 0:
            return None
        self.write(key, data)
        return key

    def read(self, key):
        return self.contents.read(self.owner.head_of(key), 0, DATA_NR_BYTES)

    def write(self, key, data):
        self.contents.write(self.owner.head_of(key), data)
        return True

    def let_go(self, key):
        self.owner.unuse(key)
        return True


class Trees(Subject):
    """Values in xarrays; every pointer to a node lies in a node, or in the table of roots."""

    def __init__(self, lab):
        self.trees = XArrays(Slabs(lab.pages, registry=lab.registry))
        self.owner = self.trees.cache
        self.next = 0

    def hold(self, data):
        key, self.next = self.next, self.next + 1
        return key if self.write(key, data) else None

    def read(self, key):
        value = self.trees.load(key % 3, key << 4)
        return None if value < 0 else value.to_bytes(DATA_NR_BYTES, "little")

    def write(self, key, data):
        return self.trees.store(key % 3, key << 4, int.from_bytes(data, "little")) == 0

    def let_go(self, key):
        return self.trees.erase(key % 3, key << 4) == 0


class Names(Subject):
    """Directory entries; what a file is told to keep is its name."""

    def __init__(self, lab):
        self.dentries = Dentries(Slabs(lab.pages, registry=lab.registry))
        self.owner = self.dentries.cache
        self.sb = self.dentries.mount()
        self.path_of = {}
        self.next = 0

    def hold(self, data):
        key, self.next = self.next, self.next + 1
        path = f"/{data.decode()} {key}"
        if self.dentries.create(self.sb, path) != 0:
            return None
        self.path_of[key] = path
        return key

    def read(self, key):
        address = self.dentries.get(self.sb, self.path_of[key])
        if address < 0:
            return None
        name = self.dentries.name_of(address)
        self.dentries.put(address)
        return name.encode()

    def let_go(self, key):
        return self.dentries.unlink(self.sb, self.path_of[key]) == 0


class OneCallback(Subject):
    """A driver of the 2013 proposal: asked for a page, it puts the data elsewhere by itself."""

    def __init__(self, lab):
        self.lab = lab
        self.contents = lab.pages.contents
        self.owner = CallbackOwner("foo", self._migrate)
        self.pfn_of = {}
        self.next = 0
        lab.registry.register(self.owner)

    def hold(self, data):
        pfn = self.lab.machine.alloc_page(Gfp.KERNEL)
        if pfn < 0:
            return None
        key, self.next = self.next, self.next + 1
        if self.lab.registry.pin(pfn, self.owner, key) is not Verdict.YES:
            self.lab.machine.put_page(pfn)
            return None
        self.pfn_of[key] = pfn
        self.contents.write(pfn, data)
        return key

    def read(self, key):
        return self.contents.read(self.pfn_of[key], 0, DATA_NR_BYTES)

    def write(self, key, data):
        self.contents.write(self.pfn_of[key], data)
        return True

    def let_go(self, key):
        pfn = self.pfn_of.pop(key)
        self.lab.registry.unpin(pfn, self.owner, key)
        self.lab.machine.put_page(pfn)
        return True

    def _migrate(self, pfn, key):
        data = self.contents.read(pfn)
        target = self.lab.machine.alloc_page(Gfp.KERNEL)
        if target < 0:
            return -12
        if self.lab.registry.pin(target, self.owner, key) is not Verdict.YES:
            self.lab.machine.put_page(target)
            return -11
        self.pfn_of[key] = target
        self.contents.write(target, data)
        self.lab.registry.unpin(pfn, self.owner, key)
        self.lab.machine.put_page(pfn)
        return 0
