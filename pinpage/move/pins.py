"""The pins of a batch of frames, as rows: who is to be asked, and what has become of each.

They are read once, when the frames are marked as under move: from then on the registry lets
no pin join, and a pin that leaves is only marked as unpinned.  So a later look can find fewer
pins, never others; `refresh` finds out, and treats anything else as a reason to stop.

Owns:  the rows of one batch.  The registry stays the only truth about which pins exist.
Cost:  one pin per frame by one owner, the common case: a few numpy calls for the batch.  A
       look at some frames costs no more than their rows, so a batch is linear however many
       of its pins go, and however many owners it has.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["Index", "OwnerRows", "PinState", "PinsOfBatch", "Privates"]

Index = NDArray[np.int64]
"""Positions in a batch: of frames, or of rows."""
Privates = Sequence[Any] | NDArray[Any]
"""A column of `Pin.private`, one per row."""

_SEVERAL = -2


class PinState:
    """What has become of one pin in this move; plain ints, which columns compare fast with."""

    WAITING = 0
    """Not asked yet, said no, or put back."""
    ISOLATED = 1
    """Said yes: quiesced until migrate or putback."""
    UNKNOWN = 2
    """Its owner was interrupted or raised over it: how far it got nobody knows."""
    MIGRATED = 3
    """Its owner knows it by its target."""
    ISOLATED_AGAIN = 4
    """The same, and quiesced there, to be brought back."""
    UNPINNED = 5
    """Unpinned before its owner knew the target; no callback is about it any more."""
    UNPINNED_AT_TARGET = 6
    """Unpinned at its new place; what reference it has still to drop is the target's."""


_AT_TARGET = PinState.MIGRATED, PinState.ISOLATED_AGAIN
_MAYBE_AT_TARGET = PinState.UNKNOWN, *_AT_TARGET, PinState.UNPINNED_AT_TARGET


class OwnerRows(NamedTuple):
    """The rows of one owner, ascending; one callback each."""

    owner: PinOwner
    rows: Index


