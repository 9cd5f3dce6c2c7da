"""Every design on one memory, and what each of them cannot express.

A design that has no way to give an owner a callback is not left out: it runs with those that
it can give one to, and what it cannot do is said beside its figures.
"""

from attrs import frozen

from pinlab.compare.results import Run
from pinlab.replay.designs import DESIGNS, DesignEntry
from pinlab.replay.owners import classes_of, movable_owners
from pinlab.snapshot.image import Snapshot

__all__ = ["Limit", "every_run", "limits"]

_ASKED = ("slab", "zbud")
"""Who gets a callback where a design takes a choice, as in the default runs."""


@frozen
class Limit:
    """What one design cannot express on this memory.

    Attributes:
        design: its name.
        owners: those that hold frames and can have no callback; empty for a remark.
        why: the reason, or the remark.
    """

    design: str
    owners: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.design}: {', '.join(self.owners)}{': ' if self.owners else ''}{self.why}"


def every_run(snapshot: Snapshot) -> tuple[Run, ...]:
    """Each design by scan, and by plan where knowing beforehand makes a difference.

    Designs that take a choice give callbacks to slab and zbud, as far as they can and the
    recording has them; the registry also runs with zbud alone and with nobody.
    """
    asked = tuple(name for name in _ASKED if classes_of([name]) & snapshot.classes)
    runs = []
    for entry in DESIGNS.values():
        choices = [_can_have(entry, asked)]
        if entry.name == "registry":
            choices = [(), asked[-1:] if "zbud" in asked else (), asked]
        for movable in choices:
            runs.append(Run(entry.name, movable))
            if entry.plans:
                runs.append(Run(entry.name, movable, "plan"))
    return tuple(dict.fromkeys(runs))


def _can_have(entry: DesignEntry, owners: tuple[str, ...]) -> tuple[str, ...]:
    if not entry.takes_coverage:
        return ()
    return tuple(name for name in owners if entry.expresses(name) is None)


def limits(snapshot: Snapshot) -> tuple[Limit, ...]:
    """What each design cannot express, of the owners that hold frames here."""
    found = []
    for entry in DESIGNS.values():
        by_reason: dict[str, list[str]] = {}
        for owner in movable_owners(snapshot):
            why = _why_not(entry, owner)
            if why is not None:
                by_reason.setdefault(why, []).append(owner)
        found += [Limit(entry.name, tuple(owners), why) for why, owners in by_reason.items()]
        if entry.note:
            found.append(Limit(entry.name, (), entry.note))
    return tuple(found)


def _why_not(entry: DesignEntry, owner: str) -> str | None:
    if entry.takes_coverage:
        return entry.expresses(owner)
    return None if owner in entry.moves else _NOBODY.get(entry.name, "no callback")


_NOBODY = {
    "zbud-reclaim": "no callback; zbud can be given up, and cannot move",
    "zbud-migrate": "no callback: it knows zbud alone",
    "linux-6.1": "no callback in that kernel",
}
"""Design -> why an owner has no callback under it."""
