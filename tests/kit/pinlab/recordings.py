"""Where the recordings are: some travel with the tests, more may lie beside the checkout."""

import functools
from pathlib import Path

from pinlab.procfs.linux61 import load_recording
from pinlab.snapshot.image import load

__all__ = ["BESIDE", "IN_TESTS", "TESTS_DATA", "opened"]

TESTS_DATA = Path(__file__).resolve().parents[2] / "data"
BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data"

IN_TESTS = {path.stem: functools.partial(load, path) for path in sorted(TESTS_DATA.glob("*.npz"))}
"""Name -> a function that reads it."""


def opened(name):
    """The recording of that name from either place; None where it is not."""
    if name in IN_TESTS:
        return IN_TESTS[name]()
    path = BESIDE / f"{name}.npz"
    return load_recording(path) if path.is_file() else None
