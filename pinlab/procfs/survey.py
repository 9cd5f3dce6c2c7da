"""How large a machine's pages, pageblocks and memory blocks are, and where its CMA areas lie.

Each is read from the file that says it:

    page size       auxv, smaps, page_size (what `getconf PAGE_SIZE` prints); else the lesser of
                    meminfo's MemTotal over zoneinfo's managed pages and System RAM over its
                    present ones: a kernel that initialises memory late manages less than it has
    pageblock       pagetypeinfo
    largest block   buddyinfo, by its columns
    memory block    block_size_bytes, of /sys/devices/system/memory
    CMA areas       cma/NAME/base_pfn and count, of /sys/kernel/debug/cma

Two files that contradict each other are an error that names both; what no file says is taken
to be what is usual for pages of that size, and told in `Survey.not_said`.

Owns: which file is believed.
Ignores: what the columns of frames say.
Cost: some ten small files.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from attrs import frozen

from mm.state.pageblock import USUAL_MAX_ORDER
from pinlab.files.careful import MOST_TEXT_NR_BYTES, plain, read_bytes
from pinlab.files.packed import PACKED_SUFFIXES, read_unpacked
from pinlab.procfs.iomem import spans_of
from pinlab.procfs.lines import Place
from pinlab.procfs.proc_text import parse_meminfo, parse_pageblock_order
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import CmaFacts, Geometry, ZoneFacts
from pinlab.sources.kinds import Kind, kinds_in
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, PAGEBLOCK_ORDER

__all__ = ["PROC", "Folder", "Survey", "survey"]

PROC: Final = Path("/proc")
"""Where the kernel shows itself."""

_ELSEWHERE: Final = {
    "auxv": PROC / "self" / "auxv",
    "smaps": PROC / "self" / "smaps",
    "block_size_bytes": Path("/sys/devices/system/memory/block_size_bytes"),
    "cma": Path("/sys/kernel/debug/cma"),
    "page_owner": Path("/sys/kernel/debug/page_owner"),
}
"""What a folder of copies has beside the rest -> where a live kernel shows it."""
_BY_CONTENT: Final = {
    "iomem": Kind.IOMEM,
    "zoneinfo": Kind.ZONEINFO,
    "buddyinfo": Kind.BUDDYINFO,
    "pagetypeinfo": Kind.PAGETYPEINFO,
    "meminfo": Kind.MEMINFO,
}
"""Texts that are told by what is in them."""
_PAGE_SIZES: Final = tuple(1 << shift for shift in (12, 13, 14, 16, 18))
_KIB = re.compile(r"([0-9]{1,9}) kB")
_AT_PAGESZ: Final = 6
_NEAR: Final = 0.1
"""How far a size that is worked out from totals may lie off; the sizes are factors apart."""
_SLACK: Final = (16, 1024)
"""Pages present beyond RAM that no contradiction is made of: one in so many, and so many."""
_MOST_AREAS: Final = 256
_MOST_TEXT_NR_BYTES: Final = 4 << 20
"""Of a text that has a line per zone or per span of addresses."""
_OF_ONE: Final = "copy all files from one machine"


@frozen
class Folder:
    """A /proc, or a folder of copies of its files.

    A copy is found by its name, packed or not; a text under any other name, by what is in it.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def is_live(self) -> bool:
        """Whether it is this very machine's."""
        return self.path == PROC

    def place(self, name: str) -> Path:
        """Where a file of that name is, or would be."""
        if self.is_live:
            return _ELSEWHERE.get(name, PROC / name)
        names = (name, *(name + suffix for suffix in PACKED_SUFFIXES))
        there = next((self.path / each for each in names if (self.path / each).exists()), None)
        kind = _BY_CONTENT.get(name)
        lacks_name = None if there or kind is None else self.found.get(kind)
        return there or lacks_name or self.path / name

    @cached_property
    def found(self) -> Mapping[Kind, Path]:
        """What else lies in a folder of copies, by what is in it."""
        try:
            return {} if self.is_live else kinds_in(self.path)
        except OSError:
            return {}

    def text(
        self, name: str, default: str | None = None, *, most_nr_bytes: int = _MOST_TEXT_NR_BYTES
    ) -> str:
        """What a text says.

        Args:
            name: of the file.
            default: in place of a file that is not there.
            most_nr_bytes: that it may have.

        Raises:
            SnapshotError: it cannot be read, or is not there and must be.
        """
        path = self.place(name)
        try:
            return read_unpacked(path, most_nr_bytes).decode(errors="replace")
        except FileNotFoundError:
            if default is not None:
                return default
            fix = "mount /proc" if self.is_live else "copy it beside the others"
            raise SnapshotError(path, "file", "does not exist", fix) from None
        except OSError as error:
            fix = "run it as root" if isinstance(error, PermissionError) else "copy it again"
            raise SnapshotError(path, "file", f"cannot be read ({error.strerror})", fix) from None

    def zoneinfo(self) -> str:
        """The text of zoneinfo, which has many lines per CPU."""
        return self.text("zoneinfo", most_nr_bytes=MOST_TEXT_NR_BYTES)

    def meminfo(self) -> dict[str, int]:
        """The numbers of meminfo; none where it is not there."""
        return parse_meminfo(self.text("meminfo", ""))


