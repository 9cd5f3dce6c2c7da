"""How the command behaves in a shell: as a module, with completion, colours, and strangers."""

import os
import pty
import subprocess
import sys

import pytest

from pinlab.cli.start import main
from tests.kit.command import PROGRAM, ROOT


def run(*command, cwd=ROOT, **env):
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("module", ["pinpage", "pinlab.cli.start"])
def test_it_runs_as_a_module(module):
    code, out, err = run(sys.executable, "-m", module, "--version")
    assert (code, err) == (0, "")
    assert out.startswith("pinpage ")
    assert run(sys.executable, "-m", module, "frobnicate")[0] == 2


def test_the_command_ends_its_process_with_its_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pinpage", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("pinpage ")


def test_an_interrupt_while_the_command_is_read_in_is_one_line(tmp_path):
    """At whatever module it comes: what is read in is looked for here first."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    ended = run(*PROGRAM, "--version", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert ended == (130, "", "pinpage: interrupted\n")


def test_an_interrupt_before_the_command_listens_is_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("pinlab.cli.main.main", interrupted)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
        main()
    assert isinstance(ended.value, SystemExit)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "pinpage: interrupted\n"


def test_the_shell_can_complete():
    asked = {"_PINPAGE_COMPLETE": "complete_bash", "COMP_WORDS": "pinpage re", "COMP_CWORD": "1"}
    code, out, err = run(*PROGRAM, **asked)
    assert (code, err) == (0, "")
    assert sorted(out.split()) == ["record", "redact", "report", "request"]


@pytest.mark.parametrize(
    "command", [["compare"], ["request"], ["fidelity"], ["check"], ["report", "reasons"]]
)
def test_json_is_shown_as_a_flag(command):
    shown = run(*PROGRAM, *command, "--help", COLUMNS="200")[1]
    assert "--json" in shown
    assert "--no-json" not in shown


@pytest.mark.parametrize("command", [["designs"], ["convert"], ["record"], ["report", "trust"]])
def test_a_paragraph_of_help_is_as_wide_as_the_terminal(command):
    """Where the source breaks a line, the reader's terminal does not."""
    shown = run(*PROGRAM, *command, "--help", COLUMNS="200")[1]
    prose = shown.partition("\u256d")[0].splitlines()[2:]
    paragraphs = [line.strip() for line in prose if line.strip()]
    assert len(paragraphs) == 2
    assert all(text.endswith((".", "?")) for text in paragraphs)


def on_a_terminal(small, **env):
    """What `compare` writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "compare", str(small), "--design", "unmovable"],
        cwd=ROOT, stdout=theirs, stderr=subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm"} | env,
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # nobody writes any more
                break
            if not part:
                break
            said += part
    os.close(ours)
    assert process.returncode == 0
    return said


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["describe", "scenario:16MiB", "-o", "/dev/null"], b"laying out memory"),
        (["check", "docs/tutorial/ring.py:ring", "--examples", "1"], b"checking docs/tutorial"),
        (["check", "--design", "docs/tutorial/patient.py:patient", "--examples", "1"], b"checking"),
    ],
)
def test_what_may_take_long_says_that_it_is_at_work(command, what):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*PROGRAM, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}, timeout=60, check=False,
    )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 65536)
    os.close(ours)
    assert done.returncode == 0
    assert what in said
    assert what not in done.stdout


def test_colours_go_where_no_color_says_so(small):
    assert b"\x1b[" in on_a_terminal(small, NO_COLOR="")
    assert b"\x1b[" not in on_a_terminal(small, NO_COLOR="1")


@pytest.mark.parametrize("name", ["owners", "mm"])
def test_a_stranger_of_our_name_is_named(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("import sys\n")
    code, out, err = run(*PROGRAM, "compare", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"another {name!r} would be imported, {tmp_path / name}.py" in err
