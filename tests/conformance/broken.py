"""Owners that each break one promise, and some that break none.

All keep one thing per page, as the owner of the tutorial does.  `BROKEN` says which promise
each one breaks; where a bug could be called by two names, it is the one that a reader of the
trace would use.
"""

import os
import sys
import threading

import numpy as np

from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.testing.conformance.lab import PageSubject
from pinpage.testing.conformance.promises import Promise

__all__ = ["BROKEN", "KEEPERS", "free", "good"]


class Good(PinOwner):
    """Keeps every promise: a table, and who is quiesced."""

    def __init__(self, lab):
        self.lab = lab
        self.pfn_of = {}
        self.quiet = set()

    def isolate(self, pin, mode):
        self.quiet.add(pin.private)
        return Verdict.YES

    def migrate(self, pin, target):
        self.pfn_of[pin.private] = target
        self.quiet.discard(pin.private)

    def putback(self, pin):
        self.quiet.discard(pin.private)


class Restless(Good):
    """Touches the frame after Yes."""

    def isolate(self, pin, mode):
        return Verdict.YES


class Device(Good):
    """Quiesces its users, and forgets the device."""


class DeviceSubject(PageSubject):
    """Time passes, and the device writes what is there already, wherever the page is."""

    def tick(self):
        for pfn in self._pfn_of.values():
            self._lab.write(pfn, self._lab.snapshot(pfn)[:8])


class Sticky(Good):
    """Does not repoint."""

    def migrate(self, pin, target):
        self.quiet.discard(pin.private)


class Forgetful(Good):
    """Does nothing at putback."""

    def putback(self, pin):
        pass


class Refusing(Good):
    """Raises in migrate."""

    def migrate(self, pin, target):
        raise RuntimeError("not now")


class Fragile(Good):
    """Raises in putback."""

    def putback(self, pin):
        raise KeyError(pin.private)


class Greedy(Good):
    """Says Yes and keeps a reference of its own."""

    def isolate(self, pin, mode):
        self.lab.get(pin.pfn)
        return super().isolate(pin, mode)


class Miscounting(Good):
    """Says that each pin stands for two references."""

    def references(self, pfns, privates):
        return np.full(len(pfns), 2)


class Fleeing(Good):
    """Unpins in isolate, says Yes, and goes on using the page."""

    def isolate(self, pin, mode):
        self.lab.registry.unpin(pin.pfn, self, pin.private)
        return Verdict.YES


class Repinning(Good):
    """Pins the source again during migrate."""

    def migrate(self, pin, target):
        self.lab.registry.pin(pin.pfn, self, pin.private + 1000, wait=False)
        super().migrate(pin, target)


class TwoFaced(Good):
    """Its batch form says Yes where its single form says Busy."""

    def isolate(self, pin, mode):
        return Verdict.BUSY if pin.private % 2 == 0 else super().isolate(pin, mode)

    def isolate_many(self, pfns, privates, mode):
        self.quiet.update(np.asarray(privates).tolist())
        return np.full(len(pfns), Verdict.YES, dtype=np.uint8)


class Keeping(Good):
    """Its release says Yes and keeps the pin."""

    def release(self, pin, mode):
        return Verdict.YES


class HalfReleasing(Good):
    """Its release drops the pin and keeps the reference."""

    def release(self, pin, mode):
        self.lab.registry.unpin(pin.pfn, self, pin.private)
        del self.pfn_of[pin.private]
        return Verdict.YES


class Waiting(Good):
    """Waits, from its callback, for somebody who waits for the mover."""

    def isolate(self, pin, mode):
        arguments = (pin.pfn, self, pin.private + 1000)
        other = threading.Thread(target=self.lab.registry.pin, args=arguments, daemon=True)
        other.start()
        other.join()
        return super().isolate(pin, mode)


class Leaving(Good):
    """Unregisters from its own callback."""

    def isolate(self, pin, mode):
        self.lab.registry.unregister(self, force=True)
        return Verdict.BUSY


