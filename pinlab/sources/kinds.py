"""What a file is, by its first bytes and never by its name.

Owns: how each form of source is told apart.
Ignores: what the sources say; each has a reader of its own.
Cost: the first 16 KiB of a file.
"""

import enum
import re
from pathlib import Path
from typing import Final

from pinlab.files.packed import start_of

__all__ = ["Kind", "kind_of", "kinds_in"]


class Kind(enum.StrEnum):
    """A form in which people have a machine's memory; the value says it in words."""

    NPZ = "arrays of numpy"
    PAGE_OWNER = "text of page_owner"
    PAGE_TYPES = "output of page-types"
    PAGETYPEINFO = "pagetypeinfo"
    ZONEINFO = "zoneinfo"
    BUDDYINFO = "buddyinfo"
    IOMEM = "iomem"
    MEMINFO = "meminfo"
    DUMP = "a crash dump, or a running kernel"


_LOOKED_AT_NR_BYTES: Final = 1 << 14
_MOST_FILES: Final = 256
"""Of a folder: those behind, by name, are passed over."""
_ELF: Final = b"\x7fELF"
_ET_CORE: Final = 4
_DUMPS: Final = (b"KDUMP   ", b"DISKDUMP", b"makedumpfile\x00")
_ROW: Final = rb"^Node[ ]+[0-9]+, zone[ ]+\w+"
_TEXTS: Final = (
    (Kind.PAGE_OWNER, rb"^Page allocated via order [0-9]|^PFN (?:0x)?[0-9a-f]+ .*Block [0-9]"),
    (Kind.PAGE_TYPES, rb"^[ \t]*(?:\S+[ \t]+){0,3}offset[ \t]+(?:len[ \t]+)?flags"),
    (Kind.PAGE_TYPES, rb"^[ \t]+flags[ \t]+page-count"),
    (Kind.PAGE_TYPES, rb"^[ \t]*(?:@?[0-9a-f]+[ \t]+){1,4}(?=\S*_)[0-9A-Za-z_]{22,64}[ \t]*$"),
    (Kind.PAGETYPEINFO, rb"^Page block order:|^Number of blocks type"),
    (Kind.ZONEINFO, rb"^ +(?:per-node stats|pages free +[0-9])"),
    (Kind.BUDDYINFO, _ROW + rb"(?:[ ]+[0-9]+){2,}[ ]*$"),
    (Kind.IOMEM, rb"^[ ]*[0-9a-f]+-[0-9a-f]+ : "),
    (Kind.MEMINFO, rb"^Mem(?:Total|Free):[ ]+[0-9]"),
)
_KNOWN: Final = tuple((kind, re.compile(text, re.MULTILINE)) for kind, text in _TEXTS)


def kind_of(path: Path) -> Kind | None:
    """What a file is; None where it is nothing that is read.

    Raises:
        OSError: it cannot be read.
    """
    start = start_of(path, _LOOKED_AT_NR_BYTES)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Kind.NPZ
    if start.startswith(_DUMPS):
        return Kind.DUMP
    if start.startswith(_ELF):
        order = "big" if start[5:6] == b"\x02" else "little"
        is_core = int.from_bytes(start[16:18], order) == _ET_CORE  # type: ignore[arg-type]
        return Kind.DUMP if is_core else None
    start = start.replace(b"\r\n", b"\n")
    return next((kind for kind, text in _KNOWN if text.search(start)), None)


def kinds_in(folder: Path) -> dict[Kind, Path]:
    """Kind -> the first file of a folder, by name, that is of that kind.

    Raises:
        OSError: the folder cannot be read; a file that cannot is passed over.
    """
    found: dict[Kind, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file())[:_MOST_FILES]:
        try:
            kind = kind_of(path)
        except OSError:
            continue
        if kind is not None:
            found.setdefault(kind, path)
    return found
