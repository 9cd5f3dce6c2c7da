"""Sizes and titles in the words of reports."""

import textwrap
from typing import Final

from pinlab.snapshot.image import Snapshot

__all__ = ["block_name", "size_name", "titled"]

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
