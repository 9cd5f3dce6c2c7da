"""The pins of a batch of frames, as rows: who is to be asked, and what has become of each.

A move is a vote.  The ballot is taken once, when the frames are marked as under move: from
then on the registry lets no pin join, and a pin that leaves is only marked dead.  So a later
look can find fewer pins, never others; `refresh` finds out, and treats anything else as a
reason to stop.

Owns:  the rows of one batch.  The registry stays the only truth about which pins exist.
Cost:  one pin per frame by one owner, the common case: a few numpy calls for the batch.
"""

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.owner import Pin, PinOwner
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["Ballot", "Group", "Index", "PinState", "Privates"]

Index = NDArray[np.int64]
"""Positions in a batch: of frames, or of rows of the ballot."""
Privates = Sequence[Any] | NDArray[Any]
"""A column of `Pin.private`, one per row."""

_SEVERAL = -2


class PinState(enum.IntEnum):
    """What has become of one pin in this move."""

    WAITING = 0
    """Not asked yet, or said no."""
    ISOLATED = 1
    """Said yes: quiesced until migrate or putback."""
    MIGRATED = 2
    """Its owner was told the new place."""
    DOUBT = 3
    """Its owner raised over it: how far it got is unknown."""
    DEAD = 4
    """Unpinned before its owner was told; it is not called about it any more."""
    LEFT = 5
    """Unpinned at its new place; what reference it has still to drop is the target's."""


class Group:
    """The rows of one owner; one callback each."""

    __slots__ = ("owner", "rows")

    def __init__(self, owner: PinOwner, rows: Index) -> None:
        """`rows` ascend."""
        self.owner = owner
        self.rows = rows


