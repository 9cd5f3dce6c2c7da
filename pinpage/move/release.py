"""Ask owners to give frames up instead of moving them: zbud's unuse, balloon's deflate.

    look up -> take -> release every pin -> put        (the last reference was ours: freed)

There is no target and nothing to undo: what an owner has given up is gone.  The frame is a
success if no pin and no reference is left on it, whatever the owner said; an owner that
said yes and kept its pin lied.  If it dropped the last reference all the same, the frame is
quarantined: nobody else may have it while a pin is on it (M5).
"""

from collections.abc import Generator
from functools import partial

import numpy as np

from pinpage.move.batch import Batch, carry_out
from pinpage.move.pins import Index, PinState
from pinpage.move.steps import GivenTargets, Memory, Reasons, Step, run_out
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["release_many", "release_steps"]


def release_steps(
    registry: PinRegistry, memory: Memory, pfns: Pfns, mode: Mode
) -> Generator[Step, None, Reasons]:
    """Ask every owner of each frame to give it up, one step per `next()`.

    Args:
        registry: who pins what.
        memory: the VM's side; only `has_home`, `take`, `only_ours`, `put` and `quarantine`
            are used.
        pfns: int64[n], without duplicates.
        mode: how long owners may wait, and so whether they may allocate.

    Yields:
        The `Step` that was just done; RELEASE once per owner.

    Returns:
        uint8[n]: RELEASED where the frame is free now because its owners gave it up, FREED
        where they did so unasked, else why not.

    Raises:
        PinpageError: a frame given twice, or not in the topology; nothing changed.
    """
    no_targets = GivenTargets(np.zeros(0, dtype=np.int64))
    make = partial(Batch, registry, memory, pfns, no_targets)
    return carry_out(make, partial(_steps, mode=mode), _abandon)


def release_many(registry: PinRegistry, memory: Memory, pfns: Pfns, mode: Mode) -> Reasons:
    """Run `release_steps` to its end; arguments, errors and cost are the same."""
    return run_out(release_steps(registry, memory, pfns, mode))


def _steps(batch: Batch, mode: Mode) -> Generator[Step, None, Reasons]:
    batch.look_up(lambda owner: owner.can_release)
    yield Step.LOOKUP
    yield from batch.once(Step.TAKE, Batch.take)
    yield from batch.by_owner(Step.RELEASE, partial(_release, mode=mode))
    _put_back(batch)
    return batch.reasons


def _abandon(batch: Batch) -> None:
    batch.recover()
    _put_back(batch)


def _release(batch: Batch, owner: PinOwner, rows: Index, mode: Mode) -> None:
    """One owner about all of its pins; yes means that the pin is gone (R-26)."""
    call = batch.call("release", owner, rows, batch.sources, mode)
    batch.ask(call, rows)
    if call.failure is Reason.MOVED:
        batch.refresh(batch.pins.frames_of(rows))
        kept = rows[batch.pins.state[rows] == PinState.ISOLATED]
        if len(kept):
            pfn = int(batch.sources[batch.pins.frame[kept[0]]])
            batch.registry.fault(owner, f"release of pfn {pfn:#x} said yes and kept its pin")
            batch.refuse(kept, owner, Reason.OWNER_FAULTY)


def _put_back(batch: Batch) -> None:
    """What nobody holds any more is free, and a success; can be begun again at any point."""
    asked = batch.going
    batch.reasons[asked] = Reason.UNACCOUNTED
    batch.drop_untaken()
    batch.put_back()
    batch.reasons[asked[batch.reasons[asked] == Reason.FREED]] = Reason.RELEASED
