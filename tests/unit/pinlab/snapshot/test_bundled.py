"""What is said about the bundled recording is what it holds."""

import re

import numpy as np
import pytest

import pinlab.snapshot.bundled as module
from mm.state.frames import FrameState


@pytest.mark.parametrize("where", ["docstring", "README.md"])
def test_the_free_memory_that_we_speak_of_is_there(where, pytestconfig):
    snapshot = module.bundled()
    nr_free = int(np.isin(snapshot.state, (FrameState.FREE, FrameState.PCP)).sum())
    readme = (pytestconfig.rootpath / "README.md").read_text()
    text = " ".join((module.__doc__ if where == "docstring" else readme).split())
    said = re.search(r"(\d+) MiB(?: of it| \((\d+) %\)) are free", text)
    assert int(said[1]) == round(nr_free / 256)
    if where == "docstring":
        assert int(said[2]) == round(100 * nr_free / snapshot.nr_frames)
