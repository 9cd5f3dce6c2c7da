"""The way back of a move: whatever became of its frames, nobody waits for it afterwards.

    contents back -> each owner in reverse: migrate back or putback -> thaw -> targets back
                  -> frames back

There is one exit for every reason: a refusal, an owner that raised, a caller that wants no
more of it, an interrupt, also one that comes while all this goes on.  Each part looks at what
is left to do and does that, so the whole may be begun again at any point.

An owner that raises over one pin is called about the others all the same.  One that is interrupted
in the undo is called again, pin by pin, up to three times.
"""

from collections.abc import Iterator

import numpy as np

from pinpage.move.batch import PENDING, Batch
from pinpage.move.callbacks import Call
from pinpage.move.pins import Index, OwnerRows, PinState
from pinpage.move.steps import Step
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.units import Mask

__all__ = ["undo"]

_NR_CALLS_PER_PIN = 3
_BACK = (
    ("migrate", PinState.ISOLATED_AGAIN),
    ("putback", PinState.ISOLATED),
    ("putback", PinState.UNKNOWN),
)
"""How an owner is brought back, from which state of its pins."""


def undo(batch: Batch) -> Iterator[Step]:
    """Put back what did not move: the last owner first, then the frame."""
    is_lost = batch.taken & ~batch.rekeyed & (batch.reasons != PENDING)
    lost = np.flatnonzero(is_lost)
    if not len(lost):
        return
    _bring_back(batch, is_lost, lost)
    for group in reversed(batch.pins.owners):
        if _undo_owner(batch, group, is_lost):
            yield Step.PUTBACK
    _hand_over(batch, lost[batch.frozen[lost] & ~batch.bad_source[lost] & (batch.where[lost] >= 0)])
    frozen = lost[batch.frozen[lost]]
    batch.do(batch.frozen, False, frozen, batch.memory.unfreeze, batch.sources)
    _return_targets(batch, lost[batch.where[lost] >= 0])
    batch.put_back()


def _rows_on(batch: Batch, group: OwnerRows, is_lost: Mask) -> Index:
    """The rows of one owner on some frames, after a fresh look at their pins."""
    rows = group.rows[is_lost[batch.pins.frame[group.rows]]]
    batch.pins.refresh(batch.pins.frames_of(rows), thorough=True)
    return rows


# Contents.


def _bring_back(batch: Batch, is_lost: Mask, lost: Index) -> None:
    """Contents to the source again, where some owner lives on the target already.

    That owner may have written there since; so it is asked to hold still once more.
    Its answer cannot change anything: there is no other way left.
    """
    for group in batch.pins.owners:
        rows = _rows_on(batch, group, is_lost)
        rows = rows[batch.pins.state[rows] == PinState.MIGRATED]
        if len(rows):
            _look_at_targets(batch, batch.pins.frames_of(rows), None)
            _insist(batch, "isolate", group.owner, rows, PinState.ISOLATED_AGAIN)
    # One that unpinned there had written there before, too.
    written = batch.pins.has(lost, PinState.ISOLATED_AGAIN, PinState.UNPINNED_AT_TARGET)
    frames = lost[written & ~batch.is_back[lost]]
    batch.do(batch.is_back, True, frames, batch.memory.copy, batch.where, batch.sources)


# Owners.


def _undo_owner(batch: Batch, group: OwnerRows, is_lost: Mask) -> bool:
    """Call one owner about what it did; False when it had done nothing."""
    rows = _rows_on(batch, group, is_lost)
    state = batch.pins.state[rows]
    for what, which in _BACK:
        if len(some := rows[state == which]):
            _insist(batch, what, group.owner, some, PinState.WAITING)
            if what == "migrate":
                _look_at_targets(batch, batch.pins.frames_of(some), group.owner)
    return bool(np.isin(state, [which for _, which in _BACK]).any())


def _insist(batch: Batch, what: str, owner: PinOwner, rows: Index, then: int) -> None:
    """Call an owner about each of its pins, whatever it raises over some of them.

    Args:
        batch: theirs.
        what: the callback.
        owner: whose.
        rows: its pins, all in the same state.
        then: what they are when it has returned, or when there is nothing more to be done.
    """
    state = batch.pins.state
    # Nobody knows how far it got with those that are unknown: each on its own.
    if len(rows) > 1 and state[rows[0]] != PinState.UNKNOWN and not batch.is_interrupted:
        call = _call(batch, what, owner, rows, then)
        rows = rows[call.nr_returned :] if call.failure is not Reason.MOVED else rows[:0]
    for row in rows.tolist():
        batch.nr_calls[what, row] += 1
        if batch.nr_calls[what, row] <= _NR_CALLS_PER_PIN:
            call = _call(batch, what, owner, np.array([row]), then)
            if call.failure is Reason.MOVED:
                continue
        if what == "migrate" or state[row] == PinState.UNKNOWN:  # it may be at the target
            batch.bad_target[batch.pins.frame[row]] = True
        state[row] = then


def _call(batch: Batch, what: str, owner: PinOwner, rows: Index, then: int) -> Call:
    """Make one call; the pins about which it returned are as said."""
    at_target = {"isolate": (batch.where, Mode.SYNC), "migrate": (batch.where, batch.sources)}
    columns = at_target.get(what, (batch.sources,))
    return batch.tell(batch.call(what, owner, rows, *columns), rows, then)


def _look_at_targets(batch: Batch, frames: Index, owner: PinOwner | None) -> None:
    """A target that is referenced after its owner went back is not given to anybody else.

    Args:
        batch: theirs.
        frames: where to look.
        owner: has just gone back, so that a reference is its; None: somebody is blamed only if
            nobody else knows of the target.
    """
    frames = frames[~batch.bad_target[frames]]
    for frame in _still_used(batch, frames).tolist():
        why = f"migrate left a reference on the target {batch.where[frame]:#x}"
        guilty = batch.pins.only_owner_at_target(frame) if owner is None else owner
        batch.blame(guilty, frame, why, batch.bad_target)


def _still_used(batch: Batch, frames: Index) -> Index:
    """Frames whose target is referenced otherwise than when it came."""
    frames = frames[batch.target_refs[frames] >= 0]
    now = batch.memory.references(batch.where[frames])
    used: Index = frames[now != batch.target_refs[frames]]
    return used


# Frames.


def _hand_over(batch: Batch, frames: Index) -> None:
    """A target at which an owner has unpinned, and not dropped its reference, is its own."""
    frames = frames[batch.pins.has(frames, PinState.UNPINNED_AT_TARGET)]
    if len(frames):
        batch.unmark(batch.where, batch.target_marked, frames)
        batch.pins.refresh(frames, thorough=True)
        batch.pin_refs[frames] = batch.pins.sums(batch.row_refs, frames)
        columns = batch.sources, batch.where, batch.pin_refs
        batch.do(batch.where, -1, frames, batch.memory.hand_over, *columns)


def _return_targets(batch: Batch, frames: Index) -> None:
    """Targets that were not needed; one that a broken owner may still use is set aside."""
    batch.unmark(batch.where, batch.target_marked, frames)
    batch.bad_target[_still_used(batch, frames)] = True
    bad = batch.bad_target[frames]
    batch.do(batch.where, -1, frames[bad], batch.memory.quarantine, batch.where)
    batch.do(batch.where, -1, frames[~bad], batch.targets.give_back, batch.where)
