"""Where pages of a described machine come to lie, and how full its compressed pools are.

    shape       free places are given out                       as on a machine that
    --------    --------------------------------------------    ------------------------------
    even        each with the same chance                       has churned for ever
    clusters    in runs, of 32 pages on average                 allocates and frees in runs
    ages        in runs that are longer the higher they lie     churned at the bottom and grew

A pool's pages hold one object each, and every further place of a page is taken with the same
chance; the chance is such that a page holds as many on average as is declared.  `USUAL` are those
of the recorded pools: 1.48 of zbud, 2.46 of z3fold and 2.59 of zsmalloc.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PinpageError, one_of
from pinpage.units import PAGEBLOCK_NR_PAGES, Pfns

__all__ = ["MOST", "USUAL", "Shape", "draw_nr_objects", "in_shape"]

Shape = Literal["even", "clusters", "ages"]
"""How free places are given out."""

USUAL = {"zbud": 1.48, "z3fold": 2.46, "zsmalloc": 2.59}
"""Pool -> objects per page, on average over the recordings that have one."""
MOST = {"zbud": 2, "z3fold": 3, "zsmalloc": 4}
"""Pool -> objects that a page is given at most."""

_RUN_NR_PAGES = 32


def in_shape(
    pfns: Pfns,
    shape: str,
    rng: np.random.Generator,
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES,
) -> Pfns:
    """Free places in the order in which they are given out.

    Args:
        pfns: int64 (n,), ascending.
        shape: a `Shape`.
        rng: draws the runs and their order.

    Raises:
        PinpageError: no such shape.

    >>> in_shape(np.arange(4), "even", np.random.default_rng(0)).tolist()
    [2, 0, 1, 3]
    """
    one_of(get_args(Shape), "scenario", shape=shape)
    if not len(pfns) or shape == "even":
        return rng.permutation(pfns)
    run_of = np.cumsum(rng.random(len(pfns)) < 1 / _run_nr_pages(pfns, shape, nr_pages_per_block))
    _, place = np.unique(run_of, return_inverse=True)
    turn = rng.permutation(int(place.max()) + 1)
    ordered: Pfns = pfns[np.argsort(turn[place], kind="stable")]
    return ordered


def _run_nr_pages(pfns: Pfns, shape: str, nr_pages_per_block: int) -> NDArray[np.float64]:
    """How long a run is on average, by where it lies."""
    if shape == "clusters":
        return np.full(len(pfns), float(_RUN_NR_PAGES))
    height = (pfns - pfns[0]) / max(int(pfns[-1] - pfns[0]), 1)
    longest: NDArray[np.float64] = nr_pages_per_block**height
    return longest


def draw_nr_objects(pool: str, nr_pages: int, given: str, rng: np.random.Generator) -> int:
    """Objects in a pool of so many pages.

    Args:
        pool: "zbud", "z3fold" or "zsmalloc".
        nr_pages: of the pool.
        given: objects per page on average, such as "1.5"; "usual": `USUAL`.
        rng: draws the further places.

    Raises:
        PinpageError: not a number from 1 to what a page holds.
    """
    most = MOST[pool]
    try:
        mean = USUAL[pool] if given == "usual" else float(given)
    except ValueError:
        mean = -1.0
    if not 1 <= mean <= most:
        raise PinpageError(
            f"scenario: objects={given!r}: give a number from 1 to {most} for {pool}, or usual"
        )
    return nr_pages + int(rng.binomial((most - 1) * nr_pages, (mean - 1) / (most - 1)))
