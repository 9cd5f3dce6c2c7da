"""Two hundred mutilated folders and texts: one clear line each, or what is left, counted.

The same number, the same mutilation.  What is read has every invariant of a snapshot, and says
of itself what it could not read.
"""

import functools
import random
import shutil
from collections import Counter

import numpy as np
import pytest

from pinlab.files.packed import read_unpacked
from pinlab.snapshot import image
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.open import open_snapshot
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import folder, mutilate

NR_VARIANTS = 200
WHOLE = {"records", "rows", "frames_by_stack"}
"""What is counted of a source that nothing is wrong with."""
PROC = TESTS_DATA / "proc-6.1"


@functools.cache
def _recorded_text():
    text = read_unpacked(TESTS_DATA / "page_owner-6.1.xz", 1 << 24).split(b"\n\n")
    return b"\n\n".join(text[:40] + text[300:340]) + b"\n\n"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    top = tmp_path_factory.mktemp("originals")
    folder(top / "invented")
    texts = top / "texts"
    texts.mkdir()
    for name in ("buddyinfo", "pagetypeinfo", "zoneinfo", "iomem"):
        shutil.copyfile(PROC / name, texts / name)
    (texts / "page_owner").write_bytes(_recorded_text())
    lists = top / "lists"
    folder(lists)
    (lists / "kpageflags").unlink()
    return [top / "invented", texts, lists]


def test_each_is_one_clear_line_or_a_counted_rest(originals, tmp_path):
    ends = Counter()
    for number in range(NR_VARIANTS):
        rng = random.Random(f"mutilated {number}")
        path = tmp_path / str(number)
        shutil.copytree(rng.choice(originals), path)
        what = " then ".join(mutilate(rng, path) for _ in range(rng.choice([1, 1, 1, 2])))
        whole = path if rng.random() < 0.6 else rng.choice(sorted(path.iterdir()))
        try:
            snapshot = open_snapshot(whole)
        except SnapshotError as error:
            line = str(error)
            assert "\n" not in line, what
            assert line.isprintable(), what
            assert line.startswith(str(path)), f"{what}: {line}"
            ends[error.problem.split()[0]] += 1
        else:
            snapshot.check()
            assert set(snapshot.reading.values()) != {0}
            if not number % 8:
                image.save(snapshot, tmp_path / "a.npz")
                assert np.array_equal(image.load(tmp_path / "a.npz").klass, snapshot.klass), what
            ends["counted" if set(snapshot.reading) - WHOLE else "read"] += 1
        shutil.rmtree(path)
    assert sum(ends.values()) == NR_VARIANTS
    assert len(ends) > 6, ends
    assert 30 < ends["read"] < 170, ends
    assert ends["counted"] > 8, ends
