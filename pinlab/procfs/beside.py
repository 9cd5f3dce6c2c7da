"""page_owner beside a machine that is being recorded: read where it is, for so long at most.

A kernel booted with page_owner=on shows it in debugfs.  It is as long as memory is large, so the
reader stops when its time is over, at the end of a record; frames behind stay as they were.  What
cannot be read leaves the recording without it, and says why.

Owns: where it lies, the bound on time, and what is said of it.
Ignores: what the records say (`pinlab.sources.page_owner`, `pinlab.sources.overlay`).
Cost: about 20 us a record, up to the bound.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from pinlab.procfs.survey import Folder
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.image import Snapshot
from pinlab.sources.kinds import Kind
from pinlab.sources.overlay import with_owners
from pinlab.sources.page_owner import lines_of_page_owner, parse_page_owner
from pinlab.sources.stacks import load_table
from pinpage.errors import PinpageError

__all__ = ["OwnersBeside"]

_DAY_SECONDS: Final = 86_400
_NR_LINES: Final = 1 << 12
"""After which the time is looked at, in a text that has no end of a record."""


class OwnersBeside:
    """Lays page_owner over a snapshot, for `pinlab.procfs.capture.record`.

    Attributes:
        said: what became of it, in a line; empty where there was none, unless a table was for it.
    """

    def __init__(
        self,
        *,
        most_seconds: float = 20.0,
        owners_table: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Nothing is read yet.

        Args:
            most_seconds: that reading may take; 0: it is left out.
            owners_table: a table of one's own, of whose stacks are.
            progress: told the name, the lines that were read, and 0.
            now_ns: the clock.

        Raises:
            PinpageError: time that is negative or has no end, or a table that is none.
        """
        if not 0 <= most_seconds <= _DAY_SECONDS:
            raise PinpageError(f"most_seconds={most_seconds}: give 0 to {_DAY_SECONDS}")
        self.said = ""
        self._most_ns = int(most_seconds * 1_000_000_000)
        self._has_own_table = owners_table is not None
        self._table = load_table(owners_table)
        self._progress = progress
        self._now_ns = now_ns
        self._is_late = False

    def __call__(self, snapshot: Snapshot, folder: Folder) -> Snapshot:
        """The snapshot with what page_owner says of it, or as it was.

        Args:
            snapshot: what the other files of the folder say.
            folder: /proc, or a folder of copies.
        """
        place = self._place(folder)
        if place is None:
            if self._has_own_table and self._most_ns:
                self.said = "page_owner: there is none, so the owners table was not used"
            return snapshot
        try:
            text = parse_page_owner(
                self._in_time(lines_of_page_owner(place)), place, self._progress
            )
            if self._is_late:
                text.reading.add("texts_left_early")
            found = with_owners(snapshot, text, self._table, place)
        except (SnapshotError, OSError) as error:
            self.said = f"page_owner was not taken: {error}"
            return snapshot
        nr_records, nr_frames = text.reading["records"], found.reading["frames_by_stack"]
        self.said = (
            f"page_owner: {nr_records:,d} records, which told whose {nr_frames:,d} frames are"
        )
        if self._is_late:
            self.said += "; time was over before its end"
        return found

    def _place(self, folder: Folder) -> Path | None:
        if not self._most_ns:
            return None
        if not folder.is_live:
            return folder.found.get(Kind.PAGE_OWNER)
        place = folder.place("page_owner")
        try:
            return place if place.exists() else None
        except OSError:  # debugfs is root's
            return None

    def _in_time(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines, up to the first end of a record after time is over."""
        over_ns = self._now_ns() + self._most_ns
        for nr, line in enumerate(lines, 1):
            yield line
            if (not line or not nr % _NR_LINES) and self._now_ns() >= over_ns:
                self._is_late = True
                return
