"""Movable pages of 2025: the page's type says whose it is, and each type has one set of callbacks.

    set_movable_ops(ops, type)   0; -EBUSY if the type is taken; -EINVAL for what is no type

Pages stop naming an owner; they carry a type, and the type stays until the page is free
again.  So nothing can be cleared while the VM looks, and isolate may be handed a page that
its owner has let go already: it must say no.

Here every type of page can have callbacks.  In the kernel only two can: arbitrary drivers
are shut out, for each type takes a number and an edit of the core.

Kernel counterpart: the series around commit 84caf98838a3 (v6.17), and set_movable_ops().
"""

from typing import ClassVar, Final

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from mm.designs.narrow import NarrowDesign
from mm.move.capabilities import Capabilities
from mm.move.design import Answer, Answers
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState
from pinpage.move.steps import Memory
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["TYPE_OF_OWNER", "TypeKeyed"]

TYPE_OF_OWNER: Final = {
    "slab": "slab",
    "dentry": "slab",
    "radix_tree_node": "slab",
    "pagetable": "table",
    "balloon": "offline",
    "hugetlb": "hugetlb",
    "zbud": "zbud",
    "z3fold": "z3fold",
    "zsmalloc": "zsmalloc",
    "zram": "zsmalloc",
}
"""Owner's name -> the type of its pages; who is not here has pages without a type."""

_SHARE_THEIR_CODE: Final = {"zram": "zsmalloc"}
"""Owners whose operations are another's: zram is a user of zsmalloc."""


class TypeKeyed(NarrowDesign):
    """Finds whoever came first of a type, through the type."""

    name = "type-keyed"
    capabilities: ClassVar[Capabilities] = evolve(
        NarrowDesign.capabilities,
        second_owner="-EBUSY: the type is taken",
        lookup="none: the page's type",
    )

    def __init__(self, registry: PinRegistry, memory: Memory, frames: Frames) -> None:
        """No type has operations yet; owners take theirs in the order in which they came.

        Args:
            registry: what all owners say.
            memory: moves frames.
            frames: whose types are kept here until a frame is free again.
        """
        super().__init__(registry, memory)
        self._frames = frames
        self._ops: dict[str, str] = {}
        self._was_typed = np.zeros(frames.nr_frames, dtype=np.bool_)

    def set_movable_ops(self, owner: PinOwner, page_type: str) -> Errno:
        """Take a type; again by whoever has it is OK.

        Args:
            owner: who wants to be asked about pages of that type.
            page_type: a value of `TYPE_OF_OWNER`.

        Returns:
            EINVAL for what is no type, EBUSY for a type that somebody else has.
        """
        if page_type not in TYPE_OF_OWNER.values():
            return Errno.EINVAL
        code = _SHARE_THEIR_CODE.get(owner.name, owner.name)
        return Errno.OK if self._ops.setdefault(page_type, code) == code else Errno.EBUSY

    def can_find(self, owner: PinOwner) -> bool:
        """Whether its pages have a type and it was first to take it."""
        for other in self._registry.owners:
            self.set_movable_ops(other, TYPE_OF_OWNER.get(other.name, ""))
        return self.set_movable_ops(owner, TYPE_OF_OWNER.get(owner.name, "")) is Errno.OK

    def claims(self, start: int, stop: int) -> Mask:
        """Pinned frames, and frames whose type outlived their pin.

        Args:
            start: first pfn of the range.
            stop: first pfn behind the range.
        """
        pinned = super().claims(start, stop)
        typed = self._was_typed[start:stop]
        typed |= pinned
        typed &= self._frames.state[start:stop] == FrameState.USED
        kept = np.flatnonzero(typed)  # one that page tables hold now was free in between
        typed[kept[self._memory.has_home(kept + start)]] = False
        still: Mask = pinned | typed
        return still

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """As ever; a page that its owner has let go is refused by it.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        answers, reasons = super().ask(pfns, mode)
        let_go = self._was_typed[pfns] & (self._registry.owner_counts(pfns) == 0)
        answers[let_go], reasons[let_go] = Answer.NO, Reason.OWNER_BUSY
        return answers, reasons