@frozen
class Survey:
    """What was found.

    Attributes:
        geometry: sizes and areas.
        nr_pages_per_block: pages in a pageblock.
        not_said: names of facts that no file says.
    """

    geometry: Geometry
    nr_pages_per_block: int
    not_said: tuple[str, ...]


def survey(folder: Folder, ram: Sequence[tuple[int, int]], zones: Sequence[ZoneFacts]) -> Survey:
    """Read the sizes of a machine.

    Args:
        folder: the files.
        ram: first and last address of each System RAM, ascending.
        zones: as of its zoneinfo.

    Raises:
        SnapshotError: two files contradict each other; names both.
    """
    not_said = []
    page_nr_bytes = _page_nr_bytes(folder, ram, zones)
    if page_nr_bytes is None:
        page_nr_bytes = PAGE_SIZE
        not_said.append("page_nr_bytes")
    order = parse_pageblock_order(folder.text("pagetypeinfo", ""), folder.place("pagetypeinfo"))
    if order is None:  # that of a huge page: a page of entries of eight bytes
        order = PAGEBLOCK_ORDER + page_nr_bytes.bit_length() - 1 - PAGE_SHIFT
        not_said.append("nr_pages_per_block")
    _check_blocks(folder, 1 << order, zones)
    _check_present(folder, ram, zones, page_nr_bytes)
    memory_block = _memory_block_nr_pages(folder, 1 << order, page_nr_bytes)
    areas = _cma_areas(folder)
    _check_places(folder, areas, 1 << order, is_said="nr_pages_per_block" not in not_said)
    if _check_cma(folder, areas, zones):
        not_said.append("cma_areas")
    columns = [len(facts.nr_free_blocks) for facts in zones if facts.nr_free_blocks]
    largest = max(columns) - 1 if columns else max(order, USUAL_MAX_ORDER)
    if largest < order:
        problem = (
            f"are of order {largest} at most, less than a pageblock's {order} by "
            f"{folder.place('pagetypeinfo')}"
        )
        raise SnapshotError(folder.place("buddyinfo"), "free blocks", problem, _OF_ONE)
    geometry = Geometry(
        page_nr_bytes=page_nr_bytes,
        max_order=largest,
        memory_block_nr_pages=memory_block,
        cma_areas=areas,
    )
    return Survey(geometry, 1 << order, tuple(not_said))


# The page.


