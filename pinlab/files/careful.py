"""Files, JSON and texts from somebody else: bounded when they are read, plain when printed.

A file may be anything: endless, a pipe that nobody writes to, JSON nested a hundred thousand
deep, a name with control characters that a terminal would obey.  What is read through here is
no larger than its reader can use, and what is not plain is said in one line.

Owns: the bounds of texts and JSON.
Ignores: the arrays of a recording, which `pinlab.files.npz` bounds.
Cost: reading apart, a pass over the values.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

__all__ = ["MOST_TEXT_NR_BYTES", "awry", "load_json", "one_line", "plain", "read_bytes"]

MOST_TEXT_NR_BYTES: Final = 64 << 20
"""The largest text that is read; /proc/zoneinfo of a thousand CPUs on 64 nodes has 20 MiB."""

_CHUNK_NR_BYTES: Final = 1 << 20
_MOST_DEPTH: Final = 32
_MOST_INT: Final = 1 << 63
_MOST_SHOWN: Final = 2000


def read_bytes(
    path: Path, most_nr_bytes: int = MOST_TEXT_NR_BYTES, *, pipes: bool = False
) -> bytes:
    """All of a file, if it is one and not larger than it may be.

    Args:
        path: of the file.
        most_nr_bytes: that are read; a larger file is refused.
        pipes: whether what is no regular file goes too, and is waited for.

    Raises:
        OSError: it cannot be read, is no regular file, or is too large.
    """
    if not pipes and not stat.S_ISREG(path.stat().st_mode):
        # Asked first: opening a pipe that nobody writes to would not return.
        code = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(code, "is not a regular file", os.fspath(path))
    parts, nr_read = [], 0
    with path.open("rb") as file:
        while part := file.read(_CHUNK_NR_BYTES):
            parts.append(part)
            nr_read += len(part)
            if nr_read > most_nr_bytes:
                problem = f"is larger than the {most_nr_bytes:,d} bytes that are read of it"
                raise OSError(errno.EFBIG, problem, os.fspath(path))
    return b"".join(parts)


def load_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, or nested deeper than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def awry(value: Any, where: str = "", *, lines: bool = False) -> tuple[str, str] | None:
    """The first thing in a value from JSON that no honest file has: (where, what), or None.

    That is a text that cannot be printed, a number beyond 64 bits, or depth beyond use.

    Args:
        value: dicts, lists, texts and numbers.
        where: what the value is called.
        lines: whether texts may have several lines.
    """
    rest: list[tuple[Any, str, int]] = [(value, where, 0)]
    while rest:
        item, name, depth = rest.pop()
        if depth > _MOST_DEPTH:
            return one_line(name), "is nested too deeply"
        if isinstance(item, str) and not _is_plain(item, lines=lines):
            return one_line(name), "is a text with characters that cannot be printed"
        if isinstance(item, int | float) and not -_MOST_INT <= item < _MOST_INT:
            return one_line(name), "is a number beyond 64 bits"
        if isinstance(item, dict):
            for key, inner in item.items():
                rest.append((key, name, depth))
                rest.append((inner, f"{name}.{key}" if name else str(key), depth + 1))
        elif isinstance(item, list | tuple):
            rest.extend((inner, f"{name}[{i}]", depth + 1) for i, inner in enumerate(item))
    return None


def _is_plain(text: str, *, lines: bool) -> bool:
    return text.isprintable() or (lines and "".join(text.split()).isprintable())


def plain(text: str) -> str:
    r"""A text without what a terminal would obey or could not show.

    >>> plain("quiet\tro\x1b[31m\n")
    'quiet ro?[31m '
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def one_line(text: str) -> str:
    r"""A message as one printable line, its middle left out where it would fill screens.

    >>> one_line("no such\nfile\x07")
    'no such file?'
    """
    line = " ".join(plain(text).split())
    if len(line) <= _MOST_SHOWN:
        return line
    half = _MOST_SHOWN // 2
    return f"{line[:half]} ... {line[-half:]}"
