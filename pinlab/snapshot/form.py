"""The file form: a compressed .npz of columns, a JSON header, a checksum over every byte.

Any numpy can read the columns; nothing in the file is pickled.  The member `header` is UTF-8
JSON and carries dtype, shape and SHA-256 of every column; the member `header_sha256` is the
SHA-256 of the header.  The same content gives the same bytes, whenever it is written.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinlab.files import npz
from pinlab.files.careful import awry, load_json
from pinlab.files.npz import Archive
from pinlab.files.output import written
from pinlab.snapshot.errors import SnapshotError

__all__ = ["FORMAT", "FORMAT_VERSION", "Columns", "read", "write"]

FORMAT: Final = "pinpage-snapshot"
"""The header's `format`: what makes an .npz one of ours."""
FORMAT_VERSION: Final = 1
"""Goes up with every change that an older reader would misunderstand."""

Columns = Mapping[str, NDArray[Any]]
"""Arrays by name."""

_HEADER = "header"
_HEADER_SUM = "header_sha256"
_PER_FRAME = "state"
"""The column that says how many frames there are."""
_MOST_HEADER_NR_BYTES: Final = 4 << 20
_MOST_NR_BYTES_OF_COLUMN: Final = 8
"""A frame: kpageflags has a word for each, and pinned pfns may name each once."""
_MOST_NR_BYTES_OF_ALL: Final = 80
"""A frame, in all columns together, those per pageblock included."""
_MOST_NR_BYTES_BESIDE: Final = 1 << 16
_OWNER_ONLY: Final = 0o600
_AGAIN = "copy or record it again"


def _sha256(column: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(column).data).hexdigest()


def write(path: Path, header: Mapping[str, Any], columns: Columns) -> None:
    """Write the file, whole or not at all.

    Only its owner can read it.

    Args:
        path: where to; an existing file is replaced (`pinlab.files.output`).
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
    # What lies in a machine's memory is nobody else's business.
    with written(path, mode=_OWNER_ONLY) as file:
        np.savez_compressed(file, **members)


def _header_of(archive: Archive) -> dict[str, Any]:
    path = archive.path
    text, digest = (_header_array(archive, name) for name in (_HEADER, _HEADER_SUM))
    if text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise SnapshotError(
            path, "header", "is not there, so this is no snapshot", "import or record it first"
        )
    if digest is None or hashlib.sha256(text.tobytes()).digest() != digest.tobytes():
        raise SnapshotError(path, "header", "does not match its checksum", _AGAIN)
    try:
        header = load_json(text.tobytes())
    except ValueError as error:
        raise SnapshotError(path, "header", f"is not JSON ({error})", _AGAIN) from None
    if found := awry(header):
        raise SnapshotError(path, f"header {found[0]}", found[1], _AGAIN)
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


def _header_array(archive: Archive, name: str) -> NDArray[Any] | None:
    if name not in archive.names:
        return None
    archive.require_at_most(name, _MOST_HEADER_NR_BYTES, "any header has")
    return archive.read(name)


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and columns, each column as its description says and with its checksum intact.

    The header is read first, and of each column its size; only if all of them are what the
    header says, and no more than its frames justify, is anything else inflated.

    Raises:
        SnapshotError: no such file, cut short, damaged, foreign, newer, too large; names the
            field.
    """
    with npz.opened(path) as archive:
        header = _header_of(archive)
        described = header.get("columns")
        if not isinstance(described, dict):
            raise SnapshotError(path, "header columns", "is missing", _AGAIN)
        there = archive.names - {_HEADER, _HEADER_SUM}
        for name in sorted(described.keys() | there):
            if name not in there:
                raise SnapshotError(path, f"column {name}", "is missing from the file", _AGAIN)
            if name not in described:
                raise SnapshotError(path, f"column {name}", "is not in the header", _AGAIN)
            _check_description(archive, name, described[name])
        _check_sizes(archive, sorted(described))
        return header, {name: _column(archive, name, described[name]) for name in described}


def _check_description(archive: Archive, name: str, said: object) -> None:
    path, column = archive.path, archive.header(name)
    if not isinstance(said, dict):
        raise SnapshotError(path, f"header columns.{name}", "is not an object", _AGAIN)
    if column.dtype.kind not in "biu":
        raise SnapshotError(path, f"column {name}", f"is {column.dtype}, no numbers", _AGAIN)
    if column.dtype.str != said.get("dtype") or list(column.shape) != said.get("shape"):
        wanted = f"{said.get('dtype')}{said.get('shape')}"
        problem = f"is {column.dtype.str}{list(column.shape)}, the header says {wanted}"
        raise SnapshotError(path, f"column {name}", problem, _AGAIN)


def _check_sizes(archive: Archive, names: Sequence[str]) -> None:
    """No column beyond what a recording of so many frames can have, nor too many frames."""
    shape = archive.header(_PER_FRAME).shape if _PER_FRAME in names else ()
    nr_frames = shape[0] if len(shape) == 1 else 0
    npz.require_frames(nr_frames, archive.path, f"column {_PER_FRAME}")
    for name in names:
        most = _MOST_NR_BYTES_OF_COLUMN * nr_frames + _MOST_NR_BYTES_BESIDE
        archive.require_at_most(name, most, f"{nr_frames:,d} frames justify")
    total = sum(archive.header(name).nr_bytes for name in names)
    if total > _MOST_NR_BYTES_OF_ALL * nr_frames + _MOST_NR_BYTES_BESIDE:
        problem = f"come to {total:,d} bytes, more than {nr_frames:,d} frames justify"
        raise SnapshotError(archive.path, "columns", problem, _AGAIN)


def _column(archive: Archive, name: str, said: Mapping[str, Any]) -> NDArray[Any]:
    column = archive.read(name)
    if _sha256(column) != said.get("sha256"):
        raise SnapshotError(archive.path, f"column {name}", "does not match its checksum", _AGAIN)
    return column
