"""What if these owners could move: blocks before and after, and what each owner adds.

    clean       nobody is in the block who cannot move
    obtained    of the clean ones, as many as the free frames make, wherever things go
    lo, hi      frames of unknown use stay, or move

Owns: the question put to `pinlab.whatif.game` for each order, and the answer as plain data.
Ignores: how a kernel gets there, but for pageblocks (`pinlab.whatif.scanners`).
Cost: a few passes over the frames, and 2^owners once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import MOST_ORDER, UNIT_ORDER, Holdings, holdings_of, names_of
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import require_free_recorded
from pinlab.whatif.cheapest import OwnerSet, cheapest
from pinlab.whatif.game import BlockGame, Shares, game_of
from pinlab.whatif.scanners import sweep
from pinpage.errors import PinpageError

__all__ = [
    "AtOrder",
    "Counted",
    "WhatIf",
    "as_json",
    "free_somewhere",
    "what_if",
]


@frozen
class Counted:
    """Blocks of one order under one set of owners, if the unknown stays and if it moves.

    Those obtained are None where nothing says what is free.
    """

    clean_lo: int
    clean_hi: int
    obtained_lo: int | None
    obtained_hi: int | None


@frozen
class AtOrder:
    """Blocks of one order.

    Attributes:
        order: log2 of the frames.
        nr_bytes: of a block.
        nr_blocks: aligned blocks with memory in them.
        free: wholly free as recorded; None where nothing says what is free.
        before, after: without and with those who join.
    """

    order: int
    nr_bytes: int
    nr_blocks: int
    free: int | None
    before: Counted
    after: Counted


@frozen
class WhatIf:
    """The answer.

    Attributes:
        recording: its name.
        moved: owners that Linux moves, at the order that is looked at.
        movable, released: owners that join, by moving or by giving up.
        orders: blocks of each order from 9 on.
        order: the one that is looked at owner by owner.
        clean, obtained: what each of those who join adds there; obtained is empty where they
            are too many to try all sets, or nothing says what is free.
        pairs: (owner, owner, gained by both, of that in neither's gain alone), clean blocks.
        compacted_before, compacted_after: pageblocks that the kernel's own two scanners would
            leave to be had, without and with those who join; None at other orders, and where
            nothing says what is free.
        compacted_least: of compacted_before, those that are left even if per-CPU lists take in
            meanwhile what they can.
        want: blocks wanted; None where nobody asked.
        choice: the cheapest set that gives them; None where nobody asked or there is none.
    """

    recording: str
    moved: tuple[str, ...]
    movable: tuple[str, ...]
    released: tuple[str, ...]
    orders: tuple[AtOrder, ...]
    order: int
    clean: tuple[Shares, ...]
    obtained: tuple[Shares, ...]
    pairs: tuple[tuple[str, str, int, int], ...]
    compacted_before: int | None
    compacted_after: int | None
    compacted_least: int | None
    want: int | None = None
    choice: OwnerSet | None = None


def free_somewhere(snapshot: Snapshot) -> int:
    """Frames on per-CPU lists that are counted and not known, of unknown use in the columns."""
    listed = [facts.pcp_count for facts in snapshot.zones if facts.pcp_count is not None]
    known = int((snapshot.klass == FrameClass.PCP).sum())
    return max(sum(listed) - known, 0)


def what_if(
    snapshot: Snapshot,
    *,
    movable: Sequence[str] = (),
    released: Sequence[str] = (),
    order: int = UNIT_ORDER,
    want: int | None = None,
    costs: Mapping[str, float] | None = None,
) -> WhatIf:
    """What a recording would give if these owners could move their frames, or gave them up.

    Where nobody is named, everybody joins whom Linux does not move.

    Args:
        snapshot: the recording.
        movable: owners that could move.
        released: owners that would give their frames up.
        order: log2 of the frames of the blocks that are looked at owner by owner.
        want: of these, how many are wanted: the cheapest set of owners is looked for, among
            all that are in the way.
        costs: of making an owner movable, each 1 if left out.

    Raises:
        SnapshotError: `want` of a recording that does not say what is free.
        PinpageError: an owner that holds nothing, or is named for both; an order below 9 or
            beyond memory; see `cheapest`.
    """
    units = holdings_of(snapshot)
    _require_order(snapshot, order)
    if costs and want is None:
        raise PinpageError("what-if: costs= are those of a set of owners: say want=, too")
    if want is not None:
        require_free_recorded(snapshot, snapshot.name)
    moves = names_of(units, movable, "movable")
    gives = names_of(units, released, "release")
    if both := sorted({*moves} & {*gives}):
        raise PinpageError(f"what-if: {both[0]} is to move and to give up: choose one of them")
    joins = tuple(name for name in units.owner_names if name in {*moves, *gives})
    if not joins:
        joins = moves = units.in_the_way()
    more = free_somewhere(snapshot)
    rows = []
    for one in range(UNIT_ORDER, MOST_ORDER + 1):
        blocks = units.at(one)
        if one > UNIT_ORDER and 1 << one > snapshot.nr_frames:
            break
        rows.append(_row(snapshot, blocks, joins, gives, more))
    blocks = units.at(order)
    game = game_of(blocks, players=joins, released=gives)
    before, after, least = _compacted(snapshot, blocks, moves, gives)
    return WhatIf(
        recording=snapshot.name,
        moved=blocks.moved_by_linux(),
        movable=moves,
        released=gives,
        orders=tuple(rows),
        order=order,
        clean=game.clean_shares(),
        obtained=game.obtained_shares() if game.is_tabled and snapshot.says_free else (),
        pairs=game.pairs(),
        compacted_before=before,
        compacted_after=after,
        compacted_least=least,
        want=want,
        choice=None if want is None else _choice(blocks, gives, want, costs),
    )


def _require_order(snapshot: Snapshot, order: int) -> None:
    if not UNIT_ORDER <= order <= MOST_ORDER:
        raise PinpageError(f"what-if: order={order} is not within {UNIT_ORDER} to {MOST_ORDER}")
    if 1 << order > max(snapshot.nr_frames, 1 << UNIT_ORDER):
        raise PinpageError(
            f"what-if: order={order} is more than the {snapshot.nr_frames:,d} frames that there are"
        )


def _row(
    snapshot: Snapshot, blocks: Holdings, joins: Sequence[str], gives: Sequence[str], more: int
) -> AtOrder:
    low = game_of(blocks, players=joins, released=gives)
    high = game_of(blocks, players=joins, released=gives, unknown_moves=True, nr_free_more=more)
    return AtOrder(
        order=blocks.order,
        nr_bytes=blocks.nr_pages * snapshot.geometry.page_nr_bytes,
        nr_blocks=int((blocks.nr_never < blocks.nr_pages).sum()),
        free=int(blocks.wholly_free.sum()) if snapshot.says_free else None,
        before=_counted(snapshot, low, high, 0),
        after=_counted(snapshot, low, high, low.everybody),
    )


def _counted(snapshot: Snapshot, low: BlockGame, high: BlockGame, members: int) -> Counted:
    games = (low, high)
    clean = [game.clean(members) for game in games]
    had = [game.obtained(members) if snapshot.says_free else None for game in games]
    return Counted(*clean, *had)


def _compacted(
    snapshot: Snapshot, blocks: Holdings, moves: Sequence[str], gives: Sequence[str]
) -> tuple[int | None, int | None, int | None]:
    """What two scanners leave to be had, before and after, and at least before.

    They know nothing of giving up.
    """
    says_too_little = "block_migratetype" in snapshot.unknown_fields or not snapshot.says_free
    if blocks.order != blocks.pageblock_order or says_too_little:
        return None, None, None
    moved = blocks.moved_by_linux()
    before = sweep(snapshot, blocks, moved)
    after = None if gives else sweep(snapshot, blocks, (*moved, *moves)).obtained
    return before.obtained, after, before.obtained_least


def _choice(
    blocks: Holdings, gives: Sequence[str], want: int, costs: Mapping[str, float] | None
) -> OwnerSet | None:
    everybody = tuple(dict.fromkeys([*blocks.in_the_way(), *gives]))
    game = game_of(blocks, players=everybody, released=gives)
    return cheapest(game, want, costs)


def as_json(answer: WhatIf) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(answer)
    for name in ("moved", "movable", "released", "orders", "clean", "obtained"):
        shown[name] = list(shown[name])
    shown["pairs"] = [
        {"owners": [one, other], "together": both, "beyond_each": shared}
        for one, other, both, shared in answer.pairs
    ]
    if answer.choice is not None:
        shown["choice"]["owners"] = list(answer.choice.owners)
        shown["choice"]["is_exact"] = answer.choice.is_exact
    return shown
