"""/proc/iomem: where there is RAM, in addresses and in pages of the machine's size.

Owns: which rows are RAM, each page of it once.
Ignores: how large a page is; `pinlab.procfs.survey` finds that out.
Cost: one pass over the lines.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pinlab.procfs.lines import Place
from pinlab.snapshot.errors import SnapshotError
from pinpage.units import PAGE_SIZE, Span

__all__ = ["parse_iomem", "ram_addresses", "spans_of"]

_ROW = re.compile(r"[ \t]*([0-9a-f]{1,16})-([0-9a-f]{1,16}) : ")
_RAM = re.compile(r"System RAM(?: \((.*)\))?[ \t]*")
_ALIAS: Final = "boot alias"
"""RAM under the addresses that it has while booting: it is listed under its own as well."""


def parse_iomem(
    text: str, path: Path | str = "iomem", page_nr_bytes: int = PAGE_SIZE
) -> tuple[Span, ...]:
    """The pfns of System RAM, in ascending order; pages only partly RAM are left out.

    Args:
        text: of /proc/iomem.
        path: of the file that it stands in, for errors.
        page_nr_bytes: bytes in a page.

    Raises:
        SnapshotError: see `ram_addresses`.
    """
    return spans_of(ram_addresses(text, path), page_nr_bytes)


def ram_addresses(text: str, path: Path | str = "iomem") -> tuple[tuple[int, int], ...]:
    """First and last address of each System RAM, ascending, as listed: one may lie in another.

    It may be nested (memory of a DAX device) and carry a suffix ("(kmem)"); that of the boot
    alias is no memory of its own.

    Args:
        text: of /proc/iomem.
        path: of the file that it stands in, for errors.

    Raises:
        SnapshotError: no RAM listed, one that runs backwards or beyond 64 bits, or all
            addresses hidden, which is what a reader without CAP_SYS_ADMIN gets.
    """
    rows = []
    for nr, line in enumerate(text.split("\n"), 1):
        ram = _RAM.fullmatch(line.partition(" : ")[2])
        if ram and ram[1] != _ALIAS:
            rows.append(_ram_row(line, Place(path, "iomem", nr)))
    if not rows:
        raise SnapshotError(
            path, "System RAM", "is not listed", "check that this is a copy of /proc/iomem"
        )
    if not any(last for _, last in rows):
        raise SnapshotError(path, "addresses", "are all hidden as 0", "run it as root")
    return tuple(sorted(rows))


def spans_of(rows: Iterable[tuple[int, int]], page_nr_bytes: int) -> tuple[Span, ...]:
    """The pages that lie wholly in these addresses, each once.

    Args:
        rows: first and last address, ascending; they may overlap.
        page_nr_bytes: bytes in a page.
    """
    size = page_nr_bytes
    spans: list[Span] = []
    for first, last in rows:
        span = Span(-(-first // size), max((last + 1) // size, -(-first // size)))
        if spans and span.start < spans[-1].stop:  # one inside the other, or both listed
            span = Span(spans[-1].start, max(spans.pop().stop, span.stop))
        spans.append(span)
    return tuple(spans)


def _ram_row(line: str, place: Place) -> tuple[int, int]:
    row = _ROW.match(line)
    if row is None:
        place.refuse(f"{line[:40]!r} names no addresses of up to 64 bits")
    start, stop = int(row[1], 16), int(row[2], 16)
    if stop < start:
        place.refuse(f"RAM runs backwards, from {start:#x} to {stop:#x}")
    return start, stop