class Mumbling(Good):
    """Answers what is no verdict."""

    def isolate(self, pin, mode):
        super().isolate(pin, mode)


class OneWay(Good):
    """Does not expect to be sent back."""

    def __init__(self, lab):
        super().__init__(lab)
        self.moved = set()

    def isolate(self, pin, mode):
        self.moved.discard(pin.private)
        return super().isolate(pin, mode)

    def migrate(self, pin, target):
        if pin.pfn != self.pfn_of[pin.private] or target < pin.pfn:
            return
        super().migrate(pin, target)


class Secret(Good):
    """Uses pages that it does not pin."""


class SecretSubject(PageSubject):
    """Unpins as soon as it has pinned."""

    def hold(self, data):
        key = super().hold(data)
        if key is not None:
            self._lab.registry.unpin(self._pfn_of[key], self.owner, key)
        return key


class Stubborn(Good):
    """Has a migrate callback, and is always busy."""

    def isolate(self, pin, mode):
        return Verdict.BUSY


class Scribbling(Good):
    """Mixes up its own contents."""


class ScribblingSubject(PageSubject):
    """Stores a thing twice, in two pages, and the second time wrong."""

    def hold(self, data):
        key = super().hold(data)
        if key is not None and key > 1:
            self._lab.write(self._pfn_of[1], data)
        return key


class Leaver(Good):
    """Leaves the process in putback, as a script that has found a problem does."""

    def putback(self, pin):
        sys.exit(0)


class LeaverAtOnce(Good):
    """Leaves the process in isolate, without ado."""

    def isolate(self, pin, mode):
        os._exit(0)


class Closing(Good):
    """Ends its migrate as a generator ends."""

    def migrate(self, pin, target):
        raise GeneratorExit


class Interrupting(Good):
    """Its release talks like a user at the keyboard."""

    def release(self, pin, mode):
        raise KeyboardInterrupt


class CountingOut(Good):
    """Leaves the process while it counts its references."""

    def references(self, pfns, privates):
        sys.exit("no count")


class Nameless(Good):
    """Leaves the process when it is asked whether it can move at all."""

    asked = 0

    @property
    def can_migrate(self):
        self.asked += 1
        return self.asked < 2 or sys.exit(0)


class LeavingUser(PageSubject):
    """Its users leave the process."""

    def let_go(self, key):
        sys.exit(0)


class Mover(Good):
    """Moves another of its pages out of the way first."""

    def others(self, pin):
        pfns = [pfn for private, pfn in self.pfn_of.items() if private != pin.private]
        return np.array(sorted(pfns)[:1], dtype=np.int64)

    def move_others(self, pin):
        lab = self.lab
        if len(pfns := self.others(pin)):
            move_many(lab.registry, lab.memory, pfns, lab.targets(), Mode.SYNC)

    def isolate(self, pin, mode):
        self.move_others(pin)
        return super().isolate(pin, mode)


class MoverInBatch(Mover):
    """Does so when it is told of many new places at once."""

    def isolate(self, pin, mode):
        return Good.isolate(self, pin, mode)

    def migrate_many(self, pfns, privates, targets):
        super().migrate_many(pfns, privates, targets)
        targets = self.lab.targets()
        move_many(self.lab.registry, self.lab.memory, np.array(pfns), targets, Mode.ASYNC)


class Evictor(Mover):
    """Makes room, while it is put back, by having another of its pages given up."""

    def isolate(self, pin, mode):
        return Good.isolate(self, pin, mode)

    def putback(self, pin):
        super().putback(pin)
        release_many(self.lab.registry, self.lab.memory, self.others(pin), Mode.SYNC)


class Allocator(Good):
    """Wants a page to write down that a page moved."""

    def migrate(self, pin, target):
        super().migrate(pin, target)
        if (pfn := self.lab.alloc()) >= 0:
            self.lab.put(pfn)


