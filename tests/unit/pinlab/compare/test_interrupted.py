"""Ctrl-C while designs are compared: the rows that had ended are kept; and layouts alone."""

import pytest

from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.report.tables import as_text
from tests.kit.pinlab.small import small_recording

RUNS = (Run("unmovable"), Run("registry"), Run("registry", (), "plan"))


def stops_before(nr_ended):
    def progress(_run, n, _of):
        if n == nr_ended:
            raise KeyboardInterrupt

    return progress


def test_rows_that_had_ended_are_kept():
    snapshot = small_recording()
    whole = compare(snapshot, RUNS)
    try:
        found = compare(snapshot, RUNS, progress=stops_before(2), keeps_ended=True)
    except KeyboardInterrupt:  # would end the test run
        pytest.fail("the rows are lost")
    assert (found.partial, found.rows) == (True, whole.rows[:2])
    assert not whole.partial
    assert as_text(found)


@pytest.mark.parametrize(("nr_ended", "keeps"), [(0, True), (2, False)])
def test_else_an_interruption_is_the_callers(nr_ended, keeps):
    with pytest.raises(KeyboardInterrupt):
        compare(small_recording(), RUNS, progress=stops_before(nr_ended), keeps_ended=keeps)


def test_a_layout_alone_gives_the_same_figures_without_bytes():
    snapshot = small_recording()
    runs = (*RUNS, Run("registry", ("slab", "zbud"), "plan"))
    for one, other in zip(
        compare(snapshot, runs).rows, compare(snapshot, runs, layout_only=True).rows, strict=True
    ):
        assert (other.bytes_verified, other.bytes_lost) == (0, 0)
        assert one.bytes_verified > 0
        for name in ("huge_pages", "bound", "pages_moved", "pages_scanned", "refused"):
            assert getattr(one, name) == getattr(other, name), name