def _page_nr_bytes(
    folder: Folder, ram: Sequence[tuple[int, int]], zones: Sequence[ZoneFacts]
) -> int | None:
    spans = spans_of(ram, 1)
    by_iomem = _nearest(sum(span.nr_pages for span in spans), sum(facts.present for facts in zones))
    total = folder.meminfo().get("MemTotal", 0) << 10
    by_meminfo = _nearest(total, sum(facts.managed or 0 for facts in zones))
    said = list(_said_sizes(folder))
    # MemTotal counts what is yet to be initialised, and RAM what is off; pages, neither.
    if said and by_meminfo and not by_meminfo > said[0][1] == by_iomem:
        said.append((f"{folder.place('meminfo')} beside {folder.place('zoneinfo')}", by_meminfo))
    for (one, size), (other, another) in pairwise(said):
        if size != another:
            problem = f"are of {size >> 10} KiB, and of {another >> 10} KiB by {other}"
            raise SnapshotError(one, "pages", problem, _OF_ONE)
    if said:
        return said[0][1]
    stop = max((facts.start_pfn + facts.spanned for facts in zones if facts.present), default=0)
    by_totals = [size for size in (by_iomem, by_meminfo) if size]
    return min(by_totals) if by_totals else _nearest(spans[-1].stop, stop)


def _said_sizes(folder: Folder) -> Iterator[tuple[str, int]]:
    """(file, page size that it says), of the files that say one outright."""
    if (auxv := folder.place("auxv")).is_file():
        yield from ((str(auxv), size) for size in _of_auxv(read_bytes(auxv, _MOST_TEXT_NR_BYTES)))
    rows = (line.partition(":") for line in folder.text("smaps", "").splitlines())
    mapped = [_kib(value) for label, _, value in rows if label == "KernelPageSize"]
    if (least := min(mapped, default=0)) in _PAGE_SIZES:  # (others are of huge pages)
        yield str(folder.place("smaps")), least
    printed = "" if folder.is_live else folder.text("page_size", "").strip()
    if printed.isdecimal() and int(printed[:9]) in _PAGE_SIZES:
        yield str(folder.place("page_size")), int(printed[:9])


