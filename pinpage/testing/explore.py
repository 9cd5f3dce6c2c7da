"""Run every interleaving of a few generators, and show the first one that breaks something.

An *actor* is a generator: what it does between two `yield`s happens at once, what it yields
names what it has just done.  A *scenario* is a fresh world with its actors, and a check that
runs after every step.  The explorer runs the scenario again and again, each time under
another schedule, in the order of preemptions: first the schedules that switch only when an
actor ends or waits, then those that switch once elsewhere, and so on.  So the first
violation found is one with the fewest preemptions that any violation needs, which is what
makes it readable.

An actor that cannot go on yields an `Until`; it is not scheduled before the condition holds.
If every actor waits, that is a violation too.

Prior art: systematic concurrency testing with a preemption bound (CHESS, Musuvathi and
Qadeer, PLDI 2007): most bugs need two preemptions or fewer.

Cost: one run of the scenario per schedule.  Two actors of a and b steps have
(a + b)! / (a! b!) schedules; 9 and 3 make 220.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import Any

from attrs import field, frozen

from pinpage.errors import PinpageError

__all__ = [
    "Actor",
    "Actors",
    "Exploration",
    "Scenario",
    "Slice",
    "Until",
    "Violation",
    "explore",
]

Actor = Generator[Any, None, Any]
"""One thread of the scenario; yields the name of what it has just done, or an `Until`."""


@frozen
class Until:
    """What an actor yields to wait: it runs again once `holds()` is true."""

    holds: Callable[[], bool]
    what: str

    def __str__(self) -> str:
        """As schedules print it."""
        return f"waits until {self.what}"


class Actors:
    """Who has not ended, and who waits: one slice of one actor at a time, whoever schedules.

    >>> actors = Actors({"A": iter(["read", "wrote"]), "B": iter([])})
    >>> actors.step("A"), actors.step("B"), actors.ready()
    ('read', 'ends', ['A'])

    Attributes:
        live: those that have not ended, by name.
    """

    def __init__(self, actors: Mapping[str, Actor]) -> None:
        """None of them has begun."""
        self.live = dict(actors)
        self._waits: dict[str, Until] = {}

    def ready(self) -> list[str]:
        """Those that can go on, in the order given; nobody once all have ended.

        Raises:
            AssertionError: all wait.
        """
        waits = self._waits
        ready = [name for name in self.live if name not in waits or waits[name].holds()]
        if self.live and not ready:
            stuck = "; ".join(f"{name} {until}" for name, until in sorted(waits.items()))
            raise AssertionError(f"deadlock: {stuck}")
        return ready

    def step(self, name: str) -> str:
        """One that is ready goes on; what it has done then, or that it ends.

        Raises:
            BaseException: whatever the actor raises; it has ended then.
        """
        self._waits.pop(name, None)
        try:
            did = next(self.live[name])
        except StopIteration:
            del self.live[name]
            return "ends"
        except BaseException:
            del self.live[name]
            raise
        if isinstance(did, Until):
            self._waits[name] = did
        return str(did)

    def close(self) -> None:
        """End those that live, wherever they are; the world may be broken, and they may say so."""
        for actor in self.live.values():
            with contextlib.suppress(Exception):
                actor.close()


def _nothing() -> None:
    return None


@frozen
class Scenario:
    """A fresh world and who acts in it.

    Attributes:
        actors: name -> generator, in the order in which they run when nobody preempts.
        check: raises if the world is broken; run after every step.
        finish: raises if the outcome is wrong; run once all actors have ended.
    """

    actors: Mapping[str, Actor]
    check: Callable[[], object] = _nothing
    finish: Callable[[], object] = _nothing


@frozen
class Slice:
    """One actor's stretch between two scheduling points."""

    actor: str
    did: str

    def __str__(self) -> str:
        """As schedules print it."""
        return f"{self.actor}: {self.did}"


@frozen
class Violation:
    """A schedule that broke something, and what it broke.

    Attributes:
        slices: what ran, in order; the last one broke it.
        error: what was raised.
        nr_preemptions: switches away from an actor that could have gone on.
    """

    slices: tuple[Slice, ...]
    error: BaseException = field(eq=False)
    nr_preemptions: int

    def __str__(self) -> str:
        """The schedule, one slice per line, and the error."""
        width = max((len(s.actor) for s in self.slices), default=0)
        lines = [f"{n:3}. {s.actor:<{width}}  {s.did}" for n, s in enumerate(self.slices, start=1)]
        head = f"broken after {len(self.slices)} slices, {self.nr_preemptions} preemptions:"
        what = str(self.error).partition("\n")[0]
        return "\n".join([head, *lines, f"  => {type(self.error).__name__}: {what}"])


