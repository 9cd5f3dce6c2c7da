"""Handles: the opaque numbers by which a pool's user names one stored object.

Two forms, one interface.

address   the kernel address of the object, as v3.11 has it.  It embeds the frame, so the
          page can never move: every handle to it, in places that the pool does not know,
          would go stale.  This is why the 2013 series reclaimed pages and did not move them.
indirect  generation, page id and slot.  The frame is found through one column of the pool,
          so a move changes that column and no handle; and a handle that outlived its object
          is recognised by its generation instead of naming the next object in the slot.

docs/adr/0003-zbud-handles.md weighs them and the roads not taken.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from owners.pool.handles import HandleName, Handles, no_object, require_all_live
from owners.pool.pages import NO_PAGE, PageIds
from owners.zbud.layout import FIRST, HEADER_NR_BYTES, LAST, slot_offset
from owners.zbud.pages import ZbudPages
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SHIFT, PAGE_SIZE

__all__ = [
    "AddressHandles",
    "HandleForm",
    "IndirectHandles",
    "decode_address",
    "encode_address",
    "handle_form",
]


_SLOT_BITS: Final = 1
_ID_BITS: Final = 32
_PLACE_BITS: Final = _ID_BITS + _SLOT_BITS
_PLACE_MASK: Final = (1 << _PLACE_BITS) - 1


class HandleForm(Protocol):
    """How objects of a pool are named."""

    @property
    def movable(self) -> bool:
        """Whether a page can change its frame without a handle going stale."""

    def encode(self, page_id: int, slot: int) -> int:
        """The handle of the live object in `slot`.

        Args:
            page_id: the object's page.
            slot: its place there.
        """

    def decode(self, handle: int) -> tuple[int, int]:
        """Page id and slot of the object that `handle` names.

        Raises:
            NoObjectError: it names none; said without side effects.
        """

    def encode_many(self, page_ids: PageIds, slots: NDArray[np.int64]) -> Handles:
        """`encode` for many live objects, shape (n,).

        Args:
            page_ids, slots: page, and place there, of each; shape (n,).
        """

    def decode_many(self, handles: Handles) -> tuple[PageIds, NDArray[np.int64]]:
        """`decode` for many handles: ids and slots, both shape (n,).

        Raises:
            NoObjectError: one names no object; the first of them is shown.
        """


def encode_address(pfn: int, slot: int, chunks: int) -> int:
    """Address of the object of `chunks` chunks in `slot` of the page at `pfn`.

    >>> hex(encode_address(1, FIRST, 20)), hex(encode_address(1, LAST, 62))
    ('0x1040', '0x1080')
    """
    return (pfn << PAGE_SHIFT) + slot_offset(slot, chunks)


def decode_address(handle: int) -> tuple[int, int]:
    """Pfn and slot that an address names.  Only the low bits say which slot.

    >>> decode_address(0x1040), decode_address(0x1080)
    ((1, 0), (1, 1))
    """
    is_first = not (handle - HEADER_NR_BYTES) % PAGE_SIZE
    return handle >> PAGE_SHIFT, FIRST if is_first else LAST


class AddressHandles:
    """Handles as v3.11 has them.  A stale one is caught only if nothing lies there now."""

    movable = False

    def __init__(self, pages: ZbudPages) -> None:
        """Name objects on `pages`."""
        self._pages = pages

    def encode(self, page_id: int, slot: int) -> int:
        """Where the object is now."""
        pages = self._pages
        return encode_address(pages.pfn.item(page_id), slot, pages.chunks.item(page_id, slot))

    def decode(self, handle: int) -> tuple[int, int]:
        """See `HandleForm`."""
        pfn, slot = decode_address(handle)
        page_id = self._pages.id_at(pfn)
        if (
            page_id == NO_PAGE
            or not self._pages.chunks.item(page_id, slot)
            or self.encode(page_id, slot) != handle
        ):
            raise no_object("zbud", handle)
        return page_id, slot

    def encode_many(self, page_ids: PageIds, slots: NDArray[np.int64]) -> Handles:
        """See `HandleForm`."""
        pages = self._pages
        return (pages.pfn[page_ids] << PAGE_SHIFT) + pages.offsets(page_ids, slots)

    def decode_many(self, handles: Handles) -> tuple[PageIds, NDArray[np.int64]]:
        """See `HandleForm`."""
        slots = np.where((handles - HEADER_NR_BYTES) % PAGE_SIZE == 0, FIRST, LAST)
        page_ids = self._pages.ids_at(handles >> PAGE_SHIFT)
        live = (page_ids != NO_PAGE) & (self._pages.chunks[page_ids, slots] != 0)
        live &= self.encode_many(page_ids, slots) == handles
        require_all_live("zbud", live, handles)
        return page_ids, slots


class IndirectHandles:
    """Handles that name a page id: generation << 33 | page id << 1 | slot.

    Generations start at 1, so that no handle is 0.
    """

    movable = True

    def __init__(self, pages: ZbudPages) -> None:
        """Name objects on `pages`."""
        self._pages = pages

    def encode(self, page_id: int, slot: int) -> int:
        """See `HandleForm`."""
        generation = self._pages.generation.item(page_id, slot)
        return generation << _PLACE_BITS | page_id << _SLOT_BITS | slot

    def decode(self, handle: int) -> tuple[int, int]:
        """See `HandleForm`."""
        pages = self._pages
        place = handle & _PLACE_MASK
        page_id, slot = place >> _SLOT_BITS, place & 1
        if (
            page_id >= len(pages.pfn)
            or not pages.chunks.item(page_id, slot)
            or pages.generation.item(page_id, slot) != handle >> _PLACE_BITS
        ):
            raise no_object("zbud", handle)
        return page_id, slot

    def encode_many(self, page_ids: PageIds, slots: NDArray[np.int64]) -> Handles:
        """See `HandleForm`."""
        generations = self._pages.generation[page_ids, slots].astype(np.int64)
        return generations << _PLACE_BITS | page_ids << _SLOT_BITS | slots

    def decode_many(self, handles: Handles) -> tuple[PageIds, NDArray[np.int64]]:
        """See `HandleForm`."""
        pages = self._pages
        places = handles & _PLACE_MASK
        page_ids, slots = places >> _SLOT_BITS, places & 1
        known = np.minimum(page_ids, len(pages.pfn) - 1)
        live = (known == page_ids) & (pages.chunks[known, slots] != 0)
        live &= pages.generation[known, slots] == handles >> _PLACE_BITS
        require_all_live("zbud", live, handles)
        return page_ids, slots


def handle_form(name: HandleName, pages: ZbudPages) -> HandleForm:
    """The form of that name over `pages`.

    Raises:
        PinpageError: there is no such form.
    """
    if name == "indirect":
        return IndirectHandles(pages)
    if name == "address":
        return AddressHandles(pages)
    raise PinpageError(f"zbud: handles={name!r}: use 'indirect' (movable) or 'address' (as v3.11)")
