"""What a planner has to know about memory, and nothing else: masks over a span.

A frame is free, movable, or stuck.  Stuck is whatever is neither of the others: kernel
pages with no callback, pinned pages, reserved frames, holes, frames of which nothing is
known.  Nobody has to list what cannot move, so nothing can be forgotten.

Kernel counterpart: none.  Compaction looks at one pageblock at a time; a census is what
it would know if it had looked at all of them.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Self

import numpy as np
from attrs import Factory, field, frozen
from numpy.typing import NDArray

from mm.state.frames import Frames, FrameState
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError, require
from pinpage.units import PAGEBLOCK_NR_PAGES, Mask

__all__ = ["Census", "Targets"]

Targets = Literal["all", "movable"]
"""Where free frames may be filled: anywhere, or in MOVABLE and CMA pageblocks only."""


@frozen(eq=False)
class Census:
    """Free, movable and stuck frames of a span, per frame and per pageblock.

    The first frame is the first of a pageblock.  A last pageblock cut short by the end
    of memory counts as stuck for what it lacks: it lends its free frames and is never emptied.

    Attributes:
        free: bool (nr_frames,), in the free lists, ready to be taken as a target.
        movable: bool (nr_frames,), used, and whoever holds it can move it.
        nr_pages_per_block: pages in a pageblock, a power of two.
        start: pfn of the first frame, a multiple of nr_pages_per_block.
        zone: int64 (nr_blocks,), pages do not leave their zone.  All zero by default.
        in_movable: bool (nr_blocks,), MOVABLE or CMA pageblocks, the kernel's targets.
            All of them by default.
        isolable: bool (nr_blocks,), pageblocks that may be isolated at all.  Those of CMA may
            not, whatever is in them, by anybody but CMA.  All of them by default.
        usable: bool (nr_blocks,), pageblocks whose free frames whoever executes the plan can
            have.  All of them by default; without the HIGHATOMIC ones if the page allocator
            chooses the targets.
        owner: uint8 (nr_frames,), index into `owner_names`; read where a frame is stuck.
        owner_names: names for the reasons that a plan gives.

    Invariants, run by `check`:
        N1 no frame is both free and movable.
        N2 the counts of a pageblock are those of its frames and add up to its size.
    """

    free: Mask
    movable: Mask
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES
    start: int = 0
    zone: NDArray[np.int64] = field(
        default=Factory(lambda self: np.zeros(self.nr_blocks, dtype=np.int64), takes_self=True)
    )
    in_movable: Mask = field(
        default=Factory(lambda self: np.ones(self.nr_blocks, dtype=np.bool_), takes_self=True)
    )
    isolable: Mask = field(
        default=Factory(lambda self: np.ones(self.nr_blocks, dtype=np.bool_), takes_self=True)
    )
    usable: Mask = field(
        default=Factory(lambda self: np.ones(self.nr_blocks, dtype=np.bool_), takes_self=True)
    )
    owner: NDArray[np.uint8] | None = None
    owner_names: tuple[str, ...] = ("stuck",)

    def __attrs_post_init__(self) -> None:
        """Refuse columns that do not fit together.

        Raises:
            PinpageError: names the field.
        """
        self._refuse_bad_shapes()
        if (self.free & self.movable).any():
            raise PinpageError("census: a frame is both free and movable; make the masks disjoint")

    def _refuse_bad_shapes(self) -> None:
        size = self.nr_pages_per_block
        if size < 1 or size & (size - 1):
            raise PinpageError(f"census: nr_pages_per_block={size} is not a power of two")
        if self.start < 0 or self.start % size:
            raise PinpageError(
                f"census: start={self.start:#x} is not the first frame of a pageblock"
            )
        for name in ("free", "movable", "owner"):
            column = getattr(self, name)
            if column is not None and column.shape != (len(self.free),):
                raise PinpageError(
                    f"census: {name} has shape {column.shape}, not ({len(self.free)},)"
                )
        for name in ("zone", "in_movable", "isolable", "usable"):
            if getattr(self, name).shape != (self.nr_blocks,):
                raise PinpageError(
                    f"census: {name} must have one row per pageblock ({self.nr_blocks})"
                )
        if self.free.dtype != np.bool_ or self.movable.dtype != np.bool_:
            raise PinpageError("census: free and movable must be bool columns")

    @classmethod
    def of_frames(
        cls,
        frames: Frames,
        migratetype: NDArray[np.uint8],
        movable: Mask,
        *,
        nr_pages_per_block: int = PAGEBLOCK_NR_PAGES,
        owner: NDArray[np.uint8] | None = None,
        owner_names: Sequence[str] = ("stuck",),
    ) -> Self:
        """Take the census of a whole machine.

        Free means in the buddy lists: drain the per-CPU lists first, for their frames
        count as stuck.  So do frames of ISOLATE pageblocks (they are somebody's already)
        and frames of another zone than the rest of their pageblock.

        Args:
            frames: the columns; not changed.
            migratetype: uint8 (nr_blocks,), of each pageblock.
            movable: bool (nr_frames,), used frames that page tables or an owner can move.
            nr_pages_per_block: pages in a pageblock.
            owner: uint8 (nr_frames,), who holds the frame, for the reasons.
            owner_names: the names behind `owner`.

        Raises:
            PinpageError: the columns do not fit together.
        """
        size = nr_pages_per_block
        nr_blocks = -(-frames.nr_frames // size)
        if len(migratetype) != nr_blocks:
            raise PinpageError(
                f"census: {len(migratetype)} migratetypes for {nr_blocks} pageblocks"
            )
        exists = frames.state != FrameState.HOLE
        zone_or_none = np.zeros(nr_blocks * size, dtype=np.uint8)
        zone_or_none[: frames.nr_frames] = np.where(exists, frames.zone, np.uint8(0))
        zone = zone_or_none.reshape(nr_blocks, size).max(axis=1)
        usable = migratetype != MigrateType.ISOLATE
        ours = (zone_or_none.reshape(nr_blocks, size) == zone[:, None]) & usable[:, None]
        ours_flat = ours.reshape(-1)[: frames.nr_frames]
        return cls(
            free=(frames.state == FrameState.FREE) & ours_flat,
            movable=movable & (frames.state == FrameState.USED) & ours_flat,
            nr_pages_per_block=size,
            zone=zone.astype(np.int64),
            in_movable=(migratetype == MigrateType.MOVABLE) | (migratetype == MigrateType.CMA),
            isolable=migratetype != MigrateType.CMA,
            owner=owner,
            owner_names=tuple(owner_names),
        )

    @property
    def nr_blocks(self) -> int:
        """Pageblocks in the span, a last partial one included."""
        return -(-len(self.free) // self.nr_pages_per_block)

    @property
    def first_block(self) -> int:
        """Number of the first pageblock; row r of a per-block column is first_block + r."""
        return self.start // self.nr_pages_per_block

    @cached_property
    def nr_free(self) -> NDArray[np.int64]:
        """Free frames per pageblock, shape (nr_blocks,)."""
        return _count(self.by_block(self.free))

    @cached_property
    def nr_movable(self) -> NDArray[np.int64]:
        """Movable frames per pageblock, shape (nr_blocks,)."""
        return _count(self.by_block(self.movable))

    @cached_property
    def nr_stuck(self) -> NDArray[np.int64]:
        """Stuck frames per pageblock, those beyond the end of memory too, shape (nr_blocks,)."""
        return self.nr_pages_per_block - self.nr_free - self.nr_movable

    @property
    def clearable(self) -> Mask:
        """Pageblocks with nothing stuck in them, shape (nr_blocks,)."""
        return np.equal(self.nr_stuck, 0)

    def by_block(self, column: Mask) -> Mask:
        """A per-frame column as (nr_blocks, nr_pages_per_block).

        A view, or a copy padded with False where the last pageblock is cut short.
        """
        missing = self.nr_blocks * self.nr_pages_per_block - len(column)
        if missing:
            column = np.pad(column, (0, missing))
        return column.reshape(-1, self.nr_pages_per_block)

    def target_blocks(self, targets: Targets) -> Mask:
        """Pageblocks whose free frames may be filled, shape (nr_blocks,)."""
        return self.in_movable if targets == "movable" else np.ones(self.nr_blocks, dtype=np.bool_)

    def bound(self, only: Sequence[int] | None = None) -> int:
        """The most wholly free pageblocks that any strategy can end with.

        Per zone min(blocks with nothing stuck, free frames // block size): moving keeps
        the number of free frames, and a block with a stuck frame is never free.

        Args:
            only: zones to look at; None: all of them.
        """
        zones, row = np.unique(self.zone, return_inverse=True)
        nr_clearable = np.bincount(row, weights=self.clearable, minlength=len(zones))
        nr_free = np.bincount(row, weights=self.nr_free, minlength=len(zones))
        most = np.minimum(nr_clearable, nr_free // self.nr_pages_per_block)
        return int(most.sum() if only is None else most[np.isin(zones, only)].sum())

    def obstacles(self) -> NDArray[np.int64]:
        """Stuck frames per pageblock and owner, shape (nr_blocks, len(owner_names)).

        Frames beyond the end of memory are nobody's and are not counted.

        Raises:
            PinpageError: an owner code without a name.
        """
        nr_owners = len(self.owner_names)
        stuck = np.flatnonzero(~(self.free | self.movable))
        code = np.zeros(len(stuck), dtype=np.int64) if self.owner is None else self.owner[stuck]
        if len(code) and int(code.max()) >= nr_owners:
            raise PinpageError(f"census: owner code {int(code.max())} has no name in owner_names")
        cell = stuck // self.nr_pages_per_block * nr_owners + code
        counts = np.bincount(cell, minlength=self.nr_blocks * nr_owners)
        return counts.reshape(self.nr_blocks, nr_owners)

    def check(self) -> None:
        """Run N1 and N2.

        Raises:
            InvariantError: one does not hold.
        """
        require(not (self.free & self.movable).any(), "N1 a frame is both free and movable")
        for name, column in (("nr_free", self.free), ("nr_movable", self.movable)):
            counted = self.by_block(column).sum(axis=1)
            require((counted == getattr(self, name)).all(), f"N2 {name} differs from the frames")
        total = self.nr_free + self.nr_movable + self.nr_stuck
        require((total == self.nr_pages_per_block).all(), "N2 the counts of a block do not add up")


def _count(by_block: Mask) -> NDArray[np.int64]:
    """Frames set per pageblock."""
    counts: NDArray[np.int64] = np.count_nonzero(by_block, axis=1).astype(np.int64)
    return counts
