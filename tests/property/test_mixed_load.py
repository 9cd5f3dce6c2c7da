"""Everything at once, under every design, in any company: nothing is lost, nothing leaks."""

import subprocess
import sys
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.move.design import RegistryDesign
from pinlab.load.mixed import WORKLOAD_SHARES, run
from pinlab.replay.designs import DESIGNS
from pinpage.owner import Reason

MIB = 256


WIDEST = ("unmovable", "zbud-reclaim", "registry")
"""Designs between which all others lie; those are loaded for long in `slow`."""
LONG = [n if n in WIDEST else pytest.param(n, marks=pytest.mark.slow) for n in DESIGNS]


@pytest.mark.parametrize("design", LONG)
def test_two_seconds_of_everything(design):
    result = run(nr_pages=64 * MIB, seconds=2, design=design)
    assert result.nr_compactions == 20
    assert (result.bytes_lost, result.frames_leaked) == (0, 0)
    assert set(result.actions) == set(WORKLOAD_SHARES)
    assert result.pages_swapped_out > 0
    assert result.pages_swapped_in > 0
    assert result.pages_moved > 0
    assert result.bytes_verified > 60 << 20


@settings(max_examples=8)
@given(
    only=st.sets(st.sampled_from(sorted(WORKLOAD_SHARES)), min_size=1),
    design=st.sampled_from(sorted(DESIGNS)),
    seed=st.integers(0, 1 << 16),
    strategies=st.lists(st.sampled_from(["scan", "plan"]), min_size=1, max_size=3),
    period_ms=st.sampled_from([5, 20, 100]),
)
def test_any_company_under_any_design(only, design, seed, strategies, period_ms):
    result = run(
        nr_pages=8 * MIB, seconds=0.25, design=design, seed=seed, only=only,
        strategies=strategies, compact_every_ns=period_ms * 1_000_000,
    )  # fmt: skip
    assert (result.bytes_lost, result.frames_leaked) == (0, 0)


def test_every_owner_has_pages_moved_under_it(monkeypatch):
    moved = Counter()
    move = RegistryDesign.move

    def counting(self, pfns, targets, mode):
        owners = [[pin.owner.name for pin in self._registry.pins(pfn)] for pfn in pfns.tolist()]
        report = move(self, pfns, targets, mode)
        for names, reason in zip(owners, report.reasons.tolist(), strict=True):
            moved.update(names if reason == Reason.MOVED else ())
        return report

    monkeypatch.setattr(RegistryDesign, "move", counting)
    for seed in range(3):
        result = run(
            nr_pages=16 * MIB, seconds=1, seed=seed, compact_every_ns=10_000_000,
            only=set(WORKLOAD_SHARES) - {"processes", "hugetlb"},  # room to move to
        )  # fmt: skip
        assert (result.bytes_lost, result.frames_leaked) == (0, 0)
    expected = {"aio", "balloon", "dentry", "mlock", "radix_tree_node", "rdma", "ring", "z3fold"}
    assert not (expected | {"zram"}) - set(moved)


def test_the_same_seed_gives_the_same_digest_in_another_process():
    arguments = "nr_pages=2048, seconds=0.5, seed=7"
    program = (
        f"from pinlab.load.mixed import run; r = run({arguments}); print(r.digest, r.pages_moved)"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    mine = run(nr_pages=2048, seconds=0.5, seed=7)
    assert other.stdout.split() == [mine.digest, str(mine.pages_moved)]
    assert run(nr_pages=2048, seconds=0.5, seed=8).digest != mine.digest


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_a_minute_of_everything_on_a_gibibyte(design, capsys):
    began_s, worked_s = time.monotonic(), time.process_time()
    result = run(nr_pages=1024 * MIB, seconds=60, design=design)
    wall_s, cpu_s = time.monotonic() - began_s, time.process_time() - worked_s
    with capsys.disabled():
        print(
            f"\n{design}: {wall_s:.0f} s, {cpu_s:.0f} s at work; {result.pages_moved} pages "
            f"moved, {result.pages_released} released, {result.pages_swapped_out} swapped out, "
            f"{result.bytes_verified >> 20} MiB verified"
        )
    assert result.nr_compactions == 600
    assert (result.bytes_lost, result.frames_leaked) == (0, 0)
    assert cpu_s < 90  # 22 to 36; more where others use the machine too
