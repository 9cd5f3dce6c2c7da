"""Move frames whose owners agree: one protocol for one frame and for hundreds.

    look up -> take -> isolate every pin -> target -> freeze -> copy -> migrate every pin
            -> rekey -> free            (all said yes)
            -> putback, in reverse      (anything else; one exit for every reason)

The move is a generator of `Step`s and does nothing between two of them, so a test can let
anything happen at every step; `move_many` merely exhausts it.  A batch is the unit: each
step is a few column operations, whatever the number of frames.

Invariants (each has a race test and a mutant):
    M1  A frame is taken by at most one move; whoever comes second does not wait (R-7).
    M2  No callback for a pin that was dropped: every callback follows a fresh look (R-1).
    M3  All pins of a frame move, or none (R-28).
    M4  Contents are copied only while nobody but those who said yes holds the frame (R-17).
    M5  A frame is freed only when neither a pin nor a reference is left on it (R-26).
    M6  Every frame that was taken is rekeyed or put back, on every path (R-33).
    M7  A target belongs to one move, and nobody pins it before it is whole (R-29).
    M8  A frame that nobody knows never moves: no pin and no home is a refusal.

Kernel counterpart: migrate_pages() in mm/migrate.c with the isolate, migrate and putback of
v6.0 movable_operations; several owners per page as in the 2013 pin-page RFC.
"""

from collections.abc import Generator
from functools import partial

import numpy as np

from pinpage.errors import require
from pinpage.move.batch import PENDING, Batch, carry_out
from pinpage.move.pins import Index, PinState
from pinpage.move.report import MoveReport
from pinpage.move.steps import Memory, Step, TargetSource, run_out
from pinpage.move.undoing import undo
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["move_many", "move_steps"]


def move_steps(
    registry: PinRegistry, memory: Memory, sources: Pfns, targets: TargetSource, mode: Mode
) -> Generator[Step, None, MoveReport]:
    """Move each of `sources` to a target, one step per `next()`.

    Args:
        registry: who pins what.
        memory: the VM's side (see `Memory`).
        sources: int64[n], without duplicates; need not be sorted.
        targets: where to; what is not used is given back.
        mode: how long owners may wait, passed on to `isolate`.

    Yields:
        The `Step` that was just done.

    Returns:
        One `Reason` and target per source; a refusal is a value, never an exception.

    Raises:
        PinpageError: a source given twice, or not in the topology; nothing changed.
        InvariantError: our own state contradicts itself.
    Context: no core lock is held over a callback, none between steps.  A generator that is
        closed half way puts everything back, and so does one that is interrupted, wherever
        that is and also while it puts things back: the last interrupt is raised at the end.
    Cost: with one pin per frame about 30 column operations per batch and owner.
    """
    make = partial(Batch, registry, memory, sources, targets)
    return carry_out(make, partial(_steps, mode=mode), _abandon)


def move_many(
    registry: PinRegistry, memory: Memory, sources: Pfns, targets: TargetSource, mode: Mode
) -> MoveReport:
    """Run `move_steps` to its end; arguments, errors and cost are the same."""
    return run_out(move_steps(registry, memory, sources, targets, mode))


def _steps(batch: Batch, mode: Mode) -> Generator[Step, None, MoveReport]:
    """What costs nothing to call off, then copy, tell every owner, make it final, and undo."""
    batch.look_up(lambda owner: owner.can_migrate)
    yield Step.LOOKUP
    yield from batch.once(Step.TAKE, Batch.take)
    yield from batch.by_owner(Step.ISOLATE, partial(_isolate, mode=mode))
    yield from batch.once(Step.TARGET, _find_targets)
    yield from batch.once(Step.FREEZE, _freeze)
    yield from batch.once(Step.COPY, _copy)
    yield from batch.by_owner(Step.MIGRATE, _migrate)
    yield from batch.once(Step.REKEY, _rekey)
    yield from batch.once(Step.FREE, _free)
    yield from undo(batch)
    return MoveReport(batch.reasons, batch.where, batch.refusals)


