"""What the facts beside the columns may say at most: zones, RAM, pageblocks, counts.

A header is a text that anybody can write.  A zone that manages more pages than it spans, or
whose low watermark lies below its min, is no machine's; a replay that was built from it would
contradict itself much later, so it is named here.

Owns: SN8 to SN11 of `pinlab.snapshot.image.Snapshot`.
Ignores: columns (`pinlab.snapshot.columns`) and what a replay can make
(`pinlab.replay.replayable`).
Cost: a few us per zone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Geometry, ZoneFacts
from pinpage.units import Span

__all__ = ["MAX_NR_ZONES", "check_geometry", "check_pageblock", "check_ram", "check_zones"]

MAX_NR_ZONES: Final = NOT_KNOWN
"""Zones of a machine: the column `zone` has a byte, and its last value means something else."""

_PAGEBLOCK_ORDERS: Final = (4, 16)
"""Of pageblocks, in any configuration of the kernel: 64 KiB with 4 KiB pages to 4 GiB with 64."""
_PAGE_SHIFTS: Final = (12, 18)
"""Of pages, on any architecture: 4 KiB to 256 KiB."""
_MAX_NR_NODES: Final = 1024
_MAX_NR_PAGES: Final = 1 << 52
"""Pages of 64 bits of bytes."""
_MOST_NAME: Final = 32
_MOST_IN_TUPLE: Final = 64
_FIX: Final = "correct the importer or record it again"


def check_pageblock(nr_pages_per_block: int, path: Path | str) -> None:
    """Refuse pageblocks of a size that no kernel has.

    Args:
        nr_pages_per_block: pages in a pageblock.
        path: the file, for messages.

    Raises:
        SnapshotError: not a power of two, or out of bounds.
    """
    lowest, highest = _PAGEBLOCK_ORDERS
    if nr_pages_per_block < 1 or nr_pages_per_block & (nr_pages_per_block - 1):
        problem = "is not a power of two"
    elif not lowest <= nr_pages_per_block.bit_length() - 1 <= highest:
        problem = f"is {nr_pages_per_block:,d}, not within {1 << lowest} to {1 << highest}"
    else:
        return
    raise SnapshotError(path, "header nr_pages_per_block", problem, "record it again")


def check_zones(zones: Sequence[ZoneFacts], path: Path | str) -> None:
    """SN9: zones that a machine can have.

    Args:
        zones: the zones, by `Frames.zone`.
        path: the file, for messages.

    Raises:
        SnapshotError: names the zone and the rule.
    """
    if len(zones) > MAX_NR_ZONES:
        problem = f"SN9 there are {len(zones):,d}, more than {MAX_NR_ZONES}"
        raise SnapshotError(path, "zones", problem, _FIX)
    for index, facts in enumerate(zones):
        for problem in _problems(facts):
            field = f"zones[{index}] (node {facts.node}, zone {facts.name})"
            raise SnapshotError(path, field, f"SN9 {problem}", _FIX)


def _problems(facts: ZoneFacts) -> Iterator[str]:
    """Whatever is wrong with one zone, in words."""
    if not facts.name or not facts.name.isprintable() or len(facts.name) > _MOST_NAME:
        yield "has no name that can be printed"
    if not 0 <= facts.node < _MAX_NR_NODES:
        yield f"is of a node outside 0..{_MAX_NR_NODES - 1}"
    for name, count in _counts(facts):
        if count is not None and not 0 <= count <= _MAX_NR_PAGES:
            yield f"has {name}={count}, no count of pages"
    if not facts.nr_pages_of_buddy <= facts.present <= facts.spanned:
        managed, present = facts.nr_pages_of_buddy, facts.present
        yield f"manages {managed} of {present} pages present in {facts.spanned} spanned"
    if facts.start_pfn + facts.spanned > _MAX_NR_PAGES:
        yield "spans pages beyond any memory"
    if not facts.min <= facts.low <= facts.high:
        yield f"has watermarks out of order ({facts.min}, {facts.low}, {facts.high})"


def _counts(facts: ZoneFacts) -> Iterator[tuple[str, int | None]]:
    for name in (
        "start_pfn", "spanned", "present", "managed", "cma", "min", "low", "high", "boost",
        "nr_free", "pcp_batch", "pcp_high", "pcp_count",
    ):  # fmt: skip
        yield name, getattr(facts, name)
    for name in ("lowmem_reserve", "nr_free_blocks"):
        values = getattr(facts, name)
        yield f"len({name})", 0 if len(values) <= _MOST_IN_TUPLE else -1
        yield from ((name, value) for value in values)
    yield from facts.nr_blocks_of_type.items()


def check_ram(ram: Sequence[Span], path: Path | str) -> None:
    """SN10: RAM in ascending spans, none inside another.

    Args:
        ram: spans of System RAM.
        path: the file, for messages.

    Raises:
        SnapshotError: names the span.
    """
    reached = 0
    for span in ram:
        if span.start < reached or span.stop > _MAX_NR_PAGES:
            problem = f"SN10 holds {span.start:#x}..{span.stop:#x}, out of order or beyond memory"
        else:
            reached = span.stop
            continue
        raise SnapshotError(path, "header ram", problem, "record it again")


def check_geometry(
    geometry: Geometry, nr_pages_per_block: int, nr_frames: int, path: Path | str
) -> None:
    """SN11: sizes that machines have, and areas apart from each other inside the recording.

    Args:
        geometry: what is said.
        nr_pages_per_block: pages in a pageblock.
        nr_frames: frames of the recording.
        path: the file, for messages.

    Raises:
        SnapshotError: names the size or the area.
    """
    for problem in _problems_of(geometry, nr_pages_per_block, nr_frames):
        raise SnapshotError(path, "header geometry", f"SN11 {problem}", _FIX)


def _problems_of(geometry: Geometry, nr_pages_per_block: int, nr_frames: int) -> Iterator[str]:
    lowest, highest = _PAGE_SHIFTS
    if geometry.page_nr_bytes not in {1 << shift for shift in range(lowest, highest + 1)}:
        yield f"has pages of {geometry.page_nr_bytes} bytes"
    if not 0 <= geometry.max_order <= _PAGEBLOCK_ORDERS[1]:
        yield f"has free blocks of order {geometry.max_order}"
    block = geometry.memory_block_nr_pages
    if block is not None and (block < nr_pages_per_block or block & (block - 1)):
        yield f"has memory blocks of {block} pages"
    reached, names = 0, set[str]()
    for area in geometry.cma_areas:
        if not area.name or not area.name.isprintable() or area.name in names:
            yield "has two areas of one name, or one whose name cannot be printed"
        names.add(area.name)
        if not (reached <= area.start_pfn < area.start_pfn + area.nr_pages <= nr_frames):
            yield f"has the area {area.name} outside of memory, or over another one"
        if not 0 <= area.order_per_bit <= _PAGEBLOCK_ORDERS[1]:
            yield f"has the area {area.name} hand out pages of order {area.order_per_bit}"
        elif area.nr_pages % (1 << area.order_per_bit):
            yield f"has the area {area.name} end inside of a page of order {area.order_per_bit}"
        if area.start_pfn % nr_pages_per_block or area.nr_pages % nr_pages_per_block:
            yield f"has the area {area.name}, which is not whole pageblocks"
        reached = area.start_pfn + area.nr_pages
