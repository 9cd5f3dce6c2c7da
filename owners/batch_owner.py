"""An owner that answers for many pages at once, and for one page as for a batch of one.

Kernel counterpart: none; the kernel asks for one page at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.units import Pfns

__all__ = ["BatchOwner"]


class BatchOwner(PinOwner, ABC):
    """Subclass it and override `isolate_many` and `migrate_many`, and `putback_many` if need be.

    Where a subclass overrides the form for one page instead, that form stays.
    """

    @abstractmethod
    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """The contents are at `targets`: see `PinOwner.migrate`.

        Args:
            pfns, privates: of the pins, shape (n,).
            targets: the new frame of each, shape (n,).
        """

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """`isolate_many` of one."""
        return Verdict(int(self.isolate_many(np.array([pin.pfn]), [pin.private], mode)[0]))

    def migrate(self, pin: Pin, target: int) -> None:
        """`migrate_many` of one."""
        self.migrate_many(np.array([pin.pfn]), [pin.private], np.array([target]))

    def putback(self, pin: Pin) -> None:
        """`putback_many` of one; nothing where isolation changed nothing."""
        if type(self).putback_many is not PinOwner.putback_many:
            self.putback_many(np.array([pin.pfn]), [pin.private])
