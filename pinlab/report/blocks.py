"""What can be made of the blocks of each order, and who is in the way of the rest.

Each aligned block with memory in it is one of:

    free        nothing in it is in use
    clearable   everything in it is free or moves, as Linux moves it
    tainted     an owner has a frame in it that Linux does not move
    unknown     but for frames of unknown use it would be free or clearable
    cut         reserved or missing frames are in it, a border of zones, or CMA's pageblocks

Owns: these counts, per order and per owner, and each block of one order.
Ignores: whether there is room for what would have to leave (`pinlab.whatif`).
Cost: a few passes over the frames.
"""

from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen

from pinlab.report.sizes import block_name, titled
from pinlab.report.tables import lay_out
from pinlab.snapshot.holdings import MOST_ORDER, UNIT_ORDER, Holdings, holdings_of
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError

__all__ = ["BlockReport", "BlockRow", "OneBlock", "as_json", "as_text", "blocks_of"]

_WIDTH: Final = 79
_MOST_LINES: Final = 40
_MEANING: Final = (
    "clearable: all in it moves. tainted: an owner in it does not, on Linux 6.1.\n"
    "cut: reserved or missing frames, a zone's border, or CMA in it."
)


@frozen
class BlockRow:
    """Blocks of one order, by what can be made of them.

    Attributes:
        order: log2 of the frames.
        size: of a block, in words.
        nr_blocks: with memory in them; the next five add up to it.
        free, clearable, tainted, unknown, cut: see the module.
        of_owner: owner that Linux does not move -> blocks that it has frames in.
    """

    order: int
    size: str
    nr_blocks: int
    free: int
    clearable: int
    tainted: int
    unknown: int
    cut: int
    of_owner: dict[str, int]


@frozen
class OneBlock:
    """One block: where it starts, and its frames by use."""

    pfn: int
    state: str
    free: int
    movable: int
    unknown: int
    cut: int
    owners: dict[str, int]


@frozen
class BlockReport:
    """Blocks per order, and one by one where that was asked for.

    `says_free`: whether it is recorded which frames are free; else they count as unknown.
    """

    recording: str
    rows: tuple[BlockRow, ...]
    order: int | None
    blocks: tuple[OneBlock, ...]
    says_free: bool = True


def blocks_of(snapshot: Snapshot, order: int | None = None) -> BlockReport:
    """Count a recording's blocks of every order from 9 to 18 that fits.

    Args:
        snapshot: the recording.
        order: the blocks of that order one by one, too.

    Raises:
        PinpageError: an order below 9 or above 18, or beyond memory.
    """
    if order is not None and not UNIT_ORDER <= order <= MOST_ORDER:
        raise PinpageError(f"blocks: order={order} is not within {UNIT_ORDER} to {MOST_ORDER}")
    if order is not None and 1 << order > max(snapshot.nr_frames, 1 << UNIT_ORDER):
        raise PinpageError(
            f"blocks: order={order} is more than the {snapshot.nr_frames:,d} frames that there are"
        )
    units = holdings_of(snapshot)
    orders = [
        one for one in range(UNIT_ORDER, MOST_ORDER + 1)
        if one == UNIT_ORDER or 1 << one <= snapshot.nr_frames
    ]  # fmt: skip
    rows = tuple(_row(units.at(one), block_name(snapshot, one)) for one in orders)
    single = () if order is None else _one_by_one(units.at(order))
    return BlockReport(snapshot.name, rows, order, single, says_free=snapshot.says_free)


_STATES: Final = ("free", "clearable", "tainted", "unknown", "cut")


