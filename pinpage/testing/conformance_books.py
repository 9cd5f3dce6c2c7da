"""The model of what an owner keeps, and everything that must hold while it is at rest.

A model is a dict from keys to what was given; references are counted against what the pins
account for; what is wrong is blamed on the promise that it breaks.
"""

from collections.abc import Hashable

import numpy as np

from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Pin, Reason
from pinpage.steps import Reasons
from pinpage.testing.conformance_lab import Factory, Lab, WorldLab
from pinpage.testing.conformance_partner import Partner
from pinpage.testing.conformance_plan import User
from pinpage.testing.conformance_promises import Promise
from pinpage.testing.conformance_watch import Watch
from pinpage.units import Pfns

__all__ = ["NR_PASSES", "Books", "one_line"]

NR_PASSES = 10
"""Times that an owner is asked again before Again counts as never."""
_NR_SPARE_PARTNERS = 3
_BY_INVARIANT = {"W1": Promise.C12, "W2": Promise.C6, "V2": Promise.C6}
"""What an owner did when memory complains: used what is not its, dropped what it had not."""
_OURS = "MR"
"""Labels of invariants that no owner can break: those of the move and of the registry."""


class Books:
    """An owner in its lab, and the books on what it must have.

    Attributes:
        lab: the world.
        log: what happened, one line each.
        watch: what the owner does.
        kept: key -> (number of the thing, data), in order of arrival.
    """

    def __init__(self, factory: Factory) -> None:
        """A fresh lab with the owner in it; other owners before it, as spares.

        Raises:
            PinpageError: the factory gives no subject.
        """
        self.lab: Lab = getattr(factory, "make_lab", WorldLab)()
        self.log: list[str] = []
        self.kept: dict[Hashable, tuple[int, bytes]] = {}
        self._lost_to_release = False
        self._excused: set[int] = set()
        self._seen: set[int] = set()
        names = [f"spare {n}" for n in range(_NR_SPARE_PARTNERS)]
        self._before = [Partner(name, self.lab, self.user) for name in names]
        self._after: list[Partner] = []
        self._subject = factory(self.lab)
        if getattr(self._subject, "owner", None) is None:
            raise PinpageError("the factory must return a Subject: an object with an `owner`")
        self._owner = self._subject.owner
        self.watch = Watch(self.lab, self._owner, self.log)
        self.watch.nr_other_references = self._nr_partner_references

    def user(self, action: User) -> None:
        """What the owner's users do; also from inside another owner's callback."""
        raise NotImplementedError

    def at_rest(self) -> None:
        """Nobody is under move: everything is readable, and every reference accounted for.

        Raises:
            BrokenPromiseError: the owner broke a promise.
        """
        watch = self.watch
        watch.require_kept()
        for key, (number, data) in list(self.kept.items()):
            got = self._read_at_rest(key, number)
            if got is not None:
                self._compare(number, got, data)
            elif self._lost_to_release:
                del self.kept[key]
            else:
                watch.broke(self._promise(), f"nobody gets at thing {number} any more")
            watch.require_kept()
        self._account()
        watch.require_kept()
        if not self.kept:
            watch.last.clear()

    def check_lab(self) -> None:
        """The memory does not contradict itself."""
        try:
            self.lab.check()
        except InvariantError as error:
            self._went_wrong("the memory", error)

    def _read_at_rest(self, key: Hashable, number: int) -> bytes | None:
        self.watch.doing = "read"
        try:
            for _ in range(NR_PASSES):
                got = self._subject.read(key)
                if got is not None:
                    return got
                self._subject.tick()
        except Exception as error:  # noqa: BLE001 - whatever it is, the owner's code raised it
            self.watch.broke(self._promise(), f"a read of thing {number} raised {one_line(error)}")
        finally:
            self.watch.doing = ""
        return None

    def _account(self) -> None:
        """Exactly as many references as pins account for, and none without a pin."""
        registry = self.lab.registry
        pfns = self._pfns().tolist()
        self._seen.update(pfns)
        for pfn in sorted(self._seen - self._excused):
            mine = [pin for pin in registry.pins(pfn) if pin.owner is self._owner]
            others = self._nr_partner_references(pfn)
            left = self.lab.references(pfn) - others
            if mine:
                wanted = self._references(mine)
                if left != wanted:
                    detail = f"pfn {pfn:#x} has {left} references, its pins account for {wanted}"
                    self.watch.broke(Promise.C6, detail)
            else:
                self._seen.discard(pfn)
                if left > 0:
                    detail = f"pfn {pfn:#x} is not pinned and still has {left} references"
                    self.watch.broke(Promise.C12, detail)

    def _references(self, pins: list[Pin]) -> int:
        column = np.array([pin.pfn for pin in pins], dtype=np.int64)
        return int(np.sum(self._owner.references(column, [pin.private for pin in pins])))

    def _blame(self, pfns: Pfns, reasons: Reasons) -> None:
        """References that nobody else can have taken are the owner's."""
        for pfn, reason in zip(pfns.tolist(), reasons.tolist(), strict=True):
            if reason == Reason.UNACCOUNTED and pfn not in self._excused:
                if not self.watch.owns(pfn):
                    self.watch.broke(Promise.C12, f"pfn {pfn:#x}: unpinned, and still referenced")
                else:
                    self.watch.broke(
                        Promise.C6, f"pfn {pfn:#x} has references that no pin accounts for"
                    )
        if self.lab.registry.is_faulty(self._owner):
            self.watch.broke(Promise.C6, "migrate left a reference on the source")
        self.watch.require_kept()

    def _compare(self, number: int, got: bytes, data: bytes) -> None:
        if got[: len(data)] != data:
            seen = f"thing {number} reads {got[: len(data)]!r} instead of {data!r}"
            self.watch.broke(self._promise(self.watch.touched), seen)
        self.watch.require_kept()

    def _promise(self, pfn: int = -1) -> Promise:
        """Which promise lost contents break: it depends on what the owner was told last."""
        last = self.watch.last
        told = last.get(pfn) or next(
            (word for word in ("putback", "back", "migrate") if word in last.values()), ""
        )
        by_word = {"putback": Promise.C4, "back": Promise.C13, "migrate": Promise.C2}
        return by_word.get(told, Promise.C16)

    def _went_wrong(self, what: str, error: Exception) -> None:
        """The memory, or the owner's own code, complains."""
        promise = self._promise()
        text = one_line(error)
        if isinstance(error, InvariantError):
            if text[:1] in _OURS:
                raise error
            promise = _BY_INVARIANT.get(text[:2], promise)
        self.watch.broke(promise, f"{what}: {type(error).__name__}: {text}")
        self.watch.require_kept()

    def _pfns(self) -> Pfns:
        return np.unique(np.array([pin.pfn for pin in self._pins()], dtype=np.int64))

    def _pins(self) -> list[Pin]:
        registry = self.lab.registry
        nr_frames = registry.topology.nr_frames
        return [pin for pin in registry.iter_pins(0, nr_frames) if pin.owner is self._owner]

    def _nr_partner_references(self, pfn: int) -> int:
        return sum(partner.nr_references(pfn) for partner in (*self._before, *self._after))


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).partition("\n")[0]
