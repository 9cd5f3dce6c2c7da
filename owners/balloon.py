"""A memory balloon: the smallest owner there is.  Read this one first.

`inflate` allocates pages of a guest and gives their memory to the host, `deflate` takes it
back.  The guest neither reads nor writes them, yet each spoils the huge page it lies in.

An owner needs three things: a number of its own for each page (the `private` of its pin),
a table from number to pfn, and a mark on pages that a mover has.  Callbacks change both.

Nothing in a balloon page is worth copying, and the kernel copies nothing.  The contract
copies each page once all the same, for it asks no owner what its bytes are worth.

Kernel counterpart: mm/balloon_compaction.c and virtballoon_migratepage(), v6.1.
"""

import itertools
import threading

from mm.buddy.page_source import PageSource
from mm.state.gfp import Gfp
from owners.forced_out import is_registered, unpin
from pinpage.errors import at_least, require
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry

__all__ = ["Balloon"]


class Balloon(PinOwner):
    """Pages that a guest has given to its host.  `host`: the pfns that the host has.

    Invariants, run by `check` while no page is under move:
        BA1 the host has exactly the pages of the balloon.
        BA2 no page is marked isolated.
    """

    name = "balloon"

    def __init__(self, source: PageSource, *, registry: PinRegistry | None = None) -> None:
        """An empty balloon; with a registry, its pages can move.

        Args:
            source: where pages come from.
            registry: where they are pinned; None pins nothing.
        """
        self.host: set[int] = set()
        self._source = source
        self._registry = registry
        self._pfn: dict[int, int] = {}  # page number -> where it is, oldest first
        self._isolated: set[int] = set()  # page numbers that a mover has
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        if registry is not None:
            registry.register(self)

    @property
    def nr_pages(self) -> int:
        """Pages in the balloon."""
        return len(self._pfn)

    @property
    def _is_registered(self) -> bool:
        """Whether it is called at the end of a move; forced out it is not."""
        return self._registry is None or is_registered(self._registry, self)

    def inflate(self, nr_pages: int) -> int:
        """Give up to `nr_pages` pages to the host; how many there were.

        No lock is held here: allocating may compact, and so move pages of this balloon.

        Raises:
            PinpageError: a negative number of pages.
        """
        at_least(0, "balloon: inflate", nr_pages=nr_pages)
        for inflated in range(nr_pages):
            pfn = self._source.alloc_page(Gfp.HIGHUSER_MOVABLE | Gfp.NORETRY | Gfp.NOWARN)
            if pfn < 0:
                return inflated
            number = next(self._numbers)
            if not self._pin(pfn, number):
                return inflated
            with self._lock:
                self._pfn[number] = pfn
                self.host.add(pfn)
        return nr_pages

    def _pin(self, pfn: int, number: int) -> bool:
        """Whether it could be pinned; given back if not."""
        registry, verdict = self._registry, Verdict.AGAIN
        try:
            verdict = Verdict.YES if registry is None else registry.pin(pfn, self, number)
        finally:  # under a mover of our own, or forced out
            if verdict is not Verdict.YES:
                self._source.put_page(pfn)
        return verdict is Verdict.YES

    def deflate(self, nr_pages: int) -> int:
        """Take up to `nr_pages` back, oldest first, none that is under move; how many.

        Raises:
            PinpageError: a negative number of pages.
        """
        at_least(0, "balloon: deflate", nr_pages=nr_pages)
        with self._lock:
            isolated = self._isolated if self._is_registered else ()
            idle = [number for number in self._pfn if number not in isolated]
            for number in idle[:nr_pages]:
                self._give_back(number)
        return min(nr_pages, len(idle))

    def _give_back(self, number: int) -> None:
        """Back from the host; the pin and the reference are gone.  Under the lock."""
        pfn = self._pfn.pop(number)
        self.host.remove(pfn)
        if self._registry is not None:
            unpin(self._registry, pfn, self, number)
        self._source.put_page(pfn)

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Yes, unless it was deflated since the mover looked."""
        with self._lock:
            if pin.private not in self._pfn:
                return Verdict.BUSY
            self._isolated.add(pin.private)
            return Verdict.YES

    def migrate(self, pin: Pin, target: int) -> None:
        """Tell the host: the new page is yours, the old one is mine again."""
        with self._lock:
            self.host.add(target)
            self.host.remove(self._pfn[pin.private])
            self._pfn[pin.private] = target
            self._isolated.discard(pin.private)

    def putback(self, pin: Pin) -> None:
        """It did not move; `deflate` may have it again."""
        with self._lock:
            self._isolated.discard(pin.private)

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Deflate this very page."""
        with self._lock:
            if pin.private in self._pfn:
                self._give_back(pin.private)
            return Verdict.YES

    def check(self) -> None:
        """Run BA1 and BA2; raises InvariantError if one does not hold."""
        require(self.host == set(self._pfn.values()), "BA1 the host has other pages")
        require(
            not (self._isolated and self._is_registered),
            "BA2 a page is marked isolated",
            marked=self._isolated,
        )
