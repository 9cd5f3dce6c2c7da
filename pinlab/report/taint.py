"""How much of memory unmovable frames spoil: per owner, per order of block, per pageblock.

    density      frames of a tainted block that are unmovable, on average
    K            clustering: how many times more unmovable frames there are than would taint as
                 many blocks had they been scattered evenly; 1: evenly, 86: a large fleet's average
    taint        share of blocks of 2^order frames with an unmovable frame, order 0 to 18
    evenly       the same, had as many frames been scattered evenly: 1 - (1 - p)^n
    per block    unmovable frames of each tainted block: one spoils it, or it is full of them

Unmovable here is what an owner holds that Linux does not move.  Reserved frames and those of
unknown use are no owner's and not among them; blocks of nothing but holes are not counted.

Owns: these figures.
Ignores: what moving somebody would give (`pinlab.whatif`).
Cost: a few passes over the frames for each owner.
"""

from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinlab.report.sizes import block_name, counted, titled
from pinlab.report.tables import lay_out
from pinlab.snapshot.classes import ALL, FrameClass
from pinlab.snapshot.holdings import (
    LINUX_MOVES,
    MOST_ORDER,
    NOBODY,
    UNIT_ORDER,
    codes_of,
    holdings_of,
)
from pinlab.snapshot.image import Snapshot
from pinpage.units import Mask

__all__ = [
    "OwnerRow",
    "OwnersReport",
    "PinsReport",
    "TaintReport",
    "clustering",
    "owners_of",
    "pins_of",
    "plain",
    "scattered",
    "show_owners",
    "show_pins",
    "show_taint",
    "taint_of",
]

_WIDTH: Final = 79
_PERCENTILES: Final = (10, 25, 50, 75, 90, 99)
_MOST_SHOWN: Final = 4
_MEANING: Final = (
    "blocks: it has frames in. alone: where nothing else stays.\n"
    "density: its share of those blocks. K: how many times more frames than evenly."
)


@frozen
class OwnerRow:
    """One owner, or all that Linux does not move.

    Attributes:
        owner: its name.
        moves: whether Linux moves its frames.
        nr_pages: its frames.
        nr_tainted: blocks of order 9 that it has frames in.
        alone: of these, where it is the only one that Linux does not move, nothing there is
            reserved or missing, and nothing of unknown use.
        density: share of these blocks' frames that are its.
        clustering: K; None where it has frames in no block, or in every one.
    """

    owner: str
    moves: bool
    nr_pages: int
    nr_tainted: int
    alone: int
    density: float
    clustering: float | None


@frozen
class OwnersReport:
    """Owners, those that Linux does not move first, most tainted blocks first."""

    recording: str
    nr_pages: int
    nr_blocks: int
    rows: tuple[OwnerRow, ...]


@frozen
class TaintReport:
    """Share of blocks tainted, by order from 0 on.

    Attributes:
        recording: its name.
        sizes: of a block of each order, in words.
        nr_blocks: with memory in them, by order.
        of_owner: owner -> shares by order; most at order 9 first; all of them together last.
        evenly: had all these frames been scattered evenly.
    """

    recording: str
    sizes: tuple[str, ...]
    nr_blocks: tuple[int, ...]
    of_owner: dict[str, tuple[float, ...]]
    evenly: tuple[float, ...]


@frozen
class PinsReport:
    """Unmovable frames in each tainted block of order 9, ascending.

    Attributes:
        recording: its name.
        nr_blocks: blocks with memory in them.
        nr_pages_per_block: 512.
        counts: per tainted block.
        percentiles: percent -> frames that so many of the blocks have at most.
    """

    recording: str
    nr_blocks: int
    nr_pages_per_block: int
    counts: tuple[int, ...]
    percentiles: dict[int, int]


def scattered(density: float, nr_pages: int) -> float:
    """Share of blocks tainted if a share `density` of all frames, spread evenly, cannot move.

    Args:
        density: share of frames.
        nr_pages: frames of a block.

    >>> round(scattered(1e-3, 512), 3)
    0.401
    """
    return float(-np.expm1(nr_pages * np.log1p(-density))) if density < 1 else 1.0


