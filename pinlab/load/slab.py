"""Slab objects as load: names in a dentry cache, numbers in radix trees.

Both caches can say who points to their objects, so their pages move.  A dentry that somebody
holds keeps its page where it is, and some are held for a while.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from mm.state.errno import Errno
from owners.slab.cache import SlabCache, Slabs
from owners.slab.dentry import Dentries
from owners.slab.slabs import address_of
from owners.slab.xarray import XArrays
from pinlab.load.workload import NOTHING, Action, Holding, LoadedMachine, Workload
from pinpage.units import PAGE_SHIFT

__all__ = ["DentryChurn", "XArrayChurn"]

_NR_DIRECTORIES = 16
_MOST_HELD = 4
_TREE = 1
_VALUE_NR_BYTES = 8


class DentryChurn(Workload):
    """Names that are made, looked up, held for a while, and removed, in sixteen directories.

    A slot's name is the serial that is stored there.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """At most `nr_slots` names besides the directories.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.slabs = Slabs(world.machine, registry=world.registry)
        self.dentries = Dentries(self.slabs)
        self._sb = -1
        self._held: deque[int] = deque()

    def start(self) -> None:
        """A mounted file system with every second name there."""
        self._sb = self.dentries.mount()
        for directory in range(_NR_DIRECTORIES):
            self.dentries.create(self._sb, f"d{directory}")
        for slot in range(0, len(self.pages.serials), 2):
            self._create(slot, self.pages.draw())

    def actions(self) -> Iterator[Action]:
        """A name that is missing is made; one that is there is looked up, held or removed."""
        while True:
            which, slot, serial = self.below(8), *self.any_slot()
            if self.pages.serials.item(slot) == NOTHING:
                yield self.act("create", done=self._create(slot, serial))
            elif which < 4:
                yield self.act("lookup", done=self._look_up(slot))
            elif which < 5:
                yield self.act("hold", done=self._hold(slot))
            else:
                yield self.act("unlink", done=self._unlink(slot))

    def _path(self, slot: int, serial: int) -> str:
        return f"d{slot % _NR_DIRECTORIES}/{serial:x}"

    def _create(self, slot: int, serial: int) -> bool:
        done = self.dentries.create(self._sb, self._path(slot, serial)) == Errno.OK
        if done:
            self.pages.store(slot, serial)
        return done

    def _get(self, slot: int) -> int:
        return self.dentries.get(self._sb, self._path(slot, self.pages.serials.item(slot)))

    def _look_up(self, slot: int) -> bool:
        expected = f"{self.pages.serials.item(slot):x}".encode()
        address = self._get(slot)
        if address == Errno.EAGAIN:
            return False
        found = self.dentries.name_of(address).encode() if address >= 0 else None
        self.pages.compare_with(expected, found)
        if address >= 0:
            self.dentries.put(address)
        return True

    def _hold(self, slot: int) -> bool:
        """Hold one for a while, and let go of the one that was held longest."""
        address = self._get(slot)
        if address >= 0:
            self._held.append(address)
        if len(self._held) > _MOST_HELD:
            self.dentries.put(self._held.popleft())
        return address >= 0

    def _unlink(self, slot: int) -> bool:
        path = self._path(slot, self.pages.serials.item(slot))
        done = self.dentries.unlink(self._sb, path) == Errno.OK
        if done:
            self.pages.drop(slot)
        return done

    def read_back(self) -> None:
        """Look up every name."""
        for slot in self.pages.stored().tolist():
            self._look_up(slot)

    def holdings(self) -> Iterator[Holding]:
        """The slabs of the cache."""
        yield _slabs_of(self.dentries.cache)

    def let_go(self) -> None:
        """Nothing held; the file system is unmounted."""
        while self._held:
            self.dentries.put(self._held.popleft())
        self.dentries.umount(self._sb)

    def check(self) -> None:
        """The dentries and their cache."""
        self.dentries.check()
        self.slabs.check()


class XArrayChurn(Workload):
    """A radix tree of numbers: nodes hold each other by address, and all may move."""

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """Indexes from 0 to `nr_slots` - 1, spread by a factor of seven.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.slabs = Slabs(world.machine, registry=world.registry)
        self.trees = XArrays(self.slabs)

    def actions(self) -> Iterator[Action]:
        """Half stores; else a load, or one time in eight an erase."""
        while True:
            which, slot, serial = self.below(8), *self.any_slot()
            if which < 4 or self.pages.serials.item(slot) == NOTHING:
                yield self.act("store", done=self._store(slot, serial))
            elif which < 7:
                self._load(slot)
                yield self.act("load")
            else:
                yield self.act("erase", done=self._erase(slot))

    def _store(self, slot: int, serial: int) -> bool:
        done = self.trees.store(_TREE, 7 * slot, serial) == Errno.OK
        if done:
            self.pages.store(slot, serial)
        return done

    def _load(self, slot: int) -> None:
        value = self.trees.load(_TREE, 7 * slot)
        expected = self.pages.serials.item(slot).to_bytes(_VALUE_NR_BYTES, "little")
        found = None if value < 0 else value.to_bytes(_VALUE_NR_BYTES, "little")
        self.pages.compare_with(expected, found)

    def _erase(self, slot: int) -> bool:
        done = self.trees.erase(_TREE, 7 * slot) == Errno.OK
        if done:
            self.pages.drop(slot)
        return done

    def read_back(self) -> None:
        """Load every number."""
        for slot in self.pages.stored().tolist():
            self._load(slot)

    def holdings(self) -> Iterator[Holding]:
        """The slabs of the cache."""
        yield _slabs_of(self.trees.cache)

    def let_go(self) -> None:
        """Erase everything, and free the nodes in reserve."""
        for slot in self.pages.stored().tolist():
            self._erase(slot)
        self.trees.drain_reserve()

    def check(self) -> None:
        """The trees and their cache."""
        self.trees.check()
        self.slabs.check()


def _slabs_of(cache: SlabCache) -> Holding:
    """The frames of a cache whose slabs have one frame each: none of them is without objects."""
    first = address_of(0)
    pfns = sorted({(address - first) >> PAGE_SHIFT for address in cache.objects()})
    return Holding(np.array(pfns, dtype=np.int64))
