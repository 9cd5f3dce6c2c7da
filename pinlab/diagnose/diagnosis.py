"""Why is there no huge page here?  One request, answered from a recording by the planner.

    now               free as it is
    after compaction  nothing is stuck in it, and there is room elsewhere for what moves
    after callbacks   only if owners move that cannot: the cheapest set of them
    never             not even then

Owns: the question for each kind of request, and the answer as plain data.
Ignores: how a kernel would go about it (`pinlab.requests` replays that), but for pageblocks, where
its two scanners are followed (`pinlab.whatif.scanners`).
Kernel counterpart: none.  alloc_contig_dump_pages names one frame, once.
Cost: a few passes over the frames; 2^owners once.
"""

from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen

from mm.planning.census import Census
from mm.planning.range_plan import RangeOutcome, RangePlan
from mm.planning.ranges import cheapest_ranges
from pinlab.diagnose.again import Again, compare_again
from pinlab.diagnose.census import areas_of, census_of
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import (
    LINUX_MOVES,
    MOST_ORDER,
    UNIT_ORDER,
    Holdings,
    holdings_of,
)
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import require_free_recorded
from pinlab.whatif.answer import free_somewhere
from pinlab.whatif.cheapest import OwnerSet, cheapest
from pinlab.whatif.game import game_of
from pinlab.whatif.scanners import sweep
from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns, Span

__all__ = ["LEAST_ORDER", "Diagnosis", "NearPlace", "as_json", "diagnose"]

LEAST_ORDER: Final = 3
"""Smaller pages are never a matter of moving others."""
_NR_NEAREST: Final = 10
_MOST_PFNS: Final = 8
_USUAL_BLOCK_NR_BYTES: Final = 128 << 20
_FOR_GOOD: Final = frozenset({"hole", "reserved", "unmanaged", "unknown"})
"""What is in the way for good, as far as anybody knows."""


@frozen
class NearPlace:
    """A range that something is stuck in.

    Attributes:
        pfn: its first frame.
        nr_stuck: frames in the way, and pageblocks that may not be isolated.
        nr_moves: frames that would move.
        owners: name -> its frames in the way, most first.
        pfns: the first frames in the way.
    """

    pfn: int
    nr_stuck: int
    nr_moves: int
    owners: dict[str, int]
    pfns: tuple[int, ...]


@frozen
class Diagnosis:
    """What stands in the way of a request.

    Attributes:
        recording: its name.
        request: what was asked for, in words.
        nr_pages: frames of it.
        verdict: "now", "after compaction", "after callbacks" or "never".
        nr_candidates: places where it could lie, with memory in them.
        nr_free: of these, wholly free.
        nr_clear: of these, nothing is stuck in them, the wholly free ones included.
        nr_short: of these, those that lack room elsewhere.
        bound: as many as can be had at once by moving what moves.
        bound_if_known: the same, if every frame of unknown use turns out to move; None where the
            request is not for a page of any place.
        nr_moves: frames to move for one more than is free; None where there is none.
        by_scanners: as many as the kernel's own compaction leaves to be had; None where the
            request is not for a pageblock.
        choice: the owners that would have to move: for one where there is none, else for as
            many as all of them would give; None where nobody helps.
        nearest: the candidates that the fewest frames are stuck in; those with reserved, missing
            or unknown frames last.
        again: what a later recording says; None without one.
    """

    recording: str
    request: str
    nr_pages: int
    verdict: str
    nr_candidates: int
    nr_free: int
    nr_clear: int
    nr_short: int
    bound: int
    bound_if_known: int | None
    nr_moves: int | None
    by_scanners: int | None
    choice: OwnerSet | None
    nearest: tuple[NearPlace, ...]
    again: Again | None = None


@frozen
class _Question:
    """A request as ranges: how long, where, who moves, and in words."""

    words: str
    nr_pages: int
    starts: Pfns
    moved: tuple[str, ...]
    cma_stays: bool
    across_zones: bool
    order: int | None


