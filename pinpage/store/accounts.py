"""A registry's books: what it counted, and whether its parts agree.

Owns:    nothing.
Cost:    statistics reads a few counters per node; check reads every pin.
Kernel counterpart: /proc/vmstat; CONFIG_DEBUG_VM.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pinpage.errors import require
from pinpage.store.owner_table import OwnerTable
from pinpage.store.privates import NONE_NUMBER, Privates
from pinpage.store.shard import Shard
from pinpage.store.statistics import Statistics
from pinpage.units import PAGEBLOCK_NR_PAGES

__all__ = ["check", "statistics"]


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
        nr_pins=sum(radix.nr_pins for radix in radixes) + sum(len(s.claims) for s in shards),
        nr_pending=sum(len(shard.claims) for shard in shards),
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
        nr_refused=total("nr_refused"),
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
        records = [row[1:] for row in pins] + [entry[:2] for entry in shard.claims.values()]
        nr_found += len(records)
        strangers = {tag >> 1 for tag, _ in records} - registered
        require(not strangers, "R1 pins of owners that are not registered", owner_ids=strangers)
        users.update(value for tag, value in records if tag & 1 and value != NONE_NUMBER)
    privates.check(dict(users))
    require(nr_found == nr_pins, "R3 pins", found=nr_found, kept=nr_pins)
