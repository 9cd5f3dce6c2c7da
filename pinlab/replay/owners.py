"""Who holds a recorded frame, by name: classes of frames and the owners that adopt them."""

from collections.abc import Iterable

import numpy as np

from owners.zpool import ZpoolName
from pinlab.replay.whole_pages import huge_pages
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError, several
from pinpage.units import Pfns

__all__ = [
    "CLASS_OF_OWNER",
    "OPAQUE_OWNERS",
    "ZPOOL_OF_CLASS",
    "check_movable",
    "check_release",
    "classes_of",
    "hugetlb_pieces",
    "movable_owners",
    "opaque_classes",
    "pool_class",
]

_HUGETLB = "hugetlb"

ZPOOL_OF_CLASS: dict[FrameClass, ZpoolName] = {
    FrameClass.ZBUD: "zbud",
    FrameClass.Z3FOLD: "z3fold",
    FrameClass.ZSMALLOC: "zsmalloc",
}
"""Class of a frame -> the kind of zswap's pool that it belongs to."""

OPAQUE_OWNERS: dict[FrameClass, str] = {
    FrameClass.SLAB: "slab",
    FrameClass.PAGETABLE: "pagetable",
    FrameClass.KERNELSTACK: "kernel",
    FrameClass.VMALLOC: "kernel",
    FrameClass.OTHER: "kernel",
    FrameClass.CMA: "kernel",
    FrameClass.HUGETLB: "hugetlb",
    FrameClass.Z3FOLD: "z3fold",
    FrameClass.ZSMALLOC: "zsmalloc",
    FrameClass.ZRAM: "zram",
}
"""Class of a frame -> the opaque owner that adopts it, unless it is of zswap's pool."""

CLASS_OF_OWNER = {name: klass for klass, name in reversed(OPAQUE_OWNERS.items())} | {
    "gup": FrameClass.GUP,
    "kernel": FrameClass.OTHER,
}
"""Opaque owner -> the class that maps show its frames as."""


_CACHES = {"slab", "pagetable", "kernel", "zbud"}
"""Owners whose pages hold what can be made again, or, for zbud, brought back."""


def pool_class(snapshot: Snapshot) -> FrameClass | None:
    """The class of the frames of zswap's pool, or None; zswap has one kind of pool at a time."""
    return next((klass for klass in ZPOOL_OF_CLASS if klass in snapshot.classes), None)


def opaque_classes(snapshot: Snapshot) -> dict[str, list[FrameClass]]:
    """Opaque owner -> the classes of frames that it adopts; zswap's pool has its own owner."""
    pool = pool_class(snapshot)
    return {
        name: [klass for klass, of in OPAQUE_OWNERS.items() if of == name and klass != pool]
        for name in OPAQUE_OWNERS.values()
    }


def movable_owners(snapshot: Snapshot) -> tuple[str, ...]:
    """Names that can be declared movable on this recording, sorted."""
    names = {OPAQUE_OWNERS[klass] for klass in snapshot.classes if klass in OPAQUE_OWNERS}
    names |= {"zbud"} if FrameClass.ZBUD in snapshot.classes else set()
    names |= {"gup"} if FrameClass.GUP in snapshot.classes else set()
    if _HUGETLB in names and not len(hugetlb_pieces(snapshot)):
        names.remove(_HUGETLB)
    return tuple(sorted(names | set(snapshot.labels)))


def hugetlb_pieces(snapshot: Snapshot) -> Pfns:
    """Frames of hugetlb pools that are part of no whole page in the recording, ascending."""
    pfns = np.flatnonzero(snapshot.klass == FrameClass.HUGETLB)
    return np.setdiff1d(pfns, huge_pages(snapshot).frames(), assume_unique=True)


def check_movable(snapshot: Snapshot, movable: Iterable[str]) -> None:
    """Refuse owners that hold nothing of a recording.

    Args:
        snapshot: the recording.
        movable: names of owners that are to have a callback.

    Raises:
        PinpageError: names the first of them, and the owners that there are.
    """
    several("replay", movable=movable)
    known = movable_owners(snapshot)
    unknown = sorted(set(movable) - set(known))
    if unknown == [_HUGETLB] and FrameClass.HUGETLB in snapshot.classes:
        raise PinpageError(
            f"movable owner {_HUGETLB!r}: huge pages move as a whole, under every design: "
            "leave it out"
        )
    if unknown:
        raise PinpageError(
            f"movable owner {unknown[0]!r} holds nothing in {snapshot.name}: "
            f"it is one of {', '.join(known) or 'nobody'}"
        )


def check_release(snapshot: Snapshot, release: Iterable[str], movable: Iterable[str]) -> None:
    """Refuse owners that cannot give their pages up, or are to do both.

    Args:
        snapshot: the recording.
        release: names of owners that give pages up.
        movable: names of owners that have a callback.

    Raises:
        PinpageError: names the first of them, and the owners that can.
    """
    several("replay", release=release)
    known = [name for name in movable_owners(snapshot) if name in _CACHES | set(snapshot.labels)]
    unknown = sorted(set(release) - set(known))
    if unknown:
        raise PinpageError(
            f"release={unknown[0]}: holds nothing in {snapshot.name} that could be given up: "
            f"it is one of {', '.join(known) or 'nobody'}"
        )
    both = sorted(set(release) & set(movable))
    if both:
        raise PinpageError(
            f"release={both[0]}: it is movable too, and who can move is not asked to give up: "
            "leave one out"
        )


def classes_of(owners: Iterable[str]) -> frozenset[FrameClass]:
    """The classes of frames that these owners hold; who is none of the known is a label's."""
    wanted = set(owners)
    classes = {klass for klass, name in OPAQUE_OWNERS.items() if name in wanted}
    classes |= {FrameClass.ZBUD} if "zbud" in wanted else set()
    labels = wanted - {*OPAQUE_OWNERS.values(), "zbud", "gup"}
    classes |= {FrameClass.LABELLED} if labels else set()
    return frozenset(classes | ({FrameClass.GUP} if "gup" in wanted else set()))
