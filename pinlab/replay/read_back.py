"""What everybody stored, by whom and under which key, and the proof that it is still there.

An entry names data by its holder's own key (a virtual page, an object id), never by pfn,
so it survives whatever memory does.  Expected contents come from the corpus by serial
number and are made again for the comparison; nothing is remembered from the frames.

A page that is swapped out is looked for where the kernel would: in the compressed cache,
in the swap cache, on the disk.
"""

import itertools
import zlib
from collections.abc import Callable

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.state.address_space import AddressSpace
from mm.state.contents import Contents
from mm.swap.swap import Swap
from mm.swap.swapops import SwapEntry, swp_entry
from owners.hugetlb_pages import HugetlbPages
from owners.opaque import GIVEN_UP, OpaqueOwner
from owners.zram.swap import ZramSwap
from owners.zswap.zswap import Zswap
from pinlab.replay.contents import holds
from pinlab.replay.corpus import Corpus
from pinpage.units import Mask, Pfns

__all__ = ["ExpectedContents", "ReadBack"]

_OBJECTS_AT_ONCE = 8192
"""Compressed objects compared at a time: some 12 MB."""


@frozen
class ReadBack:
    """Bytes that were read back through their holders and compared.

    Attributes:
        bytes_verified: equal to what was stored.
        bytes_lost: of pages or objects that are missing or differ, in full.
    """

    bytes_verified: int = 0
    bytes_lost: int = 0

    def __add__(self, other: "ReadBack") -> "ReadBack":
        """Both together."""
        return ReadBack(
            self.bytes_verified + other.bytes_verified, self.bytes_lost + other.bytes_lost
        )


@define
class ExpectedContents:
    """Expected contents of one replayed machine.

    Attributes:
        corpus: where contents come from.
        spaces: address space -> serial of each of its virtual pages, -1 where nothing was
            stored.
        objects: opaque owner -> serial of each of its object ids.
        huge: owner of huge pages -> int64 (nr_users, frames of a page), the serials of what each
            user has.
        on_disk: mm_id -> which virtual pages have a second copy, on disk: clean page cache.
            One that is not in memory any more was dropped, which loses nothing.
        own: reads back what an owner from outside was given to keep; None: there is none.
    """

    corpus: Corpus
    spaces: list[tuple[AddressSpace, NDArray[np.int64]]] = field(factory=list)
    objects: list[tuple[OpaqueOwner, NDArray[np.int64]]] = field(factory=list)
    huge: list[tuple[HugetlbPages, NDArray[np.int64]]] = field(factory=list)
    on_disk: dict[int, Mask] = field(factory=dict)
    own: Callable[[], ReadBack] | None = None

    def read_back(self, contents: Contents, zswap: Zswap | None, swap: Swap) -> ReadBack:
        """Read everything back.

        Args:
            contents: the bytes of all frames.
            zswap: the compressed cache, if there is one.
            swap: where else a page may be that is swapped out.

        Cost: about 2 us per page; every byte is compared.
        """
        total = ReadBack()
        for space, serials in self.spaces:
            total += self._read_space(space, serials, _Places(contents, zswap, swap))
        for owner, serials in self.objects:
            pfns = owner.pfn_of(np.arange(owner.nr_objects))
            there = pfns != GIVEN_UP
            total += self._compare_pages(pfns[there], serials[there], contents)
        for pool, rows in self.huge:
            for user, serials in enumerate(rows):
                head = pool.head_of(user)
                pfns = np.arange(head, head + len(serials))
                total += self._compare_pages(pfns, serials, contents)
        return total if self.own is None else total + self.own()

    def _read_space(
        self, space: AddressSpace, serials: NDArray[np.int64], places: "_Places"
    ) -> ReadBack:
        stored = np.flatnonzero(serials >= 0)
        pte = space.pte[stored]
        absent = pte == 0
        if space.mm_id in self.on_disk:
            absent &= ~self.on_disk[space.mm_id][stored]
        missing = int(np.count_nonzero(absent))
        present = pte > 0
        total = ReadBack(0, missing * places.contents.page_nr_bytes)
        total += self._compare_pages(pte[present] - 1, serials[stored[present]], places.contents)
        swapped = pte < 0
        if swapped.any():
            total += self._compare_swapped(-pte[swapped] - 1, serials[stored[swapped]], places)
        return total

    def _compare_pages(
        self, pfns: Pfns, serials: NDArray[np.int64], contents: Contents
    ) -> ReadBack:
        nr_kept = int(np.count_nonzero(holds(contents, self.corpus, pfns, serials)))
        size = contents.page_nr_bytes
        return ReadBack(nr_kept * size, (len(pfns) - nr_kept) * size)

    def _compare_swapped(
        self, entries: NDArray[np.int64], serials: NDArray[np.int64], places: "_Places"
    ) -> ReadBack:
        """Objects of the compressed cache in bulk, the few pages that are elsewhere one by one."""
        serial_of: dict[SwapEntry, int] = {}
        nr_overwritten = 0  # two pages that name one slot cannot both have their contents there
        for entry, serial in zip(entries.tolist(), serials.tolist(), strict=True):
            nr_overwritten += entry in serial_of
            serial_of[entry] = serial
        size = places.contents.page_nr_bytes
        total = ReadBack(0, nr_overwritten * size)
        stored = iter(() if places.zswap is None else places.zswap.read_back())
        while some := list(itertools.islice(stored, _OBJECTS_AT_ONCE)):
            wanted = [serial_of.pop(swp_entry(kind, offset), -1) for kind, offset, _ in some]
            blobs = [b for (_, _, b), serial in zip(some, wanted, strict=True) if serial >= 0]
            total += self._compare_blobs(blobs, [serial for serial in wanted if serial >= 0])
        for entry, serial in serial_of.items():
            kept = places.page_of(entry) == self._page(serial)
            total += ReadBack(size * kept, size * (not kept))
        return total

    def _compare_blobs(self, blobs: list[bytes], serials: list[int]) -> ReadBack:
        verified = lost = 0
        expected = self.corpus.blobs(np.array(serials, dtype=np.int64))
        for found, blob, serial in zip(blobs, expected, serials, strict=True):
            # A page that was swapped out anew is compressed in another way.
            if found == blob or _inflated(found) == self._page(serial):
                verified += len(found)
            else:
                lost += len(blob)
        return ReadBack(verified, lost)

    def _page(self, serial: int) -> bytes:
        return bytes(self.corpus.pages(np.array([serial]))[0])


@frozen
class _Places:
    """Where the page of a virtual address can be."""

    contents: Contents
    zswap: Zswap | None
    swap: Swap

    def page_of(self, entry: SwapEntry) -> bytes | None:
        """A page that is swapped out, but not in the compressed cache; None: nowhere."""
        pfn = self.swap.cache.lookup(entry)
        if pfn >= 0:
            return self.contents.read(pfn)
        area, offset = self.swap.locate(entry)
        if isinstance(area.frontswap, ZramSwap) and area.frontswap_map[offset]:
            return area.frontswap.load(area.type, offset)
        return area.disk.get(offset)


def _inflated(blob: bytes) -> bytes | None:
    try:
        return zlib.decompress(blob)
    except zlib.error:
        return None
