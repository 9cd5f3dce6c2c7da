"""What an owner took and did not give back: every page and reference of a run, accounted for.

A page that is referenced and not pinned when all is over was lost; that shows at once.  One
that is still pinned, with nothing in it, may be lost or may be kept for the next one who
asks (a cache, a pool of huge pages).  The difference shows when the same happens again: a
cache uses the page, a leak takes another.  So a plan after which pages are left is run over
and over in the same lab, until no more are taken, or there are none to be had.

Ignores: things lost inside of pages that are in use for others; they show once they fill one.
Cost:    one look at every frame of the lab per plan; more only where pages are left.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
from attrs import frozen

from pinpage.owner import Pin
from pinpage.testing.conformance.columns import thing
from pinpage.testing.conformance.lab import Lab

__all__ = ["Accounts", "Held"]


@frozen(order=False)
class Held:
    """What an owner holds at one moment.

    Attributes:
        nr_pages: frames on which it has pins.
        nr_references: references on them that are its own.
    """

    nr_pages: int
    nr_references: int

    def is_more_than(self, other: "Held") -> bool:
        """In either respect."""
        return self.nr_pages > other.nr_pages or self.nr_references > other.nr_references


class Accounts:
    """The books of one run on pages, and on the steps after which nobody wants them any more."""

    def __init__(self, lab: Lab, log: list[str], nr_other_references: Callable[[int], int]) -> None:
        """Open the books; what is held now is the owner's to keep.

        Args:
            lab: the world.
            log: what happened; lines are counted from 1.
            nr_other_references: references of a frame that are the suite's own.
        """
        self._lab = lab
        self._log = log
        self._nr_other_references = nr_other_references
        self._at_first = self._references()
        self._taken_at: dict[Any, int] = {}
        self._left_at: dict[Any, int] = {}
        self._lives_in: dict[int, list[Hashable]] = {}
        self._last_let_go = 0

    # What happens.

    def rest(self, pins: Iterable[Pin]) -> None:
        """The owner is at rest and has these pins."""
        now = len(self._log)
        self._taken_at = {pin.private: self._taken_at.get(pin.private, now) for pin in pins}

    def found(self, number: int, pins: Iterable[Pin]) -> None:
        """Thing `number` was read from frames with these pins.

        Args:
            number: of the thing.
            pins: that its frames have.
        """
        self._lives_in[number] = [pin.private for pin in pins]

    def let_go(self, number: int) -> None:
        """The last line of the log says that thing `number` was let go of."""
        self._last_let_go = len(self._log)
        for private in self._lives_in.pop(number, ()):
            self._left_at[private] = self._last_let_go

    # What is left.

    def held(self, pins: Iterable[Pin]) -> Held:
        """What the owner holds, pinned with `pins`, beyond what it began with."""
        pfns = {pin.pfn for pin in pins}
        left = [self._lab.references(pfn) - self._nr_other_references(pfn) for pfn in pfns]
        return Held(len(pfns), sum(left))

    def strays(self, pins: Iterable[Pin]) -> list[int]:
        """Frames that are referenced and not pinned, and were not when the books were opened."""
        pinned = {pin.pfn for pin in pins}
        more = np.flatnonzero(self._references() > self._at_first).tolist()
        return [
            pfn
            for pfn in more
            if pfn not in pinned
            and self._lab.references(pfn) - self._nr_other_references(pfn) > self._at_first[pfn]
        ]

    def where_lost(self, pins: Iterable[Pin]) -> tuple[str, int]:
        """The first of `pins` that nobody wants, and the line after which that was so."""

        def left_at(pin: Pin) -> int:
            anyway = max(self._last_let_go, self._taken_at.get(pin.private, 0))
            return self._left_at.get(pin.private, anyway)

        pin = min(pins, key=lambda pin: (left_at(pin), pin.pfn))
        return f"pfn {pin.pfn:#x}, {thing(pin.private)}", left_at(pin)

    def _references(self) -> Any:
        frames = range(self._lab.registry.topology.nr_frames)
        return np.array([self._lab.references(pfn) for pfn in frames], dtype=np.int64)
