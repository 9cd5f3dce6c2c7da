"""The contract between the VM and whoever holds pages.

A *pin* says: this owner cannot tolerate that pfn changing under it, and here is its own
key (`private`) for what it keeps there.  To move a frame the VM asks every owner that
pinned it, in the order in which the owners registered:

    isolate every pin -> copy once -> migrate every pin        (all said Yes)
    isolate some pins -> putback those, in reverse             (somebody said no)

=============  =================================================  =====================
callback       promise of the owner                               may it call the core?
=============  =================================================  =====================
isolate        Yes: until migrate or putback it neither reads     pin and unpin other
               nor writes the frame, nor lets a device do so.     frames; unpin this one
               Again: in use now.  Busy: not in this call.        (then it was freed)
migrate        the bytes are at `target`; repoint.  Not refused.  as above
putback        it did not happen; carry on.  May not fail.        as above
release        (optional) give the frame up instead of moving.    as above, and allocate
=============  =================================================  =====================

No core lock is held over a callback.  Each callback has a batch form; the default loops.

Kernel counterparts: the 2013 pin-page RFC (one callback, several owners) and
movable_operations of v6.0 (isolate, migrate, putback; one owner per page).
"""

import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pinpage.units import Pfns

__all__ = ["CallbackOwner", "Mode", "Pin", "PinOwner", "Reason", "Verdict", "Verdicts"]


class Mode(enum.IntEnum):
    """How long the caller is willing to wait (enum migrate_mode)."""

    ASYNC = 0
    """Never wait: try-locks only."""
    SYNC_LIGHT = 1
    """May wait for locks, never for I/O."""
    SYNC = 2
    """May wait for locks and I/O."""


class Verdict(enum.IntEnum):
    """What an owner answers when it is asked to let a frame move."""

    YES = 0
    AGAIN = 1
    """In use at this moment; another pass may succeed (-EAGAIN)."""
    BUSY = 2
    """Not in this call (-EBUSY)."""


class Reason(enum.IntEnum):
    """How the attempt to move one frame ended.  The one taxonomy, counted everywhere.

    The first three are successes: the source frame is free.
    """

    MOVED = 0
    FREED = 1
    """Freed under us: its owner let go of it while it was isolated."""
    RELEASED = 2
    """Its owner gave it up (zbud's unuse, balloon's deflate) instead of moving it."""
    NO_OWNER = 3
    """Nobody registered it and it has no page tables: a frame nobody knows never moves."""
    NO_CALLBACK = 4
    """An owner is known, but it has no way to move."""
    OWNER_AGAIN = 5
    OWNER_BUSY = 6
    PARTNER_REFUSED = 7
    """Several owners share the frame, one said yes and another said no."""
    UNACCOUNTED = 8
    """Somebody holds a reference that no pin and no page table accounts for."""
    NO_TARGET = 9
    """No destination (-ENOMEM)."""
    RACED_FREE = 10
    """Its last reference was gone before it could be taken."""
    ALREADY_ISOLATED = 11
    """Another mover has it."""
    OWNER_FAULTY = 12
    """An owner raised or lied."""
    TIMEOUT = 13
    LARGE_PAGE = 14
    """It is part of a large page, which compaction passes over."""

    @property
    def is_success(self) -> bool:
        """Whether the source frame ended up free."""
        return self <= Reason.RELEASED


Verdicts = NDArray[np.uint8]
"""A column of `Verdict` values, one per pin asked."""


class Pin(NamedTuple):
    """One registration.

    `private` is the owner's own key for what it keeps in the frame (a handle, a slot); the
    core compares it and hands it back, and looks no further.  Any hashable value; plain
    ints of 64 bits are stored compactly.
    """

    pfn: int
    owner: "PinOwner"
    private: Any


