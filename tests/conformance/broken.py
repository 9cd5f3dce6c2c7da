"""Owners that each break one promise, and one that breaks none.

All keep one thing per page, as the owner of the tutorial does.  `BROKEN` says which promise
each one breaks; where a bug could be called by two names, it is the one that a reader of the
trace would use.
"""

import threading

import numpy as np

from pinpage.owner import PinOwner, Verdict
from pinpage.testing.conformance import PageSubject, Promise

__all__ = ["BROKEN", "good"]


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


def _factory(kind, subject=PageSubject):
    def make(lab):
        owner = kind(lab)
        owner.name = kind.__name__.lower()
        return subject(lab, owner, owner.pfn_of, owner.quiet)

    make.__name__ = kind.__name__.lower()
    return make


good = _factory(Good)

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
]
