"""What the registry is measured against: a dict and a SortedDict, each under one lock.

Both keep the same promises about single pins (duplicates refused, several pins per frame,
thread-safe) with the least code that does so.  They have no batches, no all-or-none
columns, no moves.
"""

import threading
from collections.abc import Iterable, MutableMapping
from typing import Any

from sortedcontainers import SortedDict

__all__ = ["DictRegistry", "SortedDictRegistry"]


class DictRegistry:
    """pfn -> (owner, private), or a list of several, in a dict under one lock."""

    def __init__(self) -> None:
        """Nothing pinned."""
        self._lock = threading.Lock()
        self.held: MutableMapping[int, Any] = self._new_map()

    @staticmethod
    def _new_map() -> MutableMapping[int, Any]:
        return {}

    def pin(self, pfn: int, owner: object, private: object = None) -> None:
        """Add one pin."""
        with self._lock:
            if pfn in self.held:
                self._add_to(pfn, (owner, private))
            else:
                self.held[pfn] = (owner, private)

    def _add_to(self, pfn: int, record: tuple[object, object]) -> None:
        there = self.held[pfn]
        several = [there] if type(there) is tuple else there
        if record in several:
            raise ValueError("pinned")
        self.held[pfn] = [*several, record]

    def unpin(self, pfn: int, owner: object, private: object = None) -> None:
        """Remove one pin."""
        with self._lock:
            if self.held[pfn] == (owner, private):
                del self.held[pfn]
            else:
                self._remove_from(pfn, (owner, private))

    def _remove_from(self, pfn: int, record: tuple[object, object]) -> None:
        there = self.held[pfn]
        if type(there) is tuple or record not in there:
            raise ValueError("not pinned")
        there.remove(record)
        if len(there) == 1:
            self.held[pfn] = there[0]

    def is_pinned(self, pfn: int) -> bool:
        """Whether anybody pins the frame."""
        with self._lock:
            return pfn in self.held

    def pins(self, pfn: int) -> list[Any]:
        """All pins of the frame."""
        with self._lock:
            there = self.held.get(pfn)
        if there is None:
            return []
        return [there] if type(there) is tuple else list(there)

    def pin_many(self, pfns: Iterable[int], owner: object, privates: Iterable[object]) -> None:
        """Add many pins under one acquisition."""
        held = self.held
        with self._lock:
            for pfn, private in zip(pfns, privates, strict=True):
                if pfn in held:
                    self._add_to(pfn, (owner, private))
                else:
                    held[pfn] = (owner, private)

    def unpin_many(self, pfns: Iterable[int], owner: object, privates: Iterable[object]) -> None:
        """Remove many pins under one acquisition."""
        held = self.held
        with self._lock:
            for pfn, private in zip(pfns, privates, strict=True):
                if held[pfn] == (owner, private):
                    del held[pfn]
                else:
                    self._remove_from(pfn, (owner, private))

    def scan(self, start: int, stop: int) -> list[int]:
        """The pinned frames of a range."""
        held = self.held
        with self._lock:
            return [pfn for pfn in range(start, stop) if pfn in held]

    def scan_pins(self, start: int, stop: int) -> list[tuple[int, Any]]:
        """The pins of a range."""
        held = self.held
        with self._lock:
            return [(pfn, held[pfn]) for pfn in range(start, stop) if pfn in held]


class SortedDictRegistry(DictRegistry):
    """The same over a SortedDict, whose scan is in pfn order for free."""

    @staticmethod
    def _new_map() -> MutableMapping[int, Any]:
        found: MutableMapping[int, Any] = SortedDict()
        return found

    def scan(self, start: int, stop: int) -> list[int]:
        """The pinned frames of a range."""
        with self._lock:
            return list(self.held.irange(start, stop, (True, False)))  # type: ignore[attr-defined]

    def scan_pins(self, start: int, stop: int) -> list[tuple[int, Any]]:
        """The pins of a range."""
        held = self.held
        with self._lock:
            return [(pfn, held[pfn]) for pfn in held.irange(start, stop, (True, False))]  # type: ignore[attr-defined]
