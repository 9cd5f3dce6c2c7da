"""What is wrong with a snapshot, in one line that names the file, the field and the fix."""

from pathlib import Path
from typing import Any, Self

from pinlab.files.careful import one_line
from pinpage.errors import PinpageError

__all__ = ["SnapshotError", "WrongCallError"]


class SnapshotError(PinpageError):
    """A recording that cannot be used, or a machine that cannot be recorded.

    >>> str(SnapshotError("a.npz", "column order", "is missing", "record it again"))
    'a.npz: column order: is missing; record it again'

    Attributes:
        path: the file, or what stands for it ("snapshot" for one in memory).
        field: the part of it that is wrong.
        problem: what is wrong with that part.
        fix: what the reader can do about it.
    """

    def __init__(self, path: Path | str, field: str, problem: str, fix: str) -> None:
        """Keep the four parts, and say them in one line.

        Args:
            path: the file, or what stands for it.
            field: the part of it that is wrong.
            problem: what is wrong with that part.
            fix: what the reader can do about it.
        """
        self.path = str(path)
        self.field = field
        self.problem = problem
        self.fix = fix
        super().__init__(one_line(f"{path}: {field}: {problem}; {fix}"))

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str, str], dict[str, Any]]:
        """Pickled by its parts, with its notes, so that it can come back from a forked run."""
        return type(self), (self.path, self.field, self.problem, self.fix), self.__dict__


class WrongCallError(PinpageError):
    """What was asked for makes no sense, whatever is in the files and however large the machine."""
