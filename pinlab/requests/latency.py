"""How long attempts took, split by what the time was spent on.

A latency CDF of attempts is only as good as its explanation: the same tail can be copying,
waiting for a pin to go, or trying again in vain.  Percentiles are taken of each step on its
own (nearest rank, so each is a time that some attempt really took); those of the steps do
not sum to the total's, but each attempt's steps do.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mm.state.costs import STEPS
from pinlab.report.plain import PlainTable
from pinlab.requests.report import Attempt

__all__ = [
    "PERCENTILES",
    "TOTAL",
    "Percentiles",
    "nearest_rank",
    "percentiles",
    "plain",
    "step_matrix",
]

PERCENTILES = (10, 50, 90, 99, 100)
TOTAL = "total"
"""The row of all steps together."""

Percentiles: TypeAlias = dict[str, dict[str, int]]
"""Step (or `TOTAL`) -> "p50" ... -> simulated ns."""


def step_matrix(attempts: Sequence[Attempt]) -> NDArray[np.int64]:
    """Simulated ns, shape (attempts, len(STEPS)): the data behind a CDF."""
    rows = [[attempt.steps_ns.get(step, 0) for step in STEPS] for attempt in attempts]
    return np.array(rows, dtype=np.int64).reshape(len(attempts), len(STEPS))


def percentiles(attempts: Sequence[Attempt]) -> Percentiles:
    """Percentiles of the time of attempts, per step and in total; empty without attempts."""
    if not attempts:
        return {}
    matrix = step_matrix(attempts)
    columns = {step: matrix[:, at] for at, step in enumerate(STEPS)}
    columns[TOTAL] = matrix.sum(axis=1)  # type: ignore[index]  # (TOTAL is no step)
    return {
        name: {f"p{rank}": nearest_rank(np.sort(column), rank) for rank in PERCENTILES}
        for name, column in columns.items()
    }


def plain(attempts: Sequence[Attempt]) -> PlainTable:
    """The percentiles as a table, a row per step."""
    rows = [(step, *ranks.values()) for step, ranks in percentiles(attempts).items()]
    return PlainTable("cdf", ("step", *(f"p{rank}_ns" for rank in PERCENTILES)), tuple(rows))


def nearest_rank(ascending: NDArray[np.int64], percent: int) -> int:
    """The least value that `percent` of all values do not exceed.

    Args:
        ascending: the values, sorted.
        percent: 0..100.
    """
    return int(ascending[-(-percent * len(ascending) // 100) - 1])
