"""Every owner that the project ships keeps every promise, checked as the how-to says."""

import re
from pathlib import Path

import pytest

from pinlab.cli.check import check_owner
from pinpage.errors import PinpageError
from tests.kit.conformance.subjects import SUBJECTS

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "check-an-owner.md"
TARGETS = re.findall(r"^\|.*\| `pinpage check (\S+)` \|$", HOW_TO.read_text(), re.MULTILINE)


VARIANTS = {
    "zswap_on_zsmalloc", "zcache_moves", "odirect_refuse", "odirect_wait", "odirect_restart",
    "slab_xarray", "slab_dentry", "one_callback", "mlock", "odirect_cancel", "opaque",
    "zcache_drops",
}  # fmt: skip
"""Of an owner that is tried by default in another way; tried in `slow`, in many examples."""
USUAL = [target for target in TARGETS if target.partition(":")[2] not in VARIANTS]


@pytest.mark.parametrize("target", USUAL, ids=[target.partition(":")[2] for target in USUAL])
def test_it_keeps_every_promise(target):
    keeps_every_promise(target, nr_examples=3)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=[target.partition(":")[2] for target in TARGETS])
def test_it_keeps_every_promise_in_many_examples(target):
    keeps_every_promise(target, nr_examples=40)


def keeps_every_promise(target, nr_examples):
    try:
        report = check_owner(target, nr_examples=nr_examples, seed=0)
    except PinpageError as error:
        if "opened for direct I/O" not in str(error):
            raise
        pytest.skip(str(error))
    assert report.kept, str(report)
    assert report.counts.nr_moved or report.counts.nr_freed


def test_the_how_to_names_every_one():
    assert [target.partition(":")[2] for target in TARGETS] == [f.__name__ for f in SUBJECTS]
