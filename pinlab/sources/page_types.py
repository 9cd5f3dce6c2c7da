"""What tools/mm/page-types prints: `-l` in ranges, `-L` page by page, `-r` with raw flags.

A row of a list is a pfn, in ranges a length too, and a letter for each flag; a mapping count
and a cgroup may stand before it.  The summary behind a list counts pages by their flags; alone,
it names no frame, but says how many there are of each kind.

Without `-r` the program hides what only kernel developers ask for: reserved pages, and the
shape of compound pages that are no huge pages of the pool.

In a mail or a terminal the tabs have become blanks, and lines are indented: that is read too.

Owns: the grammar, and what the letters stand for in older and newer versions.
Ignores: whose a page of these flags is (`pinlab.procfs.infer`).
Cost: one pass over the lines.
"""

import re
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.frames import PageFlag
from pinlab.files.npz import MAX_NR_FRAMES_READ
from pinlab.files.packed import lines_of
from pinlab.snapshot.errors import SnapshotError
from pinlab.sources.counts import Reading

__all__ = ["TypesText", "parse_page_types", "read_page_types"]

_FIXED: Final = "LERUDlASWIBMasbHTGuXnxt"
"""Letters that every version prints, in this order: those of bits 0 to 22."""
_LATER: Final = {
    "o": PageFlag.OFFLINE, "z": PageFlag.ZERO_PAGE, "i": PageFlag.IDLE, "g": PageFlag.PGTABLE,
    "r": PageFlag.RESERVED, "m": PageFlag.MLOCKED, "A": PageFlag.ACTIVE, "E": PageFlag.ERROR,
}  # fmt: skip
"""Letters behind, wherever they stand."""
_LETTERS = re.compile(rb"[0-9A-Za-z_]{23,64}")
_SUMMARY = re.compile(rb"0x([0-9a-f]{6,16})\s+([0-9]{1,15})\s+[0-9]{1,12}\s+[0-9A-Za-z_]+(?:\s.*)?")
_HEX = re.compile(rb"[0-9a-f]{1,15}")
_COUNT = re.compile(rb"[0-9]{1,15}")
_USUAL: Final = {
    2: (b"offset", b"flags"),
    3: (b"offset", b"len", b"flags"),
    4: (b"map-cnt", b"offset", b"len", b"flags"),
}
"""Cells of a row -> what they are, where no title says."""
_OTHER = re.compile(rb"flags\s+page-count\s.*|total\s+[0-9]+\s+[0-9]+")
_MOST_NR_BYTES: Final = 1 << 36
_NR_LINES_BEFORE_DOUBT: Final = 1 << 16
_MOST_SUMMARY: Final = 1 << 13
_SWAPPED: Final = -1
"""In place of flags: the row is of a swap entry, and its offset is none of a frame."""
_MOST_MAPPINGS: Final = (1 << 31) - 1


@frozen(eq=False)
class TypesText:
    """What a text says.

    Attributes:
        pfn, nr_pages: int64 (n,), ranges, ascending and apart.
        flags: uint64 (n,), of each range.
        mappings: int64 (n,); -1 not said.
        summary: flags -> pages, as the program counted them.
        is_raw: whether flags are shown that it usually hides.
        reading: what was met.
    """

    pfn: NDArray[np.int64] = field(repr=False)
    nr_pages: NDArray[np.int64] = field(repr=False)
    flags: NDArray[np.uint64] = field(repr=False)
    mappings: NDArray[np.int64] = field(repr=False)
    summary: dict[int, int]
    is_raw: bool
    reading: Reading