class PinOwner:
    """Whoever holds pages.  Subclass it; override what you can do.

    An owner that overrides nothing still pins: its frames are known to be immovable, which
    is worth something to a planner.  One that overrides `migrate` (or
    its batch form) counts as movable, and should override `isolate`, whose default says BUSY
    to everybody, and mostly `putback`.  One that overrides `release` (or its batch form) can
    be asked to give up a frame.

    Identity is the object itself; `name` is for people and for counters.
    """

    name: str = "owner"

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Quiesce, or say why not.  Called without core locks; the frame is taken.

        Args:
            pin: of this owner.
            mode: whether it may wait.
        """
        return Verdict.BUSY

    def migrate(self, pin: Pin, target: int) -> None:
        """The contents are at `target`: repoint every reference.  May not refuse.

        An owner may also be asked to migrate *back*, with the pfn it came from as
        `target`, when a later owner of the same frame raised.

        Args:
            pin: of this owner, isolated.
            target: the pfn that has the contents now.
        """
        raise NotImplementedError(f"owner {self.name!r} has no migrate callback")

    def putback(self, pin: Pin) -> None:
        """The move did not happen: carry on as before `isolate`.  May not fail."""

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Give the frame up instead of moving it; Yes when the pin is gone.

        Args:
            pin: of this owner.
            mode: whether it may wait.
        """
        return Verdict.BUSY

    # What the VM may ask about an owner without calling it back.

    @property
    def can_migrate(self) -> bool:
        """Whether this owner's frames can move at all: it overrides `migrate`."""
        return (
            type(self).migrate is not PinOwner.migrate
            or type(self).migrate_many is not PinOwner.migrate_many
        )

    @property
    def can_release(self) -> bool:
        """Whether this owner can give a frame up instead."""
        return (
            type(self).release is not PinOwner.release
            or type(self).release_many is not PinOwner.release_many
        )

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """How many page references each of these pins accounts for (default: one each).

        A move goes ahead only where the references are exactly those accounted for.

        Args:
            pfns, privates: the pins, one row each.
        """
        return np.ones(len(pfns), dtype=np.int64)

    # Batch forms.  `pfns` and `privates` are parallel; the default loops.

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """`isolate` for many pins at once; returns one `Verdict` each, shape (n,).

        Args:
            pfns, privates: the pins, one row each.
            mode: whether it may wait.
        """
        pins = map(Pin, pfns.tolist(), _repeat_self(self, len(pfns)), _as_list(privates))
        return np.fromiter(
            (self.isolate(pin, mode) for pin in pins), dtype=np.uint8, count=len(pfns)
        )

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """`migrate` for many pins at once.

        Args:
            pfns, privates: the pins, one row each.
            targets: the pfns that have the contents now, parallel.
        """
        for pfn, private, target in zip(
            pfns.tolist(), _as_list(privates), targets.tolist(), strict=True
        ):
            self.migrate(Pin(pfn, self, private), target)

    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:
        """`putback` for many pins at once.

        Args:
            pfns, privates: the pins, one row each.
        """
        for pfn, private in zip(pfns.tolist(), _as_list(privates), strict=True):
            self.putback(Pin(pfn, self, private))

    def release_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """`release` for many pins at once; returns one `Verdict` each, shape (n,).

        Args:
            pfns, privates: the pins, one row each.
            mode: whether it may wait.
        """
        pins = map(Pin, pfns.tolist(), _repeat_self(self, len(pfns)), _as_list(privates))
        return np.fromiter(
            (self.release(pin, mode) for pin in pins), dtype=np.uint8, count=len(pfns)
        )

    def __repr__(self) -> str:
        """The name, for messages."""
        return f"<{type(self).__name__} {self.name!r}>"


class CallbackOwner(PinOwner):
    """The one-callback form of the 2013 patch: `migrate(page, private)`.

    The callback gets the pfn and the private and makes its subsystem stop using the page,
    by moving or by reclaiming as it likes.  It returns 0 when that is done, as the patch
    has it.  There is no destination, so to the VM this is a `release`.
    """

    def __init__(self, name: str, migrate: Callable[[int, Any], int]) -> None:
        """`migrate(pfn, private)` returns 0 for success and anything else for failure."""
        self.name = name
        self._callback = migrate

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Call the callback; what it returns decides.

        Arguments as for `pinpage.owner.PinOwner.release`.
        """
        return Verdict.YES if self._callback(pin.pfn, pin.private) == 0 else Verdict.BUSY


def _repeat_self(owner: PinOwner, count: int) -> list[PinOwner]:
    return [owner] * count


def _as_list(privates: Sequence[Any] | NDArray[Any]) -> list[Any]:
    return privates.tolist() if isinstance(privates, np.ndarray) else list(privates)
