"""The text files of /proc, parsed: zoneinfo, buddyinfo, pagetypeinfo, iomem.

Pure functions from text to facts.  They read forwards and backwards through kernel
versions: a line that is not known is passed over, a number that is needed and not there is
an error that names it.
"""

import re
from pathlib import Path
from typing import Final

from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import ZoneFacts
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, Span

__all__ = ["kernel_release", "parse_buddyinfo", "parse_iomem", "parse_pagetypeinfo", "parse_zones"]

_ZoneKey = tuple[int, str]
"""(node, zone name)."""

_ZONE = re.compile(r"^Node\s+(\d+),\s+zone\s+(\S+)", re.MULTILINE)
_BUDDY_ROW = re.compile(r"^Node\s+(\d+),\s+zone\s+(\S+)\s+([\d\s]+?)$", re.MULTILINE)
_IOMEM_ROW = re.compile(r"^\s*([0-9a-f]+)-([0-9a-f]+) : (.*)$", re.MULTILINE)
_RELEASE: Final = re.compile(r"Linux version (\S+)")


def kernel_release(version: str) -> str:
    """The release in the text of /proc/version, empty if there is none.

    >>> kernel_release("Linux version 6.1.192 (someone@somewhere) #1 SMP")
    '6.1.192'
    """
    found = _RELEASE.search(version)
    return found[1] if found else ""


def parse_iomem(text: str, path: Path | str = "iomem") -> tuple[Span, ...]:
    """The pfns of System RAM, in ascending order; pages only partly RAM are left out.

    "System RAM" may be nested (memory of a DAX device) and carry a suffix ("(kmem)").

    Raises:
        SnapshotError: no RAM listed, or all addresses hidden, which is what a reader without
            CAP_SYS_ADMIN gets.
    """
    rows = [
        (int(a, 16), int(b, 16))
        for a, b, name in _IOMEM_ROW.findall(text)
        if name.startswith("System RAM")
    ]
    if rows and not any(last for _, last in rows):
        raise SnapshotError(path, "addresses", "are all hidden as 0", "run it as root")
    spans = sorted(
        Span(-(-first // PAGE_SIZE), max((last + 1) >> PAGE_SHIFT, -(-first // PAGE_SIZE)))
        for first, last in rows
    )
    if not spans:
        raise SnapshotError(
            path, "System RAM", "is not listed", "check that this is a copy of /proc/iomem"
        )
    return tuple(spans)


def parse_buddyinfo(text: str) -> dict[_ZoneKey, tuple[int, ...]]:
    """Free blocks by order, for each zone listed (unpopulated ones are not)."""
    return {
        (int(node), zone): tuple(map(int, counts.split()))
        for node, zone, counts in _BUDDY_ROW.findall(text)
    }


def parse_pagetypeinfo(text: str) -> dict[_ZoneKey, dict[str, int]]:
    """Pageblocks by the name of their migratetype, for each zone listed."""
    _, _, tail = text.partition("Number of blocks type")
    names, _, rows = tail.partition("\n")
    rows = rows.partition("\n\n")[0]
    return {
        key: dict(zip(names.split(), counts, strict=False))
        for key, counts in parse_buddyinfo(rows).items()
    }


def parse_zones(
    zoneinfo: str, buddyinfo: str = "", pagetypeinfo: str = "", path: Path | str = "zoneinfo"
) -> tuple[ZoneFacts, ...]:
    """Every zone of zoneinfo, in its order, unpopulated ones included.

    Watermarks are printed with the temporary boost added (mm/vmstat.c prints
    min_wmark_pages() and its kin); here it is taken off again.

    Raises:
        SnapshotError: no zone, or a zone without one of the numbers needed.
    """
    free_blocks, block_types = parse_buddyinfo(buddyinfo), parse_pagetypeinfo(pagetypeinfo)
    heads = list(_ZONE.finditer(zoneinfo))
    if not heads:
        raise SnapshotError(
            path, "Node", "no zone is listed", "check that this is a copy of /proc/zoneinfo"
        )
    stops = [head.start() for head in heads[1:]] + [len(zoneinfo)]
    return tuple(
        _zone(int(head[1]), head[2], zoneinfo[head.end() : stop], free_blocks, block_types, path)
        for head, stop in zip(heads, stops, strict=True)
    )


def _zone(
    node: int,
    name: str,
    body: str,
    free_blocks: dict[_ZoneKey, tuple[int, ...]],
    block_types: dict[_ZoneKey, dict[str, int]],
    path: Path | str,
) -> ZoneFacts:
    def number(label: str, default: int | None = None) -> int:
        found = re.search(rf"^\s+{label}\s+(\d+)\s*$", body, re.MULTILINE)
        if found is None and default is None:
            raise SnapshotError(
                path,
                f"Node {node}, zone {name}: {label}",
                "is missing",
                "copy /proc/zoneinfo again",
            )
        return int(found[1]) if found else int(default or 0)

    boost = number("boost", 0)  # since v5.0
    reserve = re.search(r"protection: \(([\d, ]*)\)", body)
    return ZoneFacts(
        name=name,
        node=node,
        start_pfn=number("start_pfn:", 0),  # not printed for an unpopulated zone
        spanned=number("spanned"),
        present=number("present"),
        managed=number("managed"),
        cma=number("cma", 0),
        min=number("min") - boost,
        low=number("low") - boost,
        high=number("high") - boost,
        boost=boost,
        nr_free=number("pages free"),
        pcp_batch=number("batch:", 0),
        pcp_high=number("high:", 0),
        lowmem_reserve=tuple(map(int, reserve[1].split(","))) if reserve else (),
        nr_free_blocks=free_blocks.get((node, name), ()),
        nr_blocks_of_type=block_types.get((node, name), {}),
    )
