"""How a move ended, frame by frame."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from pinpage.move.steps import Reasons
from pinpage.owner import Reason
from pinpage.units import Pfns

__all__ = ["MoveReport", "Refusal"]

_NOBODY: Mapping[int, "Refusal"] = MappingProxyType({})


@frozen
class Refusal:
    """Who stood in the way of one frame, and what it said.

    Attributes:
        owner: the owner's name.
        reason: its own answer; differs from the frame's where others had said yes
            (the frame's is then PARTNER_REFUSED).
    """

    owner: str
    reason: Reason


@frozen(eq=False)
class MoveReport:
    """One row per source frame, in the order of the sources.

    Attributes:
        reasons: uint8[n], a `Reason` each.
        targets: int64[n], where the frame's holders are now; -1 where they stayed or went.
            Set together with OWNER_FAULTY when the honest holders did move and the source
            is quarantined because one of them lied.
        refusals: row -> who refused, for rows where an owner decided.
    """

    reasons: Reasons
    targets: Pfns
    refusals: Mapping[int, Refusal] = field(default=_NOBODY)

    @property
    def nr_moved(self) -> int:
        """Frames whose contents are elsewhere now."""
        return int(np.count_nonzero(self.reasons == Reason.MOVED))

    @property
    def nr_freed(self) -> int:
        """Frames that were freed under us: successes without a move."""
        return int(np.count_nonzero(self.reasons == Reason.FREED))

    def counts(self) -> dict[Reason, int]:
        """Frames per reason, in the order of `Reason`, without zeros."""
        totals: NDArray[np.int64] = np.bincount(self.reasons, minlength=len(Reason))
        return {reason: int(totals[reason]) for reason in Reason if totals[reason]}
