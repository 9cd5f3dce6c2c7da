"""What goes into a replayed machine's frames: whole pages, and pairs of objects for zbud.

A recording says which frames held what, never the bytes.  Here they get some: a
different page for every frame, really compressed where a pool held it, so that what
moves is data and a byte that gets lost is noticed.

Cost: about 1 us per frame filled the first time (the host's page faults included), and
under 1 us per compressed object.
"""

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.contents import ArenaContents, Contents, TagContents
from owners.pool.extents import write_runs
from owners.pool.pages import CHUNK_NR_BYTES, CHUNK_SHIFT
from owners.zbud.layout import MAX_NR_CHUNKS, NCHUNKS
from pinlab.replay.corpus import Corpus
from pinlab.replay.frames import nr_frames_padded
from pinlab.replay.layout_only import LayoutContents
from pinlab.replay.owners import opaque_classes
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns

__all__ = [
    "NO_OBJECT",
    "PagePlan",
    "Pairs",
    "contents_of",
    "fill_arena",
    "fill_objects",
    "holds",
    "pick_pairs",
    "plan_pages",
]

NO_OBJECT = -1
"""A serial that stands for an empty slot."""

_NR_BYTES_AT_ONCE = 256 << 10
# So much of pages stays in the host's cache between gather and scatter.
_OBJECTS_AT_ONCE = 4096


@frozen(eq=False)
class PagePlan:
    """Which page of the corpus goes into which frame; needs no machine.

    Attributes:
        pfns: "anon", "file" or an opaque owner's name -> its frames, ascending.
        serials: the same names -> int64, a serial for each of those frames.
        nr_serials: serials given out; what else holds contents takes those from here on.
        seed: what everything is drawn by.
    """

    pfns: dict[str, Pfns] = field(repr=False)
    serials: dict[str, NDArray[np.int64]] = field(repr=False)
    nr_serials: int
    seed: int

    def stream(self, name: str) -> np.random.Generator:
        """The random stream of that name: another one does not shift this one's draws."""
        return _stream(self.seed, name)

    def write(self, contents: Contents, corpus: Corpus) -> None:
        """Write every page into its frame.

        Args:
            contents: of a machine that has the recorded frames.
            corpus: that the plan was made with.
        """
        for name, pfns in self.pfns.items():
            fill_arena(contents, corpus, pfns, self.serials[name])


def contents_of(snapshot: Snapshot, corpus: Corpus, *, layout_only: bool = False) -> Contents:
    """Contents for every frame of a machine made from a recording, empty as yet.

    Args:
        snapshot: the recording.
        corpus: where the pages are to come from.
        layout_only: a tag in place of each page.

    Raises:
        PinpageError: the corpus has pages of another size.
    """
    nr_frames, size = nr_frames_padded(snapshot), snapshot.geometry.page_nr_bytes
    if layout_only:
        return LayoutContents(nr_frames, size)
    if corpus.page_nr_bytes != size:
        raise PinpageError(
            f"corpus: page_nr_bytes={corpus.page_nr_bytes}: those of {snapshot.name} have {size}"
        )
    return ArenaContents(nr_frames, size)


def plan_pages(snapshot: Snapshot, corpus: Corpus, *, seed: int = 0) -> PagePlan:
    """Choose a page for every frame that holds a whole one, a different one each.

    A pinned page is its process's: the pinner stored nothing.

    Args:
        snapshot: the recording.
        corpus: where pages come from.
        seed: of the choice.
    """
    classes = {
        "anon": [FrameClass.ANON, FrameClass.GUP],
        "file": [FrameClass.FILE],
        **opaque_classes(snapshot),
    }
    pfns, serials, nr_serials = {}, {}, 0
    for name, its_classes in classes.items():
        pfns[name] = np.flatnonzero(np.isin(snapshot.klass, its_classes))
    for name, spans in snapshot.labels.items():
        of_spans = [np.arange(span.start, span.stop) for span in spans]
        pfns[name] = np.concatenate([np.empty(0, dtype=np.int64), *of_spans])
    for name, frames in pfns.items():
        count = len(frames)
        serials[name] = corpus.draw(_stream(seed, name), count, first=nr_serials)
        nr_serials += count
    return PagePlan(pfns, serials, nr_serials, seed)


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


@frozen(eq=False)
class Pairs:
    """What each page of a zbud pool holds.

    Attributes:
        first_serials: int64 (nr_pages,), object behind the header, or NO_OBJECT.
        last_serials: int64 (nr_pages,), object at the end of the page, or NO_OBJECT.
        first_nr_bytes, last_nr_bytes: int32 (nr_pages,), sizes to allocate, the pool
            user's header included; 0 where there is no object.
    """

    first_serials: NDArray[np.int64] = field(repr=False)
    last_serials: NDArray[np.int64] = field(repr=False)
    first_nr_bytes: NDArray[np.int32] = field(repr=False)
    last_nr_bytes: NDArray[np.int32] = field(repr=False)

    @property
    def nr_objects(self) -> int:
        """Objects in all the pages."""
        return int(np.count_nonzero(self.first_nr_bytes) + np.count_nonzero(self.last_nr_bytes))


