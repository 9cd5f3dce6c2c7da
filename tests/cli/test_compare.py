"""`pinpage compare`: the main job, as a script and as a person see it."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest
from attrs import evolve

from pinlab.compare.conclusions import conclusions
from pinlab.compare.results import Comparison, MeasuredRow, Row
from pinlab.replay.designs import DESIGNS
from pinlab.report.tables import as_markdown
from pinlab.snapshot import image
from tests.kit.command import PROGRAM, ROOT, check_one_line
from tests.kit.pinlab.small import small_recording
from tests.kit.readme import README, between_marks

ROW_KEYS = [
    "design", "movable", "strategy", "bound", "huge_pages", "pageblocks_emptied", "pages_moved",
    "pages_unused", "pages_grown", "pages_scanned", "refused", "lock_acquisitions",
    "modelled_ns", "bytes_verified", "bytes_lost", "digest",
    "large_pages_split", "release", "pages_released",
]  # fmt: skip
SIZES = ["page_nr_bytes", "nr_pages_per_block"]


@pytest.fixture(scope="module")
def bundled(process):
    """The default comparison of the recording that is built in, as a script sees it."""
    done = process("compare", "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


# The rest (locks, modelled time, bytes read, pages unused) depends on how well the texts
# compress that this machine happened to offer.
PINNED_DOWN = ("design", "callbacks", "strategy", "2 MiB pages", "bound")


def pinned_down(table):
    """The columns that are the same on every machine, row by row."""
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in table.splitlines()]
    where = [rows[0].index(name) for name in PINNED_DOWN]
    return [[row[i] for i in where] for row in rows]


def test_the_readme_shows_what_the_demo_finds(bundled):
    shown = between_marks(README.read_text())
    assert shown, "the README has lost its table: make readme"
    assert pinned_down(shown) == pinned_down(as_markdown(Comparison.from_json(bundled)))


def row_of(shown, design, movable, strategy):
    (row,) = [
        row
        for row in shown["rows"]
        if (row["design"], row["movable"], row["strategy"]) == (design, movable, strategy)
    ]
    return row


def test_one_object_with_the_names_that_scripts_rely_on(bundled):
    assert list(bundled) == ["recording", "request", "seed", "measured", "rows", "partial", *SIZES]
    assert bundled["recording"] == "zbudfr-cmphuge-seed3"
    assert bundled["request"] == "cmphuge"
    for row in bundled["rows"]:
        assert list(row) == ROW_KEYS
        assert isinstance(row["movable"], list)
        assert all(isinstance(count, int) for count in row["refused"].values())
        assert len(row["digest"]) == 32
    assert bundled["measured"] == {
        "kernel": "Linux 6.1", "huge_pages": 12, "pageblocks_emptied": 6, "pages_moved": 33_373,
        "pages_scanned": 204_184,
    }  # fmt: skip


def test_the_default_runs_are_each_design_and_each_strategy(bundled):
    runs = [(row["design"], row["movable"], row["strategy"]) for row in bundled["rows"]]
    assert runs == [
        ("unmovable", [], "scan"),
        ("zbud-reclaim", [], "scan"),
        ("registry", ["zbud"], "scan"),
        ("registry", ["slab", "zbud"], "scan"),
        ("registry", [], "plan"),
        ("registry", ["slab", "zbud"], "plan"),
    ]


def test_with_callbacks_a_plan_makes_all_that_free_memory_can_make(bundled):
    row = row_of(bundled, "registry", ["slab", "zbud"], "plan")
    assert row["huge_pages"] >= 0.98 * row["bound"]
    assert row["bound"] == 211


def test_without_callbacks_a_plan_makes_more_with_fewer_moves(bundled):
    plan, scan = row_of(bundled, "registry", [], "plan"), row_of(bundled, "unmovable", [], "scan")
    assert plan["huge_pages"] >= 0.98 * plan["bound"]
    assert plan["bound"] == 44 > scan["huge_pages"]
    assert plan["pages_moved"] <= scan["pages_moved"] / 2


def test_a_plan_with_zbud_movable_grows_nothing_and_obtains_no_less_than_reclaim(bundled):
    reclaim = row_of(bundled, "zbud-reclaim", [], "scan")
    plan = row_of(bundled, "registry", ["slab", "zbud"], "plan")
    assert plan["huge_pages"] >= reclaim["huge_pages"]
    assert (plan["pages_grown"], plan["pages_unused"]) == (0, 0)
    assert reclaim["pages_grown"] > 10_000


def test_not_a_byte_is_lost(bundled):
    for row in bundled["rows"]:
        assert row["bytes_lost"] == 0
        assert row["bytes_verified"] > 400_000_000


def test_the_built_in_recording_says_that_one_callback_buys_next_to_nothing(bundled):
    rows = tuple(Row(**row | {"movable": tuple(row["movable"])}) for row in bundled["rows"])
    shown = bundled | {"measured": MeasuredRow(**bundled["measured"]), "rows": rows}
    notes = conclusions(Comparison(**shown))
    starts = [
        "A callback for zbud alone buys 1 huge page by scan (13 against 12), with ",
        "Callbacks for slab and zbud together make ",
        "Knowing who holds what, with no callback at all, makes 44 huge pages with ",
        "zbud-reclaim does not move compressed pages but brings them back: ",
        "How far to trust this: unmovable by scan is what Linux 6.1 does, and makes 12 huge ",
    ]
    assert len(notes) == len(starts)
    for note, start in zip(notes, starts, strict=True):
        assert note.startswith(start), note


def test_on_another_recording_one_callback_costs_huge_pages_and_the_table_says_so(pinpage):
    path = ROOT / "tests/data/zbud-cmphuge-seed1.npz"
    designs = ["--design", "unmovable", "--design", "registry", "--movable", "zbud"]
    done = pinpage("compare", path, *designs)
    assert done.code == 0
    (note,) = [line for line in done.out.splitlines() if "callback for zbud alone" in line]
    assert "alone loses " in note
    assert "against 139)" in note
    assert "Even the bound stays at 201" in note


# Same seed, same digest.


def digests(done):
    assert done.code == 0, done.err
    return [row["digest"] for row in json.loads(done.out)["rows"]]


def test_the_same_seed_gives_the_same_digests_in_two_processes_and_with_any_jobs(process, small):
    one = process("compare", small, "--json", "--jobs", 1)
    other = process("compare", small, "--json", "--jobs", 3)
    assert one == other
    assert len(digests(one)) == 6
    assert not set(digests(one)) & set(digests(process("compare", small, "--json", "--seed", 1)))


# What can be chosen.


def names(done):
    shown = json.loads(done.out)
    return [(row["design"], row["movable"], row["strategy"]) for row in shown["rows"]]


def test_designs_callbacks_and_strategy_are_chosen_by_name(pinpage, small):
    done = pinpage(
        "compare", small, "--json", "--design", "registry", "--movable", "slab,zbud",
        "--movable", "none", "--strategy", "plan",
    )  # fmt: skip
    assert names(done) == [("registry", ["slab", "zbud"], "plan"), ("registry", [], "plan")]
    assert names(pinpage("compare", small, "--json", "--design", "unmovable")) == [
        ("unmovable", [], "scan")
    ]


def test_a_recording_without_an_outcome_has_no_measured_row(pinpage, tmp_path):
    image.save(evolve(small_recording(), measured=None), tmp_path / "wild.npz")
    done = pinpage("compare", tmp_path / "wild.npz", "--json", "--design", "unmovable")
    assert json.loads(done.out)["measured"] is None
    text = pinpage("compare", tmp_path / "wild.npz", "--design", "unmovable")
    assert text.code == 0
    assert "measured" not in text.out


def test_the_map_is_drawn_for_each_run(pinpage, small):
    done = pinpage("compare", small, "--map", "--design", "unmovable", "--design", "registry")
    assert done.code == 0
    assert done.out.count("Wholly free or huge:") == 2


def test_help_names_every_design(pinpage, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = pinpage("compare", "--help").out
    assert all(f"{name} (" in text for name in ("unmovable", "zbud-reclaim", "registry"))
    assert "pinpage designs" in text
    listed = pinpage("designs").out
    assert all(f"\n{name}\n" in listed for name in DESIGNS)


def test_every_design_runs_and_says_what_it_cannot_express(pinpage, small):
    done = pinpage("compare", small, "--all", "--json")
    shown = json.loads(done.out)
    assert {row["design"] for row in shown["rows"]} == set(DESIGNS)
    assert len({(r["design"], *r["movable"], r["strategy"]) for r in shown["rows"]}) == 22
    assert all(row["bytes_lost"] == 0 for row in shown["rows"])
    assert {limit["design"] for limit in shown["cannot_express"]} == set(DESIGNS) - {"registry"}
    check_one_line(pinpage("compare", small, "--all", "--strategy", "plan"), 2, "--all", "leave")


def test_what_designs_cannot_express_is_printed(pinpage, small):
    out = pinpage("compare", small, "--all").out
    assert "What a design cannot express here" in out
    assert "movable-ops: slab: slab uses the words of the page" in out
    assert "confinement: its effect is on growth" in out


# On a terminal.


def on_a_terminal(arguments, *, columns=80, **streams):
    """Run it with one stream on a terminal; what was written there, and the other streams."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
        | {"TERM": "xterm"},
        text=True,
        **{name: theirs if how == "terminal" else subprocess.PIPE for name, how in streams.items()},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other end was closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    return seen.decode(), out, err


def test_the_bar_goes_to_a_terminal_and_stdout_stays_one_object(small):
    bar, out, _ = on_a_terminal(["compare", small, "--json"], stdout="pipe", stderr="terminal")
    assert "registry slab+zbud plan" in bar
    assert json.loads(out)["recording"] == "small-cmphuge-seed0"


def test_on_a_terminal_of_80_columns_nothing_is_wider(small):
    text, _, err = on_a_terminal(["compare", small], stdout="terminal", stderr="pipe")
    lines = text.replace("\r\n", "\n").splitlines()
    plain = [re.sub(r"\x1b\[\dm", "", line) for line in lines]
    assert max(map(len, plain)) <= 80
    assert any(line.startswith("registry (slab+zbud) plan") for line in plain)
    assert err == ""


# Interrupted.


def test_ctrl_c_ends_it_with_one_line_and_no_children(tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "compare"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(children) as listed:  # noqa: PTH123  (a file of /proc)
            if listed.read().split():
                break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everybody
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "pinpage: interrupted\n"
    assert out == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_reader_that_has_seen_enough_ends_it_quietly(small):
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "compare", str(small), "--map"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 1
