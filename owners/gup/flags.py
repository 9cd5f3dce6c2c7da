"""How a pin is asked for, and how it shows in a reference count.

A pin has no counter of its own on a single page: it is 1024 references at once.  So
"perhaps pinned for DMA" is a comparison, which a page with very many ordinary references
passes too, and a pinned page never fails.

Kernel counterpart: FOLL_ flags, GUP_PIN_COUNTING_BIAS and page_maybe_dma_pinned() of
include/linux/mm.h; Documentation/core-api/pin_user_pages.rst.  Bit values are ours.
"""

import enum
import functools
from typing import NamedTuple

from mm.state.frames import GUP_PIN_COUNTING_BIAS, Frames
from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns

__all__ = ["Foll", "Wanted", "maybe_dma_pinned", "wanted"]


class Foll(enum.IntFlag):
    """What the caller is going to do with the page; exactly one of GET and PIN."""

    NONE = 0
    WRITE = 1 << 0
    """It will be written: make it private first."""
    GET = 1 << 1
    """Only struct page is of interest: one reference (6.1 still does direct I/O so)."""
    PIN = 1 << 2
    """Its data are of interest: 1024 references, and fork copies it early."""
    LONGTERM = 1 << 3
    """For as long as user space likes: not where memory must stay movable."""
    FAST_ONLY = 1 << 4
    """Do not fault, do not wait: what is not there is not pinned."""


class Wanted(NamedTuple):
    """Flags taken apart once, for many pages.

    Attributes:
        nr_references: that one page pinned so accounts for.
        is_pin: PIN, not GET.
        is_write: the page will be written.
        is_private: no other process may use the page meanwhile: it is written, or its data count.
        is_longterm, is_fast_only: the flags.
    """

    nr_references: int
    is_pin: bool
    is_write: bool
    is_private: bool
    is_longterm: bool
    is_fast_only: bool


@functools.cache
def wanted(flags: Foll) -> Wanted:
    """What some flags ask for.

    Raises:
        PinpageError: not exactly one of GET and PIN, or LONGTERM without PIN.
    """
    kind = flags & (Foll.GET | Foll.PIN)
    if kind not in (Foll.GET, Foll.PIN):
        raise PinpageError("gup: flags: give exactly one of Foll.GET and Foll.PIN")
    if flags & Foll.LONGTERM and kind == Foll.GET:
        raise PinpageError("gup: flags: Foll.LONGTERM goes with Foll.PIN, not with GET")
    is_pin, is_write = kind == Foll.PIN, Foll.WRITE in flags
    return Wanted(
        nr_references=GUP_PIN_COUNTING_BIAS if is_pin else 1,
        is_pin=is_pin,
        is_write=is_write,
        is_private=is_pin or is_write,
        is_longterm=Foll.LONGTERM in flags,
        is_fast_only=Foll.FAST_ONLY in flags,
    )


def maybe_dma_pinned(frames: Frames, pfns: Pfns) -> Mask:
    """`Frames.maybe_dma_pinned`.

    Args:
        frames: the columns.
        pfns: which frames, shape (n,).
    """
    return frames.maybe_dma_pinned(pfns)
