"""Owners that do as a script says: obey, refuse, delay, raise, lie, talk nonsense, re-enter.

A `ScriptedOwner` keeps one page per private in a `World`, registers it, and checks from its
own side that the contract is kept: that it is never called about a page it has let go, that
every migrate and putback follows a yes, that the frame is the one it knows.  What it finds
wrong is an `InvariantError`, which the mover lets through.

A script names what each callback does, call after call; the last entry repeats:

    ScriptedOwner("zbud", world, registry, isolate=["again", "yes"], migrate=["raise"])

===========  ======================================================================
entry        meaning
===========  ======================================================================
"yes"        as the contract wants it (for `release`: gives the page up)
"again"      in use now (isolate, release)
"busy"       not in this call (isolate, release)
"nonsense"   an answer that is no verdict (isolate, release)
"raise"      raises `ScriptedError`, having done nothing
"lie"        says yes and does not: migrate keeps a reference of the source,
             release keeps the page
a callable   called with the pin; if it returns a string, that is the entry, else "yes"
===========  ======================================================================
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import World

__all__ = ["Entry", "ScriptedError", "ScriptedOwner"]

Entry: TypeAlias = str | Callable[[Pin], str | None]
"""What one call of one callback does."""

_WORDS = {
    "isolate": {"yes", "again", "busy", "nonsense", "raise"},
    "migrate": {"yes", "raise", "lie"},
    "putback": {"yes", "raise"},
    "release": {"yes", "again", "busy", "nonsense", "raise", "lie"},
}


class ScriptedError(RuntimeError):
    """What a scripted owner raises when its script says so."""


class ScriptedOwner(PinOwner):
    """Keeps pages in a world, follows a script, checks the contract from the owner's side.

    Attributes:
        place: private -> pfn, where it believes its pages are.
        quiet: privates it has promised not to touch.
        leaving: privates unpinned already, whose reference is not dropped yet.
        log: (callback, private, pfn) of every call, in order.

    Invariants:
        K1 no callback about a page that was let go (`strict` owners only: with real threads
           an owner may let go while it is being called).
        K2 the pin names the frame where the page is.
        K3 isolate comes to a page at rest, migrate and putback to a quiet one, except that
           an owner that broke the contract itself is put back whatever it did.
    """

    def __init__(
        self,
        name: str,
        world: World,
        registry: PinRegistry,
        *,
        strict: bool = True,
        **script: Sequence[Entry],
    ) -> None:
        """Register under `name`; `script` maps callbacks to entries, all "yes" by default.

        Raises:
            PinpageError: the script names a callback or a word that does not exist.
        """
        for callback, entries in script.items():
            for entry in entries:
                if not callable(entry) and entry not in _WORDS.get(callback, ()):
                    raise PinpageError(f"script of {name}: {callback} cannot {entry!r}")
        self.name = name
        self.place: dict[Any, int] = {}
        self.quiet: set[Any] = set()
        self.leaving: set[Any] = set()
        self.log: list[tuple[str, Any, int]] = []
        self._world = world
        self._registry = registry
        self._strict = strict
        self._script = script
        self._calls: dict[str, int] = defaultdict(int)
        self._broke = False
        registry.register(self)

    # Its life apart from moves.

    def keep(self, private: Any, contents: int = 0, pfn: int | None = None) -> int:
        """Allocate a page, pin it, remember it; returns the pfn.

        Args:
            private: its name for the page.
            contents: of the page.
            pfn: which frame; None: the lowest free one.
        """
        where = self._world.alloc_page(contents, pfn)
        self.place[private] = where
        self._registry.pin(where, self, private)
        return where

    def share(self, private: Any, pfn: int) -> int:
        """Take a reference of a page in use and pin it as well; returns the pfn.

        Args:
            private: its name for the page.
            pfn: a frame in use.
        """
        require(self._world.get_page(pfn), "W4 shared while nobody may take a reference", pfn=pfn)
        self.place[private] = pfn
        self._registry.pin(pfn, self, private)
        return pfn

    def let_go(self, private: Any) -> None:
        """Unpin, then drop the reference: the order that the contract asks for."""
        self.unpin(private)
        self.drop(private)

    def unpin(self, private: Any) -> None:
        """The first half of `let_go`: from here on nobody may call about it."""
        self._registry.unpin(self.place[private], self, private)
        self.leaving.add(private)

    def drop(self, private: Any) -> None:
        """The second half of `let_go`."""
        self.quiet.discard(private)
        self.leaving.discard(private)
        self._world.put_page(self.place.pop(private))

    def write(self, private: Any, contents: int) -> None:
        """Store to the page, as its user would.

        Args:
            private: its name for the page.
            contents: what the page holds then.
        """
        require(private not in self.quiet, "K3 written while quiet", private=private)
        self._world.write(self.place[private], contents)

    def read(self, private: Any) -> int:
        """What is in the page."""
        return self._world.read(self.place[private])

    # The contract.

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """As scripted.

        Arguments as for `pinpage.owner.PinOwner.isolate`.
        """
        entry = self._next("isolate", pin)
        require(pin.private not in self.quiet, "K3 isolated twice", private=pin.private)
        if entry == "yes" and pin.private in self.place:
            self.quiet.add(pin.private)
        return _VERDICTS[entry]

    def migrate(self, pin: Pin, target: int) -> None:
        """As scripted; a liar stays where it was and keeps a reference.

        Arguments as for `pinpage.owner.PinOwner.migrate`.
        """
        entry = self._next("migrate", pin)
        if pin.private not in self.place:
            return  # let go by the script, from inside this very call
        require(pin.private in self.quiet, "K3 migrated while not quiet", private=pin.private)
        self.quiet.discard(pin.private)
        if entry == "lie":
            self._broke = True
            self._world.sneak_reference(pin.pfn)
        else:
            self.place[pin.private] = target

    def putback(self, pin: Pin) -> None:
        """As scripted."""
        self._next("putback", pin)
        quiet = pin.private in self.quiet or self._broke
        require(quiet, "K3 put back while not quiet", private=pin.private)
        self.quiet.discard(pin.private)

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """As scripted; yes lets go of the page.

        Arguments as for `pinpage.owner.PinOwner.release`.
        """
        entry = self._next("release", pin)
        if entry == "yes" and pin.private in self.place:
            self.let_go(pin.private)
        if entry == "lie":
            self._broke = True
            return Verdict.YES
        return _VERDICTS[entry]

    @property
    def can_migrate(self) -> bool:
        """Unless the script says `migrate=[]`: no callback."""
        return self._script.get("migrate", ("yes",)) != []

    @property
    def can_release(self) -> bool:
        """If the script mentions release."""
        return bool(self._script.get("release"))

    def _next(self, callback: str, pin: Pin) -> str:
        self.log.append((callback, pin.private, pin.pfn))
        if self._strict:
            known = pin.private in self.place and pin.private not in self.leaving
            require(known, "K1 called about a page that was let go", callback=callback, pfn=pin.pfn)
        if pin.private in self.place:
            at = self.place[pin.private]
            require(at == pin.pfn, "K2 called about another frame", at=at, pfn=pin.pfn)
        entries = self._script.get(callback) or ("yes",)
        entry = entries[min(self._calls[callback], len(entries) - 1)]
        self._calls[callback] += 1
        word = entry if isinstance(entry, str) else entry(pin) or "yes"
        if word in ("raise", "nonsense"):
            self._broke = True
        if word == "raise":
            raise ScriptedError(f"{callback} of {pin.private!r}")
        return word


_VERDICTS: dict[str, Verdict] = {
    "yes": Verdict.YES,
    "again": Verdict.AGAIN,
    "busy": Verdict.BUSY,
    "nonsense": cast(Verdict, np.uint8(77)),
}
