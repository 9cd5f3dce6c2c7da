"""Tables that a person reads: aligned at any width, nothing cut, nothing wrapped."""

import pytest

from pinlab.report.tables import _columns, as_markdown, as_text, lay_out, print_comparison, refusals
from tests.kit.pinlab.rows import comparison, row

WIDE = comparison(
    row(),
    row("zbud-reclaim", pages_unused=52_489, pages_grown=15_158, lock_acquisitions=338_748),
    row("registry", ("slab", "zbud"), refused={"no_callback": 5, "no_target": 110}),
    row("registry", (), "plan", huge_pages=44),
)


def test_the_recorded_kernel_comes_first_and_then_each_run():
    lines = as_text(WIDE).splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == [
        "design", "-" * len(lines[1]), "Linux 6.1, measured", "unmovable", "zbud-reclaim",
        "registry", "registry",
    ]  # fmt: skip
    assert "measured" not in as_text(comparison(row(), measured=False))


def test_each_value_stands_under_its_name():
    header, _, *lines = as_text(WIDE).splitlines()
    for name, value, line in (
        ("2 MiB pages", "44", lines[-1]),
        ("moved", "33,373", lines[0]),
        ("scanned", "204,184", lines[0]),
        ("unused", "52,489", lines[2]),
        ("grown", "+15,158", lines[2]),
        ("locks", "338,748", lines[2]),
        ("emptied", "+6", lines[1]),
        ("model ms", "78", lines[1]),
        ("MB verified", "438", lines[1]),
        ("bytes lost", "0", lines[1]),
    ):
        stop = header.index(name) + len(name)
        assert line[:stop].endswith(" " + value), (name, line)


def test_who_has_a_callback_is_said_in_words():
    lines = as_text(WIDE).splitlines()[3:]
    assert [line.split()[1] for line in lines] == ["-", "-", "slab+zbud", "none"]


@pytest.mark.parametrize("width", [60, 72, 80, 100, 132])
def test_a_table_that_is_too_wide_is_stacked_not_wrapped(width):
    parts = as_text(WIDE, width).split("\n\n")
    assert len(parts) == {60: 4, 72: 3, 132: 1}.get(width, 2)
    assert all(len(line) <= width for part in parts for line in part.splitlines())
    for part in parts:  # every part names every run
        assert [line[:12] for line in part.splitlines()] == [
            line[:12] for line in parts[0].splitlines()
        ]
    assert sum(part.count("52,489") for part in parts) == 1
    for name in _columns(WIDE)[3:]:
        assert sum(f"  {name}" in part.splitlines()[0] for part in parts) == 1


def test_a_stacked_table_tells_runs_of_one_design_apart():
    lines = as_text(WIDE, 80).split("\n\n")[0].splitlines()
    names = [line[:25].rstrip() for line in lines[2:]]
    assert len(set(names)) == 5
    assert "registry (slab+zbud) scan" in names
    assert "registry (none) plan" in names


def test_at_any_width_there_is_at_least_one_value_to_a_line():
    table = lay_out(("a", "b", "c", "one", "two"), [["x", "", "", "1", "2"]], 3)
    assert [part.splitlines()[2] for part in table.split("\n\n")] == ["x      1", "x      2"]


def test_no_line_ends_in_blanks():
    for width in (None, 80):
        assert all(line == line.rstrip() for line in as_text(WIDE, width).splitlines())


def test_markdown_has_as_many_cells_in_every_line():
    lines = as_markdown(WIDE).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) <= set("|-: ")
    assert len(lines) == 2 + 5


def test_reasons_are_words_and_a_reason_that_a_run_does_not_have_is_0():
    lines = refusals(WIDE.rows).splitlines()
    assert lines[0].split("  ")[-3:] == ["no callback", "no owner", "no target"]
    assert lines[4].split()[-3:] == ["5", "0", "110"]
    assert refusals([row(refused={})]) == ""


def test_on_paper_nothing_wraps_and_on_a_terminal_everything_fits(capsys):
    print_comparison(WIDE)
    printed = capsys.readouterr().out
    assert as_text(WIDE) in printed
    assert "\x1b" not in printed
    print_comparison(WIDE, 80)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
