"""What the planner says about ranges: which to empty, by which moves, and why not the others.

A value: it holds the census that it was made from, to name the frames in the way, and changes
nothing.  `mm.planning.ranges` makes it.
"""

import enum

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.planning.census import Census
from mm.state.reasons import most_first
from pinpage.errors import PinpageError, require
from pinpage.units import Mask, Pfns, Span

__all__ = ["RangeOutcome", "RangePlan", "StuckFrames", "blocks_of"]

_Rows = NDArray[np.int64]


class RangeOutcome(enum.IntEnum):
    """What becomes of a candidate, and why it is not chosen."""

    CHOSEN = 0
    STUCK = 1
    """Something in it cannot move, or a pageblock of it may not be isolated;
    `RangePlan.in_the_way` says which frames and whose."""
    TWO_ZONES = 2
    """It crosses the border between two zones."""
    NO_FREE_FRAMES = 3
    """There is no room for what would have to leave, beside those that are chosen."""
    NOT_WANTED = 4
    """As many as were asked for cost less."""


@frozen(eq=False)
class StuckFrames:
    """Frames that keep a range from being emptied.

    Attributes:
        pfns: int64 (n,), ascending.
        owners: name -> how many of them are its, most first.
    """

    pfns: Pfns
    owners: dict[str, int]


