"""Really compressed pages by the hundred thousand, at about a microsecond each.

Compressing 150,000 pages takes zlib nine seconds.  So a corpus holds some two thousand
distinct pages, compresses each once, and makes every object unique with a stamp:

    page   = serial (8 bytes)                        | corpus page [8:]
    blob   = zlib header | stored block of the serial | deflate of corpus page [8:] | adler32

That is a valid zlib stream of exactly that page: any inflater gives the page back, and
checks it.  Serial s stands on corpus page s % nr_pages, so whoever needs an object of a
certain size chooses the serial accordingly.  The first word of a page is its serial,
which is also its tag in `mm.state.contents`.

The trick needs a format whose blocks can be strung together.  lz4 blocks and zstd frames
could be extended likewise, but neither buys anything here; replays fill with deflate.

Cost: building 2,048 pages about 50 ms generated, 0.3 s real; see the methods.
"""

import functools
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from pinlab.replay.deflate import (
    STORED_HEADER_NR_BYTES,
    ZLIB_HEADER,
    adler32_of_parts,
    run,
    stored,
)
from pinpage.errors import PinpageError, at_least
from pinpage.units import PAGE_SIZE, require_page_size

__all__ = ["Container", "Corpus", "CorpusKind"]

CorpusKind = Literal["generated", "real"]
"""Generated pages have a declared size and are the same on every machine; real ones are
text and code found on this machine, and a digest must not depend on them."""
Container = Literal["zlib", "raw"]
"""What is around the deflate stream: header and checksum, or nothing (wbits=-15)."""

_Serials = NDArray[np.int64]

_STAMP_NR_BYTES = 8
_USUAL_NR_BYTES = 8 << 20
_FILLER = 0x5A
_LOW_NR_BYTES, _HIGH_NR_BYTES = 400, 2400
# The recorded workload: 400..2400 random bytes, uniform, and a constant rest.


