"""All races by number."""

from itertools import chain

from pinlab.races import locks, movers, pins, pools, ranges, sharing, swapping
from pinlab.races.race import Race
from pinpage.errors import PinpageError

__all__ = ["RACES", "race_named"]

_THEMES = (movers, sharing, pools, swapping, pins, ranges, locks)

RACES: tuple[Race, ...] = tuple(
    sorted(chain.from_iterable(theme.RACES for theme in _THEMES), key=lambda race: race.number)
)
"""R-1 to R-36."""


def race_named(name: str) -> Race:
    """The race `R-7`, which may be called r7 or 7 as well.

    Raises:
        PinpageError: there is no such race.
    """
    number = name.upper().removeprefix("R").removeprefix("-").lstrip("0")
    for race in RACES:
        if str(race.number) == number:
            return race
    raise PinpageError(f"{name!r} is no race: they are {RACES[0].name} to {RACES[-1].name}")
