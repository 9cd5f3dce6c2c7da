"""The text files of /proc, parsed: zoneinfo, buddyinfo, pagetypeinfo, meminfo, version.

Pure functions from text to facts.  They read forwards and backwards through kernel
versions: a line that is not known is passed over, one that a kernel does not print is None
and never 0, a number that is needed and not there is an error that names it, and so is one
that cannot be: each error names the file and the line.

Cost: one pass over the lines, whatever is in them.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from pinlab.files.careful import plain
from pinlab.procfs.lines import Place
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import ZoneFacts
from pinlab.snapshot.limits import MAX_NR_ZONES, check_zones

__all__ = [
    "check_release",
    "kernel_release",
    "parse_buddyinfo",
    "parse_meminfo",
    "parse_pageblock_order",
    "parse_pagetypeinfo",
    "parse_zones",
]

_ZoneKey = tuple[int, str]
"""(node, zone name)."""

# Blanks are named, for \s would match the ends of lines too.
_ZONE = re.compile(r"Node[ \t]+([0-9]+),[ \t]+zone[ \t]+(\S+)(.*)")
_MEMINFO = re.compile(r"([A-Za-z0-9_()]{1,40}):[ \t]+([0-9]{1,15})(?: kB)?")
_FIRST_RELEASE: Final = (2, 6, 31)
"""Before it kpageflags did not say which pages are anonymous."""
_PROTECTION = re.compile(r"[ \t]+protection: \((.*)\)")
_RELEASE: Final = re.compile(r"Linux version (\S{1,200})")
_MOST_NODE_LINES: Final = 1 << 16
_LABELS: Final = frozenset(
    {
        "boost", "start_pfn:", "spanned", "present", "managed", "cma", "min", "low", "high",
        "pages free", "batch:", "high:",
    }
)  # fmt: skip
"""What is read of zoneinfo, where it stands first."""
_ON_LISTS: Final = "count:"
"""Pages on one CPU's list: what is read of every CPU."""
_BLOCK_TYPES: Final = "Number of blocks type"
_ORDER: Final = "Page block order"
_PER_BLOCK: Final = "Pages per block"
_MOST_ORDER: Final = 30


def kernel_release(version: str) -> str:
    """The release in the text of /proc/version, empty if there is none.

    >>> kernel_release("Linux version 6.1.192 (someone@somewhere) #1 SMP")
    '6.1.192'
    """
    found = _RELEASE.search(version)
    return plain(found[1]) if found else ""


