"""Records of page_owner laid over frames: class, migratetype, order, and who asked when.

Flags know best what a frame is; a stack is asked where they are silent, and page_owner has a
record of every page that is in use.  A frame that flags have free and a record has in use was
read twice while it changed: it stays free, and is counted.

Owns: which of two sources is believed.
Ignores: how the texts are read.
Cost: a few passes over the frames.
"""

from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.image import Snapshot
from pinlab.sources.counts import Reading
from pinlab.sources.page_owner import OwnerText
from pinlab.sources.stacks import StackTable
from pinpage.units import Pfns, Span

__all__ = ["with_owners"]

_LABEL = FrameClass.LABELLED


def with_owners(
    snapshot: Snapshot, text: OwnerText, table: StackTable, path: Path, *, flags_too: bool = False
) -> Snapshot:
    """The same frames, and what page_owner says of them.

    Args:
        snapshot: the frames.
        text: what page_owner said.
        table: whose stacks are.
        path: of the source, for messages.
        flags_too: whether to take the flags of the text, for there are no others.

    Raises:
        SnapshotError: what comes out contradicts itself.
    """
    reading = Reading(snapshot.reading)
    for name, nr in text.reading.items():
        reading.add(name, nr)
    text = _within(text, snapshot.nr_frames, reading)
    rows, pfns = _spread(text)
    classes, own = _classes(text, table)
    flags, klass, gfp = snapshot.flags, snapshot.klass.copy(), snapshot.gfp.copy()
    if flags_too:
        flags = _flags(text, rows, pfns, snapshot.nr_frames)
    idle = np.isin(klass[pfns], (FrameClass.FREE, FrameClass.HOLE))
    if idle.any():
        reading.add("frames_of_two_minds", int(np.count_nonzero(idle)))
    rows, pfns = rows[~idle], pfns[~idle]
    gfp[pfns] = text.migratetype[rows]
    silent = klass[pfns] == FrameClass.UNKNOWN
    rows, pfns = rows[silent], pfns[silent]
    klass[pfns] = classes[rows]
    state = snapshot.state.copy()
    state[pfns] = np.where(
        klass[pfns] == FrameClass.UNKNOWN, FrameState.USED, STATE_OF_CLASS[klass[pfns]]
    )
    reading.add("frames_by_stack", len(pfns))
    found = evolve(
        snapshot,
        state=state,
        klass=klass,
        flags=flags,
        gfp=gfp,
        block_migratetype=_block_types(snapshot, text),
        unknown_fields=tuple(name for name in snapshot.unknown_fields if name != "gfp"),
        labels={name: _spans(pfns[own[rows] == number]) for number, name in enumerate(table.names)}
        if table.names
        else snapshot.labels,
        allocations=text.allocations,
        reading=dict(reading),
    )
    found.check(path)
    return found


def _within(text: OwnerText, nr_frames: int, reading: Reading) -> OwnerText:
    """The records of frames that there are."""
    allocations = text.allocations
    stops = allocations.pfn.astype(np.int64) + (np.int64(1) << allocations.order.astype(np.int64))
    inside = stops <= nr_frames
    if inside.all():
        return text
    reading.add("records_impossible", int(np.count_nonzero(~inside)))
    names = ("pfn", "order", "gfp_mask", "at_ns", "pid", "command", "stack")
    kept: dict[str, Any] = {name: getattr(allocations, name)[inside] for name in names}
    columns = ("flags", "migratetype", "block", "block_type")
    rest: dict[str, Any] = {name: getattr(text, name)[inside] for name in columns}
    return evolve(text, allocations=evolve(allocations, **kept), **rest)


def _spread(text: OwnerText) -> tuple[Pfns, Pfns]:
    """(row, pfn) of every frame of every record."""
    nr_pages = np.int64(1) << text.allocations.order.astype(np.int64)
    rows = np.repeat(np.arange(len(nr_pages)), nr_pages)
    starts = np.repeat(np.cumsum(nr_pages) - nr_pages, nr_pages)
    pfns = text.allocations.pfn.astype(np.int64)[rows] + np.arange(len(rows)) - starts
    return rows, pfns


def _classes(text: OwnerText, table: StackTable) -> tuple[NDArray[np.uint8], Pfns]:
    """(class, number of the owner of one's own or -1) of each record."""
    allocations = text.allocations
    nr_stacks = len(allocations.stack_start) - 1
    owners = [table.owner_of(allocations.stack_of(number)) for number in range(nr_stacks)]
    numbers = {name: number for number, name in enumerate(table.names)}
    # One more at the end: the stack that is not said, -1, is looked up there.
    of_stack = np.array(
        [_LABEL if isinstance(o, str) else int(o) for o in owners] + [0], dtype=np.uint8
    )
    own_of_stack = np.array([numbers.get(str(o), -1) for o in owners] + [-1], dtype=np.int64)
    classes, own = of_stack[allocations.stack], own_of_stack[allocations.stack]

    def has(flag: PageFlag) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = (text.flags & flag.mask) != 0
        return mask

    is_lru, movable = has(PageFlag.LRU), text.migratetype == MigrateType.MOVABLE
    of_process = np.isin(classes, (FrameClass.ANON, FrameClass.FILE))
    # What is on no list of reclaim and was not asked for as movable is some driver's.
    classes[of_process & ~is_lru & ~movable] = FrameClass.OTHER
    classes[(classes == FrameClass.UNKNOWN) & ~is_lru & ~movable] = FrameClass.OTHER
    lru = is_lru & ~np.isin(classes, (FrameClass.ANON, FrameClass.FILE, FrameClass.HUGETLB))
    classes[lru] = np.where(has(PageFlag.SWAPBACKED)[lru], FrameClass.ANON, FrameClass.FILE)
    classes[has(PageFlag.SLAB)] = FrameClass.SLAB
    classes[has(PageFlag.RESERVED)] = FrameClass.RESERVED
    return classes, np.where(classes == _LABEL, own, -1)


def _flags(text: OwnerText, rows: Pfns, pfns: Pfns, nr_frames: int) -> NDArray[np.uint64]:
    """Flags of frames: those of the first page on it, and the shape of a compound on all."""
    flags = np.zeros(nr_frames, dtype=np.uint64)
    is_first = pfns == text.allocations.pfn[rows]
    flags[pfns[is_first]] = text.flags[rows[is_first]]
    compound = (text.flags & PageFlag.COMPOUND_HEAD.mask) != 0
    flags[pfns[compound[rows] & ~is_first]] = PageFlag.COMPOUND_TAIL.mask
    thp = compound & ((text.flags & PageFlag.LRU.mask) != 0)
    flags[pfns[thp[rows]]] |= PageFlag.THP.mask
    return flags


def _block_types(snapshot: Snapshot, text: OwnerText) -> NDArray[np.uint8]:
    """Migratetypes of pageblocks: as its last record has it, else as they were."""
    types = snapshot.block_migratetype.copy()
    if text.nr_pages_per_block() not in {None, snapshot.nr_pages_per_block}:
        return types
    inside = (text.block < len(types)) & (text.block_type != NOT_KNOWN)
    types[text.block[inside]] = text.block_type[inside]
    return types


def _spans(pfns: Pfns) -> tuple[Span, ...]:
    """Ascending pfns as spans."""
    if not len(pfns):
        return ()
    borders = np.flatnonzero(np.diff(pfns) != 1) + 1
    starts = pfns[np.concatenate(([0], borders))].tolist()
    stops = pfns[np.concatenate((borders - 1, [len(pfns) - 1]))].tolist()
    return tuple(Span(start, stop + 1) for start, stop in zip(starts, stops, strict=True))
