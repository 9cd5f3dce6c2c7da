"""An owner of whose inside we know nothing but its name: slab, page tables, kernel, gup.

It holds frames, keeps a table of where they are now, and either refuses to let them move, or
only repoints its table, or gives them up, as a cache can.  So "who has a callback" is a parameter
of a run, not of the code: declare slab movable and see what that would buy.

Kernel counterpart: any user of alloc_pages() that keeps addresses of what it got.
Cost: adoption well under 1 us per frame; a batch of moves is one column store.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from owners.batch_owner import BatchOwner
from pinpage.errors import PinpageError, at_least, within
from pinpage.owner import Mode, Pin, Verdict, Verdicts
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["GIVEN_UP", "ObjectIds", "OpaqueOwner"]

GIVEN_UP = -1
"""Stands for the frame of an object that is gone."""

ObjectIds = NDArray[np.int64]
"""A column of an owner's own object ids: 0, 1, 2 ... in the order of adoption."""


class OpaqueOwner(BatchOwner):
    """Pins the frames that it is given, each under an object id of its own.

    Attributes:
        name: of the class of memory ("slab", "pagetable").
        movable: whether its frames may move; may be changed between moves.
        put_page: drops references of a frame that it gives up; None: it gives nothing up.
    """

    def __init__(
        self,
        name: str,
        *,
        movable: bool,
        references: int = 1,
        registry: PinRegistry | None = None,
        put_page: Callable[[int, int], bool] | None = None,
    ) -> None:
        """No frames yet; with a registry, registered there.

        Raises:
            PinpageError: a negative number of references.

        Args:
            name: for people and for counters.
            movable: whether isolate says Yes (else Busy).
            references: page references that each of its pins accounts for, unless `adopt`
                says otherwise for single frames.
            registry: where frames are pinned; None pins nothing.
            put_page: `put_page(pfn, nr_references)` drops references of a frame that it gives up;
                None: it gives nothing up.
        """
        at_least(0, f"owner {name!r}", references=references)
        self.name = name
        self.movable = movable
        self.put_page = put_page
        self._nr_references = references
        self._registry = registry
        self._pfn: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._references: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        if registry is not None:
            registry.register(self)

    @property
    def nr_objects(self) -> int:
        """Objects adopted."""
        return len(self._pfn)

    def adopt(self, pfns: Pfns, references: NDArray[np.int64] | None = None) -> ObjectIds:
        """Hold frames that are used already, and pin them; their object ids, shape (n,).

        Args:
            pfns: used frames, without duplicates.
            references: page references per frame where they differ, shape (n,).

        Raises:
            PinpageError: lengths differ, a number of references is negative, or the registry
                refuses; nothing has changed then.
        """
        if references is None:
            references = np.full(len(pfns), self._nr_references, dtype=np.int64)
        if references.shape != pfns.shape:
            raise PinpageError(
                f"owner {self.name!r}: adopt: {len(references)} references for {len(pfns)} pfns"
            )
        if len(references):
            at_least(0, f"owner {self.name!r}: adopt", references=int(references.min()))
        ids = np.arange(len(self._pfn), len(self._pfn) + len(pfns), dtype=np.int64)
        if self._registry is not None:
            self._registry.pin_many(pfns, self, ids)
        self._pfn = np.concatenate((self._pfn, pfns))
        self._references = np.concatenate((self._references, references))
        return ids

    def pfn_of(self, ids: ObjectIds) -> Pfns:
        """Where objects are now, -1 where they were given up, shape (n,); a fresh array.

        Raises:
            PinpageError: there is no such object.
        """
        for at in (int(ids.min()), int(ids.max())) if len(ids) else ():
            within(len(self._pfn), f"owner {self.name!r}", object_id=at)
        return self._pfn[ids]

    # The contract.

    @property
    def can_migrate(self) -> bool:
        """As declared."""
        return self.movable

    @property
    def can_release(self) -> bool:
        """As declared."""
        return self.put_page is not None

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Forget the object and let the frame go; Busy if nothing is given up.

        Args:
            pin: of this owner.
            mode: whether it may wait.
        """
        if self.put_page is None or self._registry is None:
            return Verdict.BUSY
        self._registry.unpin(pin.pfn, self, pin.private)
        self._pfn[pin.private] = GIVEN_UP
        self.put_page(pin.pfn, int(self._references[pin.private]))
        return Verdict.YES

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """References per pin, as given on adoption."""
        return self._references[_ids(privates)]

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """Yes to all if movable, else Busy."""
        verdict = Verdict.YES if self.movable else Verdict.BUSY
        return np.full(len(pfns), verdict, dtype=np.uint8)

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Repoint the table."""
        self._pfn[_ids(privates)] = targets

    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:
        """Nothing was changed by `isolate`."""


def _ids(privates: Sequence[Any] | NDArray[Any]) -> ObjectIds:
    return np.asarray(privates, dtype=np.int64)