def _states(blocks: Holdings) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Index into `_STATES` per block; -1 where there is no memory."""
    stuck = blocks.nr_frames[:, blocks.columns_of(blocks.in_the_way())].sum(axis=1)
    cut = ~blocks.whole | (blocks.nr_never > 0)
    rules = (
        (blocks.nr_never == blocks.nr_pages, -1),
        (cut, 4),
        (stuck > 0, 2),
        (blocks.nr_unknown > 0, 3),
        (blocks.nr_free == blocks.nr_pages, 0),
    )
    return np.select([mask for mask, _ in rules], [state for _, state in rules], default=1)


def _row(blocks: Holdings, size: str) -> BlockRow:
    states = _states(blocks)
    counts = np.bincount(states[states >= 0], minlength=len(_STATES)).tolist()
    names = blocks.in_the_way()
    touched = (blocks.nr_frames[:, blocks.columns_of(names)] > 0).sum(axis=0).tolist()
    of_owner = dict(sorted(zip(names, touched, strict=True), key=lambda item: (-item[1], item[0])))
    free, clearable, tainted, unknown, cut = counts
    return BlockRow(
        blocks.order, size, sum(counts), free, clearable, tainted, unknown, cut, of_owner
    )


def _one_by_one(blocks: Holdings) -> tuple[OneBlock, ...]:
    states = _states(blocks)
    fixed = blocks.columns_of(blocks.in_the_way())
    moving = blocks.columns_of(blocks.moved_by_linux())
    found = []
    for block in np.flatnonzero(states >= 0).tolist():
        frames = blocks.nr_frames[block]
        owners = {blocks.owner_names[i]: int(frames[i]) for i in fixed if frames[i]}
        found.append(
            OneBlock(
                pfn=block << blocks.order,
                state=_STATES[int(states[block])],
                free=int(blocks.nr_free[block]),
                movable=int(frames[moving].sum()),
                unknown=int(blocks.nr_unknown[block]),
                cut=int(blocks.nr_never[block]),
                owners=dict(sorted(owners.items(), key=lambda item: (-item[1], item[0]))),
            )
        )
    return tuple(found)


def as_json(report: BlockReport) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(report)
    del shown["says_free"]
    return shown | {"rows": list(shown["rows"]), "blocks": list(shown["blocks"])}


def as_text(report: BlockReport) -> str:
    """Tables of fewer than 80 columns."""
    heads = ("order", "size", "blocks", *_STATES)
    lines = [
        [
            str(row.order),
            row.size,
            *(f"{getattr(row, name):,d}" for name in ("nr_blocks", *_STATES)),
        ]
        for row in report.rows
    ]
    parts = [
        titled(report.recording, "blocks by what can be made of them"),
        lay_out(heads, lines, _WIDTH, nr_names=2),
        _MEANING,
    ]
    if not report.says_free:
        parts.append("Free memory is not recorded: what is free counts as unknown.")
    names = list(report.rows[0].of_owner)
    if names:
        header = ("blocks touched, order", *(str(row.order) for row in report.rows))
        touched = {name: [row.of_owner.get(name) for row in report.rows] for name in names}
        cells = [
            [name, *("-" if nr is None else f"{nr:,d}" for nr in numbers)]
            for name, numbers in touched.items()
        ]
        parts.append(lay_out(header, cells, _WIDTH, nr_names=1))
        if any(None in numbers for numbers in touched.values()):
            parts.append("-: Linux moves such pages out of blocks that are larger than they are.")
    if report.order is not None:
        parts.append(_blocks_as_text(report))
    return "\n\n".join(parts)


def _blocks_as_text(report: BlockReport) -> str:
    header = ("first pfn", "state", "free", "movable", "unknown", "cut", "in the way")
    lines = []
    for block in report.blocks[:_MOST_LINES]:
        owners = " ".join(f"{name}:{count}" for name, count in block.owners.items())
        numbers = (block.free, block.movable, block.unknown, block.cut)
        most = 79 - 54
        shown = owners if len(owners) <= most else owners[: most - 2] + ".."
        lines.append([f"{block.pfn:#x}", block.state, *(f"{n:,d}" for n in numbers), shown])
    text = lay_out(header, lines, None, nr_names=2)
    left = len(report.blocks) - _MOST_LINES
    return text + (f"\n({left:,d} more blocks)" if left > 0 else "")
