"""The text of page_owner: who asked for each page that was in use, when, and on what stack.

A record is a line "Page allocated via order N, ...", a line "PFN N ...", and its stack.  Kernels
from 4.6 on are read; what newer ones say more is taken, what older ones do not say is not said.
A line that means nothing is counted and passed over, and so is a record that is cut in two.

Owns: the grammar, the counts, and which rows contradict each other.
Ignores: whose class a stack makes a page (`pinlab.sources.stacks`).
Kernel counterpart: `mm/page_owner.c`.
Cost: one pass over the lines, about 2 us each; a stack is taken apart once, however often it
occurs.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.frames import PageFlag
from pinlab.files.npz import MAX_NR_FRAMES_READ
from pinlab.files.packed import lines_of
from pinlab.snapshot.allocations import NO_TEXT, Allocations
from pinlab.snapshot.errors import SnapshotError
from pinlab.sources.counts import Reading

__all__ = [
    "MIGRATETYPES", "OwnerText", "lines_of_page_owner", "parse_page_owner", "read_page_owner",
]  # fmt: skip

MIGRATETYPES: Final = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
"""By their numbers."""

_HEAD = re.compile(
    rb"Page allocated via order ([0-9]{1,2}), (?:migratetype \w+, )?"
    rb"mask (0x[0-9a-f]{1,8})(?:\([^)]*\))?"
    rb"(?:, pid ([0-9]{1,9}))?(?:, tgid [0-9]{1,9})?(?: \((.*)\))?"
    rb"(?:, ts ([0-9]{1,18}) ns)?(?:, free_ts [0-9]{1,18} ns)?"
)
_PFN = re.compile(
    rb"PFN (0x[0-9a-f]{1,15}|[0-9]{1,15}) type (\w+) Block ([0-9]{1,15}) type (\w+) "
    rb"Flags 0x[0-9a-f]{1,16}(?:\((.*)\))?"
)
_FRAME = re.compile(
    r"[ \t]+(?:\[<[0-9a-f]+>\] )?\??[ ]?([A-Za-z_.$][\w.$]{0,199})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?"
    r"(?:[ ]+\[[^\]]*\])*[ ]*"
)
_SAID_BESIDE: Final = (b"Page has been migrated", b"Charged", b"Slab cache page", b"Page owner")
"""Lines of a record that say what is not kept."""
_FLAGS: Final = {
    "locked": PageFlag.LOCKED, "error": PageFlag.ERROR, "referenced": PageFlag.REFERENCED,
    "uptodate": PageFlag.UPTODATE, "dirty": PageFlag.DIRTY, "lru": PageFlag.LRU,
    "active": PageFlag.ACTIVE, "slab": PageFlag.SLAB, "writeback": PageFlag.WRITEBACK,
    "reclaim": PageFlag.RECLAIM, "head": PageFlag.COMPOUND_HEAD,
    "swapbacked": PageFlag.SWAPBACKED, "unevictable": PageFlag.UNEVICTABLE,
    "hwpoison": PageFlag.HWPOISON, "mlocked": PageFlag.MLOCKED, "reserved": PageFlag.RESERVED,
}  # fmt: skip
"""Names in the text -> bits of kpageflags."""
_MOST_NR_BYTES: Final = 1 << 34
"""Of a text: 25 million records, as a machine of 100 GiB has at most."""
_MOST_STACK_LINES: Final = 64
_MOST_TEXTS: Final = 1 << 20
_MOST_TEXT_NR_BYTES: Final = 1 << 26
"""Of all stacks together, each counted once."""
_MOST_ORDER: Final = 18
_NR_LINES_BEFORE_DOUBT: Final = 1 << 16
_NOT_SAID: Final = 255


@frozen(eq=False)
class OwnerText:
    """What a text says.

    Attributes:
        allocations: the records, ascending.
        flags: uint64 (n,), bits of kpageflags of each record's first page.
        migratetype: uint8 (n,), what was asked for; 255 not said.
        block: int64 (n,), the number of the pageblock.
        block_type: uint8 (n,), its migratetype; 255 not said.
        reading: what was met.
    """

    allocations: Allocations
    flags: NDArray[np.uint64] = field(repr=False)
    migratetype: NDArray[np.uint8] = field(repr=False)
    block: NDArray[np.int64] = field(repr=False)
    block_type: NDArray[np.uint8] = field(repr=False)
    reading: Reading

    def nr_pages_per_block(self) -> int | None:
        """Pages in a pageblock, as far as records above the first one tell; None: they do not."""
        far = self.block > 0
        if not far.any():
            return None
        pfns, blocks = self.allocations.pfn[far].astype(np.int64), self.block[far]
        for order in range(4, 17):
            if np.mean((pfns >> order) == blocks) > _MOST_AGREE:
                return 1 << order
        return None


_MOST_AGREE: Final = 0.9


class _Rows:
    """Records as they come, in columns of plain numbers."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.columns = {name: array("q") for name in _COLUMNS}
        self.flag_bits = array("Q")
        self._head: tuple[int, ...] | None = None
        self._rest: tuple[int, ...] | None = None
        self._bits = 0
        self._stack: list[bytes] = []
        self._stack_bytes = 0
        self.stacks: dict[bytes, int] = {}
        self.commands: dict[bytes, int] = {}
        self._known_flags: dict[bytes, int] = {}
        self._functions: set[bytes] = set()

    def line(self, line: bytes) -> None:
        """Take one line."""
        line = line.rstrip(b"\r")
        if line[:1] in {b" ", b"\t"}:
            if self._rest is None or not self._is_function(line):
                self.reading.add("lines_not_read")
            elif len(self._stack) < _MOST_STACK_LINES:
                self._stack.append(line)
        elif line.startswith(b"Page allocated via"):
            self.finish()
            self._take_head(line)
        elif line.startswith(b"PFN "):
            self._take_pfn(line)
        elif not line.strip():
            self.finish()
        elif not line.startswith(_SAID_BESIDE):
            self.reading.add("lines_not_read")

    def _is_function(self, line: bytes) -> bool:
        if line in self._functions:  # (few lines of stacks differ)
            return True
        if _FRAME.fullmatch(line.decode("latin-1")) is None:
            return False
        if len(self._functions) < _MOST_TEXTS >> 4:
            self._functions.add(line)
        return True

    def _take_head(self, line: bytes) -> None:
        found = _HEAD.fullmatch(line)
        if found is None or int(found[1]) > _MOST_ORDER:
            self.reading.add("lines_not_read")
            return
        order, mask, pid, command, at_ns = found.groups()
        self._head = (
            int(order),
            int(mask, 16),
            NO_TEXT if pid is None else min(int(pid), (1 << 31) - 1),
            NO_TEXT if not command else _number(self.commands, command),
            NO_TEXT if at_ns is None else int(at_ns),
        )

    def _take_pfn(self, line: bytes) -> None:
        found = _PFN.fullmatch(line)
        if found is None or self._head is None or self._rest is not None:
            self.reading.add("lines_not_read")
            return
        pfn, asked, block, block_type, flags = found.groups()
        self._rest = (int(pfn, 0), _type(asked), int(block), _type(block_type))
        self._bits = self._flags_of(flags or b"")

    def _flags_of(self, text: bytes) -> int:
        bits = self._known_flags.get(text)
        if bits is None:
            names = re.split(r"[|,]", text.decode("latin-1"))
            bits = 0
            for name in names:
                bits |= int(_FLAGS[name].mask) if name in _FLAGS else 0
            if len(self._known_flags) < _MOST_TEXTS >> 4:
                self._known_flags[text] = bits
        return bits

    def finish(self) -> None:
        """The record is at its end, if there is one."""
        head, rest, stack = self._head, self._rest, self._stack
        self._head, self._rest, self._stack = None, None, []
        if head is None:
            return
        if rest is None:
            self.reading.add("records_cut")
            return
        pfn, order = rest[0], head[0]
        if pfn + (1 << order) > MAX_NR_FRAMES_READ or pfn % (1 << order):
            self.reading.add("records_impossible")
            return
        number = self._stack_number(b"\n".join(stack))
        for name, value in zip(_COLUMNS, (*head, *rest, number), strict=True):
            self.columns[name].append(value)
        self.flag_bits.append(self._bits)
        self.reading.add("records")

    def _stack_number(self, stack: bytes) -> int:
        if not stack:
            return NO_TEXT
        if stack not in self.stacks and self._stack_bytes + len(stack) > _MOST_TEXT_NR_BYTES:
            self.reading.add("stacks_not_kept")
            return NO_TEXT
        if stack not in self.stacks:
            self._stack_bytes += len(stack)
        return _number(self.stacks, stack)


