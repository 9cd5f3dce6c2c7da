"""The pool of pages, broken in twenty-one ways, and changed in three ways that break nothing."""

import numpy as np

from pinpage.owner import Verdict
from pinpage.testing.conformance.promises import Promise
from tests.conformance.pool import Pool, PoolSubject

__all__ = ["BROKEN_POOLS", "HONEST_POOLS"]


class GoesOn(Pool):
    """Says Yes with I/O in flight."""

    def isolate(self, pin, mode):
        self.quiet.add(pin.private)
        return Verdict.YES


class GoesOnInBatch(Pool):
    """Does so when it is asked about many."""

    def isolate_many(self, pfns, privates, mode):
        self.quiet.update(int(slot) for slot in privates)
        return np.full(len(pfns), Verdict.YES, dtype=np.uint8)


class OldOrders(GoesOn):
    """And the device goes by the address of when it was told."""

    def submit(self, handle, data):
        slot = self.slot_of(handle)
        if not super().submit(handle, data):
            return False
        self.in_flight[slot] = self.pfn_of[slot], data
        return True

    def complete(self):
        for slot in list(self.in_flight):
            self.lab.write(*self.in_flight.pop(slot))


class OldMap(Pool):
    """Tells the device its addresses once, and not again after a move."""

    def __init__(self, lab):
        super().__init__(lab)
        self.mapped = {}

    def complete(self):
        for slot in list(self.in_flight):
            pfn = self.mapped.setdefault(slot, self.pfn_of[slot])
            self.lab.write(pfn, self.in_flight.pop(slot))


class LateFlush(GoesOn):
    """Waits for the device when it is told where its page is, and not before."""

    def complete(self):
        for slot in list(self.in_flight):
            if slot not in self.quiet:
                self.lab.write(self.pfn_of[slot], self.in_flight.pop(slot))

    def migrate(self, pin, target):
        self.quiet.discard(pin.private)
        self.complete()
        super().migrate(pin, target)


class ForgetsUsers(Pool):
    """Counts one reference for each page, whoever uses it."""

    def references(self, pfns, privates):
        return np.ones(len(privates), dtype=np.int64)


class StaysStopped(Pool):
    """Does nothing at putback."""

    def putback(self, pin):
        pass


class KeepsReference(Pool):
    """Its release unpins the page and keeps it."""

    def forget(self, slot):
        pfn = self.pfn_of.pop(slot)
        self.users.pop(slot)
        self.registry.unpin(pfn, self, slot)


class DropsUsed(Pool):
    """Its release gives up pages that have users."""

    def release(self, pin, mode):
        slot = pin.private
        if slot in self.cache:
            self.cache.remove(slot)
        for _ in range(self.users[slot]):
            self.lab.put(self.pfn_of[slot])
        self.forget(slot)
        return Verdict.YES


class UsesEarly(Pool):
    """Clears a page, and pins it then."""

    def _new_slot(self):
        pfn = self.lab.alloc()
        if pfn < 0:
            return None
        self.lab.write(pfn, bytes(8))
        slot, self.next = self.next, self.next + 1
        self.pfn_of[slot], self.generation[slot] = pfn, 0
        self.lab.get(pfn)
        self.registry.pin(pfn, self, slot)
        return slot


class ForgetsOdd(Pool):
    """Repoints every other slot."""

    def migrate(self, pin, target):
        if pin.private % 2 == 0:
            super().migrate(pin, target)
        self.quiet.discard(pin.private)


class NeverNow(Pool):
    """Has something to do whenever it is asked."""

    def isolate(self, pin, mode):
        return Verdict.AGAIN


class StaleCache(Pool):
    """What it releases stays in the cache."""

    def drop(self, slot):
        pfn = self.pfn_of[slot]
        self.registry.unpin(pfn, self, slot)
        self.lab.put(pfn)


class TakesForGranted(Pool):
    """A request counts as a user, and nobody looks whether the reference was granted."""

    def submit(self, handle, data):
        slot = self.slot_of(handle)
        if slot in self.in_flight:
            return False
        self.in_flight[slot] = data
        self.users[slot] += 1
        self.lab.get(self.pfn_of[slot])
        return True

    def complete(self):
        for slot in list(self.in_flight):
            if slot not in self.quiet:
                self.lab.write(self.pfn_of[slot], self.in_flight.pop(slot))
                self._drop_user(slot)


