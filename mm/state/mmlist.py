"""The ring of address spaces that have, or had, something swapped out.

Kernel counterpart: init_mm.mmlist under mmlist_lock; a new space goes behind init_mm when
its first page is swapped out, and behind its parent on fork.
"""

import numpy as np

from mm.state.address_space import AddressSpace
from pinpage.errors import PinpageError, require

__all__ = ["MmList"]


class MmList:
    """A ring through `init_mm`, which maps nothing and is always there.

    Invariants, run by `check`:
        MM1 the ring is one ring, and the same in both directions.
    """

    def __init__(self) -> None:
        self.init_mm = AddressSpace(-1, "init_mm", "process", np.zeros(0, dtype=np.int64))
        self._next: dict[int, AddressSpace] = {-1: self.init_mm}
        self._prev: dict[int, AddressSpace] = {-1: self.init_mm}

    def __len__(self) -> int:
        """Spaces in the ring, init_mm not counted."""
        return len(self._next) - 1

    def __contains__(self, space: AddressSpace) -> bool:
        return space.mm_id in self._next

    def next(self, space: AddressSpace) -> AddressSpace:
        """Who comes after `space`.

        Raises:
            PinpageError: `space` is not in the ring.
        """
        found = self._next.get(space.mm_id)
        if found is None:
            raise PinpageError(
                f"space {space.name!r} is not in the mmlist: nothing was swapped out"
            )
        return found

    def add(self, space: AddressSpace, after: AddressSpace | None = None) -> None:
        """Put a space behind `after` (init_mm); one that is in the ring stays where it is."""
        if space.mm_id in self._next:
            return
        before = self.init_mm if after is None or after not in self else after
        behind = self._next[before.mm_id]
        self._next[before.mm_id] = self._prev[behind.mm_id] = space
        self._prev[space.mm_id], self._next[space.mm_id] = before, behind

    def remove(self, space: AddressSpace) -> None:
        """Take a space out, if it is in."""
        if space.mm_id not in self._next or space is self.init_mm:
            return
        before, behind = self._prev.pop(space.mm_id), self._next.pop(space.mm_id)
        self._next[before.mm_id] = behind
        self._prev[behind.mm_id] = before

    def check(self) -> None:
        """Run MM1.

        Raises:
            InvariantError: it does not hold.
        """
        space, nr_seen = self.init_mm, 0
        while nr_seen <= len(self):
            behind = self._next[space.mm_id]
            require(self._prev[behind.mm_id] is space, "MM1 mmlist", space=space.name)
            space, nr_seen = behind, nr_seen + 1
            if space is self.init_mm:
                break
        require(nr_seen == len(self) + 1, "MM1 mmlist is not one ring", seen=nr_seen)
