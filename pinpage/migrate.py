"""Move frames whose owners agree: one protocol for one frame and for hundreds.

    look up -> take -> isolate every pin -> target -> freeze -> copy -> migrate every pin
            -> rekey -> free            (all said yes)
            -> putback, in reverse      (anything else; one exit for every reason)

The move is a generator of `Step`s and does nothing between two of them, so a test can let
anything happen at every step; `move_many` merely exhausts it.  A batch is the unit: each
step is a few column operations, whatever the number of frames.

Invariants (each has a race test and a mutant):
    M1  A frame is taken by at most one move; the loser is told, it does not wait (R-7).
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

from pinpage.move import forward
from pinpage.move.batch import Batch, carry_out
from pinpage.move.release import release_many, release_steps
from pinpage.move.report import MoveReport, Refusal
from pinpage.move.steps import GivenTargets, Memory, Reasons, Step, TargetSource, run_out
from pinpage.move.undoing import abandon, undo
from pinpage.owner import Mode
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = [
    "GivenTargets",
    "Memory",
    "MoveReport",
    "Reasons",
    "Refusal",
    "Step",
    "TargetSource",
    "move_many",
    "move_steps",
    "release_many",
    "release_steps",
]


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
    return carry_out(make, partial(_steps, mode=mode), abandon)


def move_many(
    registry: PinRegistry, memory: Memory, sources: Pfns, targets: TargetSource, mode: Mode
) -> MoveReport:
    """Run `move_steps` to its end; arguments, errors and cost are the same."""
    return run_out(move_steps(registry, memory, sources, targets, mode))


def _steps(batch: Batch, mode: Mode) -> Generator[Step, None, MoveReport]:
    """What costs nothing to call off, then copy, tell every owner, make it final, and undo."""
    batch.look_up(lambda owner: owner.can_migrate)
    yield Step.LOOKUP
    if len(batch.going):
        batch.take()
        yield Step.TAKE
    for owner, rows in batch.each_owner():
        forward.isolate(batch, owner, rows, mode)
        yield Step.ISOLATE
    for step, act in _BEFORE_OWNERS_MIGRATE:
        if len(batch.going):
            act(batch)
            yield step
    for owner, rows in batch.each_owner():
        forward.migrate(batch, owner, rows)
        yield Step.MIGRATE
    if len(batch.going):
        forward.rekey(batch)
        yield Step.REKEY
    if len(batch.going):
        forward.free(batch)
        yield Step.FREE
    yield from undo(batch)
    return MoveReport(batch.reasons, batch.where, batch.refusals)


_BEFORE_OWNERS_MIGRATE = (
    (Step.TARGET, forward.find_targets),
    (Step.FREEZE, forward.freeze),
    (Step.COPY, forward.copy),
)
