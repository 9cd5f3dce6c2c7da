"""A race: who acts, what must not happen, and the bug under which it does.

Owns:    exploring a race as it stands and with its bug planted, and what that came to.
Ignores: which races there are (`catalog`), and how a schedule is told (`story`).
Cost:    one run of the scenario per schedule; a few milliseconds for a small machine.
"""

from collections.abc import Callable

from attrs import field, frozen

import owners.pool.lock
import owners.slab.cache
import owners.zswap.entries
import owners.zswap.zswap
import pinpage.store.owner_table
import pinpage.store.privates
import pinpage.store.shard
from pinlab.races.broken import Broken
from pinpage.testing.explore import Exploration, Scenario, Violation, explore
from pinpage.testing.stepping import with_stepped_locks

__all__ = [
    "LOCKING",
    "MOST_SCHEDULES",
    "Race",
    "RaceOutcome",
    "run_broken",
    "run_race",
    "run_sound",
]

LOCKING = (
    owners.pool.lock,
    owners.slab.cache,
    owners.zswap.entries,
    owners.zswap.zswap,
    pinpage.store.owner_table,
    pinpage.store.privates,
    pinpage.store.shard,
)
"""Modules whose locks the explorer sees while it runs, so that whoever waits is seen to wait."""

MOST_SCHEDULES = 20_000
"""Of one exploration; a race that needs more says so as not exhausted."""


@frozen
class Race:
    """One race of the catalogue.

    Attributes:
        number: as in R-7.
        title: what happens, in a few words.
        actors: name in the schedule -> who that is.
        rule: the letters of the rules that keep it from going wrong.
        make: a fresh world and its actors.
        broken: the bug under which some schedule must break something.
        max_preemptions: switches away from somebody who could go on; None: all schedules.
        max_slices: a run longer than this goes on for ever.
    """

    number: int
    title: str
    actors: dict[str, str] = field(eq=False, repr=False)
    rule: str
    make: Callable[[], Scenario] = field(eq=False, repr=False)
    broken: Broken = field(eq=False, repr=False)
    max_preemptions: int | None = None
    max_slices: int = 400

    @property
    def name(self) -> str:
        """As in `R-7`."""
        return f"R-{self.number}"

    @property
    def bound(self) -> str:
        """How many preemptions are explored, in words."""
        return "all" if self.max_preemptions is None else str(self.max_preemptions)


@frozen
class RaceOutcome:
    """What the exploration of a race came to.

    Attributes:
        race: which.
        sound: the library as it is: nothing may break.
        found: the bug planted: something must; None if no schedule broke anything.
        nr_broken_schedules: explored with the bug planted, the one that broke it included.
    """

    race: Race
    sound: Exploration
    found: Violation | None
    nr_broken_schedules: int

    @property
    def is_good(self) -> bool:
        """Nothing breaks, every schedule within the bound was run, and the bug was found."""
        return self.sound.is_exhausted and self.found is not None


def run_sound(race: Race) -> Exploration:
    """Explore a race as the library stands."""
    return _explore(race)


def run_broken(race: Race) -> Exploration:
    """Explore a race with its bug planted, up to the first schedule that breaks something.

    Raises:
        PinpageError: the bug cannot be planted.
    """
    with race.broken.planted():
        return _explore(race)


def run_race(race: Race) -> RaceOutcome:
    """Explore a race as it stands, then with its bug.

    Raises:
        PinpageError: the bug cannot be planted.
    """
    sound, broken = run_sound(race), run_broken(race)
    return RaceOutcome(race, sound, broken.violation, broken.nr_schedules)


def _explore(race: Race) -> Exploration:
    with with_stepped_locks(*LOCKING):
        return explore(
            race.make,
            max_preemptions=race.max_preemptions,
            max_schedules=MOST_SCHEDULES,
            max_slices=race.max_slices,
        )
