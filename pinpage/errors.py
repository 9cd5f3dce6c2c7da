"""What can go wrong, sorted by whose fault it is.

Three kinds of "no" are never mixed.  An owner that refuses is not an error at all:
it is a value (`pinpage.owner.Verdict`, `pinpage.owner.Reason`).  A caller's mistake is a
`PinpageError`, raised before anything has changed.  A broken invariant is an
`InvariantError`, which nobody catches.
"""

from collections.abc import Collection, Iterable
from typing import SupportsIndex

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
    "require",
    "several",
    "within",
]


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


def at_least(least: int, what: str, **values: object) -> None:
    """Refuse arguments that are no whole numbers of at least `least`.

    Args:
        least: the smallest that there can be.
        what: the call, for the message.
        values: the arguments, by name.

    Raises:
        PinpageError: names the first that is not.
    """
    for name, value in values.items():
        if type(value) is not int and not _is_whole(value):
            raise PinpageError(f"{what}: {name}={value!r}: give a whole number, {least} or more")
        if value < least:  # type: ignore[operator]  # a whole number, as was just seen
            raise PinpageError(f"{what}: {name}={value}: give {least} or more")


def within(stop: int, what: str, **values: object) -> None:
    """Refuse arguments that are no whole numbers of 0..stop-1; arguments as of `at_least`.

    Raises:
        PfnError: names the first that is not.
    """
    for name, value in values.items():
        if not _is_whole(value) or not 0 <= value < stop:  # type: ignore[operator]
            raise PfnError(f"{what}: {name}={value!r}: give one of 0..{stop - 1}")


def one_of(choices: Collection[object], what: str, **values: object) -> None:
    """Refuse arguments that are none of the choices; arguments as of `at_least`.

    Raises:
        PinpageError: names the first that is not.
    """
    for name, value in values.items():
        if value not in choices:
            shown = " or ".join(repr(choice) for choice in choices)
            raise PinpageError(f"{what}: {name}={value!r}: it is {shown}")


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


def _is_whole(value: object) -> bool:
    """An int, or what numpy has for one; True and False are none."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool)


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
