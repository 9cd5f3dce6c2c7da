"""Where every file is written: nothing that was there is lost, and nothing is half there.

A regular file is replaced as a whole, by a rename, and keeps its mode; a link stays and what
it leads to is replaced.  A pipe, a terminal, /dev/null: the bytes go through it.  A directory,
a disk, a file that may not be written: refused.

    with written(path) as file:      # bytes; seekable, whatever path is
        ...

Owns: the way to the file.
Ignores: what is written.
Cost: a rename; for what is no regular file, its bytes in memory first.
"""

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pinlab.files.careful import one_line
from pinlab.snapshot.errors import SnapshotError, WrongCallError
from pinpage.errors import PinpageError

__all__ = ["path_of", "require_place", "written"]

_ANOTHER = "choose another place or make room"


def path_of(given: object, what: str) -> Path:
    """A path from whoever calls: a Path or a text that is not empty.

    Args:
        given: what was given.
        what: the argument, for the message.

    Raises:
        PinpageError: it is neither, or empty, or no file can have such a name.
    """
    if not isinstance(given, str | Path):
        raise PinpageError(one_line(f"{what}={given!r}: give a path, as a Path or a text"))
    if str(given) == "" or "\0" in str(given):
        raise WrongCallError(one_line(f"{what}={given!r}: is no name of a file; give a path"))
    return Path(given)


def require_place(given: Path | str) -> Path:
    """Refuse early what cannot be written in the end; the path, as a Path.

    Args:
        given: where a file is to be written.

    Raises:
        PinpageError: it is no path.
        SnapshotError: there can be no such file, or it may not be written; nothing has changed.
    """
    path = path_of(given, "output")
    if not path.name:  # ".", "/"
        raise SnapshotError(path, "output", "is a directory", "name a file in it")
    with _failures_named(path):
        _goes_through(path)
        target = Path(os.path.realpath(path))
        place = target if target.exists() else target.parent
        if not os.access(place, os.W_OK):
            place.stat()  # a place that does not exist says so
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


@contextlib.contextmanager
def written(given: Path | str, *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """A file to write bytes to, which are at `given` when the block ends well, else nowhere.

    Args:
        given: where to; see the module.
        mode: of a regular file from now on; None: as it is, or as usual.

    Raises:
        PinpageError: it is no path.
        SnapshotError: the place cannot be written, or the disk is full; nothing has changed.
    """
    path = require_place(given)
    with _failures_named(path):
        if _goes_through(path):
            whole = io.BytesIO()
            yield whole
            with path.open("wb", buffering=0) as file:
                _write_all(file, whole.getbuffer())
            return
        with _replaced(Path(os.path.realpath(path)), mode) as file:
            yield file


def _goes_through(path: Path) -> bool:
    """Whether bytes go through what is there, instead of replacing it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISREG(mode):
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return True
    raise OSError(errno.EINVAL, "is neither a file nor a pipe")  # a disk, a socket


def _write_all(file: IO[bytes], rest: memoryview) -> None:
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def _replaced(path: Path, mode: int | None) -> Iterator[IO[bytes]]:
    """A temporary file that becomes `path` when the block ends well, and vanishes if not.

    It lies in the same directory, for a rename must not cross file systems.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            if mode is not None:
                temporary.chmod(mode)
            elif path.exists():
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever reads the pipe has seen enough
        raise
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise SnapshotError(path, "output", problem, _ANOTHER) from None