@frozen(eq=False)
class Corpus:
    """Distinct pages, each compressed once.

    Attributes:
        kind: where the pages come from.
        container: the format of the blobs.
        templates: uint8 (nr_pages, page_nr_bytes), the pages before they are stamped.
        nr_real_pages: how many were found on the machine; the rest are generated.

    Invariants, which the tests hold every corpus to:
        CO1 a blob inflates to the page of its serial.
        CO2 pages of different serials differ, and so do their blobs.
        CO3 generated pages and blobs depend on the seed alone.
    """

    kind: CorpusKind
    container: Container
    templates: NDArray[np.uint8] = field(repr=False)
    nr_real_pages: int
    _tails: list[bytes] = field(repr=False)
    _tail_nr_bytes: NDArray[np.int64] = field(repr=False)
    _tail_adler32: NDArray[np.int64] = field(repr=False)

    @classmethod
    def build(
        cls,
        kind: CorpusKind = "generated",
        seed: int = 0,
        nr_pages: int | None = None,
        *,
        container: Container = "zlib",
        page_nr_bytes: int = PAGE_SIZE,
    ) -> Self:
        """Make or find pages and compress them.

        Args:
            kind: "generated", or "real": pages of this Python's own library, sources and
                binaries; filled up with generated ones where the machine has too few.
            seed: of everything that is drawn.
            nr_pages: distinct pages; None: 8 MiB of them.
            container: format of the blobs; "zlib" is what zlib.decompress expects.
            page_nr_bytes: bytes in a page.

        Raises:
            PinpageError: no pages, an unknown kind or container, a size that no page has.
        """
        require_page_size(page_nr_bytes, "corpus")
        at_least(0, "corpus", seed=seed)
        nr_pages = _USUAL_NR_BYTES // page_nr_bytes if nr_pages is None else nr_pages
        if nr_pages < 1:
            raise PinpageError(f"corpus: nr_pages={nr_pages}; at least one page is needed")
        if kind not in ("generated", "real"):
            raise PinpageError(f"corpus: kind={kind!r} is neither 'generated' nor 'real'")
        if container not in ("zlib", "raw"):
            raise PinpageError(f"corpus: container={container!r} is neither 'zlib' nor 'raw'")
        rng = np.random.default_rng([seed, nr_pages])
        templates, tails = _generate(rng, nr_pages, page_nr_bytes)
        nr_real = 0
        if kind == "real":
            found = _found_pages(rng, nr_pages, page_nr_bytes)
            nr_real = len(found)
            templates[:nr_real] = found
            tails[:nr_real] = [_deflate(page[_STAMP_NR_BYTES:].tobytes()) for page in found]
        adler32 = [zlib.adler32(page[_STAMP_NR_BYTES:].data) for page in templates]
        return cls(
            kind=kind,
            container=container,
            templates=templates,
            nr_real_pages=nr_real,
            tails=tails,
            tail_nr_bytes=np.array([len(tail) for tail in tails], dtype=np.int64),
            tail_adler32=np.array(adler32, dtype=np.int64),
        )

    @property
    def page_nr_bytes(self) -> int:
        """Bytes in a page."""
        nr_bytes: int = self.templates.shape[1]
        return nr_bytes

    @property
    def nr_pages(self) -> int:
        """Distinct pages; serials that differ by a multiple of it differ in the stamp only."""
        return len(self.templates)

    def draw(self, rng: np.random.Generator, count: int, *, first: int = 0) -> _Serials:
        """`count` serials on pages drawn at random, shape (count,).

        All different, and different from those of any call whose [first, first + count)
        does not overlap.

        Args:
            rng: draws everything.
            count: how many, at most.
            first: number of the first serial.
        """
        return self.serials(rng.integers(self.nr_pages, size=count), first=first)

    def serials(self, pages: NDArray[np.int64], *, first: int = 0) -> _Serials:
        """Serials on the given corpus pages, numbered from `first`; shape of `pages`."""
        return (first + np.arange(len(pages), dtype=np.int64)) * self.nr_pages + pages

    def page(self, serial: int) -> bytes:
        """The bytes of one object.  About 1 us."""
        stamp = int(serial).to_bytes(_STAMP_NR_BYTES, "little", signed=True)
        return stamp + self.templates[serial % self.nr_pages, _STAMP_NR_BYTES:].tobytes()

    def pages(self, serials: _Serials) -> NDArray[np.uint8]:
        """The pages of many, uint8 (n, page_nr_bytes).  About 0.5 us each with 4 KiB."""
        pages = self.templates[serials % self.nr_pages]
        pages[:, :_STAMP_NR_BYTES] = _stamps(serials)
        return pages

    def blob(self, serial: int) -> bytes:
        """One compressed page."""
        return self.blobs(np.array([serial], dtype=np.int64))[0]

    def blobs(self, serials: _Serials) -> list[bytes]:
        """Compressed pages, in order.  About 0.6 us each, 1.4 KiB each in memory."""
        stamps = _stamps(serials)
        page = serials % self.nr_pages
        prefix = stored(b"\0" * _STAMP_NR_BYTES)[:STORED_HEADER_NR_BYTES]
        if self.container == "zlib":
            prefix = ZLIB_HEADER + prefix
        heads = np.empty((len(serials), len(prefix) + _STAMP_NR_BYTES), dtype=np.uint8)
        heads[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
        heads[:, len(prefix) :] = stamps
        if self.container == "raw":
            return [
                head + self._tails[at] for head, at in zip(_rows(heads), page.tolist(), strict=True)
            ]
        sums = adler32_of_parts(
            stamps, self._tail_adler32[page], self.page_nr_bytes - _STAMP_NR_BYTES
        )
        ends = _rows(sums.astype(">u4").view(np.uint8).reshape(-1, 4))
        return [
            b"".join((head, self._tails[at], end))
            for head, at, end in zip(_rows(heads), page.tolist(), ends, strict=True)
        ]

    def blob_nr_bytes(self, serials: _Serials) -> NDArray[np.int32]:
        """Compressed sizes, shape of `serials`; nothing is compressed for it."""
        around = STORED_HEADER_NR_BYTES + _STAMP_NR_BYTES
        if self.container == "zlib":
            around += len(ZLIB_HEADER) + 4
        sizes: NDArray[np.int32] = self._tail_nr_bytes[serials % self.nr_pages].astype(np.int32)
        return sizes + np.int32(around)


def _stamps(serials: _Serials) -> NDArray[np.uint8]:
    """_Serials as bytes, little endian, uint8 (n, 8)."""
    return np.ascontiguousarray(serials, dtype="<i8").view(np.uint8).reshape(-1, _STAMP_NR_BYTES)


def _rows(matrix: NDArray[np.uint8]) -> Iterator[bytes]:
    """The rows as bytes objects."""
    width, data = matrix.shape[1], matrix.tobytes()
    return (data[at : at + width] for at in range(0, len(data), width))


def _deflate(data: bytes) -> bytes:
    """A raw deflate stream, fastest level."""
    compressor = zlib.compressobj(level=1, wbits=-15)
    return compressor.compress(data) + compressor.flush()


def _generate(
    rng: np.random.Generator, nr_pages: int, page_nr_bytes: int
) -> tuple[NDArray[np.uint8], list[bytes]]:
    """Pages of 400 to 2,400 random bytes and a constant rest, and their deflated tails.

    Random bytes do not compress and go into a stored block; the rest is a run.  So the
    sizes are declared here, and no version of zlib changes them.
    """
    nr_random = rng.integers(_LOW_NR_BYTES, _HIGH_NR_BYTES + 1, size=nr_pages)
    templates = rng.integers(256, size=(nr_pages, page_nr_bytes), dtype=np.uint8)
    templates[np.arange(page_nr_bytes) >= nr_random[:, None]] = _FILLER
    tails = [
        stored(page[_STAMP_NR_BYTES:length].tobytes()) + _filler(page_nr_bytes - length)
        for page, length in zip(templates, nr_random.tolist(), strict=True)
    ]
    return templates, tails


@functools.cache
def _filler(nr_bytes: int) -> bytes:
    """The deflated rest of a page; of few lengths, and the same in every corpus."""
    return run(_FILLER, nr_bytes)


def _found_pages(rng: np.random.Generator, nr_pages: int, page_nr_bytes: int) -> NDArray[np.uint8]:
    """Up to `nr_pages` different pages of files of this Python, (n, page_nr_bytes).

    Files are read in a random order, and of each at most its first 64 pages, so that no
    single large one makes up the whole.
    """
    files = sorted(_library_files())
    pages: dict[bytes, None] = {}
    for at in rng.permutation(len(files)).tolist():
        if len(pages) >= nr_pages:
            break
        try:
            data = files[at].read_bytes()[: 64 * page_nr_bytes]
        except OSError:
            continue  # unreadable here; there are others
        whole = len(data) - len(data) % page_nr_bytes
        for start in range(0, whole, page_nr_bytes):
            pages[data[start : start + page_nr_bytes]] = None
    chosen = list(pages)[:nr_pages]
    return np.frombuffer(b"".join(chosen), dtype=np.uint8).reshape(len(chosen), page_nr_bytes)


def _library_files() -> Iterator[Path]:
    """Sources and extension binaries of the standard library, if it is unpacked on disk."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for pattern in ("*.py", "*/*.py", "lib-dynload/*.so"):
        yield from (path for path in library.glob(pattern) if "site-packages" not in path.parts)
