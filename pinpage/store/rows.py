"""Pfns and pins as columns, and columns in parts.

Owns:    nothing; a value and the few things that are done to it.
Ignores: where pins are kept, and what a tag and a value mean.
Cost:    views where numpy gives views.
Kernel counterpart: folio batches and sg lists: pages come in groups.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from operator import index
from typing import Any, Self

import numpy as np
import numpy.ma  # np.unique would import it, inside a locked section
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from pinpage.errors import PfnError
from pinpage.units import Mask, Pfns

__all__ = [
    "NO_PINS",
    "PinRows",
    "Record",
    "as_pfn",
    "as_pfns",
    "as_run",
    "joined",
    "order_of",
    "pieces",
    "runs",
]

Record = tuple[int, int]
"""(tag, value) of one pin."""

_NR_PINS_AT_A_TIME = 1 << 15


@frozen(eq=False)
class PinRows:
    """Some pins as columns, shape (n,) each.

    Attributes:
        pfns, tags, values: one row a pin; of several pins of a frame, in order of arrival.
    """

    pfns: Pfns
    tags: NDArray[np.int32]
    values: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> Self:
        """Columns of (pfn, tag, value) rows."""
        table = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1].astype(np.int32), table[:, 2])

    @classmethod
    def of_firsts(cls, records: Mapping[int, Record]) -> Self:
        """One pin of each frame, by frame."""
        numbers = chain.from_iterable(records.values())
        pairs = np.fromiter(numbers, np.int64, 2 * len(records)).reshape(-1, 2)
        pfns = np.fromiter(records, np.int64, len(records))
        return cls(pfns, pairs[:, 0].astype(np.int32), pairs[:, 1])

    @classmethod
    def alike(cls, pfns: Pfns, tag: int, value: int) -> Self:
        """The same pin for each of some frames.

        Args:
            pfns: the frames.
            tag, value: the pin.
        """
        tags, values = np.empty(len(pfns), dtype=np.int32), np.empty(len(pfns), dtype=np.int64)
        tags.fill(tag)
        values.fill(value)
        return cls(pfns, tags, values)

    def __len__(self) -> int:
        """Pins."""
        return len(self.pfns)

    def at(self, rows: NDArray[np.int64] | Mask | slice) -> "PinRows":
        """Some of the rows, by number, mask or slice."""
        return PinRows(self.pfns[rows], self.tags[rows], self.values[rows])

    def ascending(self) -> "PinRows":
        """In pfn order; those of one frame stay in the order given.

        Columns of its own, which whoever made these cannot change any more.
        """
        pfns = self.pfns.copy()
        if np.count_nonzero(pfns[1:] < pfns[:-1]) == 0:
            return PinRows(pfns, self.tags, self.values.copy())
        rows = order_of(pfns)
        return PinRows(pfns.take(rows), self.tags.take(rows), self.values.take(rows))

    def each(self) -> Iterable[tuple[int, int, int]]:
        """The rows one by one, as plain ints."""
        return zip(self.pfns.tolist(), self.tags.tolist(), self.values.tolist(), strict=True)


NO_PINS = PinRows.of([])
"""No pin at all."""


def pieces(count: int) -> list[slice]:
    """`count` rows in pieces, each so short that what is computed of it stays in a cache."""
    return [slice(at, at + _NR_PINS_AT_A_TIME) for at in range(0, count, _NR_PINS_AT_A_TIME)]


def joined(parts: list[PinRows]) -> PinRows:
    """Several columns of pins as one."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_PINS
    columns = zip(*((part.pfns, part.tags, part.values) for part in parts), strict=True)
    pfns, tags, values = (np.concatenate(column) for column in columns)
    return PinRows(pfns, tags, values)


def order_of(pfns: Pfns) -> NDArray[np.int64]:
    """The rows of a column in pfn order; those of one frame in the order given."""
    nr_bits = len(pfns).bit_length()
    if np.count_nonzero(pfns >> (63 - nr_bits)):
        return np.argsort(pfns, kind="stable")
    # Each with its row below: plain numbers are sorted much faster than rows by their numbers.
    keyed = pfns << nr_bits | np.arange(len(pfns))
    keyed.sort()
    return keyed & ((1 << nr_bits) - 1)


def as_run(pfns: Pfns) -> slice | None:
    """The range of frames that these are, in order; None: they are no range."""
    if len(pfns) == 0 or pfns[-1] - pfns[0] != len(pfns) - 1:
        return None
    # Each after the one before, and the last no further than that takes: there is no gap.
    is_run = np.count_nonzero(pfns[1:] <= pfns[:-1]) == 0
    return slice(int(pfns[0]), int(pfns[-1]) + 1) if is_run else None


def runs(numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ascending numbers as half-open runs."""
    if not len(numbers):
        return []
    breaks = (numbers[1:] - numbers[:-1] > 1).nonzero()[0]
    if not len(breaks):
        return [(int(numbers[0]), int(numbers[-1]) + 1)]
    starts = numbers[np.concatenate(([0], breaks + 1))].tolist()
    stops = numbers[np.concatenate((breaks, [-1]))].tolist()
    return [(start, stop + 1) for start, stop in zip(starts, stops, strict=True)]


def as_pfn(pfn: Any) -> int:
    """A pfn as a plain int.

    Raises:
        PfnError: no integer; a bool is none.
    """
    if type(pfn) is int:
        return pfn
    if isinstance(pfn, (bool, np.bool_)):
        raise PfnError(f"pfn: want an integer, got {pfn!r}")
    try:
        return index(pfn)
    except TypeError:
        raise PfnError(f"pfn: want an integer, got {type(pfn).__name__} {pfn!r}") from None


def as_pfns(pfns: ArrayLike) -> Pfns:
    """A column of pfns from whatever the caller gave.

    Raises:
        PfnError: not integers, or not one-dimensional.
    """
    if isinstance(pfns, (list, tuple)) and not {bool, np.bool_}.isdisjoint(map(type, pfns)):
        raise PfnError("pfns: want one column of integers, got a bool among them")
    try:
        column = np.asarray(pfns)
    except ValueError as error:
        raise PfnError(f"pfns: want one column of integers, got {error}") from None
    if column.size == 0:
        column = column.astype(np.int64)
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise PfnError(
            f"pfns: want one column of integers, got {column.dtype} of shape {column.shape}"
        )
    return column.astype(np.int64, copy=False)