def _isolate(batch: Batch, owner: PinOwner, rows: Index, mode: Mode) -> None:
    """One owner quiesces, or says why not."""
    batch.ask(batch.call("isolate", owner, rows, batch.sources, mode), rows)


def _find_targets(batch: Batch) -> None:
    """A target for each frame, marked, so that nobody pins it before it is whole (M7)."""
    going = batch.going

    def note(found: Pfns) -> None:
        require(len(found) <= len(going), "M7 a target source gave more than was asked for")
        batch.where[going[: len(found)]] = found

    batch.receipt.do(note, batch.targets.take, len(going))
    batch.mark(batch.where, batch.target_marked, going[batch.where[going] >= 0])
    # One that is under another move was freed when that had found it in use: it is not ours
    # before that mover has seen it.
    ours = batch.target_marked[going]
    batch.reasons[going[~ours]] = Reason.NO_TARGET
    batch.target_refs[going[ours]] = batch.memory.references(batch.where[going[ours]])


def _freeze(batch: Batch) -> None:
    """Hold the references of each frame at exactly what is accounted for."""
    batch.refresh(batch.going, thorough=True)
    unpinned = batch.unpinned
    if len(unpinned):  # whoever let go since we asked has made this a success
        freed = batch.memory.only_ours(batch.sources[unpinned])
        batch.reasons[unpinned[freed]] = Reason.FREED
    _count_references(batch)
    going = batch.going
    batch.pin_refs[going] = batch.pins.sums(batch.row_refs, going)
    batch.do(batch.frozen, True, going, batch.memory.freeze, batch.sources, batch.pin_refs)
    batch.reasons[going[~batch.frozen[going]]] = Reason.UNACCOUNTED


def _count_references(batch: Batch) -> None:
    """Ask each owner once how many references its pins stand for."""
    batch.row_refs = np.zeros(len(batch.pins.frame), dtype=np.int64)
    for owner, rows in batch.pins.owners:
        if len(rows := batch.live(rows)):
            call = batch.call("references", owner, rows, batch.sources)
            counts = call.answers(batch.registry) if call.make(batch.registry) else None
            if counts is None:
                batch.refuse(rows, owner, call.failure)
            else:
                batch.row_refs[rows] = counts


def _copy(batch: Batch) -> None:
    """The contents; from here to rekey an owner may know either name of its frame."""
    going = batch.going
    sources, targets = batch.sources[going], batch.where[going]
    batch.memory.copy(sources, targets)
    batch.registry.marks.forward_many(sources, targets)


def _migrate(batch: Batch, owner: PinOwner, rows: Index) -> None:
    """One owner repoints what it has; one that kept a reference of its own did not (R-26)."""
    call = batch.call("migrate", owner, rows, batch.sources, batch.where)
    batch.tell(call, rows, PinState.MIGRATED, PinState.UNKNOWN)
    batch.refuse_for(call, rows[call.nr_returned :])
    if call.nr_returned:
        _verify(batch, owner, batch.pins.frames_of(rows[: call.nr_returned]))


def _verify(batch: Batch, owner: PinOwner, frames: Index) -> None:
    """While a frame is frozen nobody takes a reference, and whoever lets go unpins first.

    So what is held lies between what the live pins stand for and what was held before; else
    the owner that was just called has kept one, or has dropped one and kept its pin.
    """
    if _are_exact(batch, frames):
        return
    frames, live, held = _look_closely(batch, frames)
    wrong = ((held < live) | (held > batch.pin_refs[frames])) & ~batch.bad_source[frames]
    batch.pin_refs[frames] = held
    for frame in frames[wrong].tolist():  # what is known already is not this owner's
        why = f"migrate of pfn {batch.sources[frame]:#x} left a reference"
        batch.blame(owner, frame, why, batch.bad_source)