_COLUMNS: Final = (
    "order", "gfp_mask", "pid", "command", "at_ns", "pfn", "migratetype", "block", "block_type",
    "stack",
)  # fmt: skip


def _number(texts: dict[bytes, int], text: bytes) -> int:
    """The number of a text, which is given one if it has none and there are not too many."""
    if text not in texts and len(texts) >= _MOST_TEXTS:
        return NO_TEXT
    return texts.setdefault(text, len(texts))


def _type(name: bytes) -> int:
    text = name.decode("latin-1")
    return MIGRATETYPES.index(text) if text in MIGRATETYPES else _NOT_SAID


def read_page_owner(
    path: Path, progress: Callable[[str, int, int], None] | None = None
) -> OwnerText:
    """Read a text, packed or not.

    Args:
        path: of the file.
        progress: told the name, the lines that were read, and 0.

    Raises:
        SnapshotError: it cannot be read, or has no record.
    """
    try:
        return parse_page_owner(lines_of_page_owner(path), path, progress)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise SnapshotError(path, "file", problem, "copy it again") from None


def lines_of_page_owner(path: Path) -> Iterator[bytes]:
    """The lines of a text, packed or not, as many as are read of one.

    Raises:
        OSError: it cannot be read.
        EOFError: see `pinlab.files.packed.lines_of`.
    """
    return lines_of(path, _MOST_NR_BYTES)


