"""Lines in texts of /proc that mean nothing: how many, in which file, and the first of them.

The parsers pass over what they do not know, so that they read forwards and backwards through
kernel versions; here each line is held against the form that the kernel has always printed.

Owns: those forms.
Ignores: what the lines say (`pinlab.procfs.proc_text`, `pinlab.procfs.iomem`).
Cost: one more pass over the lines.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pinlab.procfs.survey import Folder
from pinlab.sources.counts import FIRST_UNREAD, UNREAD

__all__ = ["unread_in", "unread_of"]

_COUNTS: Final = r"(?:[ \t]+>?[0-9]+)+"
_ZONE: Final = r"Node[ \t]+[0-9]+,[ \t]+zone[ \t]+\w+"
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "iomem": re.compile(r"[ \t]*[0-9a-f]{1,16}-[0-9a-f]{1,16} : .*"),
    "zoneinfo": re.compile(
        rf"{_ZONE}"
        r"|[ \t]+(?:per-node stats|pagesets|protection: \(.*\)"
        r"|\S.*[ \t]-?[0-9]+(?: \(.*\))?)"
    ),
    "buddyinfo": re.compile(rf"{_ZONE}{_COUNTS}"),
    "pagetypeinfo": re.compile(
        rf"{_ZONE}(?:, type[ \t]+\w+)?{_COUNTS}"
        r"|(?:Page block order|Pages per block):.*"
        r"|(?:Free pages count per migrate type|Number of (?:mixed blocks|blocks type))[ \t].*"
    ),
    "meminfo": re.compile(r"[ \t]*[A-Za-z0-9_()]{1,40}:[ \t]+[0-9]{1,15}(?: kB)?"),
}
"""File -> what a line of it looks like, blanks at its end left out."""


def unread_of(name: str, text: str) -> dict[str, int]:
    r"""Counts to go into `Snapshot.reading`; nothing where every line has its form.

    >>> unread_of("meminfo", "MemTotal:  144348 kB\nMemFree: lots\n")
    {'lines_not_read_in_meminfo': 1, 'first_line_not_read_in_meminfo': 2}

    Args:
        name: of the file.
        text: of it.
    """
    form = _FORMS[name]
    wrong = [
        nr
        for nr, line in enumerate(text.split("\n"), 1)
        if line.strip() and not form.fullmatch(line.rstrip())
    ]
    return {UNREAD + name: len(wrong), FIRST_UNREAD + name: wrong[0]} if wrong else {}


def unread_in(folder: Folder, names: Iterable[str] = tuple(_FORMS)) -> dict[str, int]:
    """The same of the texts in a folder; one that is not there has no lines.

    Args:
        folder: of copies, or /proc.
        names: which texts.
    """
    found: dict[str, int] = {}
    for name in names:
        text = folder.zoneinfo() if name == "zoneinfo" else folder.text(name, "")
        found |= unread_of(name, text)
    return found
