"""One process's page table, or one file's page cache, as a column of PTEs.

A PTE is a plain int64: 0 nothing, pfn + 1 present, -(entry + 1) swapped out.  There are no
page-table levels, no VMAs and no protection bits: a write to a shared page asks how many
share it (`mm.paging.memory`).

Kernel counterpart: struct mm_struct with its page tables; struct address_space; init_mm.mmlist
under mmlist_lock, the ring of spaces that have, or had, something swapped out.  A new space goes
behind init_mm when its first page is swapped out, and behind its parent on fork.
"""

from typing import Literal, TypeAlias

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from pinpage.errors import PinpageError, require

__all__ = [
    "PTE_NONE",
    "AddressSpace",
    "MmList",
    "SpaceKind",
    "Vpns",
    "pte_entry",
    "pte_pfn",
    "swap_pte",
]

PTE_NONE = 0
"""A PTE that maps nothing."""

SpaceKind: TypeAlias = Literal["process", "file"]
Vpns: TypeAlias = NDArray[np.int64]
"""A column of virtual page numbers, shape (n,)."""


def pte_pfn(pte: int) -> int:
    """The frame of a present PTE."""
    return pte - 1


def pte_entry(pte: int) -> int:
    """The swap entry of a swapped PTE."""
    return -pte - 1


def swap_pte(entry: int) -> int:
    """The PTE that says "swapped out to `entry`"."""
    return -entry - 1


@define(eq=False)
class AddressSpace:
    """One process (mm_struct) or one file's page cache (address_space).

    Attributes:
        mm_id: index in its `Rmap`; never reused.
        kind: "process" or "file".
        pte: int64, shape (nr_vpns,): 0 nothing, pfn + 1 present, -(entry + 1) swapped out.
        mm_users: who uses it (the process itself is one); at 0 it is being torn down.
        has_pinned: a page of it was pinned for DMA at some time (MMF_HAS_PINNED); a child
            starts without.
        write_protect_seq: odd while fork shares its pages, and different afterwards.
    """

    mm_id: int
    name: str
    kind: SpaceKind
    pte: NDArray[np.int64] = field(repr=False)
    mm_users: int = 1
    has_pinned: bool = False
    write_protect_seq: int = 0

    @property
    def nr_vpns(self) -> int:
        """Virtual pages, mapped or not."""
        return len(self.pte)

    def present(self) -> Vpns:
        """The vpns that map a frame, ascending."""
        return np.flatnonzero(self.pte > 0)

    def swapped(self) -> Vpns:
        """The vpns that are swapped out, ascending."""
        return np.flatnonzero(self.pte < 0)


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
        """Put a space behind `after` (init_mm); one that is in the ring stays where it is.

        Args:
            space: the address space.
            after: the space to stand behind; None: init_mm.
        """
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
