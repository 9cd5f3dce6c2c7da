"""What is met while a source is read, counted under a fixed set of names.

Owns: the names, and what each means in words.
Ignores: what the lines say.
Cost: a dict.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["FIRST_UNREAD", "MEANINGS", "UNREAD", "Reading"]

UNREAD: Final = "lines_not_read_in_"
"""Before the name of a file of /proc: how many of its lines mean nothing."""
FIRST_UNREAD: Final = "first_line_not_read_in_"
"""The same: the number of the first of them."""
_OF_PROC: Final = ("iomem", "zoneinfo", "buddyinfo", "pagetypeinfo", "meminfo")

MEANINGS: Final[Mapping[str, str]] = {
    "records": "records read",
    "rows": "rows read",
    "lines_not_read": "lines that mean nothing here",
    "files_cut_short": "files that end in the middle",
    "texts_left_early": "texts whose end was not reached in time",
    "records_cut": "records without their second line",
    "records_impossible": "records of pages that cannot be",
    "pages_not_in_dump": "pages that the dump leaves out",
    "records_twice": "records of pages that another record has",
    "rows_twice": "rows of pages that another row has",
    "rows_impossible": "rows of pages or flags that cannot be",
    "rows_of_swap": "rows of swap entries, which lie in no frame",
    "stacks_not_kept": "stacks that were not kept, for there are too many",
    "frames_of_two_minds": "frames that one file has in use and another has free",
    "frames_by_stack": "frames whose owner a stack told",
    "totals_apart": "pages by which a list and its own summary differ",
    **{UNREAD + name: f"lines of {name} that mean nothing here" for name in _OF_PROC},
    **{FIRST_UNREAD + name: f"is the number of the first such line of {name}" for name in _OF_PROC},
}
"""Name -> what is counted under it."""


class Reading(dict[str, int]):
    """Counts by name; a name that was never counted is 0."""

    def __missing__(self, name: str) -> int:
        """Nothing was counted."""
        return 0

    def add(self, name: str, nr: int = 1) -> None:
        """Count so many more.

        Args:
            name: one of `MEANINGS`.
            nr: how many.
        """
        self[name] = self[name] + nr

    def in_words(self) -> str:
        """What was counted, in one line."""
        said = (f"{nr:,d} {MEANINGS.get(name, name)}" for name, nr in sorted(self.items()) if nr)
        return ", ".join(said) or "nothing was read"
