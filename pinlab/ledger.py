"""What everybody stored, by whom and under which key, and the proof that it is still there.

An entry names data by its holder's own key (a virtual page, an object id), never by pfn,
so it survives whatever memory does.  Expected contents come from the corpus by serial
number and are made again for the comparison; nothing is remembered from the frames.
"""

import itertools

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.address_space import AddressSpace
from mm.contents import Contents
from mm.swap import swp_entry
from owners.opaque import OpaqueOwner
from owners.zswap import Zswap
from pinlab.corpus import Corpus
from pinlab.fill import holds
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["Ledger", "ReadBack"]

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
class Ledger:
    """Expected contents of one replayed machine.

    Attributes:
        corpus: where contents come from.
        spaces: address space -> serial of each of its virtual pages, -1 where nothing was
            stored.
        objects: opaque owner -> serial of each of its object ids.
    """

    corpus: Corpus
    spaces: list[tuple[AddressSpace, NDArray[np.int64]]] = field(factory=list)
    objects: list[tuple[OpaqueOwner, NDArray[np.int64]]] = field(factory=list)

    def read_back(self, contents: Contents, zswap: Zswap | None) -> ReadBack:
        """Read everything back.

        Cost: about 2 us per page; every byte is compared.
        """
        total = ReadBack()
        for space, serials in self.spaces:
            total += self._read_space(space, serials, contents, zswap)
        for owner, serials in self.objects:
            pfns = owner.pfn_of(np.arange(owner.nr_objects))
            total += self._compare_pages(pfns, serials, contents)
        return total

    def _read_space(
        self,
        space: AddressSpace,
        serials: NDArray[np.int64],
        contents: Contents,
        zswap: Zswap | None,
    ) -> ReadBack:
        stored = np.flatnonzero(serials >= 0)
        pte = space.pte[stored]
        missing = int(np.count_nonzero(pte == 0))
        present = pte > 0
        total = ReadBack(0, missing * PAGE_SIZE)
        total += self._compare_pages(pte[present] - 1, serials[stored[present]], contents)
        swapped = pte < 0
        if swapped.any():
            entries = -pte[swapped] - 1
            total += self._compare_blobs(entries, serials[stored[swapped]], zswap)
        return total

    def _compare_pages(
        self, pfns: Pfns, serials: NDArray[np.int64], contents: Contents
    ) -> ReadBack:
        nr_kept = int(np.count_nonzero(holds(contents, self.corpus, pfns, serials)))
        return ReadBack(nr_kept * PAGE_SIZE, (len(pfns) - nr_kept) * PAGE_SIZE)

    def _compare_blobs(
        self, entries: NDArray[np.int64], serials: NDArray[np.int64], zswap: Zswap | None
    ) -> ReadBack:
        if zswap is None:
            return ReadBack(0, len(entries) * PAGE_SIZE)
        serial_of = dict(zip(entries.tolist(), serials.tolist(), strict=True))
        verified = lost = 0
        stored = iter(zswap.read_back())
        while some := list(itertools.islice(stored, _OBJECTS_AT_ONCE)):
            wanted = [serial_of.pop(swp_entry(kind, offset), -1) for kind, offset, _ in some]
            known = np.array([serial for serial in wanted if serial >= 0], dtype=np.int64)
            found = (blob for (_, _, blob), serial in zip(some, wanted, strict=True) if serial >= 0)
            for blob, expected in zip(found, self.corpus.blobs(known), strict=True):
                if blob == expected:
                    verified += len(blob)
                else:
                    lost += len(expected)
        missing = np.array(list(serial_of.values()), dtype=np.int64)
        return ReadBack(verified, lost + int(self.corpus.blob_nr_bytes(missing).sum()))
