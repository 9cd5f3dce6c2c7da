"""The command, in this process or in one of its own, and small files to give it."""

import importlib
import os
import pkgutil
import subprocess
import sys

import pytest

import pinlab
from pinlab.cli import main
from pinlab.snapshot import image
from tests.kit.command import PROGRAM, ROOT, Ended
from tests.kit.pinlab.small import small_recording

NOBODY = 65_534


@pytest.fixture
def pinpage(monkeypatch, capsys):
    """Run the command in this process: `pinpage("compare", "--json")`."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pinpage", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return Ended(ended.value.code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def process():
    """Run it in a process of its own."""

    def run(*arguments):
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A file with a recording of seven pageblocks."""
    path = tmp_path_factory.mktemp("recording") / "small.npz"
    image.save(small_recording(), path)
    return path


@pytest.fixture
def as_nobody(pinpage, small):
    """Somebody who is not root, or a skip; what loads late has been loaded."""
    assert pinpage("report", "heatmap", small).code == 0
    names = [module.name for module in pkgutil.walk_packages(pinlab.__path__, "pinlab.")]
    for name in (*names, "importlib.readers"):  # of root's alone, nothing can be loaded later
        importlib.import_module(name)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)
