"""Another owner of the same frames: polite, until its fault is due.

Kernel counterpart: a second user of a page (a GUP pin on a zram page) whose callback refuses,
crashes, or lies, while the first one is in the middle of a move.
"""

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.testing.conformance.lab import Lab
from pinpage.testing.conformance.plan import Fault, User

__all__ = ["Partner", "PartnerError"]


class PartnerError(RuntimeError):
    """What a partner raises when its fault says so."""


class Partner(PinOwner):
    """Shares frames: one reference and one pin on each.

    Attributes:
        place: its own table, private -> pfn.
        perhaps_kept: frames of which it may keep a reference that no pin accounts for.
    """

    def __init__(self, name: str, lab: Lab, run_user: Callable[[User], object]) -> None:
        """Register; `run_user` does what a user does inside a callback."""
        self.name = name
        self.place: dict[int, int] = {}
        self.perhaps_kept: set[int] = set()
        self._lab = lab
        self._run_user = run_user
        self._fault: Fault | None = None
        lab.registry.register(self)

    def share(self, pfns: Iterable[int], fault: Fault | None) -> None:
        """Reference and pin frames in use, and do `fault` once when it is due.

        Args:
            pfns: frames in use.
            fault: what it does once, when asked.
        """
        self._fault = fault
        for pfn in pfns:
            if self._lab.get(pfn):
                self.place[pfn] = pfn
                self._lab.registry.pin(pfn, self, pfn)

    def leave(self) -> None:
        """Unpin and drop everything, wherever it is now."""
        self._fault = None
        for private, pfn in self.place.items():
            self._lab.registry.unpin(pfn, self, private)
            self._lab.put(pfn)
        self.place.clear()

    def nr_references(self, pfn: int) -> int:
        """References that it has on a frame."""
        return sum(at == pfn for at in self.place.values())

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Yes, or the fault.

        Arguments as for `pinpage.owner.PinOwner.isolate`.
        """
        return {
            "busy": Verdict.BUSY,
            "again": Verdict.AGAIN,
            "nonsense": cast(Verdict, np.uint8(77)),
        }.get(self._due("isolate"), Verdict.YES)

    def migrate(self, pin: Pin, target: int) -> None:
        """Repoint, or the fault.

        Arguments as for `pinpage.owner.PinOwner.migrate`.
        """
        if self._due("migrate") == "lie":
            self._lab.sneak(pin.pfn)
            self.perhaps_kept |= {pin.pfn, target}
        self.place[pin.private] = target

    def putback(self, pin: Pin) -> None:
        """Nothing to do, or the fault."""
        self._due("putback")

    def _due(self, callback: str) -> str:
        fault = self._fault
        if fault is None or fault.callback != callback:
            return ""
        self._fault = None
        if isinstance(fault.does, User):
            self._run_user(fault.does)
            return ""
        if fault.does == "raise":
            raise PartnerError(f"{callback}, as the plan has it")
        return fault.does
