"""What get_user_pages asks of the machine.

`mm.machine.Machine` satisfies `GupHost`; a test may lend something smaller.

Kernel counterpart: what mm/gup.c calls in mm/memory.c, mm/migrate.c and kernel/fork.c.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mm.move.design import Answers, Design
from mm.state.address_space import AddressSpace
from mm.state.contents import Contents
from mm.state.frames import Frames
from mm.state.gfp import Gfp
from mm.state.nodes import Zone
from mm.state.page_ref import Refs
from mm.state.pageblock import Pageblocks
from pinpage.move.report import MoveReport
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns

__all__ = ["ClassifiedFrames", "GupHost", "PageMover", "UserMemory"]


class UserMemory(Protocol):
    """Processes: faults and fork."""

    def touch(self, space: AddressSpace, vpn: int, *, write: bool = False) -> int:
        """Fault a page in, private if `write`; its pfn, or ENOMEM.

        Args:
            space: whose page.
            vpn: which page of it.
            write: whether it is to be private and writable.
        """

    def fork_steps(
        self, parent: AddressSpace, name: str
    ) -> Generator[int, None, AddressSpace | None]:
        """A child that shares every page but the pinned ones, step by step.

        Args:
            parent: whose pages the child shares.
            name: of the child.
        """


class ClassifiedFrames(Protocol):
    """What `PageMover.classify` found, parallel to the frames asked about."""

    @property
    def alone(self) -> Mask:
        """Held by page tables only."""

    @property
    def answers(self) -> Answers:
        """One `mm.move.design.Answer` each."""

    @property
    def reasons(self) -> NDArray[np.uint8]:
        """A `Reason` for each that does not move, shape (n,)."""


class PageMover(Protocol):
    """Moves of used pages."""

    def classify(self, pfns: Pfns, design: Design, mode: Mode) -> ClassifiedFrames:
        """What would happen to these used frames; changes nothing.

        Args:
            pfns: used frames, shape (n,).
            design: what asks the owners.
            mode: how long the caller would wait.
        """

    def migrate(
        self, pfns: Pfns, alone: Mask, targets: TargetSource, design: Design, mode: Mode
    ) -> MoveReport:
        """Move frames, in up to ten passes.

        Args:
            pfns: used frames, shape (n,).
            alone: which of them page tables alone hold, shape (n,).
            targets: where new frames come from.
            design: what moves the others.
            mode: how long to wait.
        """


class GupHost(Protocol):
    """A machine, as far as get_user_pages needs one."""

    design: Design

    @property
    def frames(self) -> Frames:
        """The columns."""

    @property
    def pageblocks(self) -> Pageblocks:
        """Types of pageblocks."""

    @property
    def zones(self) -> Sequence[Zone]:
        """By `Frames.zone`."""

    @property
    def contents(self) -> Contents:
        """The bytes."""

    @property
    def memory(self) -> UserMemory:
        """The processes."""

    @property
    def refs(self) -> Refs:
        """References."""

    @property
    def mover(self) -> PageMover:
        """Moves."""

    def alloc_page(self, gfp: Gfp) -> int:
        """One frame with one reference, or -1."""

    def free_page(self, pfn: int) -> None:
        """Drop the last reference and free."""
