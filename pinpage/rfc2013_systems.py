"""The second posting, of 13 August 2013: one object per subsystem, each with pages of its own.

    create(system)                 one more subsystem that may be asked
    add_page(system, pfn)          its page: flagged, and in its tree
    migrate_page(pfn, target)      find whose it is, and call that subsystem's one callback

It drops the table that all share, and with it the page that two hold: nesting is forbidden by
an assertion.  Kept as posted: the flag says that *somebody* can be asked, the search for whom
goes over the subsystems one by one under the lock of their list, the callback runs under it,
and a flagged page that nobody claims counts as moved.

Kernel counterpart: mm/pinpage.c of that posting; never merged.
Cost: a look-up asks every subsystem in turn, newest first.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, field

from pinpage.rfc2013 import NOT_PINNED, KernelOopsError

__all__ = ["PinpageSubsystem", "Rfc2013Subsystems"]


@define(eq=False)
class PinpageSubsystem:
    """struct pinpage_system, with the default helpers: one tree and one lock.

    Attributes:
        name: for people.
        migrate: `migrate(system, pfn, target)`; 0 when its user has the target now.
        privates: by pfn; no callback is told them.
    """

    name: str
    migrate: Callable[["PinpageSubsystem", int, int], int]
    privates: dict[int, Any] = field(factory=dict)


class Rfc2013Subsystems:
    """The list of subsystems, and which pages carry their flag.

    >>> posted = Rfc2013Subsystems()
    >>> zbud = PinpageSubsystem("zbud", lambda system, pfn, target: 0)
    >>> posted.create(zbud)
    >>> posted.add_page(zbud, 5)
    >>> posted.add_page(PinpageSubsystem("gup", zbud.migrate), 5)
    Traceback (most recent call last):
    pinpage.rfc2013.KernelOopsError: BUG: page 0x5 is a pinpage already

    Attributes:
        nr_probes: subsystems that were asked whether a page is theirs, since the start.
    """

    def __init__(self) -> None:
        """Nobody, and no page."""
        self.nr_probes = 0
        self._systems: list[PinpageSubsystem] = []
        self._flagged: set[int] = set()

    def create(self, system: PinpageSubsystem) -> None:
        """One more subsystem."""
        self._systems.insert(0, system)

    def destroy(self, system: PinpageSubsystem) -> None:
        """A subsystem goes; its pages keep their flags, and nobody claims them any more."""
        self._systems.remove(system)

    def add_page(self, system: PinpageSubsystem, pfn: int, private: Any = None) -> None:
        """A page of that subsystem.

        Args:
            system: whose.
            pfn: of the page.
            private: the subsystem's own key.

        Raises:
            KernelOopsError: the page carries the flag: two subsystems cannot share one.
        """
        if pfn in self._flagged:
            raise KernelOopsError(f"BUG: page {pfn:#x} is a pinpage already")
        system.privates[pfn] = private
        self._flagged.add(pfn)

    def del_page(self, system: PinpageSubsystem, pfn: int) -> None:
        """The page is an ordinary one again.

        Args:
            system: whose it was.
            pfn: of the page.
        """
        del system.privates[pfn]
        self._flagged.discard(pfn)

    def find_system(self, pfn: int) -> PinpageSubsystem | None:
        """Whose page this is, asked of one subsystem after the other."""
        for system in self._systems:
            self.nr_probes += 1
            if pfn in system.privates:
                return system
        return None

    def migrate_page(self, pfn: int, target: int, *, nr_references: int = 2) -> int:
        """Have a page moved; 0 says that the caller may drop its reference.

        Args:
            pfn: of the page.
            target: where to.
            nr_references: the page's, the caller's own included; one means that its user has
                freed it meanwhile.

        Returns:
            0: moved, or freed meanwhile, or nobody claims it; 1: it carries no flag; else
            what the callback said.
        """
        if pfn not in self._flagged:
            return NOT_PINNED
        if nr_references == 1:
            return 0
        system = self.find_system(pfn)
        return 0 if system is None else system.migrate(system, pfn, target)
