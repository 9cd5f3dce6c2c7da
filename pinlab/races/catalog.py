"""All races by number."""

from itertools import chain

from pinlab.races import locks, movers, pins, pools, ranges, sharing, swapping
from pinlab.races.race import Race
from pinpage.errors import PinpageError

__all__ = ["RACES", "race_named"]

RACES: tuple[Race, ...] = tuple(
    sorted(
        chain(
            movers.RACES,
            sharing.RACES,
            pools.RACES,
            swapping.RACES,
            pins.RACES,
            ranges.RACES,
            locks.RACES,
        ),
        key=lambda race: race.number,
    )
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
