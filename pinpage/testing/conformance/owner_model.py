"""The model of what an owner keeps, and everything that must hold while it is at rest.

A model is a dict from keys to what was given; references are counted against what the pins
account for; what is wrong is blamed on the promise that it breaks.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import numpy as np

from pinpage.errors import InvariantError, PinpageError
from pinpage.move.steps import Reasons
from pinpage.owner import Pin, Reason
from pinpage.testing.conformance.accounts import Accounts
from pinpage.testing.conformance.columns import plain
from pinpage.testing.conformance.escape import is_users, what_it_says
from pinpage.testing.conformance.lab import Factory, Lab, Subject, WorldLab
from pinpage.testing.conformance.partner import Partner
from pinpage.testing.conformance.plan import User
from pinpage.testing.conformance.promises import Promise
from pinpage.testing.conformance.watch import Watch
from pinpage.units import Pfns

__all__ = ["NR_PASSES", "OwnerModel", "has_time", "make_lab", "make_subject"]

_T = TypeVar("_T")

NR_PASSES = 10
"""Times that an owner is asked again before Again counts as never."""
_NR_SPARE_PARTNERS = 3
_BY_INVARIANT = {"W1": Promise.C12, "W2": Promise.C6, "V2": Promise.C6}
"""What an owner did when memory complains: used what is not its, dropped what it had not."""
_OURS = "MR"
"""Labels of invariants that no owner can break: those of the move and of the registry."""


class OwnerModel:
    """An owner in its lab, and what it must have.

    Attributes:
        lab: the world.
        log: what happened, one line each.
        watch: what the owner does.
        kept: key -> (number of the thing, data), in order of arrival.
        accounts: what the owner has taken, to be given back.
        most_per_page: things that shared a page, at most.
        subject, owner: what the factory made.
        excused: frames that a partner which lied may have kept.
        lost_to_release: whether things may be gone because their frames were given up.
        partners_before, partners_after: other owners, registered before this one and after it.
    """

    def __init__(self, factory: Factory, user: Callable[[User], None]) -> None:
        """A fresh lab with the owner in it; other owners before it, as spares.

        Args:
            factory: makes the owner.
            user: does what an owner's users do; also from inside another owner's callback.

        Raises:
            PinpageError: the factory gives no subject.
        """
        self.lab: Lab = make_lab(factory)
        self.log: list[str] = []
        self.kept: dict[Hashable, tuple[int, bytes]] = {}
        self.most_per_page = 1
        self.lost_to_release = False
        self.excused: set[int] = set()
        self._seen: set[int] = set()
        names = [f"spare {n}" for n in range(_NR_SPARE_PARTNERS)]
        self.partners_before = [Partner(name, self.lab, user) for name in names]
        self.partners_after: list[Partner] = []
        self.subject = make_subject(factory, self.lab)
        self.owner = self.subject.owner
        self.watch = Watch(self.lab, self.owner, self.log)
        self.watch.nr_other_references = self._nr_partner_references
        self.accounts = Accounts(self.lab, self.log, self._nr_partner_references)

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
                self.compare(number, got, data)
            elif self.lost_to_release:
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
            self.went_wrong("the memory", error)

    def _read_at_rest(self, key: Hashable, number: int) -> bytes | None:
        self.watch.doing = "read"
        self.watch.reached.clear()
        try:
            for _ in range(NR_PASSES):
                got = self.subject.read(key)
                if got is not None:
                    self.accounts.found(number, self._pins_on(self.watch.reached))
                    return got
                self.subject.tick()
        except BaseException as error:
            if is_users(error):
                raise
            what = f"a read of thing {number} raised {what_it_says(error)}"
            self.watch.broke(self._promise(), what)
        finally:
            self.watch.doing = ""
        return None

    def _account(self) -> None:
        """Exactly as many references as pins account for, and none without a pin."""
        registry = self.lab.registry
        pins = self.pins()
        self.accounts.rest(pins)
        nr_pages = len({pin.pfn for pin in pins})
        self.most_per_page = max(self.most_per_page, -(-len(self.kept) // max(nr_pages, 1)))
        self._seen.update(pin.pfn for pin in pins)
        for pfn in sorted(self._seen - self.excused):
            mine = [pin for pin in registry.pins(pfn) if pin.owner is self.owner]
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
        try:
            counts = np.asarray(self.owner.references(column, [pin.private for pin in pins]))
        except Exception:
            self.watch.require_kept()  # it was noted where it was raised
            raise
        if counts.shape != column.shape or counts.dtype.kind not in "iu":
            what = f"references of {len(pins)} pins answered {plain(counts)!r}"
            self.watch.broke(Promise.C6, what)
            self.watch.require_kept()
        return int(counts.sum())

    def blame(self, pfns: Pfns, reasons: Reasons) -> None:
        """References that nobody else can have taken are the owner's."""
        for pfn, reason in zip(pfns.tolist(), reasons.tolist(), strict=True):
            if reason == Reason.UNACCOUNTED and pfn not in self.excused:
                if not self.watch.owns(pfn):
                    self.watch.broke(Promise.C12, f"pfn {pfn:#x}: unpinned, and still referenced")
                else:
                    self.watch.broke(
                        Promise.C6, f"pfn {pfn:#x} has references that no pin accounts for"
                    )
        self.watch.require_kept()

    def require_not_faulty(self) -> None:
        """The mover counts references between two steps, where nobody else can."""
        registry = self.lab.registry
        if registry.is_faulty(self.owner):
            self.watch.broke(Promise.C6, registry.why_faulty(self.owner) or "")
        self.watch.require_kept()

    def compare(self, number: int, got: bytes, data: bytes) -> None:
        """A thing reads as it was given.

        Args:
            number: of the thing.
            got: what was read.
            data: what was given.
        """
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

    def went_wrong(self, what: str, error: BaseException) -> None:
        """The memory, or the owner's own code, complains."""
        self.watch.require_kept()  # else it is what came of an earlier fault
        promise = self._promise()
        text = str(error).partition("\n")[0]
        if isinstance(error, InvariantError):
            if text[:1] in _OURS:
                raise error
            promise = _BY_INVARIANT.get(text[:2], promise)
        self.watch.broke(promise, f"{what}: {what_it_says(error)}")
        self.watch.require_kept()

    def pfns(self) -> Pfns:
        """Frames that the owner has pinned, ascending."""
        return np.unique(np.array([pin.pfn for pin in self.pins()], dtype=np.int64))

    def pins(self) -> list[Pin]:
        """Pins of the owner."""
        registry = self.lab.registry
        nr_frames = registry.topology.nr_frames
        return [pin for pin in registry.iter_pins(0, nr_frames) if pin.owner is self.owner]

    def _pins_on(self, pfns: Iterable[int]) -> list[Pin]:
        pins = self.lab.registry.pins
        return [pin for pfn in pfns for pin in pins(pfn) if pin.owner is self.owner]

    def _nr_partner_references(self, pfn: int) -> int:
        return sum(
            partner.nr_references(pfn) for partner in (*self.partners_before, *self.partners_after)
        )


def has_time(subject: Subject) -> bool:
    """Whether anything happens to it by itself when time passes."""
    return getattr(type(subject), "tick", None) is not Subject.tick


def make_lab(factory: Factory) -> Lab:
    """The lab that a factory asks for.

    Raises:
        PinpageError: making it raises, or exits.
    """
    make: Callable[[], Lab] = getattr(factory, "make_lab", WorldLab)
    return _made("make_lab of the factory", make)


def make_subject(factory: Factory, lab: Lab) -> Subject:
    """What a factory makes of a lab.

    Args:
        factory: of the kit's user.
        lab: where the owner lives.

    Raises:
        PinpageError: it raises, exits, or makes no subject.
    """
    subject = _made("the factory", lambda: factory(lab), "; it gets a lab and returns a Subject")
    if getattr(subject, "owner", None) is None or not hasattr(subject, "hold"):
        raise PinpageError(
            f"the factory returned {type(subject).__name__}, not a Subject (owner and hooks)"
        )
    return subject


def _made(what: str, make: Callable[[], _T], hint: str = "") -> _T:
    try:
        return make()
    except BaseException as error:
        if is_users(error):
            raise
        raise PinpageError(f"{what} raised {what_it_says(error)}{hint}") from error
