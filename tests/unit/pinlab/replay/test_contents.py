"""Filling frames: every pair fits its zbud page, every byte is where it belongs."""

import zlib

import numpy as np
import pytest

from mm.state.contents import ArenaContents, TagContents
from owners.zbud.layout import LAST, nr_chunks, nr_free_chunks, slot_offset
from pinlab.replay.contents import NO_OBJECT, fill_arena, fill_objects, holds, pick_pairs
from pinlab.replay.corpus import Corpus
from pinpage.errors import PinpageError

CORPUS = Corpus.build(seed=2, nr_pages=128)


def rng():
    return np.random.default_rng(11)


class TestPickPairs:
    """Two buddies to a page."""

    @pytest.mark.parametrize("kind", ["generated", "real"])
    @pytest.mark.parametrize("nr_objects", [500, 730, 1000])
    def test_every_pair_fits_its_page(self, kind, nr_objects):
        corpus = Corpus.build(kind, nr_pages=128)
        pairs = pick_pairs(corpus, rng(), 500, nr_objects)
        assert pairs.nr_objects == nr_objects
        for first, last in zip(
            pairs.first_nr_bytes.tolist(), pairs.last_nr_bytes.tolist(), strict=True
        ):
            assert first or last
            assert max(nr_chunks(first), nr_chunks(last)) <= 62
            assert nr_free_chunks(nr_chunks(first), nr_chunks(last)) >= 0

    def test_sizes_are_those_of_the_blobs_and_the_header(self):
        pairs = pick_pairs(CORPUS, rng(), 200, 300, header_nr_bytes=24)
        for serials, sizes in (
            (pairs.first_serials, pairs.first_nr_bytes),
            (pairs.last_serials, pairs.last_nr_bytes),
        ):
            held = serials != NO_OBJECT
            np.testing.assert_array_equal(sizes[held], CORPUS.blob_nr_bytes(serials[held]) + 24)
            assert not sizes[~held].any()
            assert sizes.dtype == np.int32

    def test_no_serial_occurs_twice_not_even_over_picks(self):
        few = Corpus.build(seed=2, nr_pages=2)
        one = pick_pairs(few, rng(), 300, 600)
        other = pick_pairs(few, rng(), 300, 600, first=600)
        columns = (one.first_serials, one.last_serials, other.first_serials, other.last_serials)
        assert len(set(np.concatenate(columns).tolist())) == 1200

    def test_lone_objects_are_in_either_slot(self):
        pairs = pick_pairs(CORPUS, rng(), 1000, 1000)
        assert 400 < np.count_nonzero(pairs.first_nr_bytes) < 600

    def test_sizes_stay_close_to_the_corpus(self):
        pairs = pick_pairs(CORPUS, rng(), 5000, 10_000)
        sizes = np.concatenate((pairs.first_nr_bytes, pairs.last_nr_bytes))
        assert sizes.mean() == pytest.approx(CORPUS.blob_nr_bytes(np.arange(128)).mean(), rel=0.06)

    @pytest.mark.parametrize(("nr_pages", "nr_objects"), [(10, 9), (10, 21), (0, 1)])
    def test_each_page_holds_one_or_two(self, nr_pages, nr_objects):
        with pytest.raises(PinpageError, match="each page holds one or two"):
            pick_pairs(CORPUS, rng(), nr_pages, nr_objects)

    def test_an_empty_pool(self):
        assert pick_pairs(CORPUS, rng(), 0, 0).nr_objects == 0

    def test_a_corpus_without_two_blobs_that_fit_together(self):
        with pytest.raises(PinpageError, match="no blobs small enough"):
            pick_pairs(CORPUS, rng(), 10, 20, header_nr_bytes=2000)

    def test_the_same_draws_give_the_same_pairs(self):
        one, other = (pick_pairs(CORPUS, rng(), 50, 80) for _ in range(2))
        np.testing.assert_array_equal(one.first_serials, other.first_serials)
        np.testing.assert_array_equal(one.last_serials, other.last_serials)


class TestFillArena:
    """Whole pages."""

    def test_every_frame_holds_its_page(self):
        contents = ArenaContents(300)
        pfns = rng().permutation(300)[:200]
        serials = CORPUS.draw(rng(), 200)
        fill_arena(contents, CORPUS, pfns, serials)
        for pfn, serial in zip(pfns.tolist(), serials.tolist(), strict=True):
            assert contents.read(pfn) == CORPUS.page(serial)
        untouched = np.setdiff1d(np.arange(300), pfns)
        assert not contents.read_many(untouched).any()
        assert contents.tags(pfns).tolist() == serials.tolist()

    def test_one_wrong_byte_is_one_frame_that_does_not_hold_its_page(self):
        contents = ArenaContents(200)
        pfns, serials = np.arange(200), CORPUS.draw(rng(), 200)
        fill_arena(contents, CORPUS, pfns, serials)
        assert holds(contents, CORPUS, pfns, serials).all()
        contents.write(130, b"\x5b", offset=4095)
        assert np.flatnonzero(~holds(contents, CORPUS, pfns, serials)).tolist() == [130]

    def test_tags_stand_for_pages_where_there_are_no_bytes(self):
        contents = TagContents(100)
        pfns, serials = np.arange(50, 100), CORPUS.draw(rng(), 50)
        fill_arena(contents, CORPUS, pfns, serials)
        assert holds(contents, CORPUS, pfns, serials).all()
        assert not holds(contents, CORPUS, pfns - 50, serials)[1:].any()

    def test_a_serial_for_every_frame(self):
        with pytest.raises(PinpageError, match="3 serials for 2 places"):
            fill_arena(TagContents(4), CORPUS, np.arange(2), np.arange(3))


def test_objects_of_a_pool_lie_where_the_pool_put_them():
    contents = ArenaContents(5000)
    pairs = pick_pairs(CORPUS, rng(), 5000, 10_000, header_nr_bytes=8)
    base = np.arange(5000) * 4096
    last_offset = np.array(
        [slot_offset(LAST, nr_chunks(size)) for size in pairs.last_nr_bytes.tolist()]
    )
    addresses = np.concatenate((base + 64 + 8, base + last_offset + 8))
    serials = np.concatenate((pairs.first_serials, pairs.last_serials))
    fill_objects(contents, CORPUS, addresses, serials)
    flat = contents.pages.reshape(-1)
    sizes = CORPUS.blob_nr_bytes(serials)
    for row in range(0, 10_000, 37):
        blob = flat[addresses[row] : addresses[row] + sizes[row]].tobytes()
        assert zlib.decompress(blob) == CORPUS.page(int(serials[row]))


@pytest.mark.benchmark
def test_filling_touched_frames(benchmark):
    contents, corpus = ArenaContents(50_000), Corpus.build()
    pfns, serials = np.arange(50_000), corpus.draw(rng(), 50_000)
    benchmark.pedantic(
        fill_arena, args=(contents, corpus, pfns, serials), rounds=3, warmup_rounds=1
    )
    assert holds(contents, corpus, pfns, serials).all()
    assert 50_000 * 4096 / benchmark.stats["median"] >= 1e9
