"""A recording of seven pageblocks that has one of everything a replay must treat specially."""

import numpy as np

from mm.state.frames import PageFlag
from mm.state.pageblock import MigrateType
from pinlab.procfs.infer import maximal_orders
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.facts import Measured, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot

__all__ = ["BLOCK", "NR_FRAMES", "NR_OBJECTS", "NR_ZBUD_PAGES", "small_recording"]

BLOCK = 512
NR_FRAMES = 7 * BLOCK - 100
"""The last pageblock is partial."""
NR_ZBUD_PAGES, NR_OBJECTS = 300, 420

K = FrameClass
_MIXED = [(K.FREE, 0.46), (K.ANON, 0.34), (K.FILE, 0.1), (K.PCP, 0.05), (K.UNKNOWN, 0.05)]


def _klass(rng):
    klass = rng.choice([k for k, _ in _MIXED], size=NR_FRAMES, p=[p for _, p in _MIXED])
    klass = klass.astype(np.uint8)
    mixed = klass[4 * BLOCK : 6 * BLOCK]
    mixed[mixed == K.UNKNOWN] = K.ANON  # pageblocks that can be emptied
    klass[2 * BLOCK : 4 * BLOCK] = K.FREE  # one free block of order 10
    tail = slice(6 * BLOCK, NR_FRAMES)
    kernel = [K.RESERVED, K.HOLE, K.SLAB, K.PAGETABLE, K.OTHER, K.VMALLOC, K.GUP, K.FREE]
    klass[tail] = np.resize(np.repeat(kernel, 5), NR_FRAMES - 6 * BLOCK)
    shared = rng.permutation(2 * BLOCK)
    klass[shared[:NR_ZBUD_PAGES]] = K.ZBUD
    klass[shared[NR_ZBUD_PAGES : NR_ZBUD_PAGES + 20]] = K.SLAB
    return klass


def small_recording(seed: int = 0) -> Snapshot:
    """Half free; zbud and slab share two pageblocks; some frames are of unknown use."""
    rng = np.random.default_rng(seed)
    klass = _klass(rng)
    state = STATE_OF_CLASS[klass].copy()
    zone = np.zeros(NR_FRAMES, dtype=np.uint8)
    mapcount = np.where(np.isin(klass, (K.ANON, K.FILE, K.GUP)), 1, 0).astype(np.int32)
    mapcount[np.flatnonzero(klass == K.ANON)[:7]] = (2, 3, 2, 1, 1, 2, 0)
    in_use = (klass != K.FREE) & (klass != K.PCP) & (klass != K.HOLE)
    block_types = np.full(7, MigrateType.MOVABLE, dtype=np.uint8)
    block_types[[0, 1, 6]] = (MigrateType.UNMOVABLE, MigrateType.RECLAIMABLE, NOT_KNOWN)
    return Snapshot(
        state=state,
        klass=klass,
        order=maximal_orders(klass == K.FREE, zone),
        flags=np.where(np.isin(klass, (K.ANON, K.GUP)), PageFlag.ANON.mask, 0).astype(np.uint64),
        refcount=in_use.astype(np.int32),
        mapcount=mapcount,
        zone=zone,
        gfp=np.full(NR_FRAMES, NOT_KNOWN, dtype=np.uint8),
        guessed=np.zeros(NR_FRAMES, dtype=np.bool_),
        block_migratetype=block_types,
        block_skip=np.zeros(7, dtype=np.bool_),
        pinned_pfns=np.flatnonzero(klass == K.GUP),
        zones=(
            ZoneFacts(
                name="DMA32", node=0, start_pfn=0, spanned=NR_FRAMES, present=NR_FRAMES,
                managed=NR_FRAMES - 100, cma=0, min=20, low=25, high=30, boost=0,
                nr_free=int(np.count_nonzero(klass == K.FREE)),
            ),
        ),
        provenance=Provenance(source="made by a test", scenario="small", seed=seed),
        workload={"zswap_stored_pages": NR_OBJECTS},
        measured=_measured(),
    )  # fmt: skip


def _measured() -> Measured:
    return Measured(
        operation="cmphuge", nr_requested=100, huge_pages=3, wholly_free_before=2,
        wholly_free_after_compaction=3, pgmigrate_success=400, pgmigrate_fail=0,
        compact_migrate_scanned=900, compact_free_scanned=800, vmstat_delta={}, steps={},
    )  # fmt: skip