def pick_pairs(
    corpus: Corpus,
    rng: np.random.Generator,
    nr_pages: int,
    nr_objects: int,
    *,
    first: int = 0,
    header_nr_bytes: int = 8,
) -> Pairs:
    """Choose objects for `nr_pages` zbud pages so that every pair fits its page.

    Which pages hold two is drawn at random; a lone object is in either slot, as after
    random frees.

    Args:
        corpus: where the objects come from.
        rng: draws everything.
        nr_pages: pages of the pool.
        nr_objects: objects in them; nr_pages .. 2 * nr_pages.
        first: number of the first serial, so that several picks do not share any.
        header_nr_bytes: what the pool's user puts before each blob (zswap: a swap entry).

    Raises:
        PinpageError: the objects do not go into the pages; the corpus has no blob that
            zbud takes, or no two that fit together.
    """
    if not nr_pages <= nr_objects <= 2 * nr_pages:
        raise PinpageError(
            f"fill: {nr_objects} objects for {nr_pages} zbud pages; each page holds one or two"
        )
    whole = corpus.blob_nr_bytes(np.arange(corpus.nr_pages)) + np.int32(header_nr_bytes)
    chunks = (whole.astype(np.int64) + CHUNK_NR_BYTES - 1) >> CHUNK_SHIFT
    smallest_first = np.argsort(chunks, kind="stable")
    rising = chunks[smallest_first]

    def upto(limit: NDArray[np.int64]) -> NDArray[np.int64]:
        """A random corpus page of at most `limit` chunks for each row."""
        nr_fitting = np.searchsorted(rising, limit, side="right")
        if len(limit) and int(nr_fitting.min()) == 0:
            raise PinpageError("fill: the corpus has no blobs small enough for zbud pages")
        return smallest_first[(rng.random(len(limit)) * nr_fitting).astype(np.int64)]

    has_two = np.zeros(nr_pages, dtype=np.bool_)
    has_two[rng.permutation(nr_pages)[: nr_objects - nr_pages]] = True
    smallest = int(rising[0])
    one = upto(np.where(has_two, min(NCHUNKS - 1 - smallest, MAX_NR_CHUNKS), MAX_NR_CHUNKS))
    other = upto(np.minimum(NCHUNKS - 1 - chunks[one[has_two]], MAX_NR_CHUNKS))

    serials = np.full((2, nr_pages), NO_OBJECT, dtype=np.int64)
    side = rng.integers(2, size=nr_pages)
    serials[side, np.arange(nr_pages)] = corpus.serials(one, first=first)
    serials[1 - side[has_two], np.flatnonzero(has_two)] = corpus.serials(
        other, first=first + nr_pages
    )
    nr_bytes = np.where(serials == NO_OBJECT, 0, whole[serials % corpus.nr_pages])
    sizes = nr_bytes.astype(np.int32)
    return Pairs(serials[0], serials[1], sizes[0], sizes[1])


def fill_arena(contents: Contents, corpus: Corpus, pfns: Pfns, serials: NDArray[np.int64]) -> None:
    """Write the page of each serial into its frame; where contents are tags, the serial.

    Args:
        contents: where they are written, or read.
        corpus: where pages come from.
        pfns: int64 (n,), the frames.
        serials: int64 (n,), of the corpus.

    Raises:
        PinpageError: the columns differ in length.
    """
    _require_parallel(pfns, serials)
    if isinstance(contents, TagContents):
        contents.set_tags(pfns, serials.astype(np.uint64))
        return
    step = _NR_BYTES_AT_ONCE // contents.page_nr_bytes
    for at in range(0, len(pfns), step):
        some = slice(at, at + step)
        contents.write_many(pfns[some], corpus.pages(serials[some]))


def fill_objects(
    contents: Contents,
    corpus: Corpus,
    addresses: NDArray[np.int64],
    serials: NDArray[np.int64],
) -> None:
    """Write the blob of each serial at its byte address (pfn * 4096 + offset).

    In batches, so that not all blobs are in memory twice.

    Args:
        contents: where they are written, or read.
        corpus: where pages come from.
        addresses: int64 (n,), pfn * 4096 + offset.
        serials: int64 (n,), of the corpus.

    Raises:
        PinpageError: the columns differ in length; the contents hold no bytes.
    """
    _require_parallel(addresses, serials)
    for at in range(0, len(addresses), _OBJECTS_AT_ONCE):
        some = slice(at, at + _OBJECTS_AT_ONCE)
        write_runs(contents, addresses[some], corpus.blobs(serials[some]))


def holds(contents: Contents, corpus: Corpus, pfns: Pfns, serials: NDArray[np.int64]) -> Mask:
    """Which frames hold the page of their serial to the last byte, shape (n,).

    Where contents are tags, the tags are compared.

    Args:
        contents: where they are written, or read.
        corpus: where pages come from.
        pfns: int64 (n,), the frames.
        serials: int64 (n,), of the corpus.

    Raises:
        PinpageError: the columns differ in length.
    """
    _require_parallel(pfns, serials)
    if isinstance(contents, TagContents):
        return np.equal(contents.tags(pfns), serials.astype(np.uint64))
    same = np.zeros(len(pfns), dtype=np.bool_)
    step = _NR_BYTES_AT_ONCE // contents.page_nr_bytes
    for at in range(0, len(pfns), step):
        some = slice(at, at + step)
        # Eight bytes at a time.
        kept = contents.read_many(pfns[some]).view(np.uint64)
        same[some] = (kept == corpus.pages(serials[some]).view(np.uint64)).all(axis=1)
    return same


def _require_parallel(places: NDArray[np.int64], serials: NDArray[np.int64]) -> None:
    if len(places) != len(serials):
        raise PinpageError(f"fill: {len(serials)} serials for {len(places)} places")