class NoWayBack(Pool):
    """Remembers where each page came from, and will not have it there again."""

    def __init__(self, lab):
        super().__init__(lab)
        self.left = {}

    def migrate(self, pin, target):
        if self.left.get(pin.private) == target:
            raise RuntimeError("it has just left")
        self.left[pin.private] = pin.pfn
        super().migrate(pin, target)


class SaysTrue(Pool):
    """Its release answers as a predicate does."""

    def release(self, pin, mode):
        super().release(pin, mode)
        return True


class ReleasesInFlight(Pool):
    """A buffer is given back while the device writes to it, and released then."""

    released = -1

    def put(self, handle):
        slot = self.slot_of(handle)
        if slot in self.quiet:
            return False
        self._drop_user(slot)
        return True

    def release(self, pin, mode):
        if self.users[pin.private]:
            return Verdict.BUSY
        self.released = self.pfn_of[pin.private]
        self.drop(pin.private)
        return Verdict.YES

    def complete(self):
        for slot in list(self.in_flight):
            self.lab.write(self.pfn_of.get(slot, self.released), self.in_flight.pop(slot))


class SaysYes(Pool):
    """Its release says Yes and does nothing."""

    def release(self, pin, mode):
        return Verdict.YES


class Raises(Pool):
    """Its release raises."""

    def release(self, pin, mode):
        raise OSError("no")


class CountsNobodyOut(Pool):
    """The last user goes, and the page stays as if it were used."""

    def _drop_user(self, slot):
        self.users.setdefault(("gone", slot), 1)
        self.generation[slot] += 1


class NeverReuses(Pool):
    """Keeps what comes back in a cache, and takes a new page whenever one is wanted."""

    def _from_cache(self):
        return None


# What breaks nothing.


class Careful(Pool):
    """Odd in three ways, none of which the contract minds."""

    def isolate(self, pin, mode):
        """Lets the device end, and says Yes then."""
        if pin.private in self.in_flight:
            self.complete()
        return super().isolate(pin, mode)

    def migrate(self, pin, target):
        """Insists on having said Yes: it is asked once more before it is sent back, too."""
        if pin.private not in self.quiet:
            raise RuntimeError("it has not said Yes")
        super().migrate(pin, target)

    def release(self, pin, mode):
        """Calls off I/O on pages without users, of which there is none."""
        if self.users[pin.private]:
            return Verdict.BUSY
        self.in_flight.pop(pin.private, None)
        self.drop(pin.private)
        return Verdict.YES


def _factory(kind):
    def make(lab):
        return PoolSubject(lab, kind)

    make.__name__ = kind.__name__.lower()
    return make


BROKEN_POOLS = [
    (_factory(GoesOn), Promise.C1, "writes pfn 0x0 after it said Yes"),
    (_factory(GoesOnInBatch), Promise.C1, "writes pfn 0x0 after it said Yes"),
    (_factory(OldOrders), Promise.C1, "writes pfn 0x0 after it said Yes"),
    (_factory(OldMap), Promise.C2, "which it was told to leave"),
    (_factory(LateFlush), Promise.C2, "instead of"),
    (_factory(ForgetsUsers), Promise.C6, "has 2 references, its pins account for 1"),
    (_factory(StaysStopped), Promise.C4, "nobody gets at thing 0 any more"),
    (_factory(KeepsReference), Promise.C9, "said Yes and kept 1 references"),
    (_factory(DropsUsed), Promise.C16, "a read of thing 0 raised KeyError"),
    (_factory(UsesEarly), Promise.C14, "writes pfn 0x0, which it has not pinned"),
    (_factory(ForgetsOdd), Promise.C2, "which it was told to leave"),
    (_factory(NeverNow), Promise.C15, "it answers OWNER_AGAIN"),
    (_factory(StaleCache), Promise.C12, "takes a reference of pfn 0x0, which is free"),
    (_factory(TakesForGranted), Promise.C6, "its pins account for 2"),
    (_factory(NoWayBack), Promise.C13, "migrate raised RuntimeError: it has just left"),
    (_factory(SaysTrue), Promise.C11, "answered [True]"),
    (_factory(ReleasesInFlight), Promise.C12, "on which it has no pin"),
    (_factory(SaysYes), Promise.C9, "said Yes and kept its pin"),
    (_factory(Raises), Promise.C11, "release raised OSError: no"),
    (_factory(CountsNobodyOut), Promise.C19, "is not given back after step 2"),
    (_factory(NeverReuses), Promise.C19, "is not given back after step 2"),
]

HONEST_POOLS = [_factory(Pool), _factory(Careful)]