def _of_auxv(raw: bytes) -> Iterator[int]:
    """The page size in an auxiliary vector of 64-bit or of 32-bit words, if it is one."""
    for dtype in ("<u8", "<u4"):
        words = np.frombuffer(raw[: len(raw) // 16 * 16], dtype=dtype).reshape(-1, 2)
        sizes = words[words[:, 0] == _AT_PAGESZ, 1]
        if len(sizes) and int(sizes[0]) in _PAGE_SIZES:
            yield int(sizes[0])
            return


def _kib(text: str) -> int:
    """Bytes of "4 kB"; 0 for what is no size."""
    found = _KIB.fullmatch(text.strip())
    return int(found[1]) << 10 if found else 0


def _nearest(nr_bytes: int, nr_pages: int) -> int | None:
    """The page size that makes so many pages of so many bytes, if one comes near."""
    if not nr_pages:
        return None
    found = (size for size in _PAGE_SIZES if abs(nr_bytes / nr_pages / size - 1) < _NEAR)
    return next(found, None)


# Pageblocks, memory blocks, zones.


def _check_blocks(folder: Folder, nr_pages_per_block: int, zones: Iterable[ZoneFacts]) -> None:
    """A zone has no more pageblocks than it spans."""
    for facts in zones:
        first = facts.start_pfn // nr_pages_per_block
        stop = -(-(facts.start_pfn + facts.spanned) // nr_pages_per_block)
        counted = sum(facts.nr_blocks_of_type.values())
        if counted > stop - first:
            where = f"Node {facts.node}, zone {facts.name}"
            problem = (
                f"counts {counted:,d} pageblocks of {nr_pages_per_block:,d} pages, "
                f"where {folder.place('zoneinfo')} has it span {stop - first:,d}"
            )
            raise SnapshotError(folder.place("pagetypeinfo"), where, problem, _OF_ONE)


def _check_present(
    folder: Folder,
    ram: Sequence[tuple[int, int]],
    zones: Iterable[ZoneFacts],
    page_nr_bytes: int,
) -> None:
    """What zones have is RAM; a little more may be, for firmware keeps some of it."""
    spans = spans_of(ram, page_nr_bytes)
    share, beyond = _SLACK
    for facts in zones:
        stop = facts.start_pfn + facts.spanned
        nr_ram = sum(
            max(min(span.stop, stop) - max(span.start, facts.start_pfn), 0) for span in spans
        )
        if facts.present > nr_ram + nr_ram // share + beyond:
            where = f"Node {facts.node}, zone {facts.name}"
            problem = (
                f"has {facts.present:,d} pages of {page_nr_bytes >> 10} KiB present, "
                f"where {folder.place('iomem')} lists {nr_ram:,d} of RAM"
            )
            raise SnapshotError(folder.place("zoneinfo"), where, problem, _OF_ONE)


def _memory_block_nr_pages(
    folder: Folder, nr_pages_per_block: int, page_nr_bytes: int
) -> int | None:
    path = folder.place("block_size_bytes")
    text = folder.text("block_size_bytes", "").strip()
    if not text:
        return None
    try:
        nr_pages = int(text[:17], 16) // page_nr_bytes
    except ValueError:
        raise SnapshotError(path, "size", f"{text[:40]!r} is no number", "copy it again") from None
    if nr_pages < nr_pages_per_block or nr_pages & (nr_pages - 1):
        problem = (
            f"is {nr_pages:,d} pages, less than a pageblock of {nr_pages_per_block:,d} by "
            f"{folder.place('pagetypeinfo')}, or no power of two"
        )
        raise SnapshotError(path, "size", problem, _OF_ONE)
    return nr_pages


# Contiguous areas.


def _cma_areas(folder: Folder) -> tuple[CmaFacts, ...]:
    directory = folder.place("cma")
    try:
        names = sorted(path.name for path in directory.iterdir() if path.is_dir())
    except OSError:  # debugfs is not there, or not for us
        return ()
    if len(names) > _MOST_AREAS:
        problem = f"has {len(names):,d} areas, more than {_MOST_AREAS}"
        raise SnapshotError(directory, "areas", problem, "copy /sys/kernel/debug/cma")
    areas = (_cma_area(directory / name) for name in names)
    return tuple(sorted((area for area in areas if area is not None), key=lambda a: a.start_pfn))


def _cma_area(directory: Path) -> CmaFacts | None:
    """One area; None for one in several ranges, which has no first pfn."""
    if (directory / "ranges" / "1").exists():
        return None

    def number(name: str, default: int | None = None) -> int:
        path = directory / name
        try:
            text = read_bytes(path).decode(errors="replace").strip()
        except OSError as error:
            if default is not None:
                return default
            fix = "copy base_pfn, count and order_per_bit of each area"
            raise SnapshotError(path, "file", f"cannot be read ({error.strerror})", fix) from None
        return Place(path, name, 1).number(text)

    count = number("count")
    if not count:  # it was never activated
        return None
    return CmaFacts(plain(directory.name), number("base_pfn"), count, number("order_per_bit", 0))


def _check_places(
    folder: Folder, areas: Iterable[CmaFacts], nr_pages_per_block: int, *, is_said: bool
) -> None:
    """An area is whole pageblocks: the kernel makes no other."""
    types = folder.place("pagetypeinfo")
    for area in areas:
        if area.start_pfn % nr_pages_per_block or area.nr_pages % nr_pages_per_block:
            by = f"by {types}" if is_said else f"as usual, for there is no {types}"
            problem = (
                f"are {area.start_pfn:#x} and {area.nr_pages:,d}, which is not whole pageblocks: "
                f"those have {nr_pages_per_block:,d} pages {by}"
            )
            fix = _OF_ONE if is_said else "copy pagetypeinfo, too"
            path = folder.place("cma") / area.name
            raise SnapshotError(path, "base_pfn and count", problem, fix)


def _check_cma(folder: Folder, areas: Sequence[CmaFacts], zones: Sequence[ZoneFacts]) -> bool:
    """Whether some area's place is not said; areas of more pages than the zones have are refused.

    An old kernel's zoneinfo counts no such pages; pageblocks of that type then tell of them.
    """
    nr_pages = sum(area.nr_pages for area in areas)
    counted = [facts.cma for facts in zones if facts.cma is not None]
    if not counted:
        return not areas and any(facts.nr_blocks_of_type.get("CMA") for facts in zones)
    if nr_pages > sum(counted):
        problem = (
            f"have {nr_pages:,d} pages, where {folder.place('zoneinfo')} counts {sum(counted):,d}"
        )
        raise SnapshotError(folder.place("cma"), "areas", problem, _OF_ONE)
    return nr_pages < sum(counted)
