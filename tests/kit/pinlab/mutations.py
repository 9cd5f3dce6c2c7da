"""Small hostile changes, drawn: of JSON values, of arrays, of the bytes of a file."""

import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["change_array", "change_bytes", "change_text", "change_value", "change_zip"]

_ODD: list[Any] = [
    None, True, False, -1, 0, 1, 7, 2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30),
    0.5, 1e308, float("nan"), "", "a", "\ud800", "x\ny", "\x1b[31m", "\x00", "A" * 10_000,
    [], {}, [[]], {"": 0}, [0] * 1000, "²", "1" * 5000,
]  # fmt: skip


def change_value(rng: random.Random, value: Any) -> Any:
    """A JSON value with one place in it replaced, dropped, doubled or nudged."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        changed = dict(value)
        what = rng.random()
        if what < 0.1:
            del changed[key]
        elif what < 0.15:
            changed[rng.choice(["extra", "\udfff", "a\nb"])] = rng.choice(_ODD)
        else:
            changed[key] = change_value(rng, value[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        what = rng.random()
        if what < 0.1:
            return value[:at] + value[at + 1 :]
        if what < 0.2:
            return value + value * rng.choice([1, 2, 300])
        return [*value[:at], change_value(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, str) and rng.random() < 0.5:
        return change_text(rng, value)
    if type(value) is int and rng.random() < 0.6:
        return rng.choice([value + 1, value - 1, value * 2, value // 2, -value, value + 511])
    if rng.random() < 0.05:
        deep: Any = 0
        for _ in range(rng.choice([20, 40, 300])):
            deep = [deep]
        return deep
    return rng.choice(_ODD)


_BITS = [
    "0", "-1", "9" * 40, "1" * 5000, "ffffffffffffffff", " " * 3000, "\n" * 3000, "\x00", "é",
    "\ud7ff", ",", "(", ")", ":", "%", "=", "TiB", "\t", "\r", "Node", "e9", ".", "²",
]  # fmt: skip


def change_text(rng: random.Random, text: str) -> str:
    """A text with a piece replaced, dropped, doubled or put in."""
    at = rng.randrange(len(text) + 1)
    stop = min(len(text), at + rng.choice([0, 1, 1, 2, 5, 40]))
    what = rng.random()
    if what < 0.4:
        return text[:at] + rng.choice(_BITS) + text[stop:]
    if what < 0.55:
        return text[:at]
    if what < 0.75:
        lines = text.split("\n")
        row = rng.randrange(len(lines))
        return "\n".join(lines[:row] + lines[row : row + 1] * rng.choice([0, 2, 300]) + lines[row:])
    numbers = [i for i, c in enumerate(text) if c.isdigit()]
    if not numbers:
        return text + rng.choice(_BITS)
    place = rng.choice(numbers)
    return text[:place] + rng.choice("0123456789-. ") + text[place + 1 :]


def change_array(rng: random.Random, array: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """An array with some rows drawn anew, another dtype, another shape, or another length."""
    draw = np.random.default_rng(rng.getrandbits(32))
    what = rng.random()
    if what < 0.6 and array.size and array.dtype.kind in "iub":
        changed = array.copy()
        rows = draw.integers(array.size, size=rng.choice([1, 1, 3, 50, array.size]))
        pool = np.concatenate((np.arange(-2, 25), 2 ** np.arange(0, 63, 3)))
        with np.errstate(all="ignore"):
            changed.flat[rows] = draw.choice(pool, len(rows)).astype(array.dtype)
        return changed
    kinds: list[Callable[[], Any]] = [
        lambda: array.astype(rng.choice(["<i8", ">i4", "<u2", "<f8", "<c16", "S3", "<U4", "?"])),
        lambda: array.astype("<i8").astype("<M8[s]"),
        lambda: array[: len(array) // 2] if array.ndim else array,
        lambda: np.concatenate((array, array)) if array.ndim else array,
        lambda: array.reshape(1, *array.shape),
        lambda: np.asfortranarray(array.reshape(-1, 1)),
        lambda: np.zeros(0, dtype=array.dtype),
        lambda: np.zeros((3, 0), dtype=array.dtype),
        lambda: np.zeros((), dtype=array.dtype),
        lambda: array[::-1].copy() if array.ndim else array,
    ]
    with np.errstate(all="ignore"):
        try:
            return rng.choice(kinds)()
        except (TypeError, ValueError):
            return np.zeros(3)


def change_bytes(rng: random.Random, content: bytes) -> bytes:
    """A file with bytes flipped, cut short, put in or left out."""
    at = rng.randrange(len(content) + 1)
    what = rng.random()
    if what < 0.5:
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 20])):
            if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if what < 0.65:
        return content[:at]
    if what < 0.8:
        return content[:at] + content[min(len(content), at + rng.randrange(1, 60)) :]
    return content[:at] + rng.randbytes(rng.choice([1, 4, 100])) + content[at:]


def change_zip(rng: random.Random, path: Path) -> None:
    """An .npz with one member doubled, emptied, renamed, packed otherwise, or lying of its size."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    name, content = rng.choice(members)
    kind = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    what = rng.randrange(7)
    if what == 0:
        members.append((name, content))
    elif what == 1:
        members = [(n, b"" if n == name else c) for n, c in members]
    elif what == 2:
        members = [(n.removesuffix(".npy") if n == name else n, c) for n, c in members]
    elif what == 3:
        members = [(n, c + bytes(rng.choice([1, 1 << 26])) if n == name else c) for n, c in members]
    elif what == 4:
        members = [(n, _boasting(rng, c) if n == name else c) for n, c in members]
    elif what == 5:
        kind = rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    else:
        start = change_bytes(rng, content[:200])
        members = [(n, start + c[200:] if n == name else c) for n, c in members]
    with (
        zipfile.ZipFile(path, "w", kind) as archive,
        warnings.catch_warnings(action="ignore", category=UserWarning),  # a name used twice
    ):
        for member, inner in members:
            archive.writestr(member, inner)
    if rng.random() < 0.3:  # sizes in the directory that are not so
        raw = bytearray(path.read_bytes())
        at = raw.rfind(b"PK\x01\x02")
        raw[at + 20 : at + 28] = struct.pack("<II", rng.getrandbits(32), rng.getrandbits(32))
        path.write_bytes(raw)


def _boasting(rng: random.Random, content: bytes) -> bytes:
    """The same array under a header that claims another shape, dtype or length of the header."""
    shape = rng.choice(["(1099511627776,)", "(-1,)", "(3, 3)", "()", "(9" * 500, "(2.5,)"])
    descr = rng.choice(["'<u8'", "'|O'", "'<U99999999'", "[('a', '<u8')]", "'<M8[s]'", "-" * 5000])
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = rng.choice([len(text), 2**31, 2**32 - 1])
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", length) + text + content[128:]
