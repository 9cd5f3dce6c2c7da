"""Sizes and titles in the words of reports."""

import textwrap
from collections.abc import Sequence
from typing import Final

from pinlab.snapshot.image import Snapshot

__all__ = ["block_name", "counted", "listed", "size_name", "titled"]

_WIDTH: Final = 79


def size_name(nr_bytes: int) -> str:
    """A number of bytes in the largest unit that it fills.

    >>> size_name(1 << 21), size_name(3 << 29)
    ('2 MiB', '1.5 GiB')
    """
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if nr_bytes >= 1 << shift:
            return f"{nr_bytes / (1 << shift):.4g} {unit}"
    return f"{nr_bytes / 1024:.4g} KiB"


def counted(nr: int, noun: str) -> str:
    """So many of them, in words.

    Args:
        nr: how many.
        noun: what one is called; an s makes it many.

    >>> counted(1, "frame"), counted(1200, "frame")
    ('1 frame', '1,200 frames')
    """
    return f"{nr:,d} {noun}{'' if nr == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names as they stand in a sentence.

    >>> listed(("slab", "zbud", "other")), listed(("slab",))
    ('slab, zbud and other', 'slab')
    """
    head, last = ", ".join(names[:-1]), "".join(names[-1:])
    return f"{head} and {last}" if head else last


def block_name(snapshot: Snapshot, order: int) -> str:
    """How large a block of that order is on a machine, such as "2 MiB".

    Args:
        snapshot: of the machine.
        order: log2 of the frames.
    """
    return size_name(snapshot.geometry.page_nr_bytes << order)


def titled(recording: str, text: str) -> str:
    """A line that begins with a recording's name, wrapped: names are whatever a file says.

    Args:
        recording: the name.
        text: what is said of it.
    """
    return textwrap.fill(f"{recording}: {text}", _WIDTH, subsequent_indent="    ")