def clustering(density: float, tainted: float, nr_pages: int) -> float | None:
    """K: how many times more frames there are than would taint that share if spread evenly.

    None where no block is tainted, or each is: then it is not defined.

    Args:
        density: share of frames that cannot move.
        tainted: share of blocks with one of them.
        nr_pages: frames of a block.

    >>> round(clustering(0.07, 0.34, 512))
    86
    """
    if not 0 < tainted < 1:
        return None
    return density / float(-np.expm1(np.log1p(-tainted) / nr_pages))


def owners_of(snapshot: Snapshot) -> OwnersReport:
    """Count what each owner of a recording holds, and how it lies."""
    blocks = holdings_of(snapshot)
    there = blocks.nr_never < blocks.nr_pages
    nr_pages = snapshot.nr_frames - snapshot.nr_frames_of(FrameClass.HOLE)
    fixed = blocks.in_the_way()
    in_the_way = blocks.nr_frames[:, blocks.columns_of(fixed)]
    nr_stuck = in_the_way.sum(axis=1)
    clean_else = (blocks.nr_never == 0) & (blocks.nr_unknown == 0)
    rows = []
    for column, name in enumerate(blocks.owner_names):
        mine = blocks.nr_frames[:, column]
        alone = (mine > 0) & (nr_stuck == mine) & clean_else
        moves = name not in fixed
        rows.append(
            _owner_row(name, moves, mine, int(alone.sum()) if not moves else 0, nr_pages, there)
        )
    rows.sort(key=lambda row: (row.moves, -row.nr_tainted, row.owner))
    nr_clean_else = int(((nr_stuck > 0) & clean_else).sum())
    rows.insert(len(fixed), _owner_row(ALL, False, nr_stuck, nr_clean_else, nr_pages, there))
    return OwnersReport(snapshot.name, nr_pages, int(there.sum()), tuple(rows))


def _owner_row(
    name: str, moves: bool, mine: NDArray[np.int64], alone: int, nr_pages: int, there: Mask
) -> OwnerRow:
    total, nr_tainted = int(mine.sum()), int((mine > 0).sum())
    nr_blocks = max(int(there.sum()), 1)
    return OwnerRow(
        owner=name,
        moves=moves,
        nr_pages=total,
        nr_tainted=nr_tainted,
        alone=alone,
        density=total / (nr_tainted << UNIT_ORDER) if nr_tainted else 0.0,
        clustering=clustering(total / max(nr_pages, 1), nr_tainted / nr_blocks, 1 << UNIT_ORDER),
    )


def taint_of(snapshot: Snapshot) -> TaintReport:
    """Share of blocks with an unmovable frame, for each order from 0 to 18 that fits."""
    codes, names = codes_of(snapshot)
    present = snapshot.klass != FrameClass.HOLE
    fixed = [
        code for code in np.unique(codes).tolist()
        if (code >= len(FrameClass) or FrameClass(code) not in NOBODY)
        and names[code] not in LINUX_MOVES
    ]  # fmt: skip
    orders = [one for one in range(MOST_ORDER + 1) if one <= UNIT_ORDER or 1 << one <= len(codes)]
    nr_blocks = _per_order(present, len(orders))
    found = {names[code]: _per_order(codes == code, len(orders)) for code in fixed}
    found = dict(sorted(found.items(), key=lambda item: (-item[1][UNIT_ORDER], item[0])))
    found[ALL] = _per_order(np.isin(codes, fixed), len(orders))
    density = found[ALL][0] / max(nr_blocks[0], 1)
    return TaintReport(
        recording=snapshot.name,
        sizes=tuple(block_name(snapshot, one) for one in orders),
        nr_blocks=tuple(nr_blocks),
        of_owner={
            name: tuple(n / max(total, 1) for n, total in zip(counts, nr_blocks, strict=True))
            for name, counts in found.items()
        },
        evenly=tuple(scattered(density, 1 << one) for one in orders),
    )


