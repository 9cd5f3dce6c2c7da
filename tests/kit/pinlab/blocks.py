"""Small machines drawn block by block: which owners are in the way of which block."""

import numpy as np

from mm.state.pageblock import MigrateType
from pinlab.procfs.infer import maximal_orders
from pinlab.snapshot.classes import NR_CLASSES, STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.facts import Geometry, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot
from pinpage.units import Span

__all__ = ["BLOCK", "machine_of", "snapshot_of"]

BLOCK = 512


def snapshot_of(klass, *, labels=None, zone=None, types=None, reserve=0, geometry=None):
    """A recording whose frames are of these classes; everything else follows."""
    klass = np.array(klass, dtype=np.uint8)
    zone = np.zeros(len(klass), dtype=np.uint8) if zone is None else zone
    nr_blocks = -(-len(klass) // BLOCK)
    is_free = klass == FrameClass.FREE
    zones = tuple(
        ZoneFacts(
            name=f"Zone{index}", node=0, start_pfn=0, spanned=len(klass),
            present=int((zone == index).sum()), managed=int((zone == index).sum()), cma=0,
            min=reserve, low=reserve, high=reserve, boost=0,
            nr_free=int((is_free & (zone == index)).sum()),
        )
        for index in range(int(zone.max()) + 1)
    )  # fmt: skip
    if types is None:
        types = np.full(nr_blocks, MigrateType.MOVABLE, dtype=np.uint8)
    return Snapshot(
        state=STATE_OF_CLASS[klass].copy(),
        klass=klass,
        order=maximal_orders(is_free, zone),
        flags=np.zeros(len(klass), dtype=np.uint64),
        refcount=np.where(is_free, 0, 1).astype(np.int32),
        mapcount=np.zeros(len(klass), dtype=np.int32),
        zone=zone,
        gfp=np.full(len(klass), NOT_KNOWN, dtype=np.uint8),
        guessed=np.zeros(len(klass), dtype=np.bool_),
        block_migratetype=np.array(types, dtype=np.uint8),
        block_skip=np.zeros(nr_blocks, dtype=np.bool_),
        pinned_pfns=np.empty(0, dtype=np.int64),
        zones=zones,
        provenance=Provenance(source="made by a test", scenario="drawn"),
        labels=labels or {},
        geometry=geometry or Geometry(),
    )


def machine_of(blocks, *, nr_free=256):
    """A recording with these owners in each block, one frame each.

    A block is a list of owners: names of classes, or of labels of one's own.  `nr_free` of its
    frames are free, the rest anonymous memory.
    """
    codes = {klass.name.lower(): klass for klass in FrameClass}
    frames = np.full((len(blocks), BLOCK), FrameClass.ANON, dtype=np.uint8)
    frames[:, BLOCK - nr_free :] = FrameClass.FREE
    labels = {}
    for row, owners in enumerate(blocks):
        for column, owner in enumerate(owners):
            frames[row, column] = codes.get(owner, FrameClass.LABELLED)
            if owner not in codes:
                labels.setdefault(owner, []).append(row * BLOCK + column)
    assert frames.max() < NR_CLASSES
    return snapshot_of(frames.reshape(-1), labels={n: _spans(p) for n, p in labels.items()})


def _spans(pfns):
    return tuple(Span(pfn, pfn + 1) for pfn in pfns)
