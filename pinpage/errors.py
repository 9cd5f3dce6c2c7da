"""What can go wrong, sorted by whose fault it is.

Three kinds of "no" are never mixed.  An owner that refuses is not an error at all:
it is a value (`pinpage.owner.Verdict`, `pinpage.owner.Reason`).  A caller's mistake is a
`PinpageError`, raised before anything has changed.  A broken invariant is an
`InvariantError`, which nobody catches.
"""

__all__ = [
    "AlreadyPinnedError",
    "ContextError",
    "InvariantError",
    "NotPinnedError",
    "OwnerError",
    "PfnError",
    "PinpageError",
    "require",
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
