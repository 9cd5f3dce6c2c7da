"""What comparing comes to: plain data, so that tables and files need no machine."""

from collections.abc import Iterable
from typing import Any, Self

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.move.design import Strategy
from pinlab.report.plain import PlainTable, of_rows
from pinpage.errors import PinpageError, several
from pinpage.units import PAGE_SIZE, PAGEBLOCK_NR_PAGES, in_words

__all__ = ["Comparison", "Maps", "MeasuredRow", "Row", "Run"]


def _movable(names: Iterable[str]) -> tuple[str, ...]:
    several("run", movable=names)
    return tuple(names)


def _release(names: Iterable[str]) -> tuple[str, ...]:
    several("run", release=names)
    return tuple(names)


@frozen
class Run:
    """One way to serve the request.

    Attributes:
        design: name of the design in force.
        movable: owners that have a callback under it, sorted.
        strategy: "scan" or "plan".
        release: owners that give pages up and cannot move them, sorted.
    """

    design: str
    movable: tuple[str, ...] = field(default=(), converter=_movable)
    strategy: Strategy = "scan"
    release: tuple[str, ...] = field(default=(), converter=_release)


@frozen(kw_only=True)
class Row:
    """What one run came to.  Counts are pages unless the name says otherwise.

    Attributes:
        bound: the most huge pages that any strategy can make with what this run can move.
        huge_pages: huge pages obtained, of one pageblock each.
        pageblocks_emptied: pageblocks wholly free after compaction that were not before.
        pages_moved: frames whose contents went elsewhere.
        pages_released: given up by their owners instead of moved, compressed ones among them.
        pages_unused: compressed pages brought back to ordinary memory.
        pages_grown: what compaction added to memory in use: unused pages are no longer
            compressed.
        pages_scanned: frames that the scanners, or the planner's census, looked at.
        large_pages_split: large pages (THPs and smaller ones) that were broken up.
        refused: reason -> frames that stayed, each time that they were tried.
        lock_acquisitions: zone locks and registry node locks.
        modelled_ns: simulated time of the compaction.
        bytes_verified, bytes_lost: everything stored, read back and compared at the end.
        digest: of the machine's state at the end.
    """

    design: str
    movable: tuple[str, ...]
    strategy: Strategy
    bound: int
    huge_pages: int
    pageblocks_emptied: int
    pages_moved: int
    pages_unused: int
    pages_grown: int
    pages_scanned: int
    refused: dict[str, int]
    lock_acquisitions: int
    modelled_ns: int
    bytes_verified: int
    bytes_lost: int
    digest: str
    large_pages_split: int = 0
    release: tuple[str, ...] = ()
    pages_released: int = 0


@frozen(kw_only=True)
class MeasuredRow:
    """What the recorded kernel did, where the recording says.

    Counts are of the compaction alone where it was recorded alone.
    """

    kernel: str
    huge_pages: int
    pageblocks_emptied: int | None
    pages_moved: int
    pages_scanned: int


@frozen(eq=False)
class Maps:
    """Frames per pageblock and class, int32 (nr_blocks, NR_CLASSES), around one run."""

    before: NDArray[np.int32]
    after: NDArray[np.int32]


@frozen(kw_only=True)
class Comparison:
    """All rows of one recording.

    Attributes:
        recording: its name.
        request: "cmphuge".
        seed: of the contents.
        measured: what the recorded kernel did; None if it was not asked.
        rows: one per run, in order; where it was interrupted, of those that had ended.
        partial: whether it was interrupted.
        maps: per row, memory before and after; empty unless asked for.
        page_nr_bytes, nr_pages_per_block: of the memory; a huge page is a pageblock.
    """

    recording: str
    request: str
    seed: int
    measured: MeasuredRow | None
    rows: tuple[Row, ...]
    partial: bool = False
    maps: tuple[Maps, ...] = ()
    page_nr_bytes: int = PAGE_SIZE
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES

    @property
    def huge_page(self) -> str:
        """The size of a huge page, such as "2 MiB"."""
        return in_words(self.page_nr_bytes * self.nr_pages_per_block)

    def to_json(self) -> dict[str, Any]:
        """One JSON object; maps are left out."""
        shown = attrs.asdict(self, filter=lambda attribute, _: attribute.name != "maps")
        for row in shown["rows"]:
            row["movable"], row["release"] = list(row["movable"]), list(row["release"])
        shown["rows"] = list(shown["rows"])
        return shown

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """A comparison from `to_json`, without maps.

        Raises:
            PinpageError: a field is missing or unknown.
        """
        try:
            rows = tuple(
                Row(**row | {name: tuple(row[name]) for name in ("movable", "release")})
                for row in data["rows"]
            )
            measured = data["measured"]
            measured = None if measured is None else MeasuredRow(**measured)
            return cls(**data | {"rows": rows, "measured": measured})
        except (TypeError, KeyError) as error:
            raise PinpageError(f"comparison: {error}") from None

    def plain(self) -> tuple[PlainTable, ...]:
        """Tables: the recorded kernel, a row per run, and why frames stayed in each."""
        shown = self.to_json()
        measured = [] if self.measured is None else [shown["measured"]]
        refused = [
            (row.design, row.movable, row.release, row.strategy, reason, nr_frames)
            for row in self.rows
            for reason, nr_frames in row.refused.items()
        ]
        header = ("design", "movable", "release", "strategy", "reason", "frames")
        return (
            of_rows("measured", measured),
            of_rows("rows", shown["rows"], ("refused",)),
            PlainTable("refused", header, tuple(refused)),
        )
