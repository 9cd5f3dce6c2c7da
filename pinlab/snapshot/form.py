"""The file form: a compressed .npz of columns, a JSON header, a checksum over every byte.

Any numpy can read the columns; nothing in the file is pickled.  The member `header` is UTF-8
JSON and carries dtype, shape and SHA-256 of every column; the member `header_sha256` is the
SHA-256 of the header.  The same content gives the same bytes, whenever it is written.
"""

import contextlib
import hashlib
import json
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinlab.snapshot.errors import SnapshotError

__all__ = ["FORMAT", "FORMAT_VERSION", "Columns", "atomic_path", "read", "read_npz", "write"]

FORMAT: Final = "pinpage-snapshot"
"""The header's `format`: what makes an .npz one of ours."""
FORMAT_VERSION: Final = 1
"""Goes up with every change that an older reader would misunderstand."""

_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    MemoryError,  # an array header that claims an absurd shape
    OSError,
    OverflowError,
    RuntimeError,  # "encrypted", "compression method not implemented"
    SyntaxError,  # numpy reads the array header as a Python literal
    TypeError,
    UnicodeError,
    ValueError,
)
"""What zipfile and numpy raise between them on a damaged file."""

Columns = Mapping[str, NDArray[Any]]
"""Arrays by name."""

_HEADER = "header"
_HEADER_SUM = "header_sha256"
_AGAIN = "copy or record it again"


def _sha256(column: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(column).data).hexdigest()


def write(path: Path, header: Mapping[str, Any], columns: Columns) -> None:
    """Write the file, whole or not at all: a temporary file beside it, then a rename.

    Args:
        path: where to; an existing file is replaced.
        header: JSON-able; `format`, `version` and `columns` are added here.
        columns: the arrays; stored little-endian.

    Raises:
        SnapshotError: the directory does not exist or cannot be written; nothing changed.
    """
    stored = {
        name: column.astype(column.dtype.newbyteorder("<"), copy=False)
        for name, column in columns.items()
    }
    described = {
        name: {"dtype": c.dtype.str, "shape": list(c.shape), "sha256": _sha256(c)}
        for name, c in stored.items()
    }
    full = {"format": FORMAT, "version": FORMAT_VERSION, **header, "columns": described}
    text = json.dumps(full, sort_keys=True, separators=(",", ":")).encode()
    members: dict[str, Any] = {
        _HEADER: np.frombuffer(text, dtype=np.uint8),
        _HEADER_SUM: np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8),
        **stored,
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **members)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file that becomes `path` when the block ends well, and vanishes if not.

    It lies in the same directory, for a rename must not cross file systems.

    Raises:
        SnapshotError: the directory does not exist or cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise SnapshotError(path, "output", problem, "choose another place or make room") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_npz(path: Path, names: frozenset[str] | None = None) -> dict[str, NDArray[Any]]:
    """Every array of an .npz (or those of `names` that it has), nothing unpickled.

    Raises:
        SnapshotError: no such file, not an .npz, cut short, or damaged.
    """
    if not path.exists():
        raise SnapshotError(path, "file", "does not exist", "check the path")
    if not path.is_file():
        raise SnapshotError(path, "file", "is not a regular file", "name a recording")
    try:
        # Opened here, for numpy leaves its own file open when it fails.
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    members = [name for name in archive.files if names is None or name in names]
                    return {name: archive[name] for name in members}
    except PermissionError as error:
        raise SnapshotError(
            path, "file", f"cannot be read ({error.strerror})", "allow it"
        ) from None
    except _DAMAGE as error:
        problem = f"is damaged ({str(error) or type(error).__name__})"
        raise SnapshotError(path, "file", problem, _AGAIN) from None
    raise SnapshotError(
        path, "file", "is cut short, or no .npz at all", "give it a whole recording"
    )


def _header_of(path: Path, columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
    text, digest = columns.pop(_HEADER, None), columns.pop(_HEADER_SUM, None)
    if text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise SnapshotError(
            path, "header", "is not there, so this is no snapshot", "import or record it first"
        )
    if digest is None or hashlib.sha256(text.tobytes()).digest() != digest.tobytes():
        raise SnapshotError(path, "header", "does not match its checksum", _AGAIN)
    try:
        header = json.loads(text.tobytes())
    except ValueError as error:
        raise SnapshotError(path, "header", f"is not JSON ({error})", _AGAIN) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SnapshotError(
            path, "header format", f"is not {FORMAT!r}", "import or record it first"
        )
    version = header.get("version")
    if type(version) is not int or version < 1:
        raise SnapshotError(path, "header version", f"is {version!r}, not a number from 1", _AGAIN)
    if version > FORMAT_VERSION:
        problem = f"is {version}, newer than the {FORMAT_VERSION} that this pinpage reads"
        raise SnapshotError(path, "header version", problem, "upgrade pinpage")
    return header


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and columns, each column as its description says and with its checksum intact.

    Raises:
        SnapshotError: no such file, cut short, damaged, foreign, newer; names the field.
    """
    columns = read_npz(path)
    header = _header_of(path, columns)
    described = header.get("columns")
    if not isinstance(described, dict):
        raise SnapshotError(path, "header columns", "is missing", _AGAIN)
    for name in sorted(set(described) | set(columns)):
        if name not in columns:
            raise SnapshotError(path, f"column {name}", "is missing from the file", _AGAIN)
        if name not in described:
            raise SnapshotError(path, f"column {name}", "is not in the header", _AGAIN)
        _check_column(path, name, columns[name], described[name])
    return header, columns


def _check_column(path: Path, name: str, column: NDArray[Any], said: object) -> None:
    if not isinstance(said, dict):
        raise SnapshotError(path, f"header columns.{name}", "is not an object", _AGAIN)
    if column.dtype.str != said.get("dtype") or list(column.shape) != said.get("shape"):
        wanted = f"{said.get('dtype')}{said.get('shape')}"
        problem = f"is {column.dtype.str}{list(column.shape)}, the header says {wanted}"
        raise SnapshotError(path, f"column {name}", problem, _AGAIN)
    if _sha256(column) != said.get("sha256"):
        raise SnapshotError(path, f"column {name}", "does not match its checksum", _AGAIN)
