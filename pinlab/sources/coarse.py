"""buddyinfo and pagetypeinfo alone: how much is free in blocks of each order, and no frame.

Both may stand in one text, as they are pasted into mails.  A line that is none of theirs is
counted.  Where zoneinfo lies beside them it says how large the zones are; else a zone is as
large as its pageblocks, or as what is free in it.

Owns: what can be said of zones without a frame.
Ignores: whose the memory is; these files do not say it.
Kernel counterpart: `mm/vmstat.c`, frag_show and pagetypeinfo_show.
Cost: one pass over the lines.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from pinlab.procfs.lines import Place
from pinlab.procfs.proc_text import parse_pageblock_order
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Geometry, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import NO_FRAMES, blank_columns
from pinlab.sources.counts import Reading
from pinpage.units import PAGEBLOCK_NR_PAGES

__all__ = ["coarse_snapshot", "zones_of"]

_BLANK = r"[ \t]+"
_ROW = re.compile(
    rf"Node{_BLANK}([0-9]{{1,4}}), zone{_BLANK}(\w{{1,32}})((?:{_BLANK}[0-9]+)+)[ \t]*"
)
_BY_TYPE = re.compile(
    rf"Node{_BLANK}([0-9]{{1,4}}), zone{_BLANK}(\w{{1,32}}), type{_BLANK}\w+"
    rf"((?:{_BLANK}>?[0-9]+)+)[ \t]*"
)
_BLOCKS: Final = "Number of blocks type"
_MIXED: Final = "Number of mixed blocks"
_TITLES: Final = ("Free pages count per migrate type", "Page block order:", "Pages per block:")
_MOST_ZONES: Final = 255

_Key = tuple[int, str]


def coarse_snapshot(
    text: str,
    path: Path,
    zones: tuple[ZoneFacts, ...] = (),
    counters: Mapping[str, int] | None = None,
) -> Snapshot:
    """A snapshot of counts: its zones, and one frame that stands for those that are not named.

    Args:
        text: of buddyinfo, of pagetypeinfo, or of both.
        path: of the file or folder, for messages.
        zones: as of zoneinfo, if that is there; they are taken as they are.
        counters: of meminfo.

    Raises:
        SnapshotError: no zone is counted, or a count is none.
    """
    reading = Reading()
    free, blocks = zones_of(text, path, reading)
    if not free and not blocks and not zones:
        raise SnapshotError(path, "zones", "are not counted", "copy buddyinfo whole")
    order = parse_pageblock_order(text, path)
    size = PAGEBLOCK_NR_PAGES if order is None else 1 << order
    silent = ["zones"] if not zones else []
    silent += ["nr_pages_per_block"] if order is None else []
    zones = tuple(
        facts if facts.nr_free_blocks
        else evolve(facts, nr_free_blocks=free.get((facts.node, facts.name), ()))
        for facts in zones
    ) or _invented(free, blocks, size)  # fmt: skip
    columns = max((len(facts.nr_free_blocks) for facts in zones), default=0)
    geometry = Geometry(max_order=columns - 1) if columns else Geometry()
    own: dict[str, Any] = dict(blank_columns(1, size))
    snapshot = Snapshot(
        **own,
        zones=zones,
        provenance=Provenance(source="counted in buddyinfo and pagetypeinfo"),
        unknown_fields=(NO_FRAMES, *sorted(own), "page_nr_bytes", *silent),
        workload=dict(counters or {}),
        nr_pages_per_block=size,
        geometry=geometry,
        reading=dict(reading),
    )
    snapshot.check(path)
    return snapshot


def zones_of(
    text: str, path: Path, reading: Reading
) -> tuple[dict[_Key, tuple[int, ...]], dict[_Key, dict[str, int]]]:
    """(free blocks by order, pageblocks by type), of each zone that is counted.

    Args:
        text: of buddyinfo, of pagetypeinfo, or of both.
        path: of the file, for messages.
        reading: to count lines in.

    Raises:
        SnapshotError: a count is none, or a row has more or fewer than there are types.
    """
    free: dict[_Key, tuple[int, ...]] = {}
    by_type: dict[_Key, list[tuple[int, ...] | None]] = {}
    blocks: dict[_Key, dict[str, int]] = {}
    types: list[str] | None = None
    is_mixed = False
    for nr, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        row = _ROW.fullmatch(line)
        if line.startswith((_BLOCKS, _MIXED)):
            is_mixed = line.startswith(_MIXED)
            types = line.removeprefix(_MIXED if is_mixed else _BLOCKS).split()
        elif not line.strip():
            types = None
        elif found := _BY_TYPE.fullmatch(line):
            place = Place(path, "pagetypeinfo", nr)
            key = (place.number(found[1]), found[2])
            by_type.setdefault(key, []).append(_of_type(place, found[3].split()))
            _check_row(place, (), None, len(by_type))
        elif row is None:
            if not line.startswith(_TITLES):
                reading.add("lines_not_read")
        else:
            place = Place(path, "buddyinfo" if types is None else "pagetypeinfo", nr)
            key = (place.number(row[1]), row[2])
            counts = tuple(place.number(count) for count in row[3].split())
            _check_row(place, counts, types, len(free) + len(blocks))
            reading.add("rows")
            if types is None:
                free[key] = counts
            elif not is_mixed:
                blocks[key] = dict(zip(types, counts, strict=True))
    return {key: sums for key, rows in by_type.items() if (sums := _added(rows))} | free, blocks


def _of_type(place: Place, counts: list[str]) -> tuple[int, ...] | None:
    """Free blocks of one type by order; None where the kernel stopped counting (">100000")."""
    if any(count.startswith(">") for count in counts):
        return None
    found = tuple(map(place.number, counts))
    _check_row(place, found, None, 0)
    return found


def _added(rows: list[tuple[int, ...] | None]) -> tuple[int, ...]:
    """Free blocks of a zone by order, of all its types; empty where one is not counted."""
    counted = [row for row in rows if row is not None]
    whole = len(counted) == len(rows) and len({*map(len, counted)}) == 1
    return tuple(map(sum, zip(*counted, strict=True))) if whole else ()


def _check_row(place: Place, counts: tuple[int, ...], types: list[str] | None, nr: int) -> None:
    if types is not None and len(counts) != len(types):
        place.refuse(f"has {len(counts)} counts for {len(types)} types")
    if types is None and len(counts) > _MOST_ORDERS:
        place.refuse(f"counts blocks of {len(counts)} orders")
    if nr > 2 * _MOST_ZONES:
        place.refuse("is of a zone beyond those that are read")


_MOST_ORDERS: Final = 17


def _invented(
    free: Mapping[_Key, tuple[int, ...]], blocks: Mapping[_Key, Mapping[str, int]], size: int
) -> tuple[ZoneFacts, ...]:
    """Zones one behind the other, as large as their pageblocks, or as what is free in them."""
    zones, start = [], 0
    for key in dict.fromkeys((*free, *blocks)):
        counts = free.get(key, ())
        nr_free = sum(count << order for order, count in enumerate(counts))
        nr_pages = max(sum(blocks.get(key, {}).values()) * size, nr_free)
        zones.append(
            ZoneFacts(
                name=key[1],
                node=key[0],
                start_pfn=start,
                spanned=nr_pages,
                present=nr_pages,
                managed=None,
                cma=None,
                min=0,
                low=0,
                high=0,
                boost=0,
                nr_free=nr_free,
                nr_free_blocks=counts,
                nr_blocks_of_type=dict(blocks.get(key, {})),
            )
        )
        start += nr_pages
    return tuple(zones)
