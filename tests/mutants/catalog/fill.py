"""Bugs planted where replays get their bytes."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

DEFLATE, CORPUS, FILL = (
    "pinlab/replay/deflate.py",
    "pinlab/replay/corpus.py",
    "pinlab/replay/contents.py",
)
UNIT_DEFLATE = "tests/unit/pinlab/replay/test_deflate.py"
UNIT_CORPUS = "tests/unit/pinlab/replay/test_corpus.py"
UNIT_FILL = "tests/unit/pinlab/replay/test_contents.py"

MUTANTS: list[Mutant] = [
    Mutant(
        name="deflate-extra-bits-lost",
        guards="CO1",
        file=DEFLATE,
        old="    bits.plain(extra, nr_extra)\n",
        new="    bits.plain(0, nr_extra)\n",
        tests=(UNIT_DEFLATE,),
    ),
    Mutant(
        name="deflate-checksum-forgets-the-tail-length",
        guards="CO1",
        file=DEFLATE,
        old="    high = high + tail_nr_bytes * (low - 1) + tail_high\n",
        new="    high = high + tail_high\n",
        tests=(UNIT_DEFLATE, UNIT_CORPUS),
    ),
    Mutant(
        name="corpus-page-not-stamped",
        guards="CO2",
        file=CORPUS,
        old="        pages[:, :_STAMP_NR_BYTES] = _stamps(serials)\n",
        new="",
        tests=(UNIT_CORPUS,),
    ),
    Mutant(
        name="corpus-templates-stamped-too",
        guards="CO3",
        file=CORPUS,
        old="        pages = self.templates[serials % self.nr_pages]\n",
        new="        pages = self.templates[serials % self.nr_pages]\n"
        "        self.templates[serials % self.nr_pages, :8] = _stamps(serials)\n",
        tests=(UNIT_CORPUS,),
    ),
    Mutant(
        name="corpus-serials-repeat",
        guards="CO2",
        file=CORPUS,
        old="        return (first + np.arange(len(pages), dtype=np.int64)) *",
        new="        return first *",
        tests=(UNIT_CORPUS, UNIT_FILL),
    ),
    Mutant(
        name="corpus-generated-by-zlib",
        guards="CO3",
        file=CORPUS,
        old="stored(page[_STAMP_NR_BYTES:length].tobytes()) + _filler(page_nr_bytes - length)\n",
        new="_deflate(page[_STAMP_NR_BYTES:].tobytes())\n",
        tests=(UNIT_CORPUS,),
    ),
    Mutant(
        name="corpus-checksum-not-counted",
        guards="sizes are those of the blobs",
        file=CORPUS,
        old="            around += len(ZLIB_HEADER) + 4\n",
        new="            around += len(ZLIB_HEADER)\n",
        tests=(UNIT_CORPUS,),
    ),
    Mutant(
        name="corpus-real-pages-shorter-than-a-page",
        guards="CO1",
        file=CORPUS,
        old="        whole = len(data) - len(data) % page_nr_bytes\n",
        new="        whole = len(data)\n",
        tests=(UNIT_CORPUS,),
    ),
    Mutant(
        name="fill-pair-one-chunk-too-large",
        guards="every pair fits its page",
        file=FILL,
        old="    other = upto(np.minimum(NCHUNKS - 1 - chunks",
        new="    other = upto(np.minimum(NCHUNKS + 1 - chunks",
        tests=(UNIT_FILL,),
    ),
    Mutant(
        name="fill-header-forgotten",
        guards="every pair fits its page",
        file=FILL,
        old="np.arange(corpus.nr_pages)) + np.int32(header_nr_bytes)\n",
        new="np.arange(corpus.nr_pages))\n",
        tests=(UNIT_FILL,),
    ),
    Mutant(
        name="fill-buddies-share-serials",
        guards="CO2",
        file=FILL,
        old="other, first=first + nr_pages",
        new="other, first=first",
        tests=(UNIT_FILL,),
    ),
    Mutant(
        name="fill-last-batch-forgotten",
        guards="every frame holds its page",
        file=FILL,
        old="        contents.write_many(pfns[some], corpus.pages(serials[some]))\n",
        new="        if at + _PAGES_AT_ONCE <= len(pfns):\n"
        "            contents.write_many(pfns[some], corpus.pages(serials[some]))\n",
        tests=(UNIT_FILL,),
    ),
    Mutant(
        name="fill-verify-looks-at-the-stamp-only",
        guards="one wrong byte is noticed",
        file=FILL,
        old="(kept == corpus.pages(serials[some]).view(np.uint64)).all(axis=1)",
        new="(kept == corpus.pages(serials[some]).view(np.uint64))[:, 0]",
        tests=(UNIT_FILL,),
    ),
]
