"""`pinpage describe`, and memory that is described wherever a recording may be named."""

import json
from typing import get_args

import pytest

from pinlab.described.synthetic import describe_machine
from pinlab.requests.report import RequestName
from pinlab.snapshot import image
from tests.kit.command import check_one_line

SCENARIO = "scenario:16MiB,anon=30%,slab=2%,cma=4MiB"


def test_a_description_becomes_a_recording(pinpage, tmp_path):
    path = tmp_path / "a.npz"
    done = pinpage("describe", SCENARIO, "-o", path, "--seed", 3)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{path}: 4,096 frames in 8 pageblocks")
    made = describe_machine(SCENARIO, seed=3)
    assert (image.load(path).klass == made.klass).all()
    asked = [pinpage("request", "cma", what, "--seed", 3, "--json") for what in (path, SCENARIO)]
    one, other = (json.loads(done.out) for done in asked)
    assert one["digest"] == other["digest"]


@pytest.mark.parametrize("command", [["compare"], ["report", "heatmap"], ["request", "power"]])
def test_every_command_takes_every_form(pinpage, tmp_path, command):
    toml = tmp_path / "a.toml"
    toml.write_text('size = "16MiB"\nanon = "30%"\n')
    for memory in (SCENARIO, toml):
        done = pinpage(*command, memory)
        assert (done.code, done.err) == (0, "")
    check_one_line(pinpage(*command, "scenario:1GB"), 2, "size='1GB'", "1GiB")


def test_what_cannot_be_described_or_written_is_one_line(pinpage, tmp_path):
    check_one_line(pinpage("describe", "1GiB", "-o", tmp_path / "a"), 2, "begin with scenario:")
    check_one_line(pinpage("describe", SCENARIO, "-o", tmp_path), 1, "is a directory")


@pytest.mark.parametrize(
    "command", [["compare"], *(["request", name] for name in get_args(RequestName))]
)
def test_contents_that_do_not_fit_are_refused_before_anything_is_laid_out(
    pinpage, monkeypatch, command
):
    laid_out = []
    monkeypatch.setattr("pinlab.replay.host_memory.nr_bytes_available", lambda *_: 1 << 20)
    monkeypatch.setattr("pinlab.described.synthetic._Layout.snapshot", laid_out.append)
    done = pinpage(*command, SCENARIO)
    check_one_line(done, 1, SCENARIO, "its contents need", "0.0 GiB are available")
    assert laid_out == []
    monkeypatch.undo()
    monkeypatch.setattr("pinlab.replay.host_memory.nr_bytes_available", lambda *_: 1 << 20)
    without = pinpage(*command, SCENARIO, "--layout-only")
    assert "its contents need" not in without.err