def diagnose(
    snapshot: Snapshot,
    *,
    order: int | None = None,
    area: str | None = None,
    block: int | None = None,
    again: Snapshot | None = None,
) -> Diagnosis:
    """Can this be had, when, and what is in the way?

    Args:
        snapshot: the recording.
        order: log2 of the pages wanted, aligned as the kernel aligns them.
        area: the contiguous area that they are wanted of, by name; "" where there is only one.
        block: the memory block that is to go offline, by number; then no order is given.
        again: the same machine, later.

    Raises:
        PinpageError: no order and no block, or both; one that is not in this memory; no such
            area, or several of which none is named; a later recording of another machine.
        SnapshotError: one of them does not say what is free.
    """
    question = _question(snapshot, order, area, block)
    for one in (snapshot, again):
        if one is not None:
            require_free_recorded(one, one.name)
    census = census_of(snapshot, question.moved, cma_stays=question.cma_stays)
    several = question.nr_pages % census.nr_pages_per_block == 0
    plan = cheapest_ranges(
        census,
        question.nr_pages,
        candidates=question.starts,
        want=None if several else 1,
        across_zones=question.across_zones,
    )
    nr_free_in = _sums(census.free, question.starts, question.nr_pages)
    nr_free = int(np.count_nonzero(nr_free_in == question.nr_pages))
    bound = max(plan.bound, min(nr_free, 1))
    choice = None if block is not None else _choice(snapshot, question, bound)
    choice = _of_block(plan, question) if block is not None and not bound else choice
    return Diagnosis(
        recording=snapshot.name,
        request=question.words,
        nr_pages=question.nr_pages,
        verdict=_verdict(nr_free, bound, choice),
        nr_candidates=len(question.starts),
        nr_free=nr_free,
        nr_clear=int(np.count_nonzero(plan.is_clear)),
        nr_short=int(np.count_nonzero(plan.lacks_targets)),
        bound=bound,
        bound_if_known=_bound_if_known(snapshot, question),
        nr_moves=_fewest_moves(plan),
        by_scanners=_by_scanners(snapshot, question),
        choice=choice,
        nearest=_nearest(plan, _sums(~_may_ever_move(census), question.starts, question.nr_pages)),
        again=None if again is None else _again(snapshot, again, question, census, plan),
    )


