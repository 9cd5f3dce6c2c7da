"""A line of a text of /proc: its numbers, and the error that names it.

Owns: what a number may look like.
Ignores: what the lines mean; `pinlab.procfs.proc_text` and `pinlab.procfs.iomem` know.
"""

from pathlib import Path
from typing import Final, NoReturn

from attrs import frozen

from pinlab.snapshot.errors import SnapshotError

__all__ = ["Place"]

_MOST_DIGITS: Final = 15


@frozen
class Place:
    """A line of a file, for the error that it may be.

    Attributes:
        path: of the file, or of the folder that it came from.
        what: the name of the file in /proc.
        nr: of the line, from 1.
    """

    path: Path | str
    what: str
    nr: int

    def refuse(self, problem: str) -> NoReturn:
        """Say what is wrong with this line.

        Raises:
            SnapshotError: always.
        """
        is_file = Path(self.path).name == self.what
        where = f"line {self.nr}" if is_file else f"{self.what}, line {self.nr}"
        raise SnapshotError(self.path, where, problem, f"copy {self.what} again")

    def number(self, text: str) -> int:
        """A whole number of a length that the kernel prints.

        Raises:
            SnapshotError: the text is none.
        """
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
            self.refuse(f"{text[:40]!r} is no number of up to {_MOST_DIGITS} digits")
        return int(text)
