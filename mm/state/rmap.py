"""Which page tables map which frame, both ways.

An `AddressSpace` knows its frames (one PTE per virtual page); `Rmap` knows for each frame
the mapping that came first (two columns) and, in a dict, the further ones that fork left.
Nearly every page has exactly one mapping, so a batch of them moves in a handful of numpy
calls.  This module is data: it allocates nothing, frees nothing and never looks at bytes.

The page cache is an address space too (kind "file"): the cache is its pages' mapping.

References.  A mapping owns one page reference.  The *first* mapping of a frame takes over a
reference that the caller holds (the allocation's own, or the one that a swap cache lookup
gave), each further mapping takes one of its own; so a fresh page ends with refcount 1 and
mapcount 0.  Unmapping is the mirror image: the last mapping hands its reference back to the
caller, who frees the page or keeps it.

Kernel counterpart: mm/rmap.c, struct mm_struct and address_space; there are no page-table
levels and no VMAs to walk.
Cost:  move_many about 0.03 us per page in batches of 512; map_page about 1 us.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mm.state.address_space import PTE_NONE, AddressSpace, SpaceKind, Vpns, pte_pfn
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState, PageFlag
from pinpage.errors import PinpageError, at_least, require, whole
from pinpage.store.rows import as_pfns
from pinpage.units import Mask, Pfns

__all__ = ["Mapping", "Rmap"]

_Where: TypeAlias = NDArray[np.int64] | slice
Mapping: TypeAlias = tuple[AddressSpace, int]
"""Where a frame is mapped: the space and the vpn."""


def _check_distinct(name: str, column: NDArray[np.int64], stop: int) -> None:
    if int(column.min()) < 0 or int(column.max()) >= stop:
        raise PinpageError(f"map_many: a {name} is outside 0..{stop - 1:#x}")
    if not (column[1:] > column[:-1]).all():  # ascending is the usual case and needs no sort
        ascending = np.sort(column)
        if (ascending[1:] == ascending[:-1]).any():
            raise PinpageError(f"map_many: a {name} is given twice in one batch")


class Rmap:
    """The reverse map of all frames.

    Attributes:
        first_mm: int32, shape (nr_frames,): mm_id of the frame's first mapping, -1 for none.
        first_vpn: int32, shape (nr_frames,): its vpn; meaningless where first_mm is -1.

    Invariants, run by `check`:
        A1 a present PTE names a used frame that names the PTE back.
        A2 a frame has as many mappings as present PTEs name it.
        A3 mapcount + 1 is the number of mappings (a marker such as zbud's: none).
        A4 every mapping owns a reference.
        A5 only a frame with a first mapping has further ones.
        A6 a page on the LRU is what its flags say: one that no file maps holds data (UPTODATE),
           one that processes alone map is anonymous (ANON), one in the swap cache is of a kind
           that can be swapped (SWAPBACKED).
    """

    def __init__(self, frames: Frames) -> None:
        """No spaces; no frame is mapped."""
        self.frames = frames
        self.first_mm: NDArray[np.int32] = np.full(frames.nr_frames, -1, dtype=np.int32)
        self.first_vpn: NDArray[np.int32] = np.full(frames.nr_frames, -1, dtype=np.int32)
        self._spaces: dict[int, AddressSpace] = {}
        self._next_mm_id = 0
        self._further: dict[int, list[tuple[int, int]]] = {}
        self._shared: Mask = np.zeros(frames.nr_frames, dtype=np.bool_)  # has an item in _further

    # Spaces.

    @property
    def spaces(self) -> tuple[AddressSpace, ...]:
        """All address spaces, in order of creation."""
        return tuple(self._spaces.values())

    def space(self, mm_id: int) -> AddressSpace:
        """The space with that id.

        Raises:
            PinpageError: there is none (any more).
        """
        found = self._spaces.get(mm_id)
        if found is None:
            raise PinpageError(f"mm_id {mm_id}: no such address space")
        return found

    def knows(self, space: AddressSpace) -> bool:
        """Whether it is one of ours, and was not destroyed."""
        return self._spaces.get(space.mm_id) is space

    def create(self, name: str, nr_vpns: int, kind: SpaceKind = "process") -> AddressSpace:
        """A new space of `nr_vpns` virtual pages, nothing mapped.

        Args:
            name: for messages.
            nr_vpns: virtual pages.
            kind: "process" or "file".

        Raises:
            PinpageError: `nr_vpns` is negative or beyond int32.
        """
        at_least(0, "a space", nr_vpns=nr_vpns)
        if not 0 <= nr_vpns < 1 << 31:
            raise PinpageError(f"nr_vpns={nr_vpns}: must be in 0..{(1 << 31) - 1}")
        space = AddressSpace(self._next_mm_id, name, kind, np.zeros(nr_vpns, dtype=np.int64))
        self._spaces[space.mm_id] = space
        self._next_mm_id += 1
        return space

    def destroy(self, space: AddressSpace) -> None:
        """Forget a space that maps nothing and has nothing swapped out.

        Raises:
            PinpageError: it still has PTEs, or is not ours.
        """
        if not self.knows(space) or space.pte.any():
            raise PinpageError(f"space {space.name!r} is unknown or not empty: unmap it first")
        del self._spaces[space.mm_id]

    # Mapping.

    def map_many(self, space: AddressSpace, vpns: Vpns, pfns: Pfns) -> None:
        """Map `pfns[i]` at `vpns[i]`.  One reference each: see the module's docstring.

        A swapped PTE may be overwritten: its swap count is the caller's business.

        Args:
            space: the address space.
            vpns: int64 (n,), virtual page numbers.
            pfns: int64 (n,), the frames.

        Raises:
            PinpageError: a vpn is outside the space, present already, or given twice; a pfn
                is not used, or given twice.  Nothing has changed.

        Cost: vectorised, except that a frame which is mapped already costs a dict insert.
        """
        vpns, pfns = as_pfns(vpns), as_pfns(pfns)
        if len(vpns) == 0 and len(pfns) == 0:
            return
        self._check_mappable(space, vpns, pfns)
        mapped = self.first_mm[pfns] >= 0
        space.pte[vpns] = pfns + 1
        if mapped.any():
            for pfn, vpn in zip(pfns[mapped].tolist(), vpns[mapped].tolist(), strict=True):
                self._further.setdefault(pfn, []).append((space.mm_id, vpn))
            self._shared[pfns[mapped]] = True
            self.frames.add_references(pfns[mapped], 1)
            self.frames.mapcount[pfns[mapped]] += 1
            vpns, pfns = vpns[~mapped], pfns[~mapped]
        self.first_mm[pfns] = space.mm_id
        self.first_vpn[pfns] = vpns
        self.frames.mapcount[pfns] = 0
        self.frames.note_many(pfns)

    def map_page(self, space: AddressSpace, vpn: int, pfn: int) -> None:
        """`map_many` for one page, without its validation: for callers that just looked.

        Args:
            space: the address space.
            vpn: virtual page number.
            pfn: the frame.
        """
        if type(vpn) is not int or type(pfn) is not int:
            vpn, pfn = whole("map_page", vpn=vpn, pfn=pfn)
        space.pte[vpn] = pfn + 1
        if self.first_mm.item(pfn) < 0:
            self.first_mm[pfn] = space.mm_id
            self.first_vpn[pfn] = vpn
            self.frames.mapcount[pfn] = 0
            self.frames.note_page(pfn)
            return
        self._further.setdefault(pfn, []).append((space.mm_id, vpn))
        self._shared[pfn] = True
        self.frames.add_reference(pfn, 1)
        self.frames.mapcount[pfn] += 1

    def unmap_many(self, pfns: Pfns, ptes: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Remove every mapping of each frame; its last reference becomes the caller's.

        Args:
            pfns: frames without duplicates, mapped or not.
            ptes: int64, shape (n,): what each frame's PTEs become (default: nothing).
                Swapped PTEs need their swap counts raised by the caller.

        Returns:
            int64, shape (n,): how many mappings each frame had.  Where it is 0, no
            reference was handed over.
        """
        values = np.zeros(len(pfns), dtype=np.int64) if ptes is None else ptes
        nr_mappings = (self.first_mm[pfns] >= 0).astype(np.int64)
        for index in np.flatnonzero(self._shared[pfns]).tolist():
            nr_mappings[index] += self._unmap_further(int(pfns[index]), int(values[index]))
        for space, where in self._by_space(self.first_mm[pfns]):
            space.pte[self.first_vpn[pfns[where]]] = values[where]
        self.first_mm[pfns] = -1
        mapped = pfns[nr_mappings > 0]
        self.frames.mapcount[mapped] = MAPCOUNT_NONE
        self.frames.note_many(pfns)
        return nr_mappings

    def unmap_page(self, space: AddressSpace, vpn: int) -> tuple[int, bool]:
        """Remove one mapping.

        Args:
            space: the address space.
            vpn: virtual page number.

        Returns:
            The frame, and whether that was its last mapping: then the reference is the
            caller's now, else it has been dropped.

        Raises:
            PinpageError: nothing is present at `vpn`.
        """
        if type(vpn) is not int:
            (vpn,) = whole("unmap_page", vpn=vpn)
        pfn = pte_pfn(space.pte.item(vpn))
        if pfn < 0:
            raise PinpageError(f"vpn {vpn:#x} of {space.name!r} is not present")
        space.pte[vpn] = PTE_NONE
        self.frames.mapcount[pfn] -= 1
        if not self._shared.item(pfn):
            self.first_mm[pfn] = -1
            self.frames.note_page(pfn)
            return pfn, True
        self.frames.add_reference(pfn, -1)
        further = self._further[pfn]
        here = (space.mm_id, vpn)
        if here in further:
            further.remove(here)
        else:
            self.first_mm[pfn], self.first_vpn[pfn] = further.pop(0)
        self._forget_if_empty(pfn)
        self.frames.note_page(pfn)
        return pfn, False

    # Asking.

    def mappers(self, pfn: int) -> list[Mapping]:
        """Every mapping of the frame, the first one first."""
        if self.first_mm.item(pfn) < 0:
            return []
        keys = [(self.first_mm.item(pfn), self.first_vpn.item(pfn)), *self._further.get(pfn, ())]
        return [(self._spaces[mm_id], vpn) for mm_id, vpn in keys]

    def home_references(self, pfns: Pfns) -> NDArray[np.int64]:
        """How many references the page tables account for, shape (n,)."""
        return np.maximum(self.frames.mapcount[pfns].astype(np.int64) + 1, 0)

    # Moving.

    def move_many(self, sources: Pfns, targets: Pfns) -> None:
        """Every PTE that named `sources[i]` names `targets[i]` now; the sources are unmapped.

        Page tables only: mapcount, refcount and flags are the mover's to carry over, before
        or after.  Sources that nothing maps are fine.  Targets must be unmapped.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they are now.

        Context: only a mover calls this, with the frames frozen.
        Cost: a dozen numpy calls per batch; further mappings cost a loop each.
        """
        if len(sources) == 0:
            return
        mm_ids = self.first_mm[sources]
        vpns = self.first_vpn[sources]
        first_mm = mm_ids.item(0)
        if first_mm >= 0 and (mm_ids == first_mm).all():
            self._spaces[first_mm].pte[vpns] = targets + 1
        else:
            for space, where in self._by_space(mm_ids):
                space.pte[vpns[where]] = targets[where] + 1
        self.first_mm[sources] = -1
        self.first_mm[targets] = mm_ids
        self.first_vpn[targets] = vpns
        if self._further:
            self._move_further(sources, targets)

    def _move_further(self, sources: Pfns, targets: Pfns) -> None:
        for index in np.flatnonzero(self._shared[sources]).tolist():
            source, target = int(sources[index]), int(targets[index])
            further = self._further.pop(source)
            for mm_id, vpn in further:
                self._spaces[mm_id].pte[vpn] = target + 1
            self._further[target] = further
            self._shared[source], self._shared[target] = False, True

    # Inside.

    def _by_space(self, mm_ids: NDArray[np.int32]) -> Iterator[tuple[AddressSpace, _Where]]:
        """Group rows by space, skipping -1; one group is the usual case and costs no sort."""
        if len(mm_ids) == 0:
            return
        first = mm_ids.item(0)
        if (mm_ids == first).all():
            if first >= 0:
                yield self._spaces[first], slice(None)
            return
        for mm_id in np.unique(mm_ids).tolist():
            if mm_id >= 0:
                yield self._spaces[mm_id], np.flatnonzero(mm_ids == mm_id)

    def _unmap_further(self, pfn: int, pte: int) -> int:
        further = self._further.pop(pfn)
        for mm_id, vpn in further:
            self._spaces[mm_id].pte[vpn] = pte
        self._shared[pfn] = False
        self.frames.add_reference(pfn, -len(further))
        return len(further)

    def _forget_if_empty(self, pfn: int) -> None:
        if not self._further[pfn]:
            del self._further[pfn]
            self._shared[pfn] = False

    def _check_mappable(self, space: AddressSpace, vpns: Vpns, pfns: Pfns) -> None:
        if len(vpns) != len(pfns):
            raise PinpageError(f"map_many: {len(vpns)} vpns for {len(pfns)} pfns")
        _check_distinct("vpn", vpns, space.nr_vpns)
        _check_distinct("pfn", pfns, self.frames.nr_frames)
        present = space.pte[vpns] > 0
        if present.any():
            vpn = int(vpns[present.argmax()])
            raise PinpageError(
                f"map_many: vpn {vpn:#x} of {space.name!r} is present: unmap it first"
            )
        unused = self.frames.state[pfns] != FrameState.USED
        unused |= self.frames.mapcount[pfns] < MAPCOUNT_NONE
        if unused.any():
            pfn = int(pfns[unused.argmax()])
            raise PinpageError(f"map_many: pfn {pfn:#x} is not a used, unmarked page")

    def check(self) -> None:
        """Run A1..A6.

        Raises:
            InvariantError: one does not hold; names the frame.
        Cost: O(frames + virtual pages), vectorised.
        """
        nr_named = np.zeros(self.frames.nr_frames, dtype=np.int64)
        for space in self._spaces.values():
            self._check_space(space, nr_named)
        mapped = self.first_mm >= 0
        nr_mappings = mapped.astype(np.int64)
        for pfn, further in self._further.items():
            known = mapped[pfn] and further and self._shared[pfn]
            require(known, "A5 further mappings without a first", pfn=pfn)
            nr_mappings[pfn] += len(further)
        require(
            int(self._shared.sum()) == len(self._further), "A5 a frame is marked shared, but is not"
        )
        self._require_none(nr_mappings != nr_named, "A2 mappings differ from the PTEs that name it")
        expected = np.maximum(self.frames.mapcount.astype(np.int64) + 1, 0)
        self._require_none(nr_mappings != expected, "A3 mapcount is not the number of mappings - 1")
        self._require_none(self.frames.refcount < nr_mappings, "A4 a mapping without its reference")
        self._check_kinds()

    def _check_kinds(self) -> None:
        frames = self.frames
        pfns = np.flatnonzero(frames.flags & PageFlag.LRU.mask)
        flags, mapped = frames.flags[pfns], self.first_mm[pfns] >= 0
        odd = (flags & PageFlag.UPTODATE.mask) == 0
        odd |= mapped & ((flags & PageFlag.ANON.mask) == 0)
        files = [space.mm_id for space in self._spaces.values() if space.kind == "file"]
        odd &= ~np.isin(self.first_mm[pfns], files)
        for pfn in pfns[odd].tolist():
            by_file = any(space.kind == "file" for space, _ in self.mappers(pfn))
            flag_names = [flag.name for flag in PageFlag if frames.flags.item(pfn) & int(flag.mask)]
            require(by_file, "A6 a page on the LRU of no kind", pfn=pfn, flags=flag_names)
        strange = (flags & PageFlag.SWAPCACHE.mask) != 0
        strange &= (flags & PageFlag.SWAPBACKED.mask) == 0
        found = pfns[strange].tolist()
        require(not found, "A6 a cached page that no swap takes", pfns=found[:4])

    def _check_space(self, space: AddressSpace, nr_named: NDArray[np.int64]) -> None:
        vpns = space.present()
        pfns = space.pte[vpns] - 1
        outside = pfns >= self.frames.nr_frames
        require(not outside.any(), "A1 a PTE names no frame", mm=space.mm_id)
        used = self.frames.state[pfns] == FrameState.USED
        require(used.all(), "A1 a PTE names an unused frame", mm=space.mm_id)
        np.add.at(nr_named, pfns, 1)
        first = (self.first_mm[pfns] == space.mm_id) & (self.first_vpn[pfns] == vpns)
        for pfn, vpn in zip(pfns[~first].tolist(), vpns[~first].tolist(), strict=True):
            named = (space.mm_id, vpn) in self._further.get(pfn, ())
            require(named, "A1 a frame does not name back the PTE that maps it", pfn=pfn, vpn=vpn)

    def _require_none(self, broken: Mask, message: str) -> None:
        pfn = int(broken.argmax())
        mapcount, refcount = int(self.frames.mapcount[pfn]), int(self.frames.refcount[pfn])
        require(not broken[pfn], message, pfn=pfn, mapcount=mapcount, refcount=refcount)