def _question(
    snapshot: Snapshot, order: int | None, area: str | None, block: int | None
) -> _Question:
    if (order is None) == (block is None) or (block is not None and area is not None):
        raise PinpageError("diagnose: give order=, with or without area=, or else block=")
    if block is not None:
        return _block_question(snapshot, block)
    if order is None or not LEAST_ORDER <= order <= MOST_ORDER:
        raise PinpageError(f"diagnose: order={order} is not within {LEAST_ORDER} to {MOST_ORDER}")
    span = Span(0, snapshot.nr_frames) if area is None else _area(snapshot, area)
    nr_pages = 1 << order
    first = -(-span.start // nr_pages) * nr_pages
    starts = np.arange(first, span.stop - nr_pages + 1, nr_pages, dtype=np.int64)
    starts = starts[_sums(snapshot.klass != FrameClass.HOLE, starts, nr_pages) > 0]
    if not len(starts):
        raise PinpageError(f"diagnose: order={order} is more than there is of {_place(area)}")
    beyond = order > snapshot.nr_pages_per_block.bit_length() - 1
    is_range = beyond or area is not None
    return _Question(
        words=f"a page of order {order}{'' if area is None else f' of {_place(area)}'}",
        nr_pages=nr_pages,
        starts=starts,
        moved=(*LINUX_MOVES, *(("hugetlb",) if is_range else ())),
        cma_stays=beyond and area is None,
        across_zones=is_range,
        order=order if area is None else None,
    )


def _place(area: str | None) -> str:
    return "memory" if area is None else f"CMA area {area}".rstrip()


def _area(snapshot: Snapshot, name: str) -> Span:
    areas = areas_of(snapshot)
    if not areas:
        raise PinpageError("diagnose: this memory has no contiguous area that anybody recorded")
    if not name and len(areas) == 1:
        return next(iter(areas.values()))
    if name not in areas:
        raise PinpageError(f"diagnose: area={name!r} is not there: it is one of {', '.join(areas)}")
    return areas[name]


def _block_question(snapshot: Snapshot, block: int) -> _Question:
    page_nr_bytes = snapshot.geometry.page_nr_bytes
    nr_pages = snapshot.geometry.memory_block_nr_pages or _USUAL_BLOCK_NR_BYTES // page_nr_bytes
    nr_blocks = snapshot.nr_frames // nr_pages
    if not 0 <= block < nr_blocks:
        raise PinpageError(
            f"diagnose: block={block} is not there: whole memory blocks, from 0 on: {nr_blocks}"
        )
    return _Question(
        words=f"memory block {block} offline",
        nr_pages=nr_pages,
        starts=np.array([block * nr_pages], dtype=np.int64),
        moved=(*LINUX_MOVES, "hugetlb"),
        cma_stays=True,
        across_zones=True,
        order=None,
    )


def _sums(column: Mask, starts: Pfns, nr_pages: int) -> Pfns:
    """Frames of a column in each candidate."""
    running = np.concatenate([[0], np.cumsum(column)])
    found: Pfns = running[starts + nr_pages] - running[starts]
    return found


def _verdict(nr_free: int, bound: int, choice: OwnerSet | None) -> str:
    if nr_free:
        return "now"
    if bound:
        return "after compaction"
    return "never" if choice is None else "after callbacks"


def _fewest_moves(plan: RangePlan) -> int | None:
    can = np.isin(plan.outcome, (RangeOutcome.CHOSEN, RangeOutcome.NOT_WANTED))
    costs = plan.costs_nr_moves[can]
    more = costs[costs > 0]
    return int((more if len(more) else costs).min()) if len(costs) else None


def _by_scanners(snapshot: Snapshot, question: _Question) -> int | None:
    is_pageblock = question.nr_pages == snapshot.nr_pages_per_block and question.order is not None
    if not is_pageblock or "block_migratetype" in snapshot.unknown_fields:
        return None
    return sweep(snapshot, holdings_of(snapshot, question.order or 0), question.moved).obtained


def _bound_if_known(snapshot: Snapshot, question: _Question) -> int | None:
    if question.order is None or question.order < UNIT_ORDER:
        return None
    game = game_of(
        holdings_of(snapshot, question.order),
        players=(),
        moved=question.moved,
        unknown_moves=True,
        nr_free_more=free_somewhere(snapshot),
    )
    return game.obtained(0)


def _choice(snapshot: Snapshot, question: _Question, bound: int) -> OwnerSet | None:
    """Who would have to move; of CMA areas, for the ranges of the area alone."""
    order = question.nr_pages.bit_length() - 1
    if bound and order < UNIT_ORDER:
        return None
    blocks = holdings_of(snapshot, order)
    if question.order is None:
        blocks = _only(blocks, question)
    players = tuple(name for name in blocks.owner_names if name not in question.moved)
    game = game_of(blocks, players=players, moved=question.moved)
    most = game.obtained(game.everybody)
    if most <= (bound if question.order is not None or not bound else most):
        return None
    return cheapest(game, most if bound else 1)


def _only(blocks: Holdings, question: _Question) -> Holdings:
    """The same with everything outside of the candidates out of the question."""
    inside = np.zeros(blocks.nr_blocks, dtype=np.bool_)
    inside[question.starts // question.nr_pages] = True
    return attrs.evolve(
        blocks,
        nr_never=np.where(inside, blocks.nr_never, blocks.nr_pages),
        pageblock_order=blocks.order if blocks.in_cma[inside].any() else blocks.pageblock_order,
    )


def _of_block(plan: RangePlan, question: _Question) -> OwnerSet | None:
    """Everybody in the way of the one range, if they are owners that could move at all."""
    found = plan.in_the_way(Span(*(int(question.starts[0]) + np.array([0, question.nr_pages]))))
    if not found.owners or _FOR_GOOD & {*found.owners}:
        return None
    nr_owners = float(len(found.owners))
    return OwnerSet(tuple(sorted(found.owners)), nr_owners, 1, nr_owners)


def _may_ever_move(census: Census) -> Mask:
    """Frames that are free or somebody's: neither reserved nor missing, and not unknown."""
    codes = [census.owner_names.index(name) for name in _FOR_GOOD]
    owner = np.zeros(len(census.free), dtype=np.uint8) if census.owner is None else census.owner
    mask: Mask = ~np.isin(owner, codes)
    return mask


def _nearest(plan: RangePlan, nr_for_good: Pfns) -> tuple[NearPlace, ...]:
    """The candidates that the fewest frames are stuck in; those that never clear come last."""
    rows = np.flatnonzero(plan.outcome == RangeOutcome.STUCK)
    order = np.lexsort((plan.costs_nr_moves[rows], plan.nr_stuck[rows], nr_for_good[rows] > 0))
    found = []
    for row in rows[order][:_NR_NEAREST].tolist():
        start = int(plan.starts[row])
        stuck = plan.in_the_way(Span(start, start + plan.nr_pages))
        found.append(
            NearPlace(
                start,
                int(plan.nr_stuck[row]),
                int(plan.costs_nr_moves[row]),
                stuck.owners,
                tuple(stuck.pfns[:_MOST_PFNS].tolist()),
            )
        )
    return tuple(found)


def _again(
    snapshot: Snapshot, later: Snapshot, question: _Question, census: Census, plan: RangePlan
) -> Again:
    then = census_of(later, question.moved, cma_stays=question.cma_stays)
    return compare_again(
        snapshot,
        later,
        ~(census.free | census.movable),
        plan.starts[plan.outcome == RangeOutcome.STUCK],
        plan.nr_pages,
        ~(then.free | then.movable),
    )


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(diagnosis)
    shown["nearest"] = [row | {"pfns": list(row["pfns"])} for row in shown["nearest"]]
    if diagnosis.choice is not None:
        shown["choice"] |= {
            "owners": list(diagnosis.choice.owners),
            "is_exact": diagnosis.choice.is_exact,
        }
    if diagnosis.again is not None:
        shown["again"]["owners"] = [
            attrs.asdict(owner) | {"held_share": owner.held_share}
            for owner in diagnosis.again.owners
        ]
    return shown
