"""`--owner`: an owner of one's own in `request` and `compare`, and what is said of a wrong one."""

import json

import numpy as np
import pytest

from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import FrameClass
from tests.kit.command import check_one_line

MEMORY = "scenario:16MiB,anon=20%,own=4%,scatter=50%"
RING = "docs/tutorial/ring.py:ring"
SCRIBBLER = '''
from pinpage.owner import PinOwner, Verdict
from pinpage.testing.conformance.lab import PageSubject


class Scribbler(PinOwner):
    """Writes into columns that are not its own."""

    def __init__(self, lab):
        self.lab, self.pfn_of = lab, {}

    def isolate(self, pin, mode):
        return Verdict.YES

    def migrate(self, pin, target):
        self.pfn_of[pin.private] = target
        self.lab.machine.frames.order[target] = 3


def scribbler(lab):
    owner = Scribbler(lab)
    return PageSubject(lab, owner, owner.pfn_of)
'''


def test_request_and_compare_take_it(pinpage):
    asked = pinpage("request", "huge2m", MEMORY, "--owner", RING, "--strategy", "plan", "--json")
    report = json.loads(asked.out)
    assert report["details"]["own_frames"] > 100
    assert report["bytes_lost"] == 0
    compared = pinpage(
        "compare", MEMORY, "--owner", f"own={RING}", "--strategy", "plan", "--movable", "none",
        "--json",
    )  # fmt: skip
    (row,) = json.loads(compared.out)["rows"]
    assert row["huge_pages"] == row["bound"] == report["obtained"]


def test_labelled_frames_of_a_recording_are_its(pinpage):
    slab = np.flatnonzero(bundled().klass == FrameClass.SLAB)[:3].tolist()
    label = "mine=" + ",".join(map(str, slab))
    ended = pinpage(
        "request", "offline", "--label", label, "--owner", RING, "--layout-only", "--block", "0"
    )
    assert ended.code == 0
    assert "own frames  3" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("request", "huge2m", MEMORY, "--owner", "nope.py:x"), ["nope.py: there is no such file"]),
        (("compare", MEMORY, "--owner", "docs/tutorial/ring.py:x"), ["it has Ring, ring"]),
        (("request", "huge2m", "--owner", RING), ["--owner", "--label mine="]),
        (("request", "huge2m", MEMORY, "--owner", RING, "--movable", "own"), ["--movable own"]),
    ],
)
def test_what_is_wrong_is_one_line(pinpage, arguments, words):
    check_one_line(pinpage(*arguments), 2, *words)


def test_a_machine_that_contradicts_itself_is_its_doing(pinpage, tmp_path):
    path = tmp_path / "scribbler.py"
    path.write_text(SCRIBBLER)
    ended = pinpage(
        "request", "offline", MEMORY, "--owner", f"{path}:scribbler", "--block-size", "4MiB"
    )
    check_one_line(ended, 1, f"{path}:scribbler", "contradicts itself", "pinpage check")
