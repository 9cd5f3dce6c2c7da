"""The page counts as the library does, shows every frame, and reaches for nothing outside."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import codes_of
from pinlab.whatif import page
from pinlab.whatif.answer import what_if
from pinlab.whatif.page import facts_of, write_page
from pinlab.whatif.page_script import COUNTING, DRAWING
from pinpage.errors import PinpageError
from tests.kit.pinlab.blocks import machine_of, snapshot_of
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import small_recording

NODE = shutil.which("node")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


DOCUMENT = """
const made = {}, fake = () => ({
  style: {}, children: [],
  getContext: () => ({ fillRect() { made.drawn = (made.drawn || 0) + 1 } }),
  append(...more) { this.children.push(...more) },
  replaceChildren(...more) { this.children = more },
});
const document = {
  getElementById: id => made[id] ||= fake(),
  createElement: () => new Proxy(fake(), {
    set(box, name, value) { if (name === 'id') made[value] = box; box[name] = value; return true },
  }),
};
"""
"""As much of a browser as the page asks for."""
CLICKS = """
const clean = () => $('orders').children[1].children.map(box => box.textContent)[3];
const before = clean();
$('moves-slab').checked = true; $('moves-slab').onchange();
const drawn = made.drawn;
$('map').onclick({ offsetX: 13, offsetY: 1 });
$('frames').onmousemove({ offsetX: 19, offsetY: 1 });
const shown = [before, clean(), made.drawn - drawn, $('where').textContent, $('frame').textContent];
"""


def run_in_node(snapshot, expression, more=""):
    program = f"const facts = {json.dumps(facts_of(snapshot))};{COUNTING}{more}"
    done = subprocess.run(
        [NODE, "-"],
        input=f"{program};console.log(JSON.stringify({expression}))",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("name", ["small", "zbud-cmphuge-seed1"])
def test_the_page_counts_as_the_library_does(name):
    snapshot = small_recording() if name == "small" else IN_TESTS[name]()
    for movable in (("slab",), ("slab", "zbud")):
        told = run_in_node(snapshot, f"facts.orders.map(at => count(at, {list(movable)}))")
        rows = what_if(snapshot, movable=movable).orders
        assert told == [
            {
                "clean_lo": row.after.clean_lo,
                "clean_hi": row.after.clean_hi,
                "obtained_lo": row.after.obtained_lo,
            }
            for row in rows
        ]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_every_frame_is_in_the_page():
    snapshot = small_recording()
    assert np.array_equal(run_in_node(snapshot, "[...frames()]"), codes_of(snapshot)[0])


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_a_switch_counts_again_and_a_click_shows_frames():
    snapshot = machine_of([["slab"], ["gup", "slab"], []], nr_free=400)
    shown = run_in_node(snapshot, "shown", f"{DOCUMENT}{DRAWING}{CLICKS}")
    assert shown == [1, 2, 512, "Block 1, from pfn 0x200", "pfn 0x201: slab"]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_each_colour_on_the_map_is_named():
    snapshot = machine_of([["slab"], ["anon", "file", "gup", "reserved"], []], nr_free=400)
    rest = "$('rest').children.map(label => label.children.at(-1).trim())"
    named = run_in_node(snapshot, rest, f"{DOCUMENT}{DRAWING}")
    switches = "$('switches').children.map(label => label.children.at(-1).trim())"
    named += run_in_node(snapshot, switches, f"{DOCUMENT}{DRAWING}")
    codes, names = codes_of(snapshot)
    shown = {names[code] for code in set(codes.tolist())}
    told = [name.removesuffix(" moves") for entry in named for name in entry.split(", ")]
    assert sorted(told) == sorted(shown)
    assert {"anon", "file", "free", "slab"} <= shown


def test_the_page_is_the_same_bytes_and_reaches_for_nothing(tmp_path):
    for name in ("a.html", "b.html"):
        write_page(small_recording(), tmp_path / name)
    text = (tmp_path / "a.html").read_text()
    assert text == (tmp_path / "b.html").read_text()
    assert not re.search(r"https?:|src=|href=|fetch\(|import ", text)


def test_a_page_of_too_many_runs_keeps_the_counts_of_each_block_and_says_so(monkeypatch):
    snapshot = small_recording()
    whole = facts_of(snapshot)
    monkeypatch.setattr(page, "_MOST_RUNS_NR_BYTES", 10)
    short = facts_of(snapshot)
    assert whole["in_order"]
    assert not short["in_order"]
    assert len(short["runs"]) < len(whole["runs"]) / 10
    codes, found = codes_of(snapshot)[0], spread(short["runs"])
    assert len(found) == len(codes)
    for first in range(0, len(codes), 512):
        mine = codes[first : first + 512]
        assert np.array_equal(found[first : first + 512], np.sort(mine))


def spread(runs):
    """The frames of a page's runs."""
    content, at, found = base64.b64decode(runs), 0, []
    while at < len(content):
        code, length, shift = content[at], 0, 0
        at += 1
        while True:
            length |= (content[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if not content[at - 1] & 128:
                break
        found.append(np.full(length, code))
    return np.concatenate(found)


@pytest.mark.slow
def test_a_page_of_twenty_five_gigabytes_is_lighter_than_ten_megabytes(tmp_path):
    """Even where no frame is its neighbour's like."""
    klass = np.resize([FrameClass.ANON, FrameClass.SLAB, FrameClass.FREE], 25 << 18)
    write_page(snapshot_of(klass), tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 10 << 20


def test_a_name_cannot_break_out_of_the_page(tmp_path):
    write_page(machine_of([["slab"]]), tmp_path / "a.html")
    facts = re.search(r"const facts = (.*);\n", (tmp_path / "a.html").read_text())[1]
    assert "<" not in facts
    assert json.loads(facts)["owners"] == ["anon", "slab"]


def test_more_owners_than_it_has_switches_for_are_refused():
    labels = [f"x{i}" for i in range(31)]
    with pytest.raises(PinpageError, match="a page has switches for 30 at most"):
        facts_of(machine_of([labels]))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_draws_it(tmp_path):
    write_page(small_recording(), tmp_path / "a.html")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         (tmp_path / "a.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 'id="moves-slab"' in done.stdout
    assert done.stdout.count("<tr>") == 1 + len(facts_of(small_recording())["orders"])
