"""The text files of /proc, parsed: zoneinfo, buddyinfo, pagetypeinfo, iomem.

Pure functions from text to facts.  They read forwards and backwards through kernel
versions: a line that is not known is passed over, a number that is needed and not there is
an error that names it, and so is one that cannot be: each error names the file and the line.

Cost: one pass over the lines, whatever is in them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from attrs import field, frozen

from pinlab.files.careful import plain
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import ZoneFacts
from pinlab.snapshot.limits import MAX_NR_ZONES, check_zones
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, Span

__all__ = ["kernel_release", "parse_buddyinfo", "parse_iomem", "parse_pagetypeinfo", "parse_zones"]

_ZoneKey = tuple[int, str]
"""(node, zone name)."""

# Blanks are named, for \s would match the ends of lines too.
_ZONE = re.compile(r"Node[ \t]+([0-9]+),[ \t]+zone[ \t]+(\S+)(.*)")
_IOMEM_ROW = re.compile(r"[ \t]*([0-9a-f]{1,16})-([0-9a-f]{1,16}) : ")
_PROTECTION = re.compile(r"[ \t]+protection: \((.*)\)")
_RELEASE: Final = re.compile(r"Linux version (\S{1,200})")
_MOST_DIGITS: Final = 15
_MOST_NODE_LINES: Final = 1 << 16
_LABELS: Final = frozenset(
    {
        "boost", "start_pfn:", "spanned", "present", "managed", "cma", "min", "low", "high",
        "pages free", "batch:", "high:",
    }
)  # fmt: skip
"""What is read of zoneinfo."""
_BLOCK_TYPES: Final = "Number of blocks type"


@frozen
class _Place:
    """A line of a file, for the error that it may be."""

    path: Path | str
    what: str
    nr: int

    def refuse(self, problem: str) -> NoReturn:
        is_file = Path(self.path).name == self.what
        where = f"line {self.nr}" if is_file else f"{self.what}, line {self.nr}"
        raise SnapshotError(self.path, where, problem, f"copy {self.what} again")

    def number(self, text: str) -> int:
        """A whole number of a length that the kernel prints."""
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
            self.refuse(f"{text[:40]!r} is no number of up to {_MOST_DIGITS} digits")
        return int(text)


def kernel_release(version: str) -> str:
    """The release in the text of /proc/version, empty if there is none.

    >>> kernel_release("Linux version 6.1.192 (someone@somewhere) #1 SMP")
    '6.1.192'
    """
    found = _RELEASE.search(version)
    return plain(found[1]) if found else ""


def parse_iomem(text: str, path: Path | str = "iomem") -> tuple[Span, ...]:
    """The pfns of System RAM, in ascending order; pages only partly RAM are left out.

    "System RAM" may be nested (memory of a DAX device) and carry a suffix ("(kmem)").

    Args:
        text: of /proc/iomem.
        path: of the file that it stands in, for errors.

    Raises:
        SnapshotError: no RAM listed, one that runs backwards or beyond 64 bits, or all
            addresses hidden, which is what a reader without CAP_SYS_ADMIN gets.
    """
    rows = []
    for nr, line in enumerate(text.split("\n"), 1):
        if line.partition(" : ")[2].startswith("System RAM"):
            rows.append(_ram_row(line, _Place(path, "iomem", nr)))
    if not rows:
        raise SnapshotError(
            path, "System RAM", "is not listed", "check that this is a copy of /proc/iomem"
        )
    if not any(last for _, last in rows):
        raise SnapshotError(path, "addresses", "are all hidden as 0", "run it as root")
    spans: list[Span] = []
    for first, last in sorted(rows):
        span = Span(-(-first // PAGE_SIZE), max((last + 1) >> PAGE_SHIFT, -(-first // PAGE_SIZE)))
        if spans and span.start < spans[-1].stop:  # one inside the other, or both listed
            span = Span(spans[-1].start, max(spans.pop().stop, span.stop))
        spans.append(span)
    return tuple(spans)


def _ram_row(line: str, place: _Place) -> tuple[int, int]:
    row = _IOMEM_ROW.match(line)
    if row is None:
        place.refuse(f"{line[:40]!r} names no addresses of up to 64 bits")
    start, stop = int(row[1], 16), int(row[2], 16)
    if stop < start:
        place.refuse(f"RAM runs backwards, from {start:#x} to {stop:#x}")
    return start, stop


def parse_buddyinfo(text: str, path: Path | str = "buddyinfo") -> dict[_ZoneKey, tuple[int, ...]]:
    """Free blocks by order, for each zone listed (unpopulated ones are not).

    Args:
        text: of /proc/buddyinfo.
        path: of the file that it stands in, for errors.

    Raises:
        SnapshotError: a count that is none.
    """
    return dict(_rows(list(enumerate(text.split("\n"), 1)), path, "buddyinfo"))


def _rows(
    lines: list[tuple[int, str]], path: Path | str, what: str
) -> Iterator[tuple[_ZoneKey, tuple[int, ...]]]:
    """Lines of the form "Node 0, zone DMA 1 2 3"."""
    for nr, line in lines:
        if row := _ZONE.match(line):
            place = _Place(path, what, nr)
            counts = tuple(place.number(count) for count in row[3].split())
            yield (place.number(row[1]), row[2]), counts


def parse_pagetypeinfo(
    text: str, path: Path | str = "pagetypeinfo"
) -> dict[_ZoneKey, dict[str, int]]:
    """Pageblocks by the name of their migratetype, for each zone listed.

    Args:
        text: of /proc/pagetypeinfo.
        path: of the file that it stands in, for errors.

    Raises:
        SnapshotError: a count that is none.
    """
    lines = enumerate(text.split("\n"), 1)
    names = next((line for _, line in lines if line.startswith(_BLOCK_TYPES)), "")
    table = []
    for nr, line in lines:
        if not line:
            break
        table.append((nr, line))
    types = names.removeprefix(_BLOCK_TYPES).split()
    return {
        key: dict(zip(types, counts, strict=False))
        for key, counts in _rows(table, path, "pagetypeinfo")
    }


def parse_zones(
    zoneinfo: str, buddyinfo: str = "", pagetypeinfo: str = "", path: Path | str = "zoneinfo"
) -> tuple[ZoneFacts, ...]:
    """Every zone of zoneinfo, in its order, unpopulated ones included.

    Those without memory are left out where there are too many to number all.  Watermarks are
    printed with the temporary boost added (mm/vmstat.c prints min_wmark_pages() and its kin);
    here it is taken off again.

    Args:
        zoneinfo, buddyinfo, pagetypeinfo: the texts; the last two may be empty.
        path: of the file that zoneinfo stands in, for errors.

    Raises:
        SnapshotError: no zone, one without one of the numbers needed, or one that cannot be.
    """
    beside = Path(path).with_name if Path(path).name == "zoneinfo" else lambda _: path
    free_blocks = parse_buddyinfo(buddyinfo, beside("buddyinfo"))
    block_types = parse_pagetypeinfo(pagetypeinfo, beside("pagetypeinfo"))
    zones = tuple(
        _zone(body, free_blocks.get(body.key, ()), block_types.get(body.key, {}))
        for body in _bodies(zoneinfo, path)
    )
    if not zones:
        raise SnapshotError(
            path, "Node", "no zone is listed", "check that this is a copy of /proc/zoneinfo"
        )
    if len(zones) > MAX_NR_ZONES:
        zones = tuple(zone for zone in zones if zone.spanned)
    check_zones(zones, path)
    return zones


@frozen
class _Body:
    """One zone's lines of zoneinfo: what stands first under each label, and in which line."""

    path: Path | str
    key: _ZoneKey
    numbers: dict[str, tuple[str, int]] = field(factory=dict)

    def number(self, label: str, default: int | None = None) -> int:
        """The number under a label."""
        if label in self.numbers:
            text, nr = self.numbers[label]
            return _Place(self.path, "zoneinfo", nr).number(text)
        if default is None:
            where = f"Node {self.key[0]}, zone {self.key[1]}: {label}"
            raise SnapshotError(self.path, where, "is missing", "copy /proc/zoneinfo again")
        return default

    def add(self, line: str, nr: int) -> None:
        """Note what a line says, if nothing said it before."""
        if line[:1] not in {" ", "\t"}:
            return
        if found := _PROTECTION.match(line):
            self.numbers.setdefault("protection", (found[1], nr))
            return
        label, _, value = line.strip().rpartition(" ")
        name = " ".join(label.split())
        if name in _LABELS and value.isdecimal():
            self.numbers.setdefault(name, (value, nr))


def _bodies(zoneinfo: str, path: Path | str) -> list[_Body]:
    bodies: list[_Body] = []
    for nr, line in enumerate(zoneinfo.split("\n"), 1):
        if head := _ZONE.match(line):
            place = _Place(path, "zoneinfo", nr)
            if len(bodies) == _MOST_NODE_LINES:
                place.refuse(f"is of a zone beyond the {_MOST_NODE_LINES:,d} that are read")
            bodies.append(_Body(path, (place.number(head[1]), head[2])))
        elif bodies:
            bodies[-1].add(line, nr)
    return bodies


def _zone(body: _Body, free_blocks: tuple[int, ...], block_types: dict[str, int]) -> ZoneFacts:
    number = body.number
    boost = number("boost", 0)  # since v5.0
    return ZoneFacts(
        name=body.key[1],
        node=body.key[0],
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
        lowmem_reserve=_reserve(body),
        nr_free_blocks=free_blocks,
        nr_blocks_of_type=block_types,
    )


def _reserve(body: _Body) -> tuple[int, ...]:
    text, nr = body.numbers.get("protection", ("", 0))
    place = _Place(body.path, "zoneinfo", nr)
    return tuple(place.number(pages.strip()) for pages in text.split(",")) if text.strip() else ()
