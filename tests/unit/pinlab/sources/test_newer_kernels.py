"""Texts as Linux 6.12 to 6.18 print them, and as mails carry them: small, invented, read whole."""

import shutil

import numpy as np
import pytest

from mm.state.frames import PageFlag
from pinlab.report.fragmentation import fragmentation_of
from pinlab.report.frames import as_text, frames_of
from pinlab.report.taken import asker_of
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.page_types import read_page_types
from pinpage.units import Span
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, owner_text

NEWER = TESTS_DATA / "newer"


def test_zoneinfo_with_what_newer_kernels_say_more():
    """promo below high, high_min and high_max below batch, free pages in whole blocks."""
    (zone,) = (z for z in open_snapshot(NEWER).zones if z.spanned)
    assert (zone.min, zone.low, zone.high, zone.boost) == (16, 20, 24, 0)
    assert (zone.present, zone.managed, zone.nr_free, zone.pcp_count) == (2048, 2000, 1040, 12)
    assert zone.nr_free_blocks == (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
    assert zone.nr_blocks_of_type["Movable"] == 3


def test_page_owner_with_pfns_in_hexadecimal_and_no_time_of_freeing():
    snapshot = open_snapshot(NEWER / "page_owner")
    assert snapshot.reading["records"] == 3
    assert "lines_not_read" not in snapshot.reading
    assert snapshot.klass[[0x10, 0x13, 0x200, 0x3FF, 0x5F0]].tolist() == [
        FrameClass.SLAB, FrameClass.SLAB, FrameClass.ANON, FrameClass.ANON, FrameClass.FILE,
    ]  # fmt: skip
    assert snapshot.flags[0x3FF] & PageFlag.THP.mask
    found = snapshot.allocations.of(0x3FF)
    assert (found.pfn, found.at_ns, found.pid) == (0x200, 61_000_250_000, 812)
    assert found.command == "worker (a) 1"


@pytest.mark.parametrize(
    ("pfn", "function"),
    [
        (0x11, "allocate_slab"),
        (0x3FF, "vma_alloc_anon_folio_pmd"),
        (0x5F0, "page_cache_ra_unbounded"),
    ],
)
def test_the_function_that_asked_is_none_of_the_allocators(pfn, function):
    snapshot = open_snapshot(NEWER / "page_owner")
    found = frames_of(snapshot, Span(pfn, pfn + 1))
    assert found.taken.function == asker_of(found.allocation.stack) == function


def test_page_types_as_a_mail_has_it():
    text = read_page_types(NEWER / "page-types")
    assert text.pfn.tolist() == [0x200, 0x201, 0x5F0]
    assert text.nr_pages.tolist() == [1, 0x1FF, 1]
    assert sum(text.summary.values()) == 513
    assert "totals_apart" not in text.reading
    thp = np.uint64(PageFlag.THP.mask)
    assert ((text.flags & thp) != 0).tolist() == [True, True, False]
    snapshot = open_snapshot(NEWER / "page-types")
    assert snapshot.nr_frames_of(FrameClass.ANON) == 512


def test_a_folder_of_texts_is_one_machine(tmp_path):
    """Everything but page_owner: page-types names the frames, the rest the zones."""
    for name in ("zoneinfo", "buddyinfo", "pagetypeinfo", "page-types"):
        shutil.copyfile(NEWER / name, tmp_path / name)
    snapshot = open_snapshot(tmp_path)
    (row,) = fragmentation_of(snapshot).rows
    assert sum(row.nr_free_blocks) == 2
    assert "anon 512" in as_text(frames_of(snapshot, Span(0x200, 0x400)))


def test_a_frame_that_is_free_again_was_taken_by_nobody(tmp_path):
    """page_owner was read when a frame was in use, kpageflags when it was not any more."""
    copies = machine().write(tmp_path / "copies")
    free = int(np.flatnonzero(open_snapshot(copies).klass == FrameClass.FREE)[0])
    (copies / "who").write_text(owner_text([Asked(pfn=free, stack=("allocate_slab",))]))
    found = frames_of(open_snapshot(copies), Span(free, free + 1))
    assert found.taken.nr_allocations == 1
    assert found.rows[0].owner == "free"
    assert found.rows[0].taken is None
