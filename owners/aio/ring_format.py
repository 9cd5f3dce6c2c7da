"""The bytes of a completion ring: a header, then events of 32 bytes, over several pages.

The ring lies in page frames that user space maps; so its layout is fixed, and head and tail
are words of the first page.

    page 0:  header (32 bytes) | event 0 .. event 126
    page 1:  event 127 .. event 254
    page n:  128 events each

Kernel counterpart: struct aio_ring in fs/aio.c, struct io_event in uapi/linux/aio_abi.h.
"""

import struct
from typing import NamedTuple

from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE

__all__ = ["EVENT_NR_BYTES", "HEAD_OFFSET", "TAIL_OFFSET", "IoEvent", "RingHeader", "event_place",
           "nr_ring_events", "nr_ring_pages"]  # fmt: skip

EVENT_NR_BYTES = 32
"""sizeof(struct io_event); the header has the same size, so events stay aligned."""
HEAD_OFFSET = 8
"""Of the head word in the first page: the next event to be read."""
TAIL_OFFSET = 12
"""Of the tail word: the next event to be written."""
_MAGIC = 0xA10A10A1
_EVENTS_PER_PAGE = PAGE_SIZE // EVENT_NR_BYTES
_HEADER = struct.Struct("<8I")
_EVENT = struct.Struct("<QQqq")


class IoEvent(NamedTuple):
    """One completion (struct io_event)."""

    data: int
    """What the submitter gave, 64 bits."""
    obj: int
    """Address of the request."""
    res: int
    """Bytes transferred, or a negative errno."""
    res2: int = 0

    def pack(self) -> bytes:
        """As it lies in the ring.

        Raises:
            PinpageError: a value that is no integer, or needs more bits than its field has.
        """
        try:
            return _EVENT.pack(*self)
        except struct.error as error:
            raise PinpageError(f"aio: {self} is no event of the ring: {error}") from None

    @classmethod
    def unpack(cls, data: bytes) -> "IoEvent":
        """From 32 bytes of the ring."""
        return cls(*_EVENT.unpack(data))


class RingHeader(NamedTuple):
    """The first 32 bytes of the first page (struct aio_ring)."""

    ring_id: int
    nr_events: int
    head: int = 0
    tail: int = 0
    magic: int = _MAGIC
    compat_features: int = 1
    incompat_features: int = 0
    nr_header_bytes: int = EVENT_NR_BYTES

    def pack(self) -> bytes:
        """As it lies in the page."""
        return _HEADER.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> "RingHeader":
        """From the first 32 bytes of the first page."""
        return cls(*_HEADER.unpack(data))


def nr_ring_pages(nr_events: int) -> int:
    """Pages for a ring that can hold `nr_events` unread completions.

    Two more slots than that: one always stays empty, so that full is not taken for empty,
    and one is the kernel's spare.

    >>> [nr_ring_pages(n) for n in (1, 125, 126, 253, 254)]
    [1, 1, 2, 2, 3]
    """
    return -(-(EVENT_NR_BYTES * (nr_events + 3)) // PAGE_SIZE)


def nr_ring_events(nr_pages: int) -> int:
    """Slots in a ring of `nr_pages`; one of them always stays empty.

    >>> nr_ring_events(1), nr_ring_events(2)
    (127, 255)
    """
    return nr_pages * _EVENTS_PER_PAGE - 1


def event_place(index: int) -> tuple[int, int]:
    """Where slot `index` lies: (page of the ring, offset in that page).

    >>> event_place(0), event_place(126), event_place(127)
    ((0, 32), (0, 4064), (1, 0))
    """
    page, slot = divmod(index + 1, _EVENTS_PER_PAGE)
    return page, slot * EVENT_NR_BYTES
