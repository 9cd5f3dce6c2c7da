"""What a registry counted, and whether its parts agree.

Owns:    the names and the meaning of the counters.
Cost:    statistics reads a few counters per node and takes no lock; check reads every pin.
Kernel counterpart: /proc/vmstat; CONFIG_DEBUG_VM.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from pinpage.errors import require
from pinpage.store.owner_table import OwnerTable
from pinpage.store.privates import NONE_NUMBER, Privates
from pinpage.store.shard import Shard
from pinpage.units import PAGEBLOCK_NR_PAGES

__all__ = ["Statistics", "check", "statistics"]


@frozen(kw_only=True)
class Statistics:
    """Counters since the registry was made, and gauges of this moment.

    Attributes:
        nr_pins: pins now, those in batches included.
        nr_pending: pins now in batches.
        nr_sparse, nr_dense, nr_runs: pins now by form: in the table of scattered pins, in
            leaves of several owners, in leaves of one owner.
        nr_extra: pins now beyond the first of their frame, counted in no form.
        nr_leaves: pageblocks with a leaf of their own.
        nr_moving: frames under move now.
        nr_local, nr_remote: node-lock acquisitions by threads that run on the node, by others.
        nr_drains: batches emptied; nr_drained: pins that came out of them.
        nr_annihilated: pins undone while still in their batch: no lock, no leaf.
        nr_direct: pins stored without a batch (ranges, columns, frames watched).
        nr_waits: times that a pin waited for a frame under move.
        nr_died: pins dropped while their frame was under move.
        nr_probes: slots passed over in the table of scattered pins because another frame's
            record sat there; lookups without the lock may lose a count.
        nr_rebuilds: times that a table of scattered pins was copied into a larger or smaller one.
        nr_conversions: leaves made or given back.
        nr_privates: objects in the side table of privates.
    """

    nr_pins: int
    nr_pending: int
    nr_sparse: int
    nr_dense: int
    nr_runs: int
    nr_extra: int
    nr_leaves: int
    nr_moving: int
    nr_local: int
    nr_remote: int
    nr_drains: int
    nr_drained: int
    nr_annihilated: int
    nr_direct: int
    nr_waits: int
    nr_died: int
    nr_probes: int
    nr_rebuilds: int
    nr_conversions: int
    nr_privates: int

    @property
    def lock_acquisitions(self) -> int:
        """Node-lock acquisitions, local and remote."""
        return self.nr_local + self.nr_remote


def statistics(shards: Sequence[Shard], privates: Privates) -> Statistics:
    """What was counted so far.

    Args:
        shards: of the registry.
        privates: its side table.
    """
    radixes = [shard.radix for shard in shards]
    nr_sparse = sum(radix.blocks.sparse.nr_live for radix in radixes)
    nr_runs = sum(PAGEBLOCK_NR_PAGES * radix.blocks.nr_full_blocks for radix in radixes)

    def total(name: str) -> int:
        return sum(getattr(shard, name) for shard in shards)

    return Statistics(
        nr_pins=total("nr_pins"),
        nr_pending=sum(len(shard.batch) for shard in shards),
        nr_sparse=nr_sparse,
        nr_dense=sum(radix.blocks.nr_frames for radix in radixes) - nr_sparse - nr_runs,
        nr_runs=nr_runs,
        nr_extra=sum(radix.nr_extra for radix in radixes),
        nr_leaves=sum(int(np.count_nonzero(radix.blocks.is_dense)) for radix in radixes),
        nr_moving=sum(len(shard.moving) for shard in shards),
        nr_local=total("nr_acquisitions") - total("nr_remote"),
        nr_remote=total("nr_remote"),
        nr_drains=total("nr_drains"),
        nr_drained=total("nr_drained"),
        nr_annihilated=total("nr_annihilated"),
        nr_direct=total("nr_direct"),
        nr_waits=total("nr_waits"),
        nr_died=total("nr_died"),
        nr_probes=sum(radix.blocks.sparse.nr_probes for radix in radixes),
        nr_rebuilds=sum(radix.blocks.sparse.nr_rebuilds for radix in radixes),
        nr_conversions=sum(radix.blocks.nr_conversions for radix in radixes),
        nr_privates=len(privates),
    )


def check(shards: Sequence[Shard], owners: OwnerTable, privates: Privates, nr_pins: int) -> None:
    """Run R1..R3 of the registry and the invariants of every part; inside all sections.

    Args:
        shards: of the registry.
        owners: its owners.
        privates: its side table.
        nr_pins: how many it says that it has.

    Raises:
        InvariantError: one does not hold.
    """
    owners.check()
    users: Counter[int] = Counter()
    nr_found = 0
    registered = set(owners.number_of.values())
    for shard in shards:
        shard.check()
        radix = shard.radix
        pins = radix.pins_in(radix.span.start, radix.span.stop).each()
        records = [row[1:] for row in pins] + list(shard.batch.values())
        nr_found += len(records)
        strangers = {tag >> 1 for tag, _ in records} - registered
        require(not strangers, "R1 pins of owners that are not registered", owner_ids=strangers)
        users.update(value for tag, value in records if tag & 1 and value != NONE_NUMBER)
    privates.check(dict(users))
    require(nr_found == nr_pins, "R3 pins", found=nr_found, kept=nr_pins)
