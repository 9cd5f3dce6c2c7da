"""An .npz of which nothing is inflated before its size is known and justified.

A few kilobytes of zip can claim terabytes, so the order is: the directory (itself bounded),
the first bytes of each member, which say dtype and shape, and only then, by the caller's
leave, the array.  A member must inflate to exactly what its own header says.  Nothing is
unpickled, and nothing but numbers, yes and no, and text has a dtype here.

    opened(path) -> Archive     names, `header(name)`, `read(name)`

Owns: the bounds of the file form.
Ignores: what the arrays mean; `pinlab.snapshot.form` and `pinlab.procfs.linux61` know that.
Cost: as numpy's own reader, and a few us per member for the headers.
"""

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinlab.files.available import nr_bytes_available
from pinlab.snapshot.errors import SnapshotError

__all__ = ["MAX_NR_FRAMES_READ", "Archive", "ArrayHeader", "opened", "require_frames"]

MAX_NR_FRAMES_READ: Final = 1 << 29
"""Frames of the largest machine that is read, holes included: 2 TiB."""

_NR_BYTES_PER_FRAME: Final = 64
"""Columns of a frame, and what checking them takes."""
_MOST_AT_ONCE: Final = 1 << 20
"""The largest piece of the file that is ever asked for, so also the largest directory."""
_CHUNK_NR_BYTES: Final = 1 << 18
_MOST_HEADER_NR_BYTES: Final = 10_000
_AGAIN: Final = "copy the file or record it again"

_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,  # "encrypted", "compression method not implemented"
    TypeError,
    UnicodeError,
    ValueError,
)
"""What zipfile raises on a damaged file."""

_MAGIC = re.compile(rb"\x93NUMPY([\x01\x02])\x00")
_HEADER = re.compile(
    r"\{'descr': '([<>|=][biufU][0-9]{1,8})', 'fortran_order': (True|False), "
    r"'shape': \(((?:[0-9]{1,15}(?:, [0-9]{1,15}){0,3},?)?)\), \} *\n?"
)


@frozen
class ArrayHeader:
    """What a member says of itself.

    Attributes:
        dtype: of booleans, numbers or text.
        shape: as numpy has it.
        is_fortran: the first index runs fastest.
        nr_header_bytes: of the member, before the array begins.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    nr_header_bytes: int

    @property
    def nr_bytes(self) -> int:
        """Of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


class _Bounded(io.BufferedReader):
    """A file of which nobody can ask for much at once; zipfile asks for all of its directory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MOST_AT_ONCE:
            raise zipfile.BadZipFile(f"a directory of {size:,d} bytes")
        return super().read(size)


class Archive:
    """An .npz that is open: what is in it, and its arrays one by one.

    Attributes:
        path: of the file.
        names: of the arrays, each once.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        """Nothing is inflated yet.

        Args:
            path: the file, for messages.
            archive: the open file.

        Raises:
            SnapshotError: two members of one name.
        """
        self.path = path
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._headers: dict[str, ArrayHeader] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                raise SnapshotError(path, f"array {name}", "is there twice", _AGAIN)
            self._members[name] = info

    @property
    def names(self) -> frozenset[str]:
        """Names of all members, with an array's ending taken off."""
        return frozenset(self._members)

    def header(self, name: str) -> ArrayHeader:
        """Dtype and shape of an array, of which nothing but these is inflated.

        Raises:
            SnapshotError: it is no array, or one whose size the zip's directory denies.
        """
        if name not in self._headers:
            with _damage_named(self.path):
                self._headers[name] = self._read_header(name)
        return self._headers[name]

    def _read_header(self, name: str) -> ArrayHeader:
        info = self._members[name]
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            # Of the others some take gigabytes to inflate anything.
            raise SnapshotError(
                self.path, f"array {name}", "is neither stored nor deflated", _AGAIN
            )
        with self._archive.open(info) as member:
            found = _array_header(member.read(_MOST_HEADER_NR_BYTES))
        if found is None:
            problem = "is no array of numbers or text, and nothing else is opened"
            raise SnapshotError(self.path, f"array {name}", problem, _AGAIN)
        if info.file_size != found.nr_header_bytes + found.nr_bytes:
            problem = f"says {found.nr_bytes:,d} bytes and has {info.file_size:,d} with its header"
            raise SnapshotError(self.path, f"array {name}", problem, _AGAIN)
        return found

    def require_at_most(self, name: str, nr_bytes: int, why: str) -> ArrayHeader:
        """The header of an array that is no larger than there is a reason for.

        Args:
            name: of the array.
            nr_bytes: the most that there is a reason for.
            why: why no more is needed, for messages.

        Raises:
            SnapshotError: it is larger.
        """
        header = self.header(name)
        if header.nr_bytes > nr_bytes:
            problem = f"has {header.nr_bytes:,d} bytes, more than {why}"
            raise SnapshotError(self.path, f"array {name}", problem, _AGAIN)
        return header

    def read(self, name: str) -> NDArray[Any]:
        """One array, inflated to exactly the size that its header said.

        Context: for a caller who has looked at `header` and finds the size justified.

        Raises:
            SnapshotError: it is damaged, or does not fit into memory.
        """
        header = self.header(name)
        try:
            with _damage_named(self.path):
                raw = self._inflated(name, header)
        except MemoryError:
            problem = f"has {header.nr_bytes:,d} bytes, more than there is memory for"
            raise SnapshotError(
                self.path, f"array {name}", problem, "use a larger machine"
            ) from None
        shape = header.shape[::-1] if header.is_fortran else header.shape
        array: NDArray[Any] = raw.view(header.dtype).reshape(shape)
        return array.T if header.is_fortran else array

    def _inflated(self, name: str, header: ArrayHeader) -> NDArray[np.uint8]:
        raw = np.empty(header.nr_bytes, dtype=np.uint8)
        target, done = raw.data, 0
        with self._archive.open(self._members[name]) as member:
            member.read(header.nr_header_bytes)
            while done < len(raw):
                chunk = member.read(min(_CHUNK_NR_BYTES, len(raw) - done))
                if not chunk:
                    raise EOFError(f"{name} ends early")
                target[done : done + len(chunk)] = chunk
                done += len(chunk)
            if member.read(1):  # (also makes zipfile compare its own checksum)
                raise zipfile.BadZipFile(f"{name} does not end")
        return raw