@frozen
class Exploration:
    """What an exploration covered.

    Attributes:
        nr_schedules: runs of the scenario.
        is_exhausted: every schedule within the preemption bound was run.
        violation: the first one found, or None.
    """

    nr_schedules: int
    is_exhausted: bool
    violation: Violation | None

    def require_none(self) -> "Exploration":
        """Self, unless a schedule broke something or the space was not exhausted.

        Raises:
            AssertionError: the violation, readable, from the error itself.
        """
        if self.violation is not None:
            raise AssertionError(str(self.violation)) from self.violation.error
        if not self.is_exhausted:
            raise AssertionError(
                f"gave up after {self.nr_schedules} schedules; raise max_schedules"
            )
        return self


def explore(
    make: Callable[[], Scenario],
    *,
    max_preemptions: int | None = None,
    max_schedules: int = 20_000,
    max_slices: int = 1_000,
) -> Exploration:
    """Run `make()` under every schedule, fewest preemptions first, until one breaks.

    Args:
        make: builds the same scenario each time, from scratch.
        max_preemptions: leave out schedules with more; None for all.
        max_schedules: give up after this many.
        max_slices: a run longer than this is a livelock, and a violation.

    Raises:
        PinpageError: the scenario is not the same twice, so that a schedule cannot be replayed.
    """
    waiting: list[deque[tuple[str, ...]]] = [deque([()])]
    nr_schedules = 0
    nr_preemptions = 0
    while nr_preemptions < len(waiting):
        if not waiting[nr_preemptions]:
            nr_preemptions += 1
            continue
        if nr_schedules == max_schedules:
            return Exploration(nr_schedules, False, None)
        run = _Run(make(), waiting[nr_preemptions].popleft(), nr_preemptions, max_slices)
        run.to_the_end()
        nr_schedules += 1
        if run.error is not None:
            return Exploration(nr_schedules, False, run.violation())
        for prefix, cost in run.turnings:
            total = nr_preemptions + cost
            if max_preemptions is None or total <= max_preemptions:
                while len(waiting) <= total:
                    waiting.append(deque())
                waiting[total].append(prefix)
    return Exploration(nr_schedules, True, None)


class _Run:
    """One schedule: follow `prefix`, then go on without preempting anybody.

    `turnings` are the schedules that differ from this one after the prefix for the first
    time; each schedule is so reached from exactly one other.
    """

    def __init__(
        self, scenario: Scenario, prefix: tuple[str, ...], nr_preemptions: int, max_slices: int
    ) -> None:
        self.turnings: list[tuple[tuple[str, ...], int]] = []
        self.error: BaseException | None = None
        self._scenario = scenario
        self._prefix = prefix
        self._max_slices = max_slices
        self._nr_preemptions = nr_preemptions
        self._actors = Actors(scenario.actors)
        self._chosen: list[str] = []
        self._slices: list[Slice] = []

    def to_the_end(self) -> None:
        """Run until all actors have ended or something breaks."""
        try:
            while self._actors.live:
                self._step(self._choose())
                self._scenario.check()
            self._scenario.finish()
        except PinpageError as error:
            if isinstance(error, _NotTheSameError):
                raise
            self.error = error
        except Exception as error:  # noqa: BLE001 - whatever breaks is what we look for
            self.error = error
        finally:
            self._actors.close()

    def violation(self) -> Violation:
        """What broke; only after `error` was set."""
        assert self.error is not None
        return Violation(tuple(self._slices), self.error, self._nr_preemptions)

    def _choose(self) -> str:
        ready = self._actors.ready()
        place = len(self._chosen)
        if place == self._max_slices:
            raise AssertionError(f"livelock: {place} slices and no end")
        if place < len(self._prefix):
            if self._prefix[place] not in ready:
                raise _NotTheSameError(
                    f"scenario differs from run to run: {self._prefix[place]!r} cannot "
                    f"run at step {place + 1}"
                )
            return self._prefix[place]
        current = self._chosen[-1] if self._chosen else None
        goes_on = current in ready
        default = current if goes_on and current is not None else ready[0]
        done = tuple(self._chosen)
        self.turnings.extend(((*done, other), int(goes_on)) for other in ready if other != default)
        return default

    def _step(self, name: str) -> None:
        self._chosen.append(name)
        did = "breaks"
        try:
            did = self._actors.step(name)
        finally:
            self._slices.append(Slice(name, did))


class _NotTheSameError(PinpageError):
    """The scenario cannot be replayed."""
