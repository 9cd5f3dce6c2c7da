"""What page_owner kept of each allocation: when, by whom, through which functions.

A row is an allocation that was there when the text was printed; its frames are `1 << order`
from `pfn` on.  Texts are told once: a row names its stack and its command by number.

Owns: the rows, their form in a file, and that they describe allocations.
Ignores: whose class a stack makes a frame (`pinlab.sources.stacks`).
Kernel counterpart: struct page_owner, and the stack depot.
Cost: 29 bytes a row, and each text once.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from pinlab.files.careful import plain
from pinlab.snapshot.errors import SnapshotError

__all__ = ["NO_TEXT", "Allocation", "Allocations"]

NO_TEXT: Final = -1
"""In place of a number of a stack, of a command or of a process: not said."""

_LAYOUT: Final = {
    "pfn": "<u4",
    "order": "u1",
    "gfp_mask": "<u4",
    "at_ns": "<i8",
    "pid": "<i4",
    "command": "<i4",
    "stack": "<i4",
    "stack_start": "<u4",
    "stack_symbol": "<u4",
    "text": "u1",
}
"""Column -> dtype; the last three are no columns of rows."""
_OF_ROWS: Final = ("pfn", "order", "gfp_mask", "at_ns", "pid", "command", "stack")
_PREFIX: Final = "alloc_"
_MOST_ORDER: Final = 18
_FIX: Final = "make the file again from its source"


@frozen
class Allocation:
    """One of them, in plain values.

    Attributes:
        pfn, order: where it lies.
        gfp_mask: what was asked for.
        at_ns: since boot; None where it is not said.
        pid: who asked; None where it is not said, or was taken out.
        command: its name; empty where it is not said, or was taken out.
        stack: functions, the allocating one first; empty where it is not said, or taken out.
    """

    pfn: int
    order: int
    gfp_mask: int
    at_ns: int | None
    pid: int | None
    command: str
    stack: tuple[str, ...]


@frozen(eq=False, kw_only=True)
class Allocations:
    """All of them, as columns of shape (n,), ascending by pfn, none inside of another.

    Attributes:
        pfn: uint32, the first frame.
        order: uint8, log2 of the frames.
        gfp_mask: uint32.
        at_ns: int64, since boot; -1 not said.
        pid: int32; -1 not said.
        command, stack: int32, numbers of texts; -1 not said.
        commands: the names of processes.
        symbols: the names of functions.
        stack_start: uint32 (number of stacks + 1,), where each begins in `stack_symbol`.
        stack_symbol: uint32, numbers of symbols, each stack's allocating function first.
    """

    pfn: NDArray[np.uint32] = field(repr=False)
    order: NDArray[np.uint8] = field(repr=False)
    gfp_mask: NDArray[np.uint32] = field(repr=False)
    at_ns: NDArray[np.int64] = field(repr=False)
    pid: NDArray[np.int32] = field(repr=False)
    command: NDArray[np.int32] = field(repr=False)
    stack: NDArray[np.int32] = field(repr=False)
    commands: tuple[str, ...] = field(repr=False)
    symbols: tuple[str, ...] = field(repr=False)
    stack_start: NDArray[np.uint32] = field(repr=False)
    stack_symbol: NDArray[np.uint32] = field(repr=False)

    def __len__(self) -> int:
        """Rows."""
        return len(self.pfn)

    def of(self, pfn: int) -> Allocation | None:
        """The allocation that a frame is part of; None where none is recorded."""
        row = int(np.searchsorted(self.pfn, pfn, side="right")) - 1
        if row < 0 or pfn >= int(self.pfn[row]) + (1 << int(self.order[row])):
            return None
        at_ns, pid, command = (int(c[row]) for c in (self.at_ns, self.pid, self.command))
        return Allocation(
            pfn=int(self.pfn[row]),
            order=int(self.order[row]),
            gfp_mask=int(self.gfp_mask[row]),
            at_ns=None if at_ns == NO_TEXT else at_ns,
            pid=None if pid == NO_TEXT else pid,
            command="" if command == NO_TEXT else self.commands[command],
            stack=self.stack_of(int(self.stack[row])),
        )

    def stack_of(self, number: int) -> tuple[str, ...]:
        """The functions of a stack, by its number; none of `NO_TEXT`."""
        if number == NO_TEXT:
            return ()
        start, stop = self.stack_start[number : number + 2].tolist()
        return tuple(self.symbols[symbol] for symbol in self.stack_symbol[start:stop].tolist())

    def without_texts(self) -> Self:
        """The same rows, and nothing of who asked."""
        silent = np.full(len(self), NO_TEXT, dtype=np.int32)
        return evolve(
            self,
            pid=silent,
            command=silent,
            stack=silent,
            commands=(),
            symbols=(),
            stack_start=np.zeros(1, dtype=np.uint32),
            stack_symbol=np.empty(0, dtype=np.uint32),
        )

    def to_form(self) -> dict[str, NDArray[Any]]:
        """Columns as they go into a file."""
        lines = (*self.symbols, "", *self.commands)
        text = "\n".join(" ".join(plain(line).split()) for line in lines).encode()
        columns = {name: getattr(self, name) for name in _LAYOUT if name != "text"}
        columns["text"] = np.frombuffer(text, dtype=np.uint8)
        return {
            _PREFIX + name: np.ascontiguousarray(column).astype(_LAYOUT[name], copy=False)
            for name, column in columns.items()
        }

    @classmethod
    def from_form(
        cls, columns: Mapping[str, NDArray[Any]], nr_frames: int, path: Path | str
    ) -> Self | None:
        """From columns as they are in a file; None where there are none of these.

        Args:
            columns: name -> column.
            nr_frames: of the recording.
            path: the file, for messages.

        Raises:
            SnapshotError: one is missing, of a wrong form, or describes no allocations.
        """
        if not any(name.startswith(_PREFIX) for name in columns):
            return None
        own = {name: columns.get(_PREFIX + name) for name in _LAYOUT}
        for name, column in own.items():
            if column is None or column.dtype != np.dtype(_LAYOUT[name]) or column.ndim != 1:
                problem = "is missing, or of a wrong form"
                raise SnapshotError(path, f"column {_PREFIX}{name}", problem, _FIX)
        text = bytes(own.pop("text")).decode(errors="replace")  # type: ignore[arg-type]
        lines = tuple(text.split("\n"))
        border = lines.index("") if "" in lines else len(lines)
        found = cls(symbols=lines[:border], commands=lines[border + 1 :], **own)  # type: ignore[arg-type]
        found.check(nr_frames, path)
        return found

    def check(self, nr_frames: int, path: Path | str) -> None:
        """SN13: rows ascend, lie in memory apart from each other, and name texts that there are.

        Args:
            nr_frames: of the recording.
            path: the file, for messages.

        Raises:
            SnapshotError: names the first rule that does not hold.
        """
        for problem in self._problems(nr_frames):
            raise SnapshotError(path, "allocations", f"SN13 {problem}", _FIX)

    def _problems(self, nr_frames: int) -> Iterator[str]:
        if any(len(getattr(self, name)) != len(self) for name in _OF_ROWS):
            yield "have columns of unequal length"
        elif len(self) and int(self.order.max()) > _MOST_ORDER:
            yield f"have one of order {int(self.order.max())}"
        else:
            starts = self.pfn.astype(np.int64)
            stops = starts + (np.int64(1) << self.order.astype(np.int64))
            if (starts[1:] < stops[:-1]).any():
                yield "lie in one another, or do not ascend"
            if len(self) and int(stops[-1]) > nr_frames:
                yield "reach beyond memory"
        nr_stacks = len(self.stack_start) - 1
        ends = self.stack_start.astype(np.int64)
        if nr_stacks < 0 or int(ends[0]) or (np.diff(ends) < 0).any():
            yield "have stacks that do not ascend"
        elif int(ends[-1]) != len(self.stack_symbol):
            yield "have stacks that reach beyond what is kept of them"
        for name, nr_texts in (("stack", nr_stacks), ("command", len(self.commands))):
            numbers = getattr(self, name)
            if len(numbers) and not NO_TEXT <= int(numbers.min()) <= int(numbers.max()) < nr_texts:
                yield f"name a {name} that is not there"
        if len(self.stack_symbol) and int(self.stack_symbol.max()) >= len(self.symbols):
            yield "name a function that is not there"
        if not all(text.isprintable() for text in (*self.symbols, *self.commands)):
            yield "have a text with characters that cannot be printed"
