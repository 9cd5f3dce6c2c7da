"""A recorded pool gets objects: which page holds how many, how large, and whose bytes.

A recording says which frames a pool had and how many objects were in them, not which object
was where.  Here every page gets at least one, and the rest go to places drawn at random, with
sizes drawn from a corpus so that they fit.

    zbud       two per page at most                          `pinlab.replay.contents.pick_pairs`
    z3fold     three per page at most; none is headless      as recorded: those do not move
    zsmalloc   zspages of the corpus' size classes, one to four pages each

Cost: about 1 us per object for zbud and z3fold, 8 us for zsmalloc.
"""

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from owners.pool.handles import Handles
from owners.pool.pages import CHUNK_NR_BYTES, CHUNK_SHIFT
from owners.z3fold.layout import (
    FIRST,
    LAST,
    MIDDLE,
    NCHUNKS,
    NR_SLOTS,
)
from owners.z3fold.pool import Z3foldPool
from owners.zbud.pool import ZbudPool
from owners.zpool import Zpool
from owners.zsmalloc.classes import class_of, size_classes
from owners.zsmalloc.pool import ZsPool
from pinlab.replay.contents import NO_OBJECT, pick_pairs
from pinlab.replay.corpus import Corpus
from pinpage.errors import PinpageError
from pinpage.units import Pfns

__all__ = ["MOST_OBJECTS_PER_PAGE", "PoolObjects", "fill_pool"]

MOST_OBJECTS_PER_PAGE = {"zbud": 2, "z3fold": 3, "zsmalloc": 128}
"""Pool -> objects that one page can hold."""

_MAX_SHARED_NR_CHUNKS = NCHUNKS - 1


@frozen(eq=False)
class PoolObjects:
    """What a pool holds now.

    Attributes:
        handles: int64, shape (n,).
        serials: int64, shape (n,); of the corpus, what each object is to contain.
    """

    handles: Handles = field(repr=False)
    serials: NDArray[np.int64] = field(repr=False)


def fill_pool(
    pool: Zpool,
    pfns: Pfns,
    corpus: Corpus,
    rng: np.random.Generator,
    *,
    nr_objects: int,
    first: int,
    header_nr_bytes: int,
) -> PoolObjects:
    """Have an empty pool adopt frames with objects in them.

    Args:
        pool: of any kind that adopts.
        pfns: used frames, one reference each; shape (n,).
        corpus: where contents and sizes come from.
        rng: draws everything.
        nr_objects: wanted; a zsmalloc pool gets as many as its zspages take, if that is less.
        first: number of the first serial.
        header_nr_bytes: what the pool's user puts before each blob.

    Raises:
        PinpageError: the objects do not go into the pages, or no such pool.
    """
    whole = corpus.blob_nr_bytes(np.arange(corpus.nr_pages)).astype(np.int64) + header_nr_bytes
    if isinstance(pool, ZbudPool):
        pairs = pick_pairs(
            corpus, rng, len(pfns), nr_objects, first=first, header_nr_bytes=header_nr_bytes
        )
        handles = np.concatenate(pool.adopt(pfns, pairs.first_nr_bytes, pairs.last_nr_bytes))
        serials = np.concatenate((pairs.first_serials, pairs.last_serials))
        there = serials != NO_OBJECT
        return PoolObjects(handles[there], serials[there])
    if isinstance(pool, Z3foldPool):
        pages = _pick_triples(whole, rng, len(pfns), nr_objects)
        sizes = np.where(pages >= 0, whole[pages], 0).astype(np.int32)
        in_pages = pool.adopt(pfns, sizes)
        there = pages >= 0
        return PoolObjects(in_pages[there], corpus.serials(pages[there], first=first))
    if isinstance(pool, ZsPool):
        classes, counts, pages = _pick_zspages(whole, rng, len(pfns), nr_objects)
        return PoolObjects(pool.adopt(pfns, classes, counts), corpus.serials(pages, first=first))
    raise PinpageError(f"stock: a pool of kind {type(pool).__name__} does not adopt pages")


