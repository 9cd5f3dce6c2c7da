"""Who holds pages that get_user_pages gave out, and how many references each pin stands for.

A driver, a device, a ring.

Three kinds, and what a move makes of each:

==================  ==========================  =======================================
registry, handler   the mover sees              outcome
==================  ==========================  =======================================
None                an unexpected reference     UNACCOUNTED, pass after pass
registry            an owner that cannot move   NO_CALLBACK
registry, handler   an owner to be asked        moves if the handler says Yes, with the
                                                page tables and every other pinner
==================  ==========================  =======================================

Kernel counterpart: callers of pin_user_pages(); there is no callback to them in any
kernel, which is why a pinned page does not move there.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from owners.forced_out import is_registered, require_registered, unpin
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["IgnoresMoves", "MoveHandler", "PinIds", "Pinner"]

PinIds = list[int]
"""A pinner's own numbers for its pins, ascending, never used twice."""


class MoveHandler(Protocol):
    """What a pinner does around a move of one of its pages."""

    def quiesce(self, pin_id: int, mode: Mode) -> Verdict:
        """Yes: until `resume` nothing of ours reads or writes the page.

        Args:
            pin_id: of the pinner's pin on the page.
            mode: how long the mover would wait.
        """

    def resume(self, pin_id: int) -> None:
        """It is over; the page is where `Pinner.pfn_of` says, moved or not."""


class IgnoresMoves:
    """The handler of a pinner that has nothing to stop for a move: it only keeps the address."""

    def quiesce(self, pin_id: int, mode: Mode) -> Verdict:
        """Yes."""
        return Verdict.YES

    def resume(self, pin_id: int) -> None:
        """Nothing was stopped."""


class Pinner(PinOwner):
    """A table from pin ids to frames, kept true across moves.

    The id is the pin's private, so several pins of one pinner on one frame (nesting) are
    several registrations.

    Forced out of the registry it keeps its pins, whose references nothing accounts for from
    then on: their pages stay where they are until they are unpinned.

    Invariants, run by `check` between moves:
        G1 a pin of a registered pinner is registered, once, where the table says.
        G2 no pin is held still by a move that is over (of a registered pinner: one that was
           forced out is not called any more).
    """

    def __init__(
        self,
        name: str,
        *,
        registry: PinRegistry | None = None,
        handler: MoveHandler | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            name: of the owner.
            registry: where its pins are registered; None: no mover can ask it.
            handler: what it does around a move; None: its pages do not move.

        Raises:
            PinpageError: a handler without a registry: it would never be called.
        """
        if handler is not None and registry is None:
            raise PinpageError(f"pinner {name!r}: a handler needs a registry to be found by")
        self.name = name
        self.registry = registry
        self._handler = handler
        self._pfn: dict[int, int] = {}
        self._nr_references: dict[int, int] = {}
        self._quiet: set[int] = set()
        self._next_id = 0
        if registry is not None:
            registry.register(self)

    def __len__(self) -> int:
        """How many pins it holds."""
        return len(self._pfn)

    def __contains__(self, pin_id: int) -> bool:
        """Whether it holds a pin (still)."""
        return pin_id in self._pfn

    def pfn_of(self, pin_id: int) -> int:
        """Where the page of a pin is now.

        Raises:
            PinpageError: there is no such pin (any more).
        """
        pfn = self._pfn.get(pin_id)
        if pfn is None:
            raise PinpageError(f"pinner {self.name!r}: pin {pin_id} is not held (any more)")
        return pfn

    def pfns_of(self, pin_ids: Sequence[int]) -> Pfns:
        """Where the pages of some pins are now, shape (n,)."""
        return np.fromiter(map(self.pfn_of, pin_ids), dtype=np.int64, count=len(pin_ids))

    def references_of(self, pin_id: int) -> int:
        """References that a pin it holds accounts for."""
        return self._nr_references[pin_id]

    def holdings(self) -> Iterator[tuple[int, int]]:
        """(pfn, references) of each pin, in the order of their ids."""
        for pin_id, pfn in self._pfn.items():
            yield pfn, self._nr_references[pin_id]

    @property
    def is_forced_out(self) -> bool:
        """Whether it was registered once, and is not any more."""
        return self.registry is not None and not is_registered(self.registry, self)

    def require_registered(self) -> None:
        """Refuse what would need a registration, before anything has been done about it.

        Raises:
            OwnerError: the pinner was forced out.
        """
        require_registered(self.registry, self)

    # For `owners.gup.gup`: the two halves of pinning and of unpinning.

    def hold(self, pfn: int, nr_references: int) -> int:
        """Write down a pin whose references are taken; not registered yet.  Its id.

        Args:
            pfn: the frame.
            nr_references: taken on it, 1 or 1024.
        """
        pin_id = self._next_id
        self._next_id = pin_id + 1
        self._nr_references[pin_id] = nr_references
        self._pfn[pin_id] = pfn
        return pin_id

    def register(self, pin_id: int) -> bool:
        """Tell the registry; False when the frame is under move at this moment."""
        if self.registry is None:
            return True
        return self.registry.pin(self._pfn[pin_id], self, pin_id, wait=False) is Verdict.YES

    def unregister(self, pin_id: int) -> None:
        """Take the registration back: from here on no callback names this pin."""
        if self.registry is not None:
            unpin(self.registry, self.pfn_of(pin_id), self, pin_id)

    def forget(self, pin_id: int) -> tuple[int, int]:
        """Strike a pin off the table; its frame and the references left to drop."""
        self._quiet.discard(pin_id)
        return self._pfn.pop(pin_id), self._nr_references.pop(pin_id)

    # The contract.

    @property
    def can_migrate(self) -> bool:
        """With a handler, which is the callback."""
        return self._handler is not None

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """1 or 1024 per pin; 0 for one that was dropped meanwhile."""
        known = self._nr_references
        ids = np.asarray(privates).tolist()
        return np.fromiter((known.get(i, 0) for i in ids), dtype=np.int64, count=len(ids))

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """What the handler says; Busy without one."""
        if self._handler is None:
            return Verdict.BUSY
        verdict = self._handler.quiesce(pin.private, mode)
        if verdict is Verdict.YES and pin.private in self._pfn:
            self._quiet.add(pin.private)
        return verdict

    def migrate(self, pin: Pin, target: int) -> None:
        """Repoint the table, then let the handler go on."""
        if pin.private in self._pfn:
            self._pfn[pin.private] = target
            self._resume(pin.private)

    def putback(self, pin: Pin) -> None:
        """Let the handler go on."""
        if pin.private in self._pfn:
            self._resume(pin.private)

    def _resume(self, pin_id: int) -> None:
        self._quiet.discard(pin_id)
        if self._handler is not None:
            self._handler.resume(pin_id)

    def check(self) -> None:
        """Run G1 and G2.

        Raises:
            InvariantError: one does not hold.
        Cost: one registry lookup per pin.
        """
        if self.is_forced_out:
            return
        if self.registry is not None:
            for pin_id, pfn in self._pfn.items():
                pins = [(pin.owner, pin.private) for pin in self.registry.pins(pfn)]
                is_there = pins.count((self, pin_id)) == 1
                require(is_there, "G1 a pin is not where its pinner believes", pin=pin_id, pfn=pfn)
        require(not self._quiet, "G2 a pin is still held for a move that is over")