class Ballot:
    """Every pin of a batch of frames under move.

    Attributes:
        pfns: the batch.
        frame: int64[nr_rows], which frame of the batch the row speaks for.
        state: uint8[nr_rows], a `PinState`.
        nr_live: int64[n], live pins per frame.
        groups: one per owner, in the order in which the owners registered.
        is_single: every frame has exactly one row, and rows are frames.
        any_dead: some pin was dropped during the move.
    """

    __slots__ = (
        "_nr_died",
        "_privates",
        "_registry",
        "any_dead",
        "frame",
        "groups",
        "is_single",
        "nr_live",
        "pfns",
        "state",
    )

    def __init__(self, registry: PinRegistry, pfns: Pfns) -> None:
        """Read the pins of `pfns`, which are marked as under move, batches drained."""
        self.pfns = pfns
        self._registry = registry
        self._nr_died = registry.nr_died
        owner_ids, self._privates = registry.single_pins(pfns)
        self.any_dead = False
        self.is_single = bool((owner_ids >= 0).all())
        if self.is_single:
            self.frame = np.arange(len(pfns))
            self.nr_live = np.ones(len(pfns), dtype=np.int64)
            self.groups = self._group_single(owner_ids)
        else:
            self.groups = self._read_mixed(owner_ids)
        self.state = np.zeros(len(self.frame), dtype=np.uint8)

    def _group_single(self, owner_ids: NDArray[np.int32]) -> list[Group]:
        """One group per owner of rows that are frames."""
        if not len(owner_ids):
            return []
        by_id = self._registry.owner_by_id
        first = int(owner_ids[0])
        if bool((owner_ids == first).all()):
            return [Group(by_id(first), self.frame)]
        present = np.unique(owner_ids).tolist()
        return self._in_order([Group(by_id(i), np.flatnonzero(owner_ids == i)) for i in present])

    def _read_mixed(self, owner_ids: NDArray[np.int32]) -> list[Group]:
        """Lay out rows and groups where some frames have no pin, or several."""
        pins: list[tuple[int, PinOwner, Any]] = []
        for frame, owner_id in enumerate(owner_ids.tolist()):
            if owner_id >= 0:
                pins.append((frame, self._registry.owner_by_id(owner_id), self._privates[frame]))
            elif owner_id == _SEVERAL:
                found = self._registry.pins(int(self.pfns[frame]))
                pins.extend((frame, pin.owner, pin.private) for pin in found)
        self._privates = [private for _, _, private in pins]
        self.frame = np.array([frame for frame, _, _ in pins], dtype=np.int64)
        self.nr_live = np.bincount(self.frame, minlength=len(self.pfns)).astype(np.int64)
        rows: dict[int, list[int]] = {}
        for row, (_, owner, _) in enumerate(pins):
            rows.setdefault(id(owner), []).append(row)
        owners = {id(owner): owner for _, owner, _ in pins}
        return self._in_order(
            [Group(owners[k], np.array(r, dtype=np.int64)) for k, r in rows.items()]
        )

    def _in_order(self, groups: list[Group]) -> list[Group]:
        """By registration: one total order for every move, so that two never deadlock (R-30)."""
        rank = {id(owner): place for place, owner in enumerate(self._registry.owners)}
        return sorted(groups, key=lambda group: rank[id(group.owner)])

    def privates(self, rows: Index) -> Privates:
        """The owner's keys of some rows, in their order."""
        if len(rows) == len(self.frame):
            return self._privates
        if isinstance(self._privates, np.ndarray):
            return self._privates[rows]
        return [self._privates[row] for row in rows.tolist()]

    def sum_per_frame(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sums of `values` (one per row) over the live rows of each frame, int64[n]."""
        if self.is_single and not self.any_dead:
            return values
        alive = self.state < PinState.DEAD
        totals = np.zeros(len(self.pfns), dtype=np.int64)
        np.add.at(totals, self.frame[alive], values[alive])
        return totals

    def has_dead(self) -> Mask:
        """Frames of which a pin was dropped during the move, bool[n]."""
        return self._frames_with(self.state >= PinState.DEAD)

    def has_left(self) -> Mask:
        """Frames of which a pin was dropped by the name of the target, bool[n]."""
        return self._frames_with(self.state == PinState.LEFT)

    def willing(self) -> Mask:
        """Frames of which at least one pin said yes, bool[n]."""
        return self._frames_with(self.state == PinState.ISOLATED)

    def _frames_with(self, rows: Mask) -> Mask:
        mask = np.zeros(len(self.pfns), dtype=np.bool_)
        mask[self.frame[rows]] = True
        return mask

    def refresh(self, frames: Index, *, thorough: bool = False) -> tuple[Index, Index]:
        """Look which pins of `frames` have gone since the last look.

        Args:
            thorough: look even if the registry has not heard of any pin that went.

        Returns:
            (changed, joined): the frames that have fewer live pins now, and those on which
            a pin appeared that was never asked (R-29; the registry does not let it happen).
        """
        nr_died = self._registry.nr_died
        if nr_died == self._nr_died and not thorough:
            return frames[:0], frames[:0]
        self._nr_died = nr_died
        now = self._registry.owner_counts(self.pfns[frames])
        suspects = frames[now != self.nr_live[frames]]
        if not len(suspects):
            return suspects, suspects
        joined = [frame for frame in suspects.tolist() if not self._reread(frame)]
        return suspects, np.array(joined, dtype=np.int64)

    def _reread(self, frame: int) -> bool:
        """Mark dead rows of one frame; False when a pin is there that has no row."""
        rows = np.flatnonzero((self.frame == frame) & (self.state < PinState.DEAD)).tolist()
        left = {self._key(pin) for pin in self._registry.pins(int(self.pfns[frame]))}
        self.nr_live[frame] = len(left)
        owner_of_row = {row: group.owner for group in self.groups for row in group.rows.tolist()}
        for row in rows:
            key = (id(owner_of_row[row]), _plain(self._privates[row]))
            if key in left:
                left.discard(key)
            else:
                told = self.state[row] == PinState.MIGRATED
                self.state[row] = PinState.LEFT if told else PinState.DEAD
                self.any_dead = True
        return not left

    @staticmethod
    def _key(pin: Pin) -> tuple[int, Any]:
        return id(pin.owner), _plain(pin.private)


def _plain(private: Any) -> Any:
    """A numpy integer and the int that it equals are one private."""
    return private.item() if isinstance(private, np.generic) else private
