"""A user's mistake: one clear line on stderr, 2 for a wrong call, 1 for a failure, no traceback."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from pinlab.cli.errors import failures
from pinlab.snapshot import form
from tests.kit.command import PROGRAM, ROOT, check_one_line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ["'frobnicate'", "pinpage --help"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["compare", "--design", "rfc9"], ["'rfc9'", "unmovable, zbud-reclaim", "registry"]),
        (["compare", "--movable", "gpu"], ["'gpu'", "kernel, pagetable, slab, zbud"]),
        (["compare", "--movable", "zbud,gpu"], ["'gpu'"]),
        (["compare", "--movable", ","], ["name owners"]),
        (["compare", "--movable", ""], ["name owners"]),
        (
            ["compare", "--design", "unmovable", "--movable", "zbud"],
            ["'unmovable' asks no owner: leave --movable out"],
        ),
        (["compare", "--strategy", "guess"], ["--strategy", "'guess'", "'scan', 'plan'"]),
        (["compare", "--seed", "-1"], ["--seed", "0"]),
        (["compare", "--seed", "many"], ["--seed"]),
        (["compare", "--jobs", "0"], ["--jobs", "1"]),
        (["compare", "--json", "--map"], ["--map"]),
        (["compare", "one.npz", "two.npz"], ["two.npz"]),
        (["compare", "--design"], ["--design"]),
        (["record"], ["--output", "pinpage record --help"]),
        (["report", "frobnicate"], ["'frobnicate'"]),
        (["report", "heatmap", "--width", "5"], ["--width", "40"]),
    ],
)
def test_a_wrong_call_is_one_line(pinpage, arguments, words):
    check_one_line(pinpage(*arguments), 2, *words)


@pytest.mark.parametrize("arguments", [[], ["report"]])
def test_a_call_that_asks_for_nothing_is_answered_with_help(pinpage, arguments):
    done = pinpage(*arguments)
    assert done.code == 2
    assert "Usage: pinpage" in done.out


# Files.


def truncated(path, small):
    path.write_bytes(small.read_bytes()[:-2000])


def corrupted(path, small):
    content = bytearray(small.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def foreign(path, small):
    np.savez(path, x=np.arange(3))


def newer(path, small):
    header, columns = form.read(small)
    version, form.FORMAT_VERSION = form.FORMAT_VERSION, 99
    try:
        del header["columns"]
        form.write(path, header | {"version": 99}, columns)
    finally:
        form.FORMAT_VERSION = version


def text(path, small):
    path.write_text("flags\n")


def empty(path, small):
    path.touch()


def directory(path, small):
    path.mkdir()


def missing(path, small):
    pass


@pytest.mark.parametrize("command", [["compare"], ["report", "heatmap"], ["request", "cma"]])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, "does not exist"),
        (directory, "is not a regular file"),
        (empty, "is empty"),
        (text, "is no recording, no text of page_owner"),
        (truncated, "cut short"),
        (corrupted, "damaged"),
        (foreign, "neither a snapshot nor a recording"),
        (newer, "newer"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    pinpage, tmp_path, small, command, spoil, words
):
    path = tmp_path / "a.npz"
    spoil(path, small)
    check_one_line(pinpage(*command, path), 1, str(path), words)


def test_a_file_that_may_not_be_read_is_named(pinpage, tmp_path, small, as_nobody):
    if os.getuid() == 0:
        path = small  # in a directory of root's alone
    else:
        path = shutil.copyfile(small, tmp_path / "a.npz")
        path.chmod(0)
    check_one_line(pinpage("compare", path), 1, str(path), "Permission denied")


def test_a_file_of_costs_that_is_not_there_is_named(pinpage, tmp_path, small):
    path = tmp_path / "costs"
    done = pinpage("what-if", small, "--want", 1, "--costs", path)
    check_one_line(done, 1, str(path), "No such file")


def test_what_the_system_refuses_without_a_file_is_said_of_it(capsys):
    with pytest.raises(typer.Exit) as ended, failures():
        raise OSError(errno.EMFILE, "Too many open files")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "pinpage: system: Too many open files\n"


# Where it prints.


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["compare", "{small}", "--design", "unmovable", "--map"],
        ["compare", "{small}", "--design", "unmovable", "--json"],
        ["report", "heatmap", "{small}"],
        ["report", "reasons", "{report}"],
        ["request", "power", "{small}"],
        ["request", "power", "{small}", "--json"],
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_in_every_command(arguments, small, tmp_path):
    report = tmp_path / "report.json"
    report.write_text('{"refused_by_owner": {}}')
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *(a.format(small=small, report=report) for a in arguments)],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "pinpage: standard output: No space left on device\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["designs"],
        ["compare", "{small}", "--design", "unmovable"],
        ["report", "heatmap", "{small}"],
        ["convert", "{small}", "-o", "{made}"],
    ],
)
def test_a_closed_stdout_is_one_line_in_every_command(arguments, small, tmp_path):
    """What would be printed is lost, which is no success; nothing has been made by then."""
    made = tmp_path / "made.npz"
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *PROGRAM]
        + [argument.format(small=small, made=made) for argument in arguments],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("pinpage: standard output: is closed")
    assert done.stderr.count("\n") == 1
    assert not made.exists()


def test_where_nobody_listens_at_all_the_exit_code_tells(small):
    """Closed streams, as some that start programs leave them."""
    done = subprocess.run(
        ["sh", "-c", '"$@" >&- 2>&-', "sh", *PROGRAM, "report", "heatmap", str(small)],
        cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1


def test_a_closed_stderr_is_no_mistake(small):
    done = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", *PROGRAM, "compare", str(small), "--design", "unmovable"],
        cwd=ROOT, stdout=subprocess.DEVNULL, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0


# Too little memory.


def test_running_out_of_memory_is_one_line(pinpage, small, monkeypatch):
    def fails(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("pinlab.compare.compare.compare", fails)
    check_one_line(pinpage("compare", small), 1, "memory ran out")


# Help.


def test_help_loads_nothing_heavy():
    program = (
        "import sys; sys.argv = ['pinpage', *sys.argv[1:]]\n"
        "from pinlab.cli.main import main\n"
        "try: main()\n"
        "finally: print('loaded', *sys.modules, file=sys.stderr)\n"
    )
    for arguments in (["--help"], ["compare", "--help"], ["request", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        loaded = set(done.stderr.split()[1:])
        assert "pinlab.cli.main" in loaded
        assert not loaded & {
            "numpy",
            "attrs",
            "matplotlib",
            "pinpage",
            "mm",
            "pinlab.compare.compare",
        }
        assert len(loaded) < 500


def test_the_version_is_one_line(pinpage):
    done = pinpage("--version")
    assert done.code == 0
    assert done.out.startswith("pinpage")
    assert done.out.count("\n") == 1
