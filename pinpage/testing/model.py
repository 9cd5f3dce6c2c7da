"""The registry as a plain list of pins: slow, obvious, and the judge of the real one.

Owns:    the meaning of every operation, said in the fewest words.
Ignores: threads, batches, nodes, speed: everything that `PinRegistry` is about.
Cost:    O(pins) for anything.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError, PfnError, PinpageError
from pinpage.owner import Pin, PinOwner, Verdict

__all__ = ["ModelRegistry"]


class ModelRegistry:
    """`PinRegistry` for one thread, without a single clever idea.

    Attributes:
        held: every pin, in order of arrival.
        owners: in registration order.
        moving: frames under move.
    """

    def __init__(self, nr_frames: int) -> None:
        """Nothing registered, nothing pinned."""
        self.nr_frames = nr_frames
        self.held: list[Pin] = []
        self.owners: list[PinOwner] = []
        self.moving: set[int] = set()

    def register(self, owner: PinOwner) -> None:
        """From now on this owner may pin."""
        if owner in self.owners:
            raise OwnerError("registered already")
        self.owners.append(owner)

    def unregister(self, owner: PinOwner, *, force: bool = False) -> None:
        """From now on it may not.

        Args:
            owner: a registered one.
            force: drop its pins.
        """
        self._require(owner)
        if any(pin.owner is owner for pin in self.held) and not force:
            raise PinpageError("still has pins")
        self.held = [pin for pin in self.held if pin.owner is not owner]
        self.owners.remove(owner)

    def _require(self, owner: PinOwner, pfns: Iterable[int] = ()) -> None:
        for pfn in pfns:
            if not 0 <= pfn < self.nr_frames:
                raise PfnError("outside")
        if owner not in self.owners:
            raise OwnerError("not registered")

    def pin_many(self, pfns: Sequence[int], owner: PinOwner, privates: Sequence[Any]) -> Verdict:
        """All, or none.

        Args:
            pfns, privates: one row each.
            owner: whose.
        """
        self._require(owner, pfns)
        if self.moving.intersection(pfns):
            return Verdict.AGAIN
        wanted = [Pin(pfn, owner, private) for pfn, private in zip(pfns, privates, strict=True)]
        if len(set(wanted)) < len(wanted) or set(wanted) & set(self.held):
            raise AlreadyPinnedError("twice")
        self.held += wanted
        return Verdict.YES

    def unpin_many(self, pfns: Sequence[int], owner: PinOwner, privates: Sequence[Any]) -> None:
        """All, or none.

        Args:
            pfns, privates: one row each.
            owner: whose.
        """
        self._require(owner, pfns)
        unwanted = [Pin(pfn, owner, private) for pfn, private in zip(pfns, privates, strict=True)]
        if len(set(unwanted)) < len(unwanted) or not set(unwanted) <= set(self.held):
            raise NotPinnedError("not there")
        for pin in unwanted:
            self.held.remove(pin)

    def pins(self, pfn: int) -> list[Pin]:
        """By owner in registration order, then by arrival."""
        mine = [pin for pin in self.held if pin.pfn == pfn]
        return sorted(mine, key=lambda pin: self.owners.index(pin.owner))

    def begin_move(self, pfns: Sequence[int]) -> list[bool]:
        """Mark; False for what is marked."""
        answers = []
        for pfn in pfns:
            answers.append(pfn not in self.moving)
            self.moving.add(pfn)
        return answers

    def end_move(self, pfns: Sequence[int]) -> None:
        """Unmark."""
        self.moving.difference_update(pfns)

    def rekey_many(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """The pins of each source belong to its target; two that are the same become one.

        Args:
            sources, targets: frames, parallel.
        """
        for source, target in zip(sources, targets, strict=True):
            for pin in [pin for pin in self.held if pin.pfn == source]:
                self.held.remove(pin)
                moved = pin._replace(pfn=target)
                if moved not in self.held:
                    self.held.append(moved)
