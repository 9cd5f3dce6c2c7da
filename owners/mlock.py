"""Locked memory as an owner: a pin that holds no reference and has nothing to repoint.

mlock() promises that a page stays in memory, not that it stays where it is.  Whether it may
move is a policy (compact_unevictable_allowed), which the kernel asks about in the middle of
the compaction scanner, by a flag.  As an owner it is an answer like any other: mm finds the
frame pinned, asks, and gets YES or BUSY; what has to be repointed are page tables, and
those are mm's own.  So this owner keeps no table of frames at all.

Reclaim still looks at the MLOCKED flag: "not out of memory" is no question of place.  A page
must be unlocked before it is unmapped or copied on write; mm does not tell us of either.

Kernel counterpart: mm/mlock.c and sysctl_compact_unevictable_allowed of mm/compaction.c, v6.1.
There it stops compaction only; here it stops every move, for an owner does not know who asks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.state.address_space import AddressSpace, Vpns
from mm.state.frames import Frames, PageFlag
from owners.batch_owner import BatchOwner
from owners.forced_out import is_registered, require_registered, unpin
from pinpage.errors import PinpageError, require, within
from pinpage.owner import Mode, Verdict, Verdicts
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["Mlock"]

_VPN_BITS = 36
"""Bits of a private that hold the virtual page number; above it is the process."""


class Mlock(BatchOwner):
    """Virtual pages that processes have locked; one pin each, on the frame that it maps.

    Attributes:
        may_move: vm.compact_unevictable_allowed; 0 on real-time kernels, else 1.

    Invariants, run by `check`:
        ML1 each locked page is mapped, and pinned where it is mapped.
        ML2 the MLOCKED flag is on exactly the frames that are pinned.
    """

    name = "mlock"

    def __init__(self, frames: Frames, registry: PinRegistry, *, may_move: bool = True) -> None:
        """Nothing is locked yet.

        Args:
            frames: the columns.
            registry: where locked pages are pinned.
            may_move: compact_unevictable_allowed.
        """
        self.may_move = may_move
        self._frames = frames
        self._registry = registry
        self._locked: dict[int, AddressSpace] = {}  # private -> whose page tables
        registry.register(self)

    @property
    def nr_locked(self) -> int:
        """Locked virtual pages."""
        return len(self._locked)

    def lock(self, space: AddressSpace, vpns: Vpns) -> Verdict:
        """Lock pages that are present, all or none.  Locking twice locks once, as mlock does.

        Args:
            space: whose pages.
            vpns: which of them, shape (n,).

        Returns:
            YES, or AGAIN where one is under move by this very thread, or has just been
            unmapped by another.

        Raises:
            PinpageError: one is outside of the space, or not present: fault it in first, as
                mlock() itself would.
            OwnerError: the owner was forced out of the registry.
        """
        _require_inside(space, vpns)
        require_registered(self._registry, self)
        known = np.array([_private(space, vpn) in self._locked for vpn in vpns.tolist()], np.bool_)
        fresh = np.unique(vpns[~known])
        self._mapped(space, fresh)  # a mistake is refused before anything changes
        # One at a time: two pages of one process may share a frame, which a batch refuses.
        for vpn in fresh.tolist():
            if not self._pin(space, vpn):
                self.unlock(space, fresh)
                return Verdict.AGAIN
        self._set_flags(self._mapped(space, fresh), locked=True)
        return Verdict.YES

    def _pin(self, space: AddressSpace, vpn: int) -> bool:
        """Pin what a page maps; look again, for pinning may have waited until it had moved."""
        private = _private(space, vpn)
        while (entry := space.pte.item(vpn)) > 0:
            if self._registry.pin(entry - 1, self, private) is not Verdict.YES:
                return False
            if space.pte.item(vpn) == entry:
                self._locked[private] = space
                return True
            unpin(self._registry, entry - 1, self, private)
        return False

    def unlock(self, space: AddressSpace, vpns: Vpns) -> None:
        """Unlock pages; needed before they are unmapped.  Others are left as they are.

        Args:
            space: whose pages.
            vpns: which of them, shape (n,).

        Raises:
            PinpageError: one is outside of the space.
        """
        _require_inside(space, vpns)
        for vpn in vpns.tolist():
            private = _private(space, vpn)
            if self._locked.pop(private, None) is not None:
                pfn = int(self._mapped(space, np.array([vpn]))[0])
                unpin(self._registry, pfn, self, private)
                if not any(pin.owner is self for pin in self._registry.pins(pfn)):
                    self._set_flags(np.array([pfn]), locked=False)

    def _mapped(self, space: AddressSpace, vpns: Vpns) -> Pfns:
        entries = space.pte[vpns]
        if (absent := entries <= 0).any():
            vpn = int(vpns[absent.argmax()])
            raise PinpageError(f"mlock: {space.name!r} has nothing at vpn {vpn:#x}: fault it in")
        return entries - 1

    def _set_flags(self, pfns: Pfns, *, locked: bool) -> None:
        for flag in (PageFlag.MLOCKED, PageFlag.UNEVICTABLE):
            if locked:
                self._frames.set_flag(np.unique(pfns), flag)
            else:
                self._frames.clear_flag(pfns, flag)

    # The contract: nothing to quiesce, nothing to repoint.

    @property
    def can_migrate(self) -> bool:
        """As the policy says."""
        return self.may_move

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """None: the page tables hold the frame."""
        return np.zeros(len(pfns), dtype=np.int64)

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """As the policy says."""
        return np.full(len(pfns), Verdict.YES if self.may_move else Verdict.BUSY, dtype=np.uint8)

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Page tables are rewritten by mm, and flags go with the page."""

    def check(self) -> None:
        """Run ML1 and ML2.

        Raises:
            InvariantError: one does not hold.
        """
        held, is_out = set(), not is_registered(self._registry, self)
        for private, space in self._locked.items():
            pfn = int(space.pte[private & ((1 << _VPN_BITS) - 1)]) - 1
            pins = self._registry.pins(pfn) if pfn >= 0 else []
            mine = is_out or any(pin.owner is self and pin.private == private for pin in pins)
            require(mine, "ML1 a locked page is not pinned where it is mapped", pfn=pfn)
            held.add(pfn)
        flagged = np.flatnonzero(self._frames.flags & PageFlag.MLOCKED.mask)
        require(set(flagged.tolist()) == held, "ML2 the MLOCKED flag is on other frames")


def _require_inside(space: AddressSpace, vpns: Vpns) -> None:
    for vpn in vpns.tolist():
        within(space.nr_vpns, f"mlock: {space.name!r}", vpn=vpn)


def _private(space: AddressSpace, vpn: int) -> int:
    return space.mm_id << _VPN_BITS | vpn