class AllocatorInBatch(Good):
    """Wants a page for the list of those it is asked about."""

    def isolate_many(self, pfns, privates, mode):
        pfn = self.lab.world.alloc_page()
        if pfn >= 0:
            self.lab.put(pfn)
        return super().isolate_many(pfns, privates, mode)


class AllocatorInPutback(Good):
    """Wants a page to say sorry on."""

    def putback(self, pin):
        super().putback(pin)
        if (pfn := self.lab.alloc()) >= 0:
            self.lab.put(pfn)


class Early(Good):
    """Its users write to a page, and pin it then."""


class EarlySubject(PageSubject):
    """Writes once more before the pin."""

    def hold(self, data):
        pfn = self._lab.alloc()
        if pfn < 0:
            return None
        self._lab.write(pfn, data)
        private, self._next = self._next, self._next + 1
        if self._lab.registry.pin(pfn, self.owner, private) is not Verdict.YES:
            self._lab.put(pfn)
            return None
        self._pfn_of[private] = pfn
        return private


class Hoarder(Good):
    """Its users let go, and it does not."""


class HoarderSubject(PageSubject):
    """Says that it has let go of everything."""

    def let_go(self, key):
        return True


class Postponing(Good):
    """What is let go of while it moves is to be freed later, which nobody does."""


class PostponingSubject(PageSubject):
    """Forgets what it wanted to do afterwards."""

    def let_go(self, key):
        return key in self._quiet or super().let_go(key)


class Jotting(Good):
    """Takes a page for its notes with every thing, and has no place for its number."""


class JottingSubject(PageSubject):
    """Neither pins the page nor gives it back."""

    def hold(self, data):
        key = super().hold(data)
        if key is not None:
            self._lab.alloc()
        return key


class Caching(Good):
    """Keeps up to four pages that nobody wants, and takes new ones as long as there are fewer."""


class CachingSubject(PageSubject):
    """The oldest first, once the cache is full."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.cache = []

    def hold(self, data):
        if len(self.cache) == 4 and self.cache[0] not in self._quiet:
            key = self.cache.pop(0)
            self._lab.write(self._pfn_of[key], data)
            return key
        return super().hold(data)

    def let_go(self, key):
        if key in self._quiet:
            return False
        if len(self.cache) == 4:
            return super().let_go(key)
        self.cache.append(key)
        return True


class Lazy(Good):
    """Frees when a worker comes by."""


class LazySubject(PageSubject):
    """One page each time."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.unwanted = []

    def let_go(self, key):
        self.unwanted.append(key)
        return True

    def tick(self):
        if self.unwanted and self.unwanted[0] not in self._quiet:
            super().let_go(self.unwanted.pop(0))


class Endowed(Good):
    """Has pages before anybody asks for anything, and keeps them."""


class EndowedSubject(PageSubject):
    """Three of them, one not even pinned."""

    def __init__(self, lab, *others):
        super().__init__(lab, *others)
        lab.alloc()
        self.hold(b"metadata")
        self.hold(b"more of.")


class Free(Good):
    """Does from its callbacks whatever the contract allows."""

    def __init__(self, lab):
        super().__init__(lab)
        self.spare = lab.alloc()

    def isolate(self, pin, mode):
        self.juggle()
        return super().isolate(pin, mode)

    def migrate(self, pin, target):
        super().migrate(pin, target)
        self.juggle()

    def putback(self, pin):
        super().putback(pin)
        self.juggle()

    def release(self, pin, mode):
        fresh = self.lab.alloc()
        if fresh >= 0:
            self.lab.put(fresh)
        self.forget(pin)
        return Verdict.YES

    def forget(self, pin):
        del self.pfn_of[pin.private]
        self.lab.registry.unpin(pin.pfn, self, pin.private)
        self.lab.put(pin.pfn)

    def juggle(self):
        """A pin on another frame, and off again."""
        registry = self.lab.registry
        assert registry.pin(self.spare, self, "spare", wait=False) is Verdict.YES
        registry.unpin(self.spare, self, "spare")


