"""What can go wrong, sorted by whose fault it is.

Three kinds of "no" are never mixed.  An owner that refuses is not an error at all:
it is a value (`pinpage.owner.Verdict`, `pinpage.owner.Reason`).  A caller's mistake is a
`PinpageError`, raised before anything has changed.  A broken invariant is an
`InvariantError`, which nobody catches.
"""

from collections.abc import Collection, Iterable
from operator import index
from typing import TypeVar

__all__ = [
    "AlreadyPinnedError",
    "ContextError",
    "InvariantError",
    "NotPinnedError",
    "OwnerError",
    "PfnError",
    "PinpageError",
    "at_least",
    "one_of",
    "plain_int",
    "require",
    "several",
    "whole",
    "within",
]

_Choice = TypeVar("_Choice")


class PinpageError(ValueError):
    """A caller's mistake.  Raised before anything has changed."""


class PfnError(PinpageError):
    """A pfn (or a span of them) that the topology does not have."""


class NotPinnedError(PinpageError):
    """An unpin of what is not pinned."""


class AlreadyPinnedError(PinpageError):
    """The same owner pinned the same pfn with the same private before (-EEXIST)."""


class OwnerError(PinpageError):
    """An owner that is not registered, is registered twice, or is no owner at all."""


class ContextError(PinpageError):
    """A call that is not allowed from where it was made (for one, inside a callback)."""


class InvariantError(AssertionError):
    """Our own state contradicts itself: a bug in this project, never caught."""


def plain_int(value: object) -> int | None:
    """The plain int that a whole number is, whatever numpy type it came in; None for all else.

    Whoever computes with a caller's number needs it: an order out of a column is an int8, and
    `1 << order` or `block * 512` overflow in that.  What merely equals a whole number, as True
    and 1.0 do, is none: lists and memory refuse it as an index, by then in the middle of things.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool):
        return None
    try:
        return index(value)  # type: ignore[arg-type]  # (an array has __index__, whatever is in it)
    except TypeError:
        return None


def whole(what: str, **values: object) -> tuple[int, ...]:
    """Refuse arguments that are no whole numbers.

    Args:
        what: the call, for the message.
        values: the arguments, by name.

    Returns:
        The arguments as plain ints, in the order given.

    Raises:
        PinpageError: names the first that is none.
    """
    return tuple(_whole(what, name, value) for name, value in values.items())


def _whole(what: str, name: str, value: object, least: int | None = None) -> int:
    number = plain_int(value)
    if number is None:
        more = "" if least is None else f", {least} or more"
        raise PinpageError(f"{what}: {name}={value!r}: give a whole number{more}")
    return number


def at_least(least: int, what: str, **values: object) -> tuple[int, ...]:
    """Refuse arguments that are no whole numbers of at least `least`; as `whole`.

    Args:
        least: the smallest that there can be.
        what: the call, for the message.
        values: the arguments, by name.

    Returns:
        The arguments as plain ints, in the order given.

    Raises:
        PinpageError: names the first that is not.
    """
    numbers = []
    for name, value in values.items():
        number = _whole(what, name, value, least)
        if number < least:
            raise PinpageError(f"{what}: {name}={value}: give {least} or more")
        numbers.append(number)
    return tuple(numbers)


def within(stop: int, what: str, **values: object) -> tuple[int, ...]:
    """Refuse arguments that are no whole numbers of 0..stop-1; the rest as of `at_least`.

    Raises:
        PfnError: names the first that is not.
    """
    numbers = []
    for name, value in values.items():
        number = plain_int(value)
        if number is None or not 0 <= number < stop:
            raise PfnError(f"{what}: {name}={value!r}: give one of 0..{stop - 1}")
        numbers.append(number)
    return tuple(numbers)


def one_of(choices: Collection[_Choice], what: str, **values: object) -> tuple[_Choice, ...]:
    """Refuse arguments that are none of the choices; arguments as of `at_least`.

    Returns:
        The choices that were made, in the order given: the member of an enumeration for its
        number.

    Raises:
        PinpageError: names the first that is not.
    """
    made = []
    for name, value in values.items():
        found = [choice for choice in choices if _is_choice(value, choice)]
        if not found:
            shown = " or ".join(repr(choice) for choice in choices)
            raise PinpageError(f"{what}: {name}={value!r}: it is {shown}")
        made.append(found[0])
    return tuple(made)


def _is_choice(value: object, choice: object) -> bool:
    """Whether a value is meant: it equals the choice, and can be used in its place."""
    if isinstance(choice, int) and not isinstance(choice, bool):
        return plain_int(value) == choice
    return isinstance(value, type(choice)) and value == choice


def several(what: str, **values: object) -> None:
    """Refuse arguments that are one name where several are asked for; arguments as of `at_least`.

    A text is a sequence of texts, too, and "slab" would be the owners "s", "l", "a" and "b".

    Raises:
        PinpageError: names the first that is.
    """
    for name, value in values.items():
        if isinstance(value, str) or not isinstance(value, Iterable):
            shown = f"({value!r},)" if isinstance(value, str) else "a tuple of names"
            raise PinpageError(f"{what}: {name}={value!r}: give several, such as {shown}")


def require(condition: object, message: str, **details: object) -> None:
    """Raise `InvariantError` unless `condition`; survives `python -O`, unlike assert.

    Args:
        condition: anything with a truth value.
        message: the invariant, by its number and in words ("I4 a pinned frame is free").
        details: values that show what broke; printed in hex where they are ints.
    """
    if not condition:
        shown = ", ".join(
            f"{k}={v:#x}" if type(v) is int else f"{k}={v!r}" for k, v in details.items()
        )
        raise InvariantError(f"{message} ({shown})" if shown else message)
