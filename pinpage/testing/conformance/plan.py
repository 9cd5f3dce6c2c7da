"""What a suite makes an owner go through, as data: a plan is a tuple of actions.

Plans are values so that they can be generated, shrunk and printed.  An index of a thing
means "modulo the things there are"; an action that finds nothing to act on does nothing.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from pinpage.owner import Mode

__all__ = [
    "FAULTS",
    "Action",
    "Callback",
    "Fault",
    "Move",
    "Plan",
    "Release",
    "Side",
    "User",
    "UserWord",
    "drill",
    "simpler",
    "twin_plans",
]

UserWord: TypeAlias = Literal["hold", "read", "write", "let go", "tick"]
Callback: TypeAlias = Literal["isolate", "migrate", "putback"]
Side: TypeAlias = Literal["before", "after"]


@frozen
class User:
    """Something that the owner's own users do.

    Attributes:
        does: what.
        thing: which of the things kept; ignored by "hold" and "tick".
    """

    does: UserWord
    thing: int = 0


@frozen
class Fault:
    """What another owner of the same frames does, the first time it is called.

    Attributes:
        callback: which of its callbacks.
        does: "busy", "again", "nonsense", "raise", "lie", or what a user does meanwhile.
        side: whether it registered before or after the owner under test.
    """

    callback: Callback
    does: str | User
    side: Side

    def __str__(self) -> str:
        """In words."""
        what = f"lets a user {self.does.does}" if isinstance(self.does, User) else self.does
        return f"{what} in {self.callback}"


@frozen
class Move:
    """The VM moves every frame that the owner has pinned.

    Attributes:
        mode: how long owners may wait.
        fault: what another owner of all those frames does; None: nobody shares them.
        nr_targets: destinations at most; None for enough.
        meanwhile: (number of the step, what a user does right after it).
        abandon_at: number of the step after which the VM loses interest.
    """

    mode: Mode = Mode.SYNC
    fault: Fault | None = None
    nr_targets: int | None = None
    meanwhile: tuple[tuple[int, User], ...] = ()
    abandon_at: int | None = None

    @property
    def is_undisturbed(self) -> bool:
        """Whether nothing but the owner itself can keep its frames from moving."""
        return self == Move(self.mode)


@frozen
class Release:
    """The VM asks the owner to give up every frame that it has pinned."""

    mode: Mode = Mode.SYNC
    meanwhile: tuple[tuple[int, User], ...] = ()


Action: TypeAlias = User | Move | Release
Plan: TypeAlias = tuple[Action, ...]

_NR_STEPS = 9
_NR_RELEASE_STEPS = 3
_PHASES = (0, 2, 4, 6, 8)
"""Steps after which an owner is in another state: asked, quiesced, frozen, told, moved."""
_HOLD, _READ, _TICK = User("hold"), User("read"), User("tick")
_WRITE, _LET_GO = User("write"), User("let go")

_USERS = (_LET_GO, _HOLD, _READ, _WRITE)
_FAULTY: dict[Callback, tuple[str | User, ...]] = {
    "isolate": ("busy", "again", "nonsense", "raise", *_USERS),
    "migrate": ("raise", "lie", *_USERS),
    "putback": ("raise", *_USERS),
}
_SIDES: tuple[Side, ...] = ("after", "before")

FAULTS: tuple[Fault, ...] = tuple(
    Fault(callback, does, side)
    for side in _SIDES
    for callback, words in _FAULTY.items()
    for does in words
)
"""Everything that goes wrong in another owner, or happens inside its callbacks."""


def drill(*, has_time: bool = True) -> Iterator[Plan]:
    """Every fault at every step, once, with one thing kept; the shortest first.

    Args:
        has_time: whether anything happens to the owner by itself, so that it can be begun at
            one step and end at another.
    """
    yield from _plain()
    if has_time:
        yield from _in_flight()
    yield from _disturbed()


def _plain() -> Iterator[Plan]:
    """Nothing goes wrong."""
    yield (_HOLD, _READ, _WRITE, _READ, _LET_GO)
    yield (*_MANY, _WRITE, _LET_GO)
    yield (_HOLD, _LET_GO, Move(), _HOLD)  # what is let go of may be in a cache
    yield (_HOLD, _LET_GO, Release(), _HOLD, _HOLD)
    for mode in reversed(Mode):
        yield (_HOLD, Move(mode))
    yield (_HOLD, _WRITE, Move(), _WRITE)
    yield (_HOLD, _HOLD, Move())
    yield (_HOLD, Move(nr_targets=0))
    yield (_HOLD, Release())


def _disturbed() -> Iterator[Plan]:
    """One thing happens, or goes wrong, at each step."""
    for does in (_WRITE, _READ, _TICK, _LET_GO, _HOLD):
        for step in range(_NR_STEPS):
            yield (_HOLD, Move(meanwhile=((step, does),)))
    for fault in FAULTS:
        targets = 0 if fault.callback == "putback" else None
        yield (_HOLD, Move(fault=fault, nr_targets=targets))
    for step in range(_NR_STEPS):
        yield (_HOLD, Move(abandon_at=step))
    yield (_HOLD, Release(Mode.ASYNC))
    for does in (_WRITE, _READ, _LET_GO, _HOLD):
        for step in range(_NR_RELEASE_STEPS):
            yield (_HOLD, Release(meanwhile=((step, does),)))
    yield (*_MANY, Move(nr_targets=1), Move())
    yield (*_MANY, Move(), _LET_GO, Move(), _WRITE, Release(), _HOLD, Move())


def _in_flight() -> Iterator[Plan]:
    """Begun at one step and ended at a later one, in every pair."""
    for begun, ended in combinations(_PHASES, 2):
        yield (_HOLD, Move(meanwhile=((begun, _WRITE), (ended, _TICK))))
    for begun, ended in combinations(range(_NR_RELEASE_STEPS), 2):
        yield (_HOLD, Release(meanwhile=((begun, _WRITE), (ended, _TICK))))
    for step in _PHASES:  # nobody wants it any more when it ends
        yield (_HOLD, Move(meanwhile=((0, _WRITE), (step, _LET_GO))), _TICK)
    yield (_HOLD, Release(meanwhile=((0, _WRITE), (0, _LET_GO))), _TICK)


_MANY: Plan = (_HOLD,) * 3


def twin_plans() -> Iterator[Plan]:
    """What both forms of an owner are put through, to be compared."""
    yield (_HOLD, _HOLD, Move())
    yield (_HOLD, _HOLD, Move(nr_targets=0))
    yield (*_MANY, Move(), _WRITE, Move(Mode.ASYNC))
    yield (*_MANY, Move(nr_targets=1), Move(nr_targets=0), Move())
    yield (*_MANY, Move(fault=Fault("migrate", "raise", "after")), Move())
    yield (*_MANY, Release())


def simpler(plan: Plan) -> Iterator[Plan]:
    """The plan without one of its actions, or without one thing that happens during one."""
    for at, action in enumerate(plan):
        yield plan[:at] + plan[at + 1 :]
        if not isinstance(action, User):
            for number in range(len(action.meanwhile)):
                fewer = action.meanwhile[:number] + action.meanwhile[number + 1 :]
                yield (*plan[:at], evolve(action, meanwhile=fewer), *plan[at + 1 :])
