"""The default suite draws the same examples everywhere, whatever else is loaded or has run."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") == "fuzz", reason="draws new ones by intent"
)


def drawn():
    """What a test of this one function is given."""
    seen = []

    @settings(max_examples=200)
    @given(number=st.integers(), text=st.text(max_size=5), names=st.sets(st.sampled_from("abc")))
    def look(number, text, names):
        seen.append((number, text, sorted(names)))

    look()
    return seen


def test_what_is_loaded_decides_nothing(tmp_path, monkeypatch):
    """Hypothesis would try the constants of any module beside the project."""
    before = drawn()
    numbers = ", ".join(str(number) for number in range(123_456, 124_456))
    (tmp_path / "full_of_constants.py").write_text(f"NUMBERS = [{numbers}]\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("full_of_constants")
    assert drawn() == before


def test_neither_does_the_process():
    """Another hash seed, another working directory's cache, nothing loaded before."""
    script = "import conftest; from tests.property.test_same_examples import drawn; print(drawn())"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outputs[0] == outputs[1] == f"{drawn()}\n"
