"""Lines of /proc's texts that mean nothing: counted, and the first of them named."""

import gzip
import json

import pytest

from pinlab.procfs.survey import Folder
from pinlab.procfs.unread import unread_in, unread_of
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.image import load, save
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.fleet import row_of
from pinlab.sources.inspect import as_text, inspect
from pinlab.sources.redact import redacted
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, owner_text

FILES = ("iomem", "zoneinfo", "buddyinfo", "pagetypeinfo", "meminfo")
MEMINFO = "MemTotal:  65536 kB\nMemFree: lots\nSlab: what kB\n\nHugePages_Total:  0\n"


@pytest.fixture
def folder(tmp_path):
    machine().write(tmp_path)
    for name in ("iomem", "zoneinfo", "buddyinfo"):
        path = tmp_path / name
        path.write_text(path.read_text() + "blah\n")
    (tmp_path / "meminfo").write_text(MEMINFO)
    return tmp_path


@pytest.mark.parametrize("which", ["proc-6.1", "newer"])
def test_what_kernels_print_has_its_form(which):
    assert unread_in(Folder(TESTS_DATA / which)) == {}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("line", ["blah", "Node 0, zone", "MemFree: lots", "\x00\xff", "-1", ":"])
def test_a_line_of_no_form_is_counted_in_whichever_file(name, line):
    assert unread_of(name, f"\n{line}\n \n") == {
        f"lines_not_read_in_{name}": 1,
        f"first_line_not_read_in_{name}": 2,
    }


def test_each_file_is_counted_and_named(folder):
    snapshot = open_snapshot(folder)
    counts = {name: snapshot.reading.get(f"lines_not_read_in_{name}") for name in FILES}
    assert counts == {
        "iomem": 1, "zoneinfo": 1, "buddyinfo": 1, "pagetypeinfo": None, "meminfo": 2,
    }  # fmt: skip
    said = " ".join(as_text(inspect(snapshot, folder, "a folder")).split())
    assert "2 lines of meminfo that mean nothing here (the first is line 2)" in said
    assert "1 lines of iomem that mean nothing here" in said
    assert row_of(str(folder))["nr_not_read"] == 5


def test_it_is_kept_in_what_is_written(folder, tmp_path):
    snapshot = open_snapshot(folder)
    save(redacted(snapshot), tmp_path / "a.npz")
    assert load(tmp_path / "a.npz").reading == snapshot.reading
    json.dumps(snapshot.reading)


@pytest.mark.parametrize("source", ["page_owner", "counts"])
def test_beside_every_source(folder, source):
    for name in ("kpageflags", "kpagecount"):
        (folder / name).unlink()
    if source == "page_owner":
        (folder / "who.txt").write_text(owner_text([Asked(pfn=512)]))
    reading = open_snapshot(folder).reading
    assert reading["lines_not_read_in_meminfo"] == 2
    assert reading["lines_not_read_in_zoneinfo"] == 1
    assert row_of(str(folder))["nr_not_read"] == 5


@pytest.mark.parametrize("packed", [False, True])
def test_a_column_that_is_cut_says_how_far_it_goes(tmp_path, packed):
    machine().write(tmp_path)
    path = tmp_path / "kpageflags"
    cut = path.read_bytes()[:100_003]
    path.write_bytes(cut)
    if packed:
        path.unlink()
        (tmp_path / "kpageflags.gz").write_bytes(gzip.compress(cut))
    with pytest.raises(SnapshotError, match="ends at pfn 0x30d4 of 0x4000"):
        open_snapshot(tmp_path)