def parse_page_owner(
    lines: Iterable[bytes],
    path: Path | str = "page_owner",
    progress: Callable[[str, int, int], None] | None = None,
) -> OwnerText:
    """What the lines of a text say.

    Args:
        lines: without their ends.
        path: of the file, for messages.
        progress: told the name, the lines that were read, and 0.

    Raises:
        SnapshotError: there is no record in it, or in a great many lines at its beginning.
    """
    rows, nr = _Rows(), 0
    try:
        for nr, line in enumerate(lines, 1):
            rows.line(line)
            if not nr % _NR_LINES_BEFORE_DOUBT:
                if not rows.reading["records"]:
                    break
                if progress is not None:
                    progress(Path(path).name, nr, 0)
        rows.finish()
    except EOFError:  # what comes after is not there; nor is the record that it cuts
        rows.reading.add("files_cut_short")
    if not rows.reading["records"]:
        problem = f"has no record in {nr:,d} lines ({rows.reading.in_words()})"
        raise SnapshotError(path, "page_owner", problem, "copy page_owner whole")
    return _text_of(rows)


def _text_of(rows: _Rows) -> OwnerText:
    """The records in order, each place once: the later of two, the larger around a smaller."""
    columns = {name: np.array(column) for name, column in rows.columns.items()}
    flags = np.array(rows.flag_bits, dtype=np.uint64)
    nr = len(flags)
    by_place = np.lexsort((-np.arange(nr), -columns["order"], columns["pfn"]))
    starts = columns["pfn"][by_place]
    stops = starts + (np.int64(1) << columns["order"][by_place])
    reach = np.concatenate(([0], np.maximum.accumulate(stops)[:-1]))
    keep = by_place[starts >= reach]
    if nr - len(keep):
        rows.reading.add("records_twice", nr - len(keep))
    kept = {name: column[keep] for name, column in columns.items()}
    symbols, stack_start, stack_symbol = _taken_apart(rows.stacks)
    allocations = Allocations(
        pfn=kept["pfn"].astype(np.uint32),
        order=kept["order"].astype(np.uint8),
        gfp_mask=kept["gfp_mask"].astype(np.uint32),
        at_ns=kept["at_ns"],
        pid=kept["pid"].astype(np.int32),
        command=kept["command"].astype(np.int32),
        stack=kept["stack"].astype(np.int32),
        commands=tuple(_plain(command) for command in rows.commands),
        symbols=symbols,
        stack_start=stack_start,
        stack_symbol=stack_symbol,
    )
    return OwnerText(
        allocations=allocations,
        flags=flags[keep],
        migratetype=kept["migratetype"].astype(np.uint8),
        block=kept["block"],
        block_type=kept["block_type"].astype(np.uint8),
        reading=rows.reading,
    )


def _plain(command: bytes) -> str:
    text = command.decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text).strip() or "?"


def _taken_apart(
    stacks: Iterable[bytes],
) -> tuple[tuple[str, ...], NDArray[np.uint32], NDArray[np.uint32]]:
    """(names of functions, where each stack begins, its functions by number)."""
    numbers: dict[str, int] = {}
    starts, functions = array("L", [0]), array("L")
    for stack in stacks:
        for line in stack.decode("latin-1").split("\n"):
            if found := _FRAME.fullmatch(line):
                functions.append(numbers.setdefault(found[1], len(numbers)))
        starts.append(len(functions))
    starts_of = np.array(starts, dtype=np.uint32)
    return tuple(numbers), starts_of, np.array(functions, dtype=np.uint32)
