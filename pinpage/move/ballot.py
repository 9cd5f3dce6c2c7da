"""The pins of a batch of frames, as rows: who is to be asked, and what has become of each.

A move is a vote.  The ballot is taken once, when the frames are marked as under move: from
then on the registry lets no pin join, and a pin that leaves is only marked dead.  So a later
look can find fewer pins, never others; `refresh` finds out, and treats anything else as a
reason to stop.

Owns:  the rows of one batch.  The registry stays the only truth about which pins exist.
Cost:  one pin per frame by one owner, the common case: a few numpy calls for the batch.  A
       look at some frames costs no more than their rows, so a batch is linear however many
       of its pins go, and however many owners it has.
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
        "_by_frame",
        "_nr_died",
        "_owners",
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
        self._by_frame: tuple[Index, Index] | None = None
        self._owners: list[Any] = []

    def _group_single(self, owner_ids: NDArray[np.int32]) -> list[Group]:
        """One group per owner of rows that are frames; owners by number, None was forced out."""
        present = [int(owner_ids[0])] if len(owner_ids) else []
        if not bool((owner_ids == owner_ids[:1]).all()):
            present = np.unique(owner_ids).tolist()
        groups = []
        for owner_id in present:
            owner = self._registry.find_owner(owner_id)
            rows = self.frame if len(present) == 1 else np.flatnonzero(owner_ids == owner_id)
            if owner is None:
                self.nr_live[rows] = 0
            else:
                groups.append(Group(owner, rows))
        return groups

    def _read_mixed(self, owner_ids: NDArray[np.int32]) -> list[Group]:
        """Lay out rows and groups where some frames have no pin, or several."""
        pins: list[tuple[int, PinOwner, Any]] = []
        for frame, owner_id in enumerate(owner_ids.tolist()):
            if owner_id >= 0:
                owner = self._registry.find_owner(owner_id)
                if owner is not None:  # else it was forced out meanwhile, with its pins
                    pins.append((frame, owner, self._privates[frame]))
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
        """By registration: one total order for every move, so that two never deadlock (R-30).

        One that is leaving is not called any more; it comes last.
        """
        rank = {id(owner): place for place, owner in enumerate(self._registry.owners)}
        return sorted(groups, key=lambda group: rank.get(id(group.owner), len(rank)))

    def privates(self, rows: Index) -> Privates:
        """The owner's keys of some rows, in their order."""
        if len(rows) == len(self.frame):
            return self._privates
        if isinstance(self._privates, np.ndarray):
            return self._privates[rows]
        return [self._privates[row] for row in rows.tolist()]

    @property
    def may_be_stale(self) -> bool:
        """Whether the registry has heard of a pin that went, on whatever frame."""
        return self._registry.nr_died != self._nr_died

    def rows_of(self, frames: Index) -> Index:
        """All rows of some frames, frame by frame."""
        if self.is_single:
            return frames
        if self._by_frame is None:
            order = np.argsort(self.frame, kind="stable")
            starts = np.searchsorted(self.frame[order], np.arange(len(self.pfns) + 1))
            self._by_frame = order, starts
        order, starts = self._by_frame
        nr_rows = starts[frames + 1] - starts[frames]
        nth = np.arange(int(nr_rows.sum())) - np.repeat(np.cumsum(nr_rows) - nr_rows, nr_rows)
        rows: Index = order[np.repeat(starts[frames], nr_rows) + nth]
        return rows

    def live_sums(self, values: NDArray[np.int64], frames: Index) -> NDArray[np.int64]:
        """Sums of `values` (one per row) over the live rows of each of some frames."""
        if self.is_single and not self.any_dead:
            return values[frames]
        rows = self.rows_of(frames)
        rows = rows[self.state[rows] < PinState.DEAD]
        place = np.searchsorted(frames, self.frame[rows])
        totals = np.zeros(len(frames), dtype=np.int64)
        np.add.at(totals, place, values[rows])
        return totals

    def has(self, state: PinState, frames: Index) -> Mask:
        """Which of some frames have a pin in this state, shape of `frames`."""
        rows = self.rows_of(frames)
        return np.isin(frames, self.frame[rows[self.state[rows] == state]])

    def refresh(self, frames: Index, *, thorough: bool = False) -> tuple[Index, Index]:
        """Look which pins of `frames` have gone since the last look.

        Args:
            frames: in ascending order.
            thorough: look even if the registry has not heard of any pin that went.

        Returns:
            (changed, joined): the frames that have fewer live pins now, and those on which
            a pin appeared that was never asked (R-29; the registry does not let it happen).
        """
        if not (thorough or self.may_be_stale):
            return frames[:0], frames[:0]
        now = self._registry.owner_counts(self.pfns[frames])
        suspects = frames[now != self.nr_live[frames]]
        if not len(suspects):
            return suspects, suspects
        joined = [frame for frame in suspects.tolist() if not self._reread(frame)]
        return suspects, np.array(joined, dtype=np.int64)

    def _reread(self, frame: int) -> bool:
        """Mark dead rows of one frame; False when a pin is there that has no row."""
        rows = self.rows_of(np.array([frame]))
        pins = self._registry.pins(int(self.pfns[frame]))
        waiting = {_key(pin.owner, pin.private): pin for pin in pins}
        gone = [
            row
            for row in rows[self.state[rows] < PinState.DEAD].tolist()
            if waiting.pop(_key(self.owner_of(row), self._privates[row]), None) is None
        ]
        joined = list(waiting.values())
        for row in gone:
            if not self._is_among(row, joined):
                told = self.state[row] == PinState.MIGRATED
                self.any_dead = True
                self.state[row] = PinState.LEFT if told else PinState.DEAD
        self.nr_live[frame] = len(pins)
        return not joined

    def _is_among(self, row: int, pins: list[Pin]) -> bool:
        """Whether one of the pins that nothing is identical to equals this row's; it is taken out.

        The registry hands out the very object that it keeps, so that identity tells pins apart,
        whatever an `__eq__` does; a pin with a copy of its private is no other pin.
        """
        for place, pin in enumerate(pins):
            if pin.owner is self.owner_of(row) and _equals(pin.private, self._privates[row]):
                del pins[place]
                return True
        return False

    def owner_of(self, row: int) -> Any:
        """The owner of one row; None if it was forced out before anybody was asked."""
        if not self._owners:
            owners: list[Any] = [None] * len(self.frame)
            for group in self.groups:
                for mine in group.rows.tolist():
                    owners[mine] = group.owner
            self._owners = owners
        return self._owners[row]


def _key(owner: object, private: object) -> tuple[int, bool, int]:
    """What tells two pins of a frame apart: a bool or a numpy integer is the int it equals."""
    is_int = isinstance(private, (int, np.integer))
    return id(owner), is_int, int(private) if is_int else id(private)  # type: ignore[call-overload]


def _equals(one: object, other: object) -> bool:
    try:
        return type(one) is type(other) and hash(one) == hash(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - an `__eq__` of somebody else's
        return False
