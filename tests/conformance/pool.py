"""A pool of pages that a device writes into: counted handles, I/O in flight, a cache.

    slot      one page, pinned with the slot's number for as long as the pool has the page
    handle    (slot, generation); out of date once the slot has gone back to the cache
    cache     slots without a user, newest last; taken first, given up when the VM asks

References of a page: the pool's, and one for each user of the handle.
"""

import numpy as np

from pinpage.owner import PinOwner, Verdict
from pinpage.testing.conformance.lab import Subject

__all__ = ["Pool", "PoolSubject", "pool"]


class Pool(PinOwner):
    """Keeps every promise."""

    name = "pool"

    def __init__(self, lab):
        self.lab = lab
        self.registry = lab.registry
        self.pfn_of = {}
        self.users = {}
        self.generation = {}
        self.in_flight = {}
        self.quiet = set()
        self.cache = []
        self.next = 0

    # The driver's side.

    def alloc(self, data):
        """A handle with one user, or None."""
        slot = self._from_cache()
        if slot is None:
            slot = self._new_slot()
        if slot is None:
            return None
        self.users[slot] = 1
        self.lab.write(self.pfn_of[slot], data)
        return slot, self.generation[slot]

    def _from_cache(self):
        if not self.cache or self.cache[-1] in self.quiet:
            return None
        return self.cache.pop() if self.lab.get(self.pfn_of[self.cache[-1]]) else None

    def _new_slot(self):
        pfn = self.lab.alloc()
        if pfn < 0:
            return None
        slot, self.next = self.next, self.next + 1
        if self.registry.pin(pfn, self, slot) is not Verdict.YES:
            self.lab.put(pfn)  # it is still under the move that freed it
            return None
        self.pfn_of[slot], self.generation[slot] = pfn, 0
        self.lab.get(pfn)
        return slot

    def slot_of(self, handle):
        slot, generation = handle
        if self.generation.get(slot) != generation or not self.users.get(slot):
            raise KeyError(handle)
        return slot

    def is_busy(self, slot):
        return slot in self.quiet or slot in self.in_flight

    def put(self, handle):
        """One user less; the last one leaves the page to the cache.  False: not now."""
        slot = self.slot_of(handle)
        if self.is_busy(slot):
            return False
        self._drop_user(slot)
        return True

    def _drop_user(self, slot):
        self.users[slot] -= 1
        self.lab.put(self.pfn_of[slot])
        if not self.users[slot]:
            self.generation[slot] += 1
            self.cache.append(slot)

    def read(self, handle):
        slot = self.slot_of(handle)
        return None if self.is_busy(slot) else self.lab.read(self.pfn_of[slot])

    def submit(self, handle, data):
        """The device is going to write `data` into the page."""
        slot = self.slot_of(handle)
        if self.is_busy(slot):
            return False
        self.in_flight[slot] = data
        return True

    def complete(self):
        """The interrupt: whatever is in flight arrives."""
        for slot in list(self.in_flight):
            self.lab.write(self.pfn_of[slot], self.in_flight.pop(slot))

    def drop(self, slot):
        """The page of a cached slot goes back."""
        self.cache.remove(slot)
        self.forget(slot)

    def forget(self, slot):
        pfn = self.pfn_of.pop(slot)
        self.users.pop(slot)
        self.registry.unpin(pfn, self, slot)
        self.lab.put(pfn)

    # The VM's side.

    def references(self, pfns, privates):
        return np.array([1 + self.users.get(int(slot), 0) for slot in privates], dtype=np.int64)

    def isolate(self, pin, mode):
        if pin.private in self.in_flight:
            return Verdict.AGAIN
        self.quiet.add(pin.private)
        return Verdict.YES

    def migrate(self, pin, target):
        self.pfn_of[pin.private] = target
        self.quiet.discard(pin.private)

    def putback(self, pin):
        self.quiet.discard(pin.private)

    def release(self, pin, mode):
        if pin.private in self.in_flight:
            return Verdict.AGAIN
        if self.users[pin.private]:
            return Verdict.BUSY
        self.drop(pin.private)
        return Verdict.YES


class PoolSubject(Subject):
    """Things come and go by handles; what is to be written comes by the device."""

    def __init__(self, lab, kind=Pool):
        self.owner = kind(lab)
        lab.registry.register(self.owner)

    def hold(self, data):
        return self.owner.alloc(data)

    def read(self, key):
        return self.owner.read(key)

    def write(self, key, data):
        return self.owner.submit(key, data)

    def let_go(self, key):
        return self.owner.put(key)

    def tick(self):
        self.owner.complete()


def pool(lab):
    return PoolSubject(lab)