def _array_header(start: bytes) -> ArrayHeader | None:
    """What the first bytes of a member say, None unless it is an array of a kind that we read."""
    version = _MAGIC.match(start)
    if version is None:
        return None
    width = 2 if version[1] == b"\x01" else 4
    begin = version.end() + width
    stop = begin + int.from_bytes(start[version.end() : begin], "little")
    if stop > len(start):
        return None
    said = _HEADER.fullmatch(start[begin:stop].decode("latin-1"))
    if said is None:
        return None
    try:
        dtype = np.dtype(said[1])
    except (TypeError, ValueError):
        return None
    shape = tuple(int(n) for n in said[3].replace(" ", "").split(",") if n)
    if not dtype.itemsize or (len(shape) > 1 and 0 in shape):
        return None
    return ArrayHeader(dtype, shape, said[2] == "True" and len(shape) > 1, stop)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except SnapshotError:
        raise
    except _DAMAGE as error:
        problem = f"is damaged ({str(error) or type(error).__name__})"
        raise SnapshotError(path, "file", problem, _AGAIN) from None


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """An .npz, open as long as the block lasts.

    Raises:
        SnapshotError: no such file, not an .npz, cut short, or damaged.
    """
    try:
        if not path.exists():
            raise SnapshotError(path, "file", "does not exist", "check the path")
        if not path.is_file():
            raise SnapshotError(path, "file", "is not a regular file", "name a recording")
        raw = path.open("rb", buffering=0)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise SnapshotError(path, "file", problem, "allow it") from None
    with _Bounded(raw) as file:
        if not zipfile.is_zipfile(file):
            fix = "give it a whole recording, or a source that `pinpage convert` takes"
            raise SnapshotError(path, "file", "is cut short, or no .npz at all", fix)
        with _damage_named(path):
            archive = zipfile.ZipFile(file)
        with archive:
            yield Archive(path, archive)


def require_frames(nr_frames: int, path: Path | str, field: str = "size") -> None:
    """Refuse so many frames as nobody reads, or as do not fit into this machine's memory.

    Args:
        nr_frames: of the recording, holes included.
        path: of the recording.
        field: of it, that says so.

    Raises:
        SnapshotError: names what is needed and what there is.
    """
    if nr_frames > MAX_NR_FRAMES_READ:
        problem = (
            f"comes to {nr_frames:,d} frames, more than the {MAX_NR_FRAMES_READ:,d} that are read"
        )
        raise SnapshotError(path, field, problem, "check it")
    needed, there = nr_frames * _NR_BYTES_PER_FRAME, nr_bytes_available()
    if there is not None and needed > there:
        sizes = f"{needed / 2**30:.1f} GiB to be read and {there / 2**30:.1f} GiB are available"
        raise SnapshotError(
            path, field, f"{nr_frames:,d} frames need {sizes}", "use a larger machine"
        )
