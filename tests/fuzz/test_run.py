"""What `make fuzz` runs, from which seed, and what it prints to be pasted."""

import itertools

import pytest

from tests.fuzz import run
from tests.fuzz.run import commands, main


@pytest.fixture
def root(tmp_path):
    """Two fuzzers and a test beside them, and three files of which two draw examples."""
    two = "pytestmark = pytest.mark.fuzz\ndef test_one():\n    pass\ndef test_two():\n    pass\n"
    for name, text in (
        ("fuzz/test_a.py", two),
        ("fuzz/test_run.py", "def test_three():\n    pass\n"),
        ("property/test_b.py", "from hypothesis import given\n"),
        ("unit/test_c.py", "import hypothesis.strategies as st\n"),
        ("unit/test_d.py", "import pytest\n"),
    ):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_fuzzers_share_half_of_the_time_and_the_files_come_again_with_the_next_seed(
    root, monkeypatch
):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    (gained, selected), *files = itertools.islice(commands(40, 7, root), 5)
    assert gained == {"PINPAGE_FUZZ_SEED": "7", "PINPAGE_FUZZ_SECONDS": "10"}
    assert selected == ["-m", "fuzz", "tests/fuzz"]
    assert all(gained == {"HYPOTHESIS_PROFILE": "fuzz"} for gained, _ in files)
    seeds = [selected[-2] for _, selected in files]
    assert seeds == ["--hypothesis-seed=7"] * 2 + ["--hypothesis-seed=8"] * 2
    for two in (files[:2], files[2:]):
        names = {selected[-1] for _, selected in two}
        assert names == {"tests/property/test_b.py", "tests/unit/test_c.py"}


def test_what_failed_can_be_pasted_and_the_seed_is_named(monkeypatch, capsys):
    codes = iter((0, run.NOTHING_RUN, 1))
    monkeypatch.setattr(run, "_pytest", lambda gained, arguments: next(codes))
    assert main(["--seed", "3", "--seconds", "1000"]) == 1
    told = capsys.readouterr()
    assert "make fuzz SEED=3 SECONDS=1000" in told.out
    assert "    HYPOTHESIS_PROFILE=fuzz python -m pytest -q -m 'hypothesis and" in told.err
    assert "--hypothesis-seed=3" in told.err


def test_the_time_ends_it_but_not_before_something_has_run(monkeypatch, capsys):
    monkeypatch.setattr(run, "_pytest", lambda gained, arguments: 0)
    assert main(["--seed", "3", "--seconds", "0"]) == 0
    assert "nothing found in 1 runs" in capsys.readouterr().out


def test_another_seed_each_time(monkeypatch, capsys):
    monkeypatch.setattr(run, "_pytest", lambda gained, arguments: 0)
    seeds = set()
    for _ in range(2):
        main(["--seconds", "0"])
        seeds.add(capsys.readouterr().out.split(";")[0])
    assert len(seeds) == 2
