"""What a replay can make of a recording, asked before anything of it is made.

A recording that is consistent in itself may still ask for what no replay here has: a pool whose
layout is not known for pages of that size, a million processes because one page is mapped a
million times, a zone that ends in the middle of a free block.

Owns: the bounds of what is built.
Ignores: whether the contents fit into this machine; `pinlab.replay.host_memory` knows that.
Cost: a few passes over the frames.
"""

from typing import Final

import numpy as np

from mm.state.frames import FrameState
from mm.state.pageblock import MAX_PAGEBLOCK_ORDER
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import require_frames_named, require_free_recorded
from pinpage.units import PAGE_SIZE, in_words

__all__ = [
    "MAX_NR_FURTHER_MAPPINGS",
    "MAX_NR_NODES",
    "MAX_NR_PROCESSES",
    "check_replayable",
    "nr_swap_slots",
]

MAX_NR_PROCESSES: Final = 1 << 15
"""Processes of a replay, and so mappings of one anonymous page: the kernel's usual pid_max.

Merged pages (KSM) are mapped 256 times at most, unless somebody raises max_page_sharing.
"""
MAX_NR_FURTHER_MAPPINGS: Final = 1 << 22
"""Mappings of anonymous pages beyond the first of each, which cost an object each."""

MAX_NR_NODES: Final = 256
"""Nodes of a replay: frames have a byte for theirs."""

_SLOTS_PER_PAGE: Final = 4
_PACKED: Final = (FrameClass.ZBUD, FrameClass.Z3FOLD, FrameClass.ZSMALLOC, FrameClass.ZRAM)
"""Classes of frames that hold several compressed pages each."""
_HIGH_MEMORY: Final = "HighMem"
_REPORTS: Final = "`pinpage report` shows it for what it is; request and compare do not replay it"


def check_replayable(snapshot: Snapshot) -> None:
    """Refuse what cannot be built.

    Raises:
        SnapshotError: names what there is too much of, or what does not fit together.
    """
    require_frames_named(snapshot, snapshot.name)
    require_free_recorded(snapshot, snapshot.name)
    _check_sizes(snapshot)
    _check_zones(snapshot)
    _check_areas(snapshot)
    _check_mappings(snapshot)


def nr_swap_slots(snapshot: Snapshot, nr_objects: int) -> int:
    """Slots of the swap area: as recorded, as far as a replay could ever tell the difference.

    No more pages than there are frames and objects can be swapped out, and the kernel asks
    only whether half of the slots are taken; so what goes beyond several times that is never
    looked at, and a recorded disk of terabytes costs nothing.

    Args:
        snapshot: the recording.
        nr_objects: that are swapped out to begin with.
    """
    size = snapshot.geometry.page_nr_bytes
    recorded = snapshot.workload.get("swap_size_kb", 0) * 1024 // size
    told_apart = _SLOTS_PER_PAGE * (snapshot.nr_frames + nr_objects)
    return max(min(recorded, told_apart), nr_objects + nr_objects // 4 + 1)


def _refuse(snapshot: Snapshot, field: str, problem: str, fix: str) -> None:
    raise SnapshotError(snapshot.name, field, problem, fix)


def _check_sizes(snapshot: Snapshot) -> None:
    """Sizes that a replay has, and zones that kernel memory may lie in."""
    most, page_nr_bytes = 1 << MAX_PAGEBLOCK_ORDER, snapshot.geometry.page_nr_bytes
    if snapshot.nr_pages_per_block > most:
        problem = f"is {snapshot.nr_pages_per_block}, and at most {most} are replayed"
        _refuse(snapshot, "nr_pages_per_block", problem, _REPORTS)
    packed = [klass for klass in _PACKED if klass in snapshot.classes]
    if packed and page_nr_bytes != PAGE_SIZE:
        problem = (
            f"are of {in_words(page_nr_bytes)}, and how {packed[0].name.lower()} packs its objects "
            f"is known for those of {in_words(PAGE_SIZE)}"
        )
        _refuse(snapshot, "pages", problem, _REPORTS)
    for facts in snapshot.zones:
        if facts.name == _HIGH_MEMORY and facts.nr_pages_of_buddy:
            problem = "is no place for kernel memory, and a replay would put some of it there"
            _refuse(snapshot, f"zone {facts.name}", problem, _REPORTS)


def _check_mappings(snapshot: Snapshot) -> None:
    anon = np.isin(snapshot.klass, (FrameClass.ANON, FrameClass.GUP))
    further = np.maximum(snapshot.mapcount[anon].astype(np.int64), 1) - 1
    if int(further.max(initial=0)) >= MAX_NR_PROCESSES:
        pfn = int(np.flatnonzero(anon)[int(further.argmax())])
        problem = f"maps pfn {pfn:#x} {int(further.max()) + 1:,d} times"
        fix = f"up to {MAX_NR_PROCESSES:,d} processes are replayed"
        _refuse(snapshot, "column mapcount", problem, fix)
    if int(further.sum()) > MAX_NR_FURTHER_MAPPINGS:
        problem = f"shares anonymous pages {int(further.sum()):,d} times"
        fix = f"up to {MAX_NR_FURTHER_MAPPINGS:,d} are replayed"
        _refuse(snapshot, "column mapcount", problem, fix)


def _check_zones(snapshot: Snapshot) -> None:
    for facts in snapshot.zones:
        nr_inside = min(facts.start_pfn + facts.spanned, snapshot.nr_frames) - facts.start_pfn
        managed, nr_inside = facts.nr_pages_of_buddy, max(nr_inside, 0)
        if managed > nr_inside:
            field = f"node {facts.node}, zone {facts.name}"
            problem = f"manages {managed:,d} pages, of which {nr_inside:,d} are there"
            _refuse(snapshot, field, problem, "record it again")
        if managed and facts.node >= MAX_NR_NODES:
            problem = f"is of node {facts.node}, beyond the {MAX_NR_NODES} that are replayed"
            _refuse(snapshot, f"zone {facts.name}", problem, "use a smaller machine's recording")
    _check_homes(snapshot)


def _check_areas(snapshot: Snapshot) -> None:
    """Each contiguous area lies in one zone that has memory."""
    zones = [facts for facts in snapshot.zones if facts.nr_pages_of_buddy]
    for area in snapshot.geometry.cma_areas:
        span = area.span
        homes = [z for z in zones if z.start_pfn <= span.start < z.start_pfn + z.spanned]
        if not any(span.stop <= z.start_pfn + z.spanned for z in homes):
            problem = f"lies at {span.start:#x}-{span.stop:#x}, which is not inside of one zone"
            _refuse(snapshot, f"area {area.name}", problem, "record it with zoneinfo")


def _check_homes(snapshot: Snapshot) -> None:
    """Whatever can ever be free lies in a zone that has memory, rounded to whole pageblocks."""
    size = snapshot.nr_pages_per_block
    home = np.zeros(-(-snapshot.nr_frames // size), dtype=np.bool_)
    for facts in snapshot.zones:
        if facts.nr_pages_of_buddy:
            stop = -(-(facts.start_pfn + facts.spanned) // size)
            home[facts.start_pfn // size : stop] = True
    may_be_free = np.isin(snapshot.state, (FrameState.FREE, FrameState.PCP, FrameState.USED))
    pfns = np.flatnonzero(may_be_free)
    outside = pfns[~home[pfns // size]]
    if len(outside):
        problem = f"puts pfn {int(outside[0]):#x} outside of every zone that has memory"
        _refuse(snapshot, "zones", problem, "record it with zoneinfo")