def check_release(release: str, path: Path | str = "version") -> None:
    """Refuse kernels whose kpageflags say too little.

    Args:
        release: such as "6.1.192"; one that is no number is let through.
        path: of the file that it stands in, for errors.

    Raises:
        SnapshotError: the release is older than 2.6.31.
    """
    numbers = re.match(r"([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?", release)
    if numbers and tuple(int(part or 0) for part in numbers.groups()) < _FIRST_RELEASE:
        raise SnapshotError(
            path,
            f"Linux {release}",
            "does not tell anonymous pages from page cache in kpageflags",
            "record a kernel of 2.6.31 or later",
        )


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
            place = Place(path, what, nr)
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
        SnapshotError: a count that is none, or a row with more or fewer than there are types.
    """
    lines = enumerate(text.split("\n"), 1)
    names = next((line for _, line in lines if line.startswith(_BLOCK_TYPES)), "")
    table = []
    for nr, line in lines:
        if not line:
            break
        table.append((nr, line))
    types = names.removeprefix(_BLOCK_TYPES).split()
    blocks = {}
    for key, counts in _rows(table, path, "pagetypeinfo"):
        if len(counts) != len(types):
            where = f"Node {key[0]}, zone {key[1]}: {_BLOCK_TYPES}"
            problem = f"has {len(counts)} counts for {len(types)} types"
            raise SnapshotError(path, where, problem, "copy pagetypeinfo whole")
        blocks[key] = dict(zip(types, counts, strict=True))
    return blocks


def parse_pageblock_order(text: str, path: Path | str = "pagetypeinfo") -> int | None:
    """log2 of the pages in a pageblock; None where the text does not say.

    Args:
        text: of /proc/pagetypeinfo.
        path: of the file that it stands in, for errors.

    Raises:
        SnapshotError: its two lines about pageblocks contradict each other.
    """
    said: dict[str, int] = {}
    for nr, line in enumerate(text.split("\n"), 1):
        label, colon, value = line.partition(":")
        if colon and label in (_ORDER, _PER_BLOCK):
            said[label] = Place(path, "pagetypeinfo", nr).number(value.strip())
    order, nr_pages = said.get(_ORDER), said.get(_PER_BLOCK)
    if order is None:
        return None
    if order > _MOST_ORDER or (nr_pages is not None and nr_pages != 1 << order):
        problem = f"is {order}, and {_PER_BLOCK} is {nr_pages}"
        raise SnapshotError(path, _ORDER, problem, "use the file as its kernel printed it")
    return order


def parse_meminfo(text: str) -> dict[str, int]:
    r"""The numbers of /proc/meminfo by their names: kB, or pages of a pool where it says so.

    >>> parse_meminfo("MemTotal:  144348 kB\nHugePages_Total:  0\nsomething else")
    {'MemTotal': 144348, 'HugePages_Total': 0}
    """
    rows = (_MEMINFO.fullmatch(line.strip()) for line in text.split("\n"))
    return {row[1]: int(row[2]) for row in rows if row}


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
    bodies = _bodies(zoneinfo, path)
    _refuse_strangers(free_blocks, bodies, beside("buddyinfo"), path)
    zones = tuple(
        _zone(body, free_blocks.get(body.key, ()), block_types.get(body.key, {})) for body in bodies
    )
    if not zones:
        raise SnapshotError(
            path, "Node", "no zone is listed", "check that this is a copy of /proc/zoneinfo"
        )
    if len(zones) > MAX_NR_ZONES:
        zones = tuple(zone for zone in zones if zone.spanned)
    check_zones(zones, path)
    return zones


def _refuse_strangers(
    free_blocks: Iterable[_ZoneKey], bodies: Iterable["_Body"], path: Path | str, zoneinfo: object
) -> None:
    """What is counted lies in a zone that there is."""
    known = {body.key for body in bodies}
    for node, name in free_blocks:
        if known and (node, name) not in known:
            where = f"Node {node}, zone {name}"
            problem = f"is not in {zoneinfo}"
            raise SnapshotError(path, where, problem, "copy both files of one machine")


@frozen
class _Body:
    """One zone's lines of zoneinfo: what stands first under each label, and in which line.

    `on_lists` has what stands under "count:", CPU by CPU.
    """

    path: Path | str
    key: _ZoneKey
    numbers: dict[str, tuple[str, int]] = field(factory=dict)
    on_lists: list[int] = field(factory=list)

    def number(self, label: str) -> int:
        """The number under a label that every kernel prints."""
        number = self.number_if_said(label)
        if number is None:
            where = f"Node {self.key[0]}, zone {self.key[1]}: {label.rstrip(':')}"
            fix = "every kernel prints it: use the file as it was printed"
            raise SnapshotError(self.path, where, "is missing", fix)
        return number

    def number_if_said(self, label: str) -> int | None:
        """The number under a label; None where this kernel does not print it."""
        if label not in self.numbers:
            return None
        text, nr = self.numbers[label]
        return Place(self.path, "zoneinfo", nr).number(text)

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
        elif name == _ON_LISTS and value.isdecimal():
            self.on_lists.append(Place(self.path, "zoneinfo", nr).number(value))


def _bodies(zoneinfo: str, path: Path | str) -> list[_Body]:
    bodies: list[_Body] = []
    for nr, line in enumerate(zoneinfo.split("\n"), 1):
        if head := _ZONE.match(line):
            place = Place(path, "zoneinfo", nr)
            if len(bodies) == _MOST_NODE_LINES:
                place.refuse(f"is of a zone beyond the {_MOST_NODE_LINES:,d} that are read")
            bodies.append(_Body(path, (place.number(head[1]), head[2])))
        elif bodies:
            bodies[-1].add(line, nr)
    return bodies


def _zone(body: _Body, free_blocks: tuple[int, ...], block_types: dict[str, int]) -> ZoneFacts:
    number = body.number
    said = body.number_if_said
    boost = said("boost") or 0  # before v5.0 there was none to add
    spanned = number("spanned")
    return ZoneFacts(
        name=body.key[1],
        node=body.key[0],
        start_pfn=number("start_pfn:") if spanned else 0,  # an unpopulated zone starts nowhere
        spanned=spanned,
        present=number("present"),
        managed=said("managed"),
        cma=said("cma"),
        min=number("min") - boost,
        low=number("low") - boost,
        high=number("high") - boost,
        boost=boost,
        nr_free=number("pages free"),
        pcp_batch=said("batch:"),
        pcp_high=said("high:"),
        pcp_count=sum(body.on_lists) if body.on_lists else None,
        lowmem_reserve=_reserve(body),
        nr_free_blocks=free_blocks,
        nr_blocks_of_type=block_types,
    )


def _reserve(body: _Body) -> tuple[int, ...]:
    text, nr = body.numbers.get("protection", ("", 0))
    place = Place(body.path, "zoneinfo", nr)
    return tuple(place.number(pages.strip()) for pages in text.split(",")) if text.strip() else ()