def _are_exact(batch: Batch, frames: Index) -> bool:
    """Whether the references of all are what pins account for, and no pin went."""
    pin_refs = batch.pins.sums(batch.row_refs, frames)
    exact: Mask = batch.memory.still_frozen(batch.sources[frames], pin_refs)
    return bool(exact.all()) and not batch.pins.may_be_stale


def _look_closely(batch: Batch, frames: Index) -> tuple[Index, Index, Index]:
    """Pins and references as they were at one moment.

    Returns:
        Those of the frames that are still going, the references that their live pins stand
        for, and those that are held; home's and the mover's not among them.
    """
    while True:
        batch.refresh(frames, thorough=True)
        frames = frames[batch.reasons[frames] == PENDING]
        live = batch.pins.sums(batch.row_refs, frames)
        held = batch.memory.references(batch.sources[frames]) - 1
        batch.refresh(frames, thorough=True)
        if (live == batch.pins.sums(batch.row_refs, frames)).all():  # else one went right now
            return frames, live, held


def _rekey(batch: Batch) -> None:
    """Pins, references and home are the target's from here on."""
    if not _are_exact(batch, batch.going):
        going, live, held = _look_closely(batch, batch.going)
        # Whoever unpinned and has not dropped its reference yet will do so by the name that it
        # knows: the target's goes forward with the frame, the source's stops it.  (A frame that
        # nobody holds any more is not rekeyed in any case.)
        forward = batch.bad_source[going] | batch.pins.has(going, PinState.UNPINNED_AT_TARGET)
        batch.reasons[going[(live != held) & ~forward]] = Reason.UNACCOUNTED
    going = batch.going
    batch.do(batch.rekeyed, True, going, batch.memory.rekey, batch.sources, batch.where)
    # What was dropped at this very moment has nobody to go to the target.
    batch.reasons[going[~batch.rekeyed[going]]] = Reason.UNACCOUNTED
    _make_whole(batch)


def _make_whole(batch: Batch) -> None:
    """The pins of frames that were rekeyed follow; then their targets are as free as any frame."""
    frames = (batch.rekeyed & batch.target_marked).nonzero()[0]
    batch.registry.marks.rekey_many(batch.sources[frames], batch.where[frames])
    batch.unmark(batch.where, batch.target_marked, frames)
    left = frames[batch.registry.owner_counts(batch.sources[frames]) > 0]
    batch.blame_who_pins(left, "pins pfn {:#x} after its move")


def _free(batch: Batch) -> None:
    """Empty sources to the free lists; one that somebody still uses, out of circulation (M5)."""
    frames = (batch.rekeyed & batch.taken).nonzero()[0]
    kept = frames[batch.memory.references(batch.sources[frames]) != 0]
    for frame in kept[~batch.bad_source[kept]].tolist():
        why = f"migrate of pfn {batch.sources[frame]:#x} left a reference"
        batch.blame(batch.pins.only_owner_at_target(frame), frame, why, batch.bad_source)
    bad = batch.bad_source[frames]
    batch.reasons[frames] = Reason.MOVED
    batch.reasons[frames[bad]] = Reason.OWNER_FAULTY
    batch.do(batch.taken, False, frames[bad], batch.memory.quarantine, batch.sources)
    batch.unmark(batch.sources, batch.marked, batch.rekeyed.nonzero()[0])
    batch.do(batch.taken, False, frames[~bad], batch.memory.free, batch.sources)


def _abandon(batch: Batch) -> None:
    """The caller wants no more of it: leave everything as if nobody had asked.

    What has been rekeyed is through, and is made whole.  Whatever interrupts this, it can
    be begun again.
    """
    batch.recover()
    if batch.rekeyed.any():
        _make_whole(batch)
        _free(batch)
    batch.reasons[batch.going] = Reason.OWNER_AGAIN
    batch.drop_untaken()
    for _ in undo(batch):
        pass
