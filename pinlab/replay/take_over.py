"""Frames of a recording that an owner from outside takes over, in an opaque owner's place.

`pinlab.lab.own.OwnOwner` is one; replay knows no more of it than is said here.

Owns: which frames it gets.
Ignores: what it does with them.
Kernel counterpart: none.
Cost: none.
"""

from collections.abc import Collection
from typing import Protocol

from mm.machine import Machine
from pinlab.replay.read_back import ReadBack
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["OwnFrames", "TakesOver", "label_for"]


class OwnFrames(Protocol):
    """An owner that has taken frames over."""

    nr_frames: int

    @property
    def nr_things(self) -> int:
        """How many things it keeps there."""

    def read_back(self) -> ReadBack:
        """Everything that it was given to keep, read through it and compared."""

    def pfns(self) -> Pfns:
        """Where its frames are now."""


class TakesOver(Protocol):
    """Whoever can make an owner for somebody's frames."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def label(self) -> str | None:
        """Whose frames; None: those of the only label."""

    def take_over(
        self, machine: Machine, registry: PinRegistry | None, pfns: Pfns, seed: int
    ) -> OwnFrames:
        """Make the owner, and give it these frames.

        Args:
            machine: as recorded.
            registry: the one that the design asks; None where it asks nobody.
            pfns: used frames with one reference each, ascending.
            seed: of what it is to keep.
        """


def label_for(
    own: TakesOver, snapshot: Snapshot, movable: Collection[str], release: Collection[str] = ()
) -> str:
    """The label whose frames an owner takes over.

    Args:
        own: the owner.
        snapshot: the recording.
        movable, release: names declared movable, or to give up: its own is not among them.

    Raises:
        PinpageError: there is no label, not that one, or several; or the name is declared
            movable, which the owner says itself.
    """
    labels = ", ".join(snapshot.labels)
    if not labels:
        raise PinpageError(
            f"owner={own.name}: {snapshot.name} has no labelled frames for it: "
            "give labels=mine=0x1200-0x13ff, or a description with own=5%"
        )
    if own.label is None and len(snapshot.labels) > 1:
        raise PinpageError(f"owner={own.name}: name the label, LABEL=MODULE:OWNER, of {labels}")
    label = own.label or labels
    if label not in snapshot.labels:
        raise PinpageError(f"owner={label}={own.name}: the labels are {labels}")
    for argument, names in (("movable", movable), ("release", release)):
        if label in names:
            raise PinpageError(
                f"{argument}={label}: its owner {own.name} says itself what it can: leave it out"
            )
    return label
