"""Executable history: a defect is shown on the patch, goes when mended, is not in the registry."""

import pytest

from pinlab.defects.history import Exhibit, exhibits
from pinlab.defects.on_patch import ON_PATCH
from pinlab.defects.on_registry import ON_REGISTRY
from pinpage.rfc2013_defects import NOTHING_WRONG, Defect


@pytest.mark.parametrize("defect", Defect)
def test_a_defect_is_shown_on_the_patch_and_nowhere_else(defect):
    assert ON_PATCH[defect]({defect}) is not None
    assert ON_PATCH[defect](NOTHING_WRONG) is None
    assert ON_REGISTRY[defect]() is None


def test_the_defects_are_numbered_from_one():
    assert [defect.number for defect in Defect] == list(range(1, len(Defect) + 1))
    assert len({defect.title for defect in Defect}) == len(Defect)


@pytest.mark.parametrize(
    ("on_patch", "mended", "on_registry"), [(None, None, None), ("x", "x", None), ("x", None, "x")]
)
def test_what_is_not_history_is_told(on_patch, mended, on_registry):
    assert not Exhibit(Defect.DUPLICATES, on_patch, mended, on_registry).is_history


def test_all_of_it_is_history():
    found = exhibits()
    assert [exhibit.defect for exhibit in found] == list(Defect)
    assert all(exhibit.is_history for exhibit in found)
