"""What a caller gave, looked at before anything is done with it.

A device hands its arguments to threads, to other callbacks or to the host's kernel, where a
mistake is not its caller's any more.  So each one is looked at when it comes in.

Kernel counterpart: access_ok() and the checks at the head of a system call.
"""

import math
import operator
from typing import TypeVar

import numpy as np

from mm.state.frames import Frames
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE, in_words

__all__ = ["instance", "integer", "octets", "require_usual_pages", "seconds"]

_T = TypeVar("_T")


def integer(who: str, what: str, value: object, least: int | None = None) -> int:
    """`value` as an int, be it one of Python's or of numpy's.

    Args:
        who: begins the message ("aio: setup").
        what: the name of the argument.
        value: what was given.
        least: the smallest that will do.

    Raises:
        PinpageError: it is no integer (nor is a truth value one), or too small.

    >>> integer("disk", "block", np.int32(7))
    7
    """
    if type(value) is int:  # the common case, at once
        number = value
    elif isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise PinpageError(f"{who}: {what}={value!r}: give an integer")
    else:
        try:
            number = operator.index(value)
        except TypeError:  # an array of one has the method, and not the value
            raise PinpageError(f"{who}: {what}={value!r}: give an integer") from None
    if least is not None and number < least:
        raise PinpageError(f"{who}: {what}={number}: give {least} or more")
    return number


def require_usual_pages(who: str, frames: Frames) -> None:
    """Refuse a machine whose pages have another size than what goes into them is laid out for.

    Args:
        who: begins the message.
        frames: of the machine.

    Raises:
        PinpageError: they have.
    """
    if frames.page_nr_bytes != PAGE_SIZE:
        raise PinpageError(
            f"{who}: pages of {in_words(frames.page_nr_bytes)}: "
            f"its layout is for those of {in_words(PAGE_SIZE)}"
        )


def instance(who: str, what: str, value: object, kind: type[_T]) -> _T:
    """`value`, which is a `kind`: a name or a number that looks like one will not do.

    Args:
        who: begins the message.
        what: the name of the argument.
        value: what was given.
        kind: the class it has to be of.

    Raises:
        PinpageError: it is none.
    """
    if not isinstance(value, kind):
        raise PinpageError(f"{who}: {what}={value!r}: give a {kind.__name__}")
    return value


def seconds(who: str, what: str, value: object) -> float:
    """`value` as a time to wait: finite, and not negative.

    Args:
        who: begins the message.
        what: the name of the argument.
        value: what was given.

    Raises:
        PinpageError: it is none.
    """
    if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise PinpageError(f"{who}: {what}={value!r}: give seconds, 0 or more")
    return float(value)


def octets(who: str, what: str, value: object) -> bytes:
    """`value` as bytes: bytes already, or a buffer of the caller's, copied.

    Args:
        who: begins the message.
        what: the name of the argument.
        value: what was given.

    Raises:
        PinpageError: it is neither (text is not, nor is a number a length).
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise PinpageError(f"{who}: {what}: give bytes, not {type(value).__name__}")