class PinsOfBatch:
    """Every pin of a batch of frames under move.

    Attributes:
        pfns: the batch.
        frame: int64[nr_rows], which frame of the batch the row is about.
        state: uint8[nr_rows], a `PinState`.
        nr_live: int64[n], pins per frame that are not unpinned.
        owners: its rows for each owner, in the order in which the owners registered: one total
            order for every move, so that two never deadlock (R-30).  One that is leaving is
            not called any more; it comes last.
    """

    def __init__(self, registry: PinRegistry, pfns: Pfns) -> None:
        """Read the pins of `pfns`, which are marked as under move, batches drained."""
        self.pfns = pfns
        self._registry = registry
        self._nr_died = registry.nr_died
        owner_ids, self._privates = registry.single_pins(pfns)
        self._owner_of: dict[int, PinOwner | None] = {}
        self._is_single = bool((owner_ids >= 0).all())
        if self._is_single:  # of every frame, so rows are frames
            self.frame, self._key = np.arange(len(pfns)), owner_ids
        else:
            self._read_pin_by_pin(owner_ids.tolist())
        self.state = np.zeros(len(self.frame), dtype=np.uint8)
        self.owners: list[OwnerRows] = []
        for key, rows in _grouped(self._key):
            if self._is_single:
                self._owner_of[key] = registry.find_owner(key)
            if (owner := self._owner_of[key]) is not None:
                self.owners.append(OwnerRows(owner, rows))
            else:  # it was forced out meanwhile, with its pins
                self.state[rows] = PinState.UNPINNED
        rank = {id(owner): place for place, owner in enumerate(registry.owners)}
        self.owners.sort(key=lambda group: rank.get(id(group.owner), len(rank)))
        live = self.frame[self.state == PinState.WAITING]
        self.nr_live = np.bincount(live, minlength=len(pfns)).astype(np.int64)
        self._by_frame: tuple[Index, Index] | None = None

    def _read_pin_by_pin(self, owner_ids: list[int]) -> None:
        """Lay out rows where some frames have no pin, or several."""
        pins: list[tuple[int, PinOwner | None, Any]] = []
        for frame, owner_id in enumerate(owner_ids):
            if owner_id == _SEVERAL:
                found = self._registry.pins(int(self.pfns[frame]))
                pins += [(frame, pin.owner, pin.private) for pin in found]
            elif owner_id >= 0:
                pins.append((frame, self._registry.find_owner(owner_id), self._privates[frame]))
        self.frame = np.array([frame for frame, _, _ in pins], dtype=np.int64)
        self._key = np.array([id(owner) for _, owner, _ in pins], dtype=np.int64)
        self._owner_of = {id(owner): owner for _, owner, _ in pins}
        self._privates = [private for _, _, private in pins]

    def privates(self, rows: Index) -> Privates:
        """The owner's keys of some rows, in their order."""
        if len(rows) == len(self.frame):
            return self._privates
        if isinstance(self._privates, np.ndarray):
            return self._privates[rows]
        return [self._privates[row] for row in rows.tolist()]

    def owner_of(self, row: int) -> PinOwner | None:
        """The owner of one row; None if it was forced out before anybody was asked."""
        return self._owner_of[int(self._key[row])]

    @property
    def may_be_stale(self) -> bool:
        """Whether the registry has heard of a pin that went, on whatever frame."""
        return self._registry.nr_died != self._nr_died

    def rows_of(self, frames: Index) -> Index:
        """All rows of some frames, frame by frame."""
        if self._is_single:
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

    def frames_of(self, rows: Index) -> Index:
        """The frames that some rows are about, ascending, each once."""
        frames: Index = self.frame[rows]
        return frames if self._is_single else np.unique(frames)

    def sums(self, values: NDArray[np.int64], frames: Index) -> NDArray[np.int64]:
        """Sums of `values` (one per row) over the pins that each of some frames still has.

        Args:
            values: int64, one per row.
            frames: rows of the batch.
        """
        rows = self.rows_of(frames)
        values = np.where(self.state[rows] < PinState.UNPINNED, values[rows], 0)
        if self._is_single:
            return values
        totals = np.zeros(len(frames), dtype=np.int64)
        np.add.at(totals, np.searchsorted(frames, self.frame[rows]), values)
        return totals

    def has(self, frames: Index, *states: int) -> Mask:
        """Which of some frames have a pin in one of these states, shape of `frames`."""
        rows = self.rows_of(frames)
        return np.isin(frames, self.frame[rows[np.isin(self.state[rows], states)]])

    def only_owner_at_target(self, frame: int) -> PinOwner | None:
        """The owner that was called with the target of a frame, if it is only one."""
        rows = self.rows_of(np.array([frame]))
        rows = rows[np.isin(self.state[rows], _MAYBE_AT_TARGET)]
        owners = {id(owner): owner for owner in map(self.owner_of, rows.tolist())}
        return owners.popitem()[1] if len(owners) == 1 else None

    def refresh(self, frames: Index, *, thorough: bool = False) -> Index:
        """Look which pins of `frames` have gone since the last look.

        Args:
            frames: in ascending order.
            thorough: look even if the registry has not heard of any pin that went.

        Returns:
            The frames on which a pin appeared that was never asked (R-29; the registry does
            not let it happen).
        """
        if not (thorough or self.may_be_stale):
            return frames[:0]
        now = self._registry.owner_counts(self.pfns[frames])
        changed = frames[now != self.nr_live[frames]]
        joined = [frame for frame in changed.tolist() if self._reread(frame)]
        return np.array(joined, dtype=np.int64)

    def _reread(self, frame: int) -> bool:
        """Find the rows of one frame that are unpinned; whether a pin is there without a row."""
        rows = self.rows_of(np.array([frame]))
        rows = rows[self.state[rows] < PinState.UNPINNED]
        known = {_identity(self.owner_of(row), self._privates[row]): row for row in rows.tolist()}
        pins = self._registry.pins(int(self.pfns[frame]))
        found = {_identity(pin.owner, pin.private) for pin in pins}
        for identity in known.keys() - found:
            row = known[identity]
            was_there = self.state[row] in _AT_TARGET
            self.state[row] = PinState.UNPINNED_AT_TARGET if was_there else PinState.UNPINNED
        self.nr_live[frame] = len(pins)
        return not found <= known.keys()


def _grouped(keys: NDArray[Any]) -> Iterator[tuple[int, Index]]:
    """Each key and the rows that have it, ascending."""
    order = keys.argsort(kind="stable")
    ordered = keys[order]
    cuts = ((ordered[1:] != ordered[:-1]).nonzero()[0] + 1).tolist()
    for start, stop in pairwise([0, *cuts, len(keys)]):
        if start < stop:
            yield int(ordered[start]), order[start:stop]


def _identity(owner: object, private: object) -> tuple[int, bool, int]:
    """What tells two pins of a frame apart, whatever an `__eq__` does.

    The registry hands out the very object that it keeps; a bool or a numpy integer is the int
    that it equals.
    """
    is_int = isinstance(private, (int, np.integer))
    return id(owner), is_int, int(private) if is_int else id(private)  # type: ignore[call-overload]
