"""Columns of what an owner was asked and what it answered, as plain lists."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pinpage.owner import Verdict

__all__ = ["is_verdict", "pfns_of", "plain", "thing"]


def pfns_of(name: str, args: Sequence[Any]) -> set[int]:
    """The frames that a pin or unpin, of one, of a range or of many, is about.

    Args:
        name: which of them was called.
        args: with what.
    """
    if name.endswith("_range"):
        return set(range(args[0], args[1]))
    return set(np.atleast_1d(np.asarray(args[0])).tolist())


def is_verdict(answer: Any) -> bool:
    """Whether it is one of the three; False and True are not."""
    return isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer <= Verdict.BUSY


def plain(column: Any) -> list[Any]:
    """A column of answers or privates as Python values; one value as a column of one."""
    if isinstance(column, np.ndarray):
        return list(column.tolist()) if column.ndim else [column.item()]
    if not isinstance(column, Sequence):
        return [column]
    return [x.item() if isinstance(x, np.generic) else x for x in column]


def thing(private: Any) -> str:
    """A private, in a trace."""
    return f"private {private!r}"
