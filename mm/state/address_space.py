"""One process's page table, or one file's page cache, as a column of PTEs.

A PTE is a plain int64: 0 nothing, pfn + 1 present, -(entry + 1) swapped out.  There are no
page-table levels, no VMAs and no protection bits: a write to a shared page asks how many
share it (`mm.paging.memory`).

Kernel counterpart: struct mm_struct with its page tables; struct address_space.
"""

from typing import Literal, TypeAlias

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

__all__ = ["PTE_NONE", "AddressSpace", "SpaceKind", "Vpns", "pte_entry", "pte_pfn", "swap_pte"]

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