def _pick_triples(
    whole: NDArray[np.int64], rng: np.random.Generator, nr_pages: int, nr_objects: int
) -> NDArray[np.int64]:
    """A corpus page per object, -1 where there is none; shape (nr_pages, 3)."""
    if not nr_pages <= nr_objects <= NR_SLOTS * nr_pages:
        raise PinpageError(
            f"fill: {nr_objects} objects for {nr_pages} z3fold pages; each page holds 1 to 3"
        )
    chunks = (whole + CHUNK_NR_BYTES - 1) >> CHUNK_SHIFT
    smallest_first = np.argsort(chunks, kind="stable")
    rising = chunks[smallest_first]
    smallest = int(rising[0])
    more = rng.permutation((NR_SLOTS - 1) * nr_pages)[: nr_objects - nr_pages]
    counts = 1 + np.bincount(more % nr_pages, minlength=nr_pages)
    lone = np.where(rng.integers(2, size=nr_pages) == 0, FIRST, LAST)
    pages = np.full((nr_pages, NR_SLOTS), NO_OBJECT, dtype=np.int64)
    left = np.full(nr_pages, NCHUNKS, dtype=np.int64)
    for nth, slot in enumerate((FIRST, LAST, MIDDLE)):
        rows = np.flatnonzero(counts > nth)
        limit = left[rows] - smallest * (counts[rows] - nth - 1)
        nr_fitting = np.searchsorted(rising, np.minimum(limit, _MAX_SHARED_NR_CHUNKS), side="right")
        if len(rows) and int(nr_fitting.min()) == 0:
            raise PinpageError("fill: the corpus has no blobs small enough for z3fold pages")
        chosen = smallest_first[(rng.random(len(rows)) * nr_fitting).astype(np.int64)]
        where = np.where(counts[rows] == 1, lone[rows], slot)
        pages[rows, where] = chosen
        left[rows] -= chunks[chosen]
    return pages


def _pick_zspages(
    whole: NDArray[np.int64], rng: np.random.Generator, nr_pages: int, nr_objects: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Zspages that have exactly so many pages: class, objects of each, corpus page of each object.

    Classes are drawn by how many blobs of the corpus they take, per object that fits.
    """
    of_page = np.array([class_of(size).index for size in whole.tolist()], dtype=np.int64)
    kinds, nr_blobs = np.unique(of_page, return_counts=True)
    classes = [size_classes()[index] for index in kinds.tolist()]
    width = np.array([size_class.nr_pages for size_class in classes], dtype=np.int64)
    capacity = np.array([size_class.nr_objects for size_class in classes], dtype=np.int64)
    weights = nr_blobs / capacity
    drawn = rng.choice(len(kinds), size=nr_pages, p=weights / weights.sum())
    nr_whole = int(np.searchsorted(np.cumsum(width[drawn]), nr_pages, side="right"))
    rest: list[int] | None = None
    while rest is None:
        left = nr_pages - int(width[drawn[:nr_whole]].sum())
        rest = _exactly(left, width.tolist())
        if rest is None and not nr_whole:
            raise PinpageError(f"fill: no zspages of the corpus have {nr_pages} pages together")
        nr_whole -= rest is None
    chosen = np.concatenate((drawn[:nr_whole], np.array(rest, dtype=np.int64)))
    free_places = np.repeat(np.arange(len(chosen)), capacity[chosen] - 1)
    taken = rng.permutation(free_places)[: max(nr_objects - len(chosen), 0)]
    counts = 1 + np.bincount(taken, minlength=len(chosen))
    by_class = np.argsort(of_page, kind="stable")
    starts = np.searchsorted(of_page[by_class], kinds)
    of_object = np.repeat(chosen, counts)
    nth = (rng.random(len(of_object)) * nr_blobs[of_object]).astype(np.int64)
    return kinds[chosen], counts, by_class[starts[of_object] + nth]


def _exactly(total: int, widths: list[int]) -> list[int] | None:
    """Indexes into `widths` whose widths add up to `total`, or None if none do.

    >>> _exactly(0, [3, 2]), _exactly(7, [3, 2]), _exactly(1, [3, 2])
    ([], [0, 1, 1], None)
    """
    ways: list[list[int] | None] = [[]]
    for amount in range(1, total + 1):
        shorter = ((i, ways[amount - w]) for i, w in enumerate(widths) if w <= amount)
        ways.append(next(([*way, i] for i, way in shorter if way is not None), None))
    way = ways[total]
    return None if way is None else sorted(way)
