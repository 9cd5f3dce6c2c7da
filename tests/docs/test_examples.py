"""Every script in docs/examples prints exactly what its .out says."""

import sys
from pathlib import Path

import pytest

from tests.kit.command import printed

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_prints_its_out(script):
    assert printed([sys.executable, script], timeout_s=60) == script.with_suffix(".out").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_says_what_it_shows_and_what_to_expect(script):
    text = script.read_text()
    assert "\nShows:" in text
    assert "\nExpect:" in text


def test_no_out_without_its_script():
    outs = {path.stem for path in (ROOT / "docs" / "examples").glob("*.out")}
    assert outs == {path.stem for path in SCRIPTS}
