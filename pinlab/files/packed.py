"""Files that may be packed by gzip or xz, told apart by their first bytes, read piece by piece.

A few kilobytes can unpack to gigabytes, so nothing is unpacked as a whole: readers get pieces,
and stop at their bound.

Owns: the way from a file to its bytes.
Ignores: what the bytes mean.
Cost: reading and unpacking, once.
"""

import errno
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

__all__ = ["DAMAGE", "PACKED_SUFFIXES", "lines_of", "read_unpacked", "start_of", "unpacked"]

PACKED_SUFFIXES: Final = (".gz", ".xz")
"""What the names of packed files usually end in."""
DAMAGE: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""What is raised while a packed file is read that is cut short or damaged."""

_GZIP: Final = b"\x1f\x8b"
_XZ: Final = b"\xfd7zXZ\x00"
_WORD_NR_BYTES: Final = 8
_CHUNK_NR_BYTES: Final = 1 << 18
_MOST_XZ_NR_BYTES: Final = 1 << 27
"""Memory that unpacking xz may take: twice of what `xz -9` needs."""
_MOST_LINE_NR_BYTES: Final = 4096


class _Xz(io.RawIOBase):
    """An xz stream, with a bound on the memory that its header may ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inner = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_NR_BYTES)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, at least in part; 0 at the end."""
        while not self._inner.eof:
            packed = self._file.read(_CHUNK_NR_BYTES) if self._inner.needs_input else b""
            if self._inner.needs_input and not packed:
                raise EOFError("the file ends before the end-of-stream marker")
            if piece := self._inner.decompress(packed, len(buffer)):
                buffer[: len(piece)] = piece
                return len(piece)
        return 0


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedIOBase | IO[bytes]]:
    """A file open for reading what is in it, packed or not.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # (opening a pipe could wait for ever)
        code = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(code, "is not a regular file", os.fspath(path))
    with path.open("rb", buffering=0) as file:
        magic = _magic_of(file)
        if magic.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as inner:
                yield inner
        elif magic.startswith(_XZ):
            with io.BufferedReader(_Xz(file), _CHUNK_NR_BYTES) as inner:
                yield inner
        else:
            yield file


def _magic_of(file: io.FileIO) -> bytes:
    """The first bytes of a file, which is at its beginning again.

    kpageflags gives whole words and nothing less; page_owner gives whole records, and refuses.
    """
    try:
        magic = file.read(_WORD_NR_BYTES)
        file.seek(0)
    except OSError:  # what it is read for will say so, or read it otherwise
        return b""
    return magic or b""


def start_of(path: Path, nr_bytes: int) -> bytes:
    """The first bytes of what is in a file; fewer where it ends, or is damaged, before.

    Args:
        path: of the file.
        nr_bytes: that are wanted.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    got = bytearray()
    try:
        with unpacked(path) as file:
            while len(got) < nr_bytes and (piece := file.read(nr_bytes - len(got))):
                got += piece
    except DAMAGE:
        pass
    return bytes(got)


def read_unpacked(path: Path, most_nr_bytes: int) -> bytes:
    """All of what is in a file.

    Args:
        path: of the file.
        most_nr_bytes: that are read; what has more is refused.

    Raises:
        OSError: it cannot be read, is no regular file, is damaged or too large.
    """
    parts, nr_read = [], 0
    try:
        with unpacked(path) as file:
            while part := file.read(_CHUNK_NR_BYTES):
                parts.append(part)
                nr_read += len(part)
                if nr_read > most_nr_bytes:
                    problem = f"is larger than the {most_nr_bytes:,d} bytes that are read of it"
                    raise OSError(errno.EFBIG, problem, os.fspath(path))
    except DAMAGE as error:
        raise OSError(errno.EIO, f"is cut short or damaged: {error}", os.fspath(path)) from None
    return b"".join(parts)


def lines_of(path: Path, most_nr_bytes: int) -> Iterator[bytes]:
    """The lines of a text, without their ends; of a line that is too long, its beginning.

    Args:
        path: of the file.
        most_nr_bytes: after which no more is read.

    Raises:
        OSError: it cannot be read, or is no regular file.
        EOFError: it is packed and cut short or damaged, or has more bytes than are read; the
            lines before that have been given.
    """
    rest, nr_read = b"", 0
    try:
        with unpacked(path) as file:
            while piece := file.read(_CHUNK_NR_BYTES):
                nr_read += len(piece)
                *whole, rest = (rest + piece).split(b"\n")
                rest = rest[:_MOST_LINE_NR_BYTES]
                yield from (line[:_MOST_LINE_NR_BYTES] for line in whole)
                if nr_read > most_nr_bytes:
                    raise EOFError(f"there are more than {most_nr_bytes:,d} bytes")
    except DAMAGE as error:
        raise EOFError(str(error)) from None
    if rest:
        yield rest
