"""What a page shows below a command, or says that it comes to, is what the command prints."""

import re
import sys
from pathlib import Path

import pytest

from pinlab.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "why-no-huge-page.md").read_text()
SHOWN = re.findall(
    r"^```console\n\$ \.venv/bin/pinpage ([^\n]*)\n```\n\n```text\n(.*?)^```", PAGE,
    re.MULTILINE | re.DOTALL,
)  # fmt: skip
COPIES = ROOT.parent / "shared" / "data" / "raw-6.1"
ALONE = re.findall(r"^\$ \.venv/bin/pinpage ([^\n]*)$", PAGE, re.MULTILINE)


@pytest.fixture
def printed(monkeypatch, capsys, tmp_path):
    """What the command prints, called where nothing else is."""
    monkeypatch.chdir(tmp_path)

    def run(arguments):
        monkeypatch.setattr(sys, "argv", ["pinpage", *arguments.split()])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("arguments", "text"), SHOWN, ids=[shown[0] for shown in SHOWN])
def test_it_prints_what_is_shown(arguments, text, printed):
    assert printed(arguments) == text


def test_the_commands_on_the_built_in_recording_all_run(printed):
    own = [line for line in ALONE if "here.npz" not in line]
    assert len(SHOWN) >= 3
    for line in set(own) - {shown[0] for shown in SHOWN}:
        assert printed(line)


def test_the_reasons_of_a_request_can_be_filtered_as_the_page_says(printed, tmp_path):
    page = (ROOT / "docs" / "how-to" / "ask-for-memory.md").read_text()
    asked, *filters = re.findall(r"^\$ \.venv/bin/pinpage (.*offline\.json.*)$", page, re.MULTILINE)
    command, _, name = asked.partition(" > ")
    (tmp_path / name).write_text(printed(command))
    assert len(filters) == 2
    for line in filters:
        assert printed(line).count("\n") > 3, line


def test_the_moves_of_power_regions_are_as_the_planner_page_says(printed):
    page = (ROOT / "docs" / "explanation" / "planner.md").read_text()
    said = re.findall(r"five power regions .* cost ([\d,]+) moves .* and ([\d,]+) from", page)
    asked = re.findall(r"^\$ \.venv/bin/pinpage (request power .*)$", page, re.MULTILINE)
    text = [printed(line) for line in asked]
    assert all("obtained         5 of 8 (power regions)" in shown for shown in text)
    assert [re.findall(r"^moved +([\d,]+) pages", shown, re.MULTILINE) for shown in text] == [
        [moves] for moves in said[0]
    ]


@pytest.mark.skipif(not COPIES.is_dir(), reason="needs the folder of copies beside the checkout")
def test_the_whole_hour_on_a_folder_of_copies(printed, tmp_path):
    """From `convert` to the sentence, each command of the page, of the machine that is copied."""
    (tmp_path / "copies").symlink_to(COPIES)
    mine = [line for line in ALONE if not line.startswith("record ")]
    mine.sort(key=lambda line: not line.startswith("convert "))
    said = {}
    for shown in mine:
        line = shown.replace("later.npz", "here.npz").replace("0x32000-0x321ff", "0x3400-0x35ff")
        line += "" if "here.npz" in line else " here.npz"
        said[line] = printed(line)
        assert max(map(len, said[line].split("\n"))) < 80, line
    told = " ".join(said["convert copies/ -o here.npz"].split())
    assert "34,590 allocations with their stacks" in told
    assert "totals agree with the kernel's within that" in said["report trust here.npz"]
    (order,) = (text for line, text in said.items() if line == "diagnose --order 9 here.npz")
    sentence = " ".join(order.split("\n\n")[-1].split())
    assert sentence.startswith("Linux: a page of order 9 (2 MiB) can be had after moving ")
    assert "Asking again" in said["diagnose here.npz --order 9 --again here.npz"]
    frame = said["report frames 0x3540 here.npz"]
    assert "s after boot, 1 allocation" in frame
    assert "allocate_slab" in frame
    assert "stack      get_page_from_freelist < " in frame
    assert "zbud" in said["report owners here.npz"]
    assert (
        "what if zbud, slab could move?" in said["what-if --movable zbud,slab --want 200 here.npz"]
    )