def read_page_types(path: Path) -> TypesText:
    """Read a text, packed or not.

    Raises:
        SnapshotError: it cannot be read, or has neither list nor summary.
    """
    try:
        return parse_page_types(lines_of(path, _MOST_NR_BYTES), path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise SnapshotError(path, "file", problem, "copy it again") from None


def parse_page_types(lines: Iterable[bytes], path: Path | str = "page-types") -> TypesText:
    """What the lines of a text say.

    Args:
        lines: without their ends.
        path: of the file, for messages.

    Raises:
        SnapshotError: there is neither list nor summary in it.
    """
    rows, nr = _Rows(), 0
    try:
        for nr, line in enumerate(lines, 1):
            rows.line(line.rstrip(b"\r"))
            if nr == _NR_LINES_BEFORE_DOUBT and not rows.rows and not rows.summary:
                break
    except EOFError:
        rows.reading.add("files_cut_short")
    if not rows.rows and not rows.summary:
        problem = f"has no row in {nr:,d} lines ({rows.reading.in_words()})"
        raise SnapshotError(path, "page-types", problem, "use what page-types -l or -L printed")
    return rows.text()


class _Rows:
    """Rows as they come."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.rows = array("q")
        self.summary: dict[int, int] = {}
        self._masks: dict[bytes, int | None] = {}
        self._title: tuple[bytes, ...] = ()

    def line(self, line: bytes) -> None:
        """Take one line."""
        line = line.strip()
        cells = tuple(line.split())
        if not cells:
            return
        if (found := _SUMMARY.fullmatch(line)) and len(self.summary) < _MOST_SUMMARY:
            self.summary[int(found[1], 16)] = int(found[2])
        elif _LETTERS.fullmatch(cells[-1]) and len(cells) > 1:
            self._take(cells)
        elif b"offset" in cells and cells[-1] == b"flags":
            self._title = cells
        elif not _OTHER.fullmatch(line):
            self.reading.add("lines_not_read")

    def _take(self, cells: tuple[bytes, ...]) -> None:
        names = self._title if len(self._title) == len(cells) else _USUAL.get(len(cells), ())
        said = dict(zip(names, cells, strict=False))
        pfn, nr_pages = _hex(said.get(b"offset", b"")), _hex(said.get(b"len", b"1"))
        flags = self._mask(cells[-1])
        if pfn is None or not nr_pages or flags is None or pfn + nr_pages > MAX_NR_FRAMES_READ:
            self.reading.add("rows_impossible")
        elif flags == _SWAPPED:
            self.reading.add("rows_of_swap")
        else:
            count = said.get(b"map-cnt", b"")
            mappings = min(int(count), _MOST_MAPPINGS) if _COUNT.fullmatch(count) else -1
            self.rows.extend((pfn, nr_pages, flags, mappings))
            self.reading.add("rows")

    def _mask(self, letters: bytes) -> int | None:
        """The flags of a row of letters; None where it is none."""
        if letters not in self._masks:
            if len(self._masks) > _NR_LINES_BEFORE_DOUBT:
                self._masks.clear()
            self._masks[letters] = _mask_of(letters.decode("ascii"))
        return self._masks[letters]

    def text(self) -> TypesText:
        """All of it, each place once: the earlier of two rows."""
        table = np.array(self.rows, dtype=np.int64).reshape(-1, 4)
        pfn, nr_pages = table[:, 0], table[:, 1]
        order = np.argsort(pfn, kind="stable")
        starts, stops = pfn[order], (pfn + nr_pages)[order]
        reach = np.concatenate(([0], np.maximum.accumulate(stops)))[: len(starts)]
        keep = order[starts >= reach]
        if len(order) - len(keep):
            self.reading.add("rows_twice", len(order) - len(keep))
        nr_listed, nr_counted = int(nr_pages[keep].sum()), sum(self.summary.values())
        if self.summary and self.rows and nr_listed != nr_counted:
            self.reading.add("totals_apart", abs(nr_listed - nr_counted))
        flags = table[keep, 2].astype(np.uint64)
        compound = PageFlag.COMPOUND_HEAD.mask | PageFlag.COMPOUND_TAIL.mask
        raw = PageFlag.RESERVED.mask | PageFlag.MLOCKED.mask
        shaped = ((flags & compound) != 0) & ((flags & PageFlag.HUGE.mask) == 0)
        return TypesText(
            pfn=pfn[keep],
            nr_pages=nr_pages[keep],
            flags=flags,
            mappings=table[keep, 3],
            summary=self.summary,
            is_raw=bool((shaped | ((flags & raw) != 0)).any()),
            reading=self.reading,
        )


def _hex(text: bytes) -> int | None:
    return int(text, 16) if _HEX.fullmatch(text) else None


def _mask_of(letters: str) -> int | None:
    if "w" in letters[len(_FIXED) :]:
        return _SWAPPED
    mask = 0
    for bit, (letter, wanted) in enumerate(zip(letters, _FIXED, strict=False)):
        if letter == wanted:
            mask |= 1 << bit
        elif letter != "_":
            return None
    for letter in letters[len(_FIXED) :]:
        if letter in _LATER:
            mask |= int(_LATER[letter].mask)
    return mask
