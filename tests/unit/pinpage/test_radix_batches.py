"""A long batch stored as a run or as columns is the same batch stored pin by pin."""

import numpy as np
import pytest

from pinpage.radix import Radix
from pinpage.units import Span

NR_FRAMES = 1 << 16


def _pair() -> tuple[Radix, Radix]:
    """Two equal radixes: scattered pins, a dense block, a frame with two; and empty blocks."""
    rng = np.random.default_rng(5)
    pins = [(int(pfn), 2, int(pfn)) for pfn in rng.choice(np.arange(2048, NR_FRAMES), 500, False)]
    pins += [(pfn, 4, 0) for pfn in range(1024, 1224)] + [(pins[0][0], 6, 1)]
    pair = Radix(Span(0, NR_FRAMES)), Radix(Span(0, NR_FRAMES))
    for radix in pair:
        assert all(radix.add(*pin) for pin in pins)
    return pair


def _free(radix: Radix, among: range) -> list[int]:
    return [pfn for pfn in among if not radix.holds(pfn)]


def _assert_equal(one: Radix, other: Radix) -> None:
    one.check()
    for pfn in range(NR_FRAMES):
        assert one.records_of(pfn) == other.records_of(pfn)
    assert (one.counts == other.counts).all()
    assert (one.nr_frames, one.nr_extra) == (other.nr_frames, other.nr_extra)


def _batch(radix: Radix, shape: str) -> list[int]:
    if shape == "run":
        return list(range(100, 700))  # three blocks, none of them whole
    if shape == "run into a leaf":
        return list(range(1224, 1400))
    rng = np.random.default_rng(6)
    if shape == "scattered":
        return rng.permutation(_free(radix, range(2048, NR_FRAMES)))[:400].tolist()
    return rng.permutation(_free(radix, range(1024, 2048)))[:400].tolist()  # "crowded"


@pytest.mark.parametrize("shape", ["run", "run into a leaf", "scattered", "crowded"])
@pytest.mark.parametrize("nr_owners", [1, 3])
def test_in_bulk_or_one_by_one(shape, nr_owners):
    whole, single = _pair()
    pfns = _batch(whole, shape)
    tags = [2 * (pfn % nr_owners) + 8 for pfn in pfns]
    values = [pfn * 3 for pfn in pfns]
    entries = list(zip(tags, values, tags, strict=True))
    is_stored = whole.add_bulk(pfns, entries)
    assert is_stored == (not shape.startswith("run") or nr_owners == 1)
    if not is_stored:
        assert whole.add_batch(pfns, entries) == []
    assert all(single.add(*pin) for pin in zip(pfns, tags, values, strict=True))
    _assert_equal(whole, single)
    rows = list(zip(pfns, entries, strict=True))
    assert whole.add_batch(pfns, entries) == rows  # all there already: handed back


@pytest.mark.parametrize("at", [1100, 3000])
def test_nothing_is_stored_in_bulk_over_a_pin(at):
    """One frame with a pin is enough: further pins are for the slow path."""
    whole, single = _pair()
    for radix in (whole, single):
        radix.add(3000, 2, 2)
    run = list(range(at - 50, at + 150))
    apart = [at, *_free(whole, range(4096, NR_FRAMES))[::40][:300]]
    for pfns in (run, apart):
        assert not whole.add_bulk(pfns, [(8, pfn, None) for pfn in pfns])
    _assert_equal(whole, single)


def test_a_short_batch_is_not_worth_it():
    radix = Radix(Span(0, NR_FRAMES))
    assert not radix.add_bulk([5, 9], [(2, 0, None), (2, 0, None)])
    assert radix.nr_frames == 0
