"""A missing extra: what to type, from an index and in a clone."""

from pathlib import Path

import pinpage
from pinpage.extras import missing_extra

ROOT = Path(__file__).resolve().parents[3]


def test_from_an_index(tmp_path):
    assert str(missing_extra("png: none", "plot", tmp_path)) == (
        "png: none; install the extra pinpage[plot]: pip install 'pinpage[plot]'"
    )


def test_in_a_clone_the_clone_is_what_is_installed():
    assert str(missing_extra("png: none", "plot")).endswith(f"pip install -e '{ROOT}[plot]'")


def test_the_version_is_said_in_one_place():
    assert pinpage.__version__ == "0.1.0"
    assert "0.1.0" not in (ROOT / "pyproject.toml").read_text()