@frozen(eq=False)
class RangePlan:
    """Which ranges to empty, by which moves, and why not the others.

    Attributes:
        spans: the ranges to empty, cheapest first, then by pfn.
        sources: int64 (nr_moves,), pfns to move, range by range, ascending in each.
        targets: int64 (nr_moves,), free pfns; sources[i] may go to targets[i].
        nr_callbacks: sources that somebody besides page tables holds.
        modelled_ns: what the moves cost, if every one succeeds; range by range.
        bound: the most ranges of this kind that any strategy can have at once; the plan has
            them all unless fewer were wanted.
        nr_pages: pages in a range.
        starts: int64 (nr_candidates,), first pfns of the candidates, ascending.
        costs_nr_moves: int64 (nr_candidates,), movable frames in each.
        costs_ns: int64 (nr_candidates,), simulated ns to empty each.
        nr_stuck: int64 (nr_candidates,), stuck frames in each, and pageblocks that may not be
            isolated.
        outcome: uint8 (nr_candidates,), a `RangeOutcome` each.

    Invariants, run by `check`:
        Q1 sources are exactly the movable frames of the chosen ranges, but for those that go
            as part of a huge page; targets are free.
        Q2 no target lies in a pageblock that a chosen range touches, none occurs twice.
        Q3 chosen ranges do not overlap, nothing in them is stuck, and they may be isolated.
    """

    spans: tuple[Span, ...]
    sources: Pfns = field(repr=False)
    targets: Pfns = field(repr=False)
    nr_callbacks: int
    modelled_ns: int
    bound: int
    nr_pages: int
    starts: Pfns = field(repr=False)
    costs_nr_moves: _Rows = field(repr=False)
    costs_ns: _Rows = field(repr=False)
    nr_stuck: _Rows = field(repr=False)
    outcome: NDArray[np.uint8] = field(repr=False)
    _census: Census = field(repr=False)
    _whole: Mask | None = field(default=None, repr=False)

    @property
    def nr_moves(self) -> int:
        """Frames that move, the fewest for this many ranges."""
        return len(self.sources)

    @property
    def span(self) -> Span | None:
        """The cheapest range; None if there is none."""
        return self.spans[0] if self.spans else None

    @property
    def nearest(self) -> Span | None:
        """The candidate that the fewest frames are stuck in, then the cheapest; None without any.

        Where nothing could be chosen, `in_the_way` of this one is the shortest list of frames
        that would have to become movable.
        """
        if not len(self.starts):
            return None
        row = int(np.lexsort((self.costs_nr_moves, self.nr_stuck))[0])
        return self._span_of(int(self.starts[row]))

    @property
    def lacks_targets(self) -> Mask:
        """Candidates in which nothing is stuck, but there is no room for all that leaves."""
        lacks: Mask = self.outcome == RangeOutcome.NO_FREE_FRAMES
        return lacks

    @property
    def is_clear(self) -> Mask:
        """Candidates that nothing but a lack of room keeps from being emptied."""
        stays: Mask = np.isin(self.outcome, (RangeOutcome.STUCK, RangeOutcome.TWO_ZONES))
        return ~stays

    def outcome_of(self, start: int) -> RangeOutcome:
        """What becomes of the candidate that starts here.

        Raises:
            PinpageError: no candidate starts here.
        """
        return RangeOutcome(int(self.outcome[self._row(start)]))

    def moves_of(self, start: int) -> int:
        """Frames to move out of the candidate that starts here, had it been chosen.

        Raises:
            PinpageError: no candidate starts here.
        """
        return int(self.costs_nr_moves[self._row(start)])

    def ns_of(self, start: int) -> int:
        """Simulated ns to empty the candidate that starts here.

        Raises:
            PinpageError: no candidate starts here.
        """
        return int(self.costs_ns[self._row(start)])

    def in_the_way(self, span: Span) -> StuckFrames:
        """Stuck frames of a range, and whose they are.

        Where nothing is, the first frame of each pageblock that may not be isolated: that is
        the one that isolation names.

        Raises:
            PinpageError: the range leaves the census.
        """
        census = self._census
        first, last = self._rows_of(span)
        stuck = first + np.flatnonzero(~(census.free[first:last] | census.movable[first:last]))
        if not len(stuck):
            blocks, size = blocks_of(census, first, last), census.nr_pages_per_block
            stuck = (blocks.start + np.flatnonzero(~census.isolable[blocks])) * size
        codes = np.zeros(len(stuck), np.int64) if census.owner is None else census.owner[stuck]
        counts = np.bincount(codes, minlength=len(census.owner_names))
        return StuckFrames(stuck + census.start, most_first(census.owner_names, counts))

    def free_beside(self, span: Span) -> Pfns:
        """Free frames of a range's pageblocks that are not its own: isolation shuts them too.

        Raises:
            PinpageError: the range leaves the census.
        """
        first, last = self._rows_of(span)
        blocks, size = blocks_of(self._census, first, last), self._census.nr_pages_per_block
        beside = blocks.start * size + np.flatnonzero(
            self._census.free[blocks.start * size : blocks.stop * size]
        )
        found: Pfns = beside[(beside < first) | (beside >= last)] + self._census.start
        return found

    def shortage_of(self, span: Span) -> int:
        """Frames by which what leaves a range is more than what is free outside its pageblocks.

        Raises:
            PinpageError: the range leaves the census.
        """
        first, last = self._rows_of(span)
        census, blocks = self._census, blocks_of(self._census, first, last)
        nr_free = census.nr_free * census.usable
        nr_targets = int(nr_free.sum()) - int(nr_free[blocks].sum())
        return int(np.count_nonzero(census.movable[first:last])) - nr_targets

    def _rows_of(self, span: Span) -> tuple[int, int]:
        first, last = span.start - self._census.start, span.stop - self._census.start
        if first < 0 or last > len(self._census.free):
            raise PinpageError(f"plan: {span} is not in the census this plan was made from")
        return first, last

    def counts(self) -> dict[RangeOutcome, int]:
        """How many candidates have each outcome, zeros left out."""
        numbers = np.bincount(self.outcome, minlength=len(RangeOutcome))
        return {outcome: int(numbers[outcome]) for outcome in RangeOutcome if numbers[outcome]}

    def _span_of(self, start: int) -> Span:
        return Span(start, start + self.nr_pages)

    def _row(self, start: int) -> int:
        row = int(np.searchsorted(self.starts, start))
        if row == len(self.starts) or self.starts[row] != start:
            raise PinpageError(f"plan: no candidate starts at pfn {start:#x}")
        return row

    def check(self) -> None:
        """Run Q1..Q3 against the census that the plan was made from.

        Raises:
            InvariantError: one does not hold.
        """
        census = self._census
        chosen = np.zeros(len(census.free), dtype=np.bool_)
        isolated = np.zeros(census.nr_blocks, dtype=np.bool_)
        for span in self.spans:
            rows = slice(span.start - census.start, span.stop - census.start)
            require(not chosen[rows].any(), "Q3 chosen ranges overlap", pfn=span.start)
            chosen[rows] = True
            isolated[blocks_of(census, rows.start, rows.stop)] = True
        require((census.free | census.movable)[chosen].all(), "Q3 a stuck frame in a chosen range")
        require(census.isolable[isolated].all(), "Q3 a chosen range may not be isolated")
        alone = census.movable if self._whole is None else census.movable & ~self._whole
        leaving = np.flatnonzero(chosen & alone) + census.start
        require(np.array_equal(np.sort(self.sources), leaving), "Q1 sources are something else")
        target = self.targets - census.start
        require(len(target) == len(leaving), "Q1 not one target for each source")
        require(census.free[target].all(), "Q1 a target is not free")
        require(len(np.unique(target)) == len(target), "Q2 a target occurs twice")
        in_isolated = isolated[target // census.nr_pages_per_block]
        require(not in_isolated.any(), "Q2 a target lies in a pageblock that is emptied")


def blocks_of(census: Census, first: int, stop: int) -> slice:
    """Pageblocks that the frames [first, stop) touch.

    Args:
        census: what is known about memory.
        first: row of the first frame.
        stop: row behind the last one.
    """
    size = census.nr_pages_per_block
    return slice(first // size, -(-stop // size))
