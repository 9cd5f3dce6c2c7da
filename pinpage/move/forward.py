"""The steps of a move as long as nobody refuses, from isolate to free.

`pinpage.migrate` says which step follows which, and what must hold.  Whatever stops a frame is
written into its reason, and `undoing` brings back what has one.
"""

import numpy as np

from pinpage.errors import require
from pinpage.move.batch import PENDING, Batch
from pinpage.move.pins import Index, PinState
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.units import Mask, Pfns

__all__ = ["copy", "find_targets", "free", "freeze", "isolate", "make_whole", "migrate", "rekey"]


def isolate(batch: Batch, owner: PinOwner, rows: Index, mode: Mode) -> None:
    """One owner quiesces, or says why not."""
    batch.ask(batch.call("isolate", owner, rows, batch.sources, mode), rows)


def find_targets(batch: Batch) -> None:
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


def freeze(batch: Batch) -> None:
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


def copy(batch: Batch) -> None:
    """The contents; from here to rekey an owner may know either name of its frame."""
    going = batch.going
    sources, targets = batch.sources[going], batch.where[going]
    batch.memory.copy(sources, targets)
    batch.registry.marks.forward_many(sources, targets)


def migrate(batch: Batch, owner: PinOwner, rows: Index) -> None:
    """One owner repoints what it has; one that kept a reference of its own did not (R-26)."""
    call = batch.call("migrate", owner, rows, batch.sources, batch.where)

    def note() -> None:
        batch.pins.state[rows[: call.nr_told]] = PinState.MIGRATED
        batch.pins.state[rows[call.in_doubt]] = PinState.UNKNOWN

    batch.receipt.watch(note, call.make, batch.registry)
    told = call.nr_told
    if told < len(rows):
        batch.refuse_for(call, rows[told:])
    if told:
        _verify(batch, owner, batch.pins.frames_of(rows[:told]))


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
        batch.bad_source[frame] = True
        batch.blame(owner, frame, f"migrate of pfn {batch.sources[frame]:#x} left a reference")


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


def rekey(batch: Batch) -> None:
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
    make_whole(batch)


def make_whole(batch: Batch) -> None:
    """The pins of frames that were rekeyed follow; then their targets are as free as any frame."""
    frames = (batch.rekeyed & batch.target_marked).nonzero()[0]
    batch.registry.marks.rekey_many(batch.sources[frames], batch.where[frames])
    batch.unmark(batch.where, batch.target_marked, frames)
    left = frames[batch.registry.owner_counts(batch.sources[frames]) > 0]
    batch.bad_source[left] = True
    batch.blame_who_pins(left, "pins pfn {:#x} after its move")


def free(batch: Batch) -> None:
    """Empty sources to the free lists; one that somebody still uses, out of circulation (M5)."""
    frames = (batch.rekeyed & batch.taken).nonzero()[0]
    kept = frames[batch.memory.references(batch.sources[frames]) != 0]
    for frame in kept[~batch.bad_source[kept]].tolist():
        batch.bad_source[frame] = True
        why = f"migrate of pfn {batch.sources[frame]:#x} left a reference"
        batch.blame(batch.pins.only_owner_at_target(frame), frame, why)
    bad = batch.bad_source[frames]
    batch.reasons[frames] = Reason.MOVED
    batch.reasons[frames[bad]] = Reason.OWNER_FAULTY
    batch.do(batch.taken, False, frames[bad], batch.memory.quarantine, batch.sources)
    batch.unmark(batch.sources, batch.marked, batch.rekeyed.nonzero()[0])
    batch.do(batch.taken, False, frames[~bad], batch.memory.free, batch.sources)
