"""What a file is, whatever its name: each form is told apart from all others."""

import gzip
import lzma

import numpy as np
import pytest

from pinlab.sources.kinds import Kind, kind_of, kinds_in
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, owner_text, types_text

PROC = TESTS_DATA / "proc-6.1"
ROW = "_" * 32
TEXTS = {
    Kind.PAGE_OWNER: [owner_text([Asked(pfn=1)], form) for form in ("4.9", "6.12")],
    Kind.PAGE_TYPES: [
        f"offset\tlen\tflags\n0\t1\t{ROW}\n",
        f"0\t1\t{ROW}\n",
        f"7f\t@3\t4\t0\t{ROW}\n",
        types_text(np.zeros(2, dtype=np.uint64))[60:],
    ],
    Kind.PAGETYPEINFO: [(PROC / "pagetypeinfo").read_text()],
    Kind.BUDDYINFO: [(PROC / "buddyinfo").read_text(), "\nNode 1, zone   Normal 1 2 3\r\n"],
    Kind.ZONEINFO: [(PROC / "zoneinfo").read_text()],
    Kind.IOMEM: [(PROC / "iomem").read_text()],
    Kind.MEMINFO: ["MemTotal:     1 kB\nMemFree: 2 kB\n"],
    None: ["", "hello\n", "Node\n", "\x00" * 9000, "\x7fELF" + "\x00" * 60],
}
CASES = [(kind, text) for kind, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize(("kind", "text"), CASES)
def test_by_content_and_not_by_name(tmp_path, kind, text, pack):
    path = tmp_path / "page_owner.npz"
    path.write_bytes(pack(text.encode("latin-1")))
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"KDUMP   x", Kind.DUMP),
        (b"\x7fELF\x02\x01" + bytes(10) + b"\x04\x00", Kind.DUMP),
        (b"\x7fELF\x02\x02" + bytes(10) + b"\x00\x04", Kind.DUMP),
        (b"PK\x03\x04", Kind.NPZ),
    ],
)
def test_dumps_and_arrays(tmp_path, start, kind):
    (tmp_path / "a").write_bytes(start)
    assert kind_of(tmp_path / "a") == kind


def test_a_folder_gives_the_first_of_each_kind_and_passes_over_what_it_cannot_read(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(owner_text([Asked(pfn=1)]))
    (tmp_path / "0").mkdir()
    (tmp_path / "1").symlink_to("nowhere")
    assert kinds_in(tmp_path) == {Kind.PAGE_OWNER: tmp_path / "a"}
