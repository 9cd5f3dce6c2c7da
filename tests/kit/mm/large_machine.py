"""A large machine whose requests mean something, and what it costs to have one.

Half of memory is one process's, in random places, with a tag per page; slab-like frames that
cannot move, registered by an owner, are strewn over every GiB but one in the upper half.

Run as a program it makes such a machine in a process of its own, for nothing else to count,
and prints what that took as JSON:  python -m tests.kit.mm.large_machine GIB
"""

import gc
import json
import sys
import time
from pathlib import Path

import numpy as np

from mm.hugetlb.gigantic import NR_PAGES_1_GIB
from mm.machine import Machine
from mm.state.contents import TagContents
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.nodes import place_frames, zones_for
from mm.state.pageblock import Pageblocks
from owners.opaque import OpaqueOwner

__all__ = ["columns_nr_bytes", "half_used", "main", "reference_s"]

USED_SHARE, PIN_SHARE = 0.5, 0.0005
_ANON = PageFlag.ANON.mask | PageFlag.SWAPBACKED.mask | PageFlag.UPTODATE.mask


def resident_nr_bytes():
    """Resident memory of this process (/proc/self/statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def reference_s():
    """CPU time of writing 64 Mi int64, the yardstick for times: the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        np.full(1 << 26, 1, dtype=np.int64)
        best = min(best, time.process_time() - started)
    return best


def half_used(nr_gib, *, pins=True):
    """The machine, its process, and the one 1 GiB range without a pin (or None)."""
    nr_pages = nr_gib * NR_PAGES_1_GIB
    draw = np.random.default_rng(1).random(nr_pages, dtype=np.float32)
    clear = nr_gib * 3 // 4 * NR_PAGES_1_GIB if pins else None
    pinned = np.flatnonzero(draw < PIN_SHARE * pins)
    if clear is not None:
        pinned = pinned[(pinned < clear) | (pinned >= clear + NR_PAGES_1_GIB)]
    machine = _machine(draw < USED_SHARE)
    slab = OpaqueOwner("slab", movable=False, registry=machine.use_registry())
    slab.adopt(pinned)
    draw[pinned] = 1.0
    anon = np.flatnonzero(draw < USED_SHARE)
    machine.frames.flags[anon] = _ANON
    space = machine.rmap.create("anon", len(anon))
    machine.rmap.map_many(space, np.arange(len(anon)), anon)
    machine.lru.add_many(anon)
    machine.contents.set_tags(anon, np.arange(len(anon), dtype=np.uint64))
    return machine, space, clear


def _machine(used):
    frames = Frames(len(used))
    frames.state[:] = np.where(used, np.uint8(FrameState.USED), np.uint8(FrameState.FREE))
    frames.refcount[used] = 1
    zones = zones_for(len(used))
    place_frames(frames, zones)
    return Machine(frames, Pageblocks(len(used)), zones, TagContents(len(used)))


def columns_nr_bytes(machine):
    """Bytes per frame of the columns that such a machine has written to."""
    frames = machine.frames
    columns = [frames.state, frames.order, frames.flags, frames.refcount, frames.mapcount]
    columns += [machine.rmap.first_mm, machine.rmap.first_vpn]
    columns += [column for column in vars(machine.lru).values() if isinstance(column, np.ndarray)]
    columns += [machine.contents.words]
    # Each frame that came onto a list of the LRU has one place of four bytes on it.
    places = 4 * int(np.count_nonzero(frames.flags & PageFlag.LRU.mask))
    return (sum(column.nbytes for column in columns) + places) / frames.nr_frames


def main(nr_gib):
    """Build one empty and one that is half used; say what each took."""
    nr_frames, before = nr_gib * NR_PAGES_1_GIB, resident_nr_bytes()
    started = time.process_time()
    machine = Machine.build(nr_pages=nr_frames, contents="tags")
    built = time.process_time() - started, (resident_nr_bytes() - before) / nr_frames
    del machine
    gc.collect()
    before = resident_nr_bytes()
    started = time.process_time()
    machine, space, _ = half_used(nr_gib)
    used_s = time.process_time() - started
    gc.collect()
    resident = (resident_nr_bytes() - before) / nr_frames
    print(
        json.dumps(
            {
                "reference_s": reference_s(),
                "build_s": built[0],
                "build_resident": built[1],
                "half_used_s": used_s,
                "half_used_columns": columns_nr_bytes(machine),
                "half_used_resident": resident,
                "half_used_ptes": space.pte.nbytes / nr_frames,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
