"""The pages about JSON name every field that is printed."""

import attrs
import pytest

from pinlab.compare.results import Comparison, MeasuredRow, Row
from pinlab.requests.report import Attempt, InTheWay, RequestReport
from tests.kit.command import ROOT

PAGES = {
    "request-json.md": (RequestReport, Attempt, InTheWay),
    "compare-json.md": (Comparison, Row, MeasuredRow),
}


@pytest.mark.parametrize("page", PAGES)
def test_every_field_has_its_row(page):
    text = (ROOT / "docs" / "reference" / page).read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    told = {word for row in rows for word in row.split("`")[1::2]}
    fields = {field.name for kind in PAGES[page] for field in attrs.fields(kind)}
    assert not fields - told - {"maps"}