def _per_order(frames: Mask, nr_orders: int) -> list[int]:
    """Blocks with one of these frames, by order."""
    counts = [int(np.count_nonzero(frames))]
    for _ in range(1, nr_orders):
        if len(frames) % 2:
            frames = np.append(frames, False)
        frames = frames[0::2] | frames[1::2]
        counts.append(int(np.count_nonzero(frames)))
    return counts


def pins_of(snapshot: Snapshot) -> PinsReport:
    """Count the unmovable frames of each tainted block of order 9."""
    blocks = holdings_of(snapshot)
    stuck = blocks.nr_frames[:, blocks.columns_of(blocks.in_the_way())].sum(axis=1)
    counts = np.sort(stuck[stuck > 0])
    rows = [max(-(-len(counts) * percent // 100) - 1, 0) for percent in _PERCENTILES]
    return PinsReport(
        recording=snapshot.name,
        nr_blocks=int((blocks.nr_never < blocks.nr_pages).sum()),
        nr_pages_per_block=blocks.nr_pages,
        counts=tuple(counts.tolist()),
        percentiles={
            percent: int(counts[row])
            for percent, row in zip(_PERCENTILES, rows, strict=True)
            if len(counts)
        },
    )


def plain(report: OwnersReport | TaintReport | PinsReport) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(report)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()
    }


def show_owners(report: OwnersReport) -> str:
    """A table of fewer than 80 columns."""
    header = ("owner", "Linux moves", "frames", "share", "blocks", "alone", "density", "K")
    lines = [
        [
            row.owner,
            "yes" if row.moves else "no",
            f"{row.nr_pages:,d}",
            f"{row.nr_pages / max(report.nr_pages, 1):.2%}",
            f"{row.nr_tainted:,d}",
            "" if row.moves else f"{row.alone:,d}",
            f"{row.density:.1%}",
            "-" if row.clustering is None else f"{row.clustering:,.1f}",
        ]
        for row in report.rows
    ]
    nr_blocks = f"{counted(report.nr_blocks, 'block')} of order {UNIT_ORDER}"
    title = titled(report.recording, f"{counted(report.nr_pages, 'frame')}, {nr_blocks}")
    return f"{title}\n\n{lay_out(header, lines, _WIDTH, nr_names=1)}\n\n{_MEANING}"


def show_taint(report: TaintReport) -> str:
    """A table of fewer than 80 columns; owners that taint least are added up by nobody."""
    names = list(report.of_owner)
    shown = [*names[:-1][:_MOST_SHOWN], names[-1]]
    header = ("order", "size", "blocks", *shown, "evenly")
    lines = [
        [
            str(order),
            report.sizes[order],
            f"{report.nr_blocks[order]:,d}",
            *(f"{report.of_owner[name][order]:.2%}" for name in shown),
            f"{report.evenly[order]:.2%}",
        ]
        for order in range(len(report.sizes))
    ]
    left = names[:-1][_MOST_SHOWN:]
    parts = [
        titled(report.recording, "blocks with a frame that Linux does not move"),
        lay_out(header, lines, _WIDTH, nr_names=2),
        "all: all of these owners. evenly: had as many frames been scattered evenly.",
    ]
    if left:
        parts[-1] += f"\nFewer blocks each, not shown: {', '.join(left)}."
    return "\n\n".join(parts)


def show_pins(report: PinsReport) -> str:
    """The distribution as a line per percentile, with bars."""
    if not report.counts:
        return titled(report.recording, "no block of order 9 has a frame that Linux does not move.")
    size = report.nr_pages_per_block
    have = "has" if len(report.counts) == 1 else "have"
    of_all = counted(report.nr_blocks, "block")
    lines = [
        titled(report.recording, "frames that Linux does not move, per block that has one"),
        "",
        f"{len(report.counts):,d} of {of_all} of order 9 {have} one or more.",
        f"Of {size} frames:",
        "",
    ]
    for percent, count in report.percentiles.items():
        bar = "#" * max(round(44 * count / size), 1)
        lines.append(f"{percent:>3d} % of them have at most {count:>4d} {bar}")
    nr_single = sum(count == 1 for count in report.counts)
    lines += ["", f"Spoilt by a single frame: {counted(nr_single, 'block')}."]
    return "\n".join(lines)