def _factory(kind, subject=PageSubject, name=""):
    def make(lab):
        owner = kind(lab)
        owner.name = make.__name__
        return subject(lab, owner, owner.pfn_of, owner.quiet)

    make.__name__ = name or kind.__name__.lower()
    return make


good = _factory(Good)
free = _factory(Free)
KEEPERS = [
    _factory(kind, subject)
    for kind, subject in ((Caching, CachingSubject), (Lazy, LazySubject), (Endowed, EndowedSubject))
]

BROKEN = [
    # the factory, the promise, what the report says was seen
    (_factory(Restless), Promise.C1, "after it said Yes and before migrate or putback"),
    (_factory(Device, DeviceSubject), Promise.C1, "the owner writes pfn"),
    (_factory(Sticky), Promise.C2, "which it was told to leave"),
    (_factory(Refusing), Promise.C3, "migrate raised RuntimeError: not now"),
    (_factory(Forgetful), Promise.C4, "nobody gets at thing 0 any more"),
    (_factory(Fragile), Promise.C5, "putback raised KeyError"),
    (_factory(Greedy), Promise.C6, "references that no pin accounts for"),
    (_factory(Miscounting), Promise.C6, "has 1 references, its pins account for 2"),
    (_factory(Repinning), Promise.C7, "migrate pinned pfn 0x0, which is under move"),
    (_factory(TwoFaced), Promise.C8, "single form: isolate of pfn 0x1, private 2 SYNC -> Busy"),
    (_factory(Keeping), Promise.C9, "said Yes and kept its pin"),
    (_factory(HalfReleasing), Promise.C9, "said Yes and kept 1 references"),
    (_factory(Waiting), Promise.C10, "isolate in broken.py"),
    (_factory(Leaving), Promise.C10, "isolate unregistered its own owner"),
    (_factory(Mumbling), Promise.C11, "answered [None]"),
    (_factory(Fleeing), Promise.C12, "unpinned, and still referenced"),
    (_factory(OneWay), Promise.C13, ""),
    (_factory(Secret, SecretSubject), Promise.C14, "has not pinned any frame"),
    (_factory(Stubborn), Promise.C15, "it answers OWNER_BUSY"),
    (_factory(Scribbling, ScribblingSubject), Promise.C16, "instead of"),
    (_factory(Leaver), Promise.C5, "putback raised SystemExit: 0"),
    (_factory(LeaverAtOnce), Promise.C11, "isolate raised SystemExit: 0"),
    (_factory(Closing), Promise.C3, "migrate raised GeneratorExit"),
    (_factory(Interrupting), Promise.C11, "release raised KeyboardInterrupt"),
    (_factory(CountingOut), Promise.C6, "references raised SystemExit: no count"),
    (_factory(Nameless), Promise.C16, "its code raised SystemExit: 0"),
    (_factory(Good, LeavingUser, "leavinguser"), Promise.C16, "let go: SystemExit: 0"),
    (_factory(Mover), Promise.C17, "isolate has pfn 0x1 moved or released"),
    (_factory(MoverInBatch), Promise.C17, "migrate has pfn 0x0 moved or released"),
    (_factory(Evictor), Promise.C17, "putback has pfn 0x1 moved or released"),
    (_factory(Allocator), Promise.C18, "migrate allocated pfn 0x1"),
    (_factory(AllocatorInBatch), Promise.C18, "isolate allocated pfn 0x1"),
    (_factory(AllocatorInPutback), Promise.C18, "putback allocated pfn 0x1"),
    (_factory(Early, EarlySubject), Promise.C14, "writes pfn 0x0, which it has not pinned"),
    (_factory(Jotting, JottingSubject), Promise.C14, "pfn 0x1, allocated in step 1, has no pin"),
    (_factory(Hoarder, HoarderSubject), Promise.C19, "private 1, is not given back after step 2"),
    (_factory(Postponing, PostponingSubject), Promise.C19, "private 1, is not given back after"),
]
