"""A long batch stored as a run or as columns is the same batch stored pin by pin."""

import numpy as np
import pytest

from pinpage.store.radix import Radix
from pinpage.store.rows import PinRows
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
    assert (one.blocks.counts == other.blocks.counts).all()
    assert (one.blocks.nr_frames, one.nr_extra) == (other.blocks.nr_frames, other.nr_extra)


def _batch(radix: Radix, shape: str) -> list[int]:
    if shape == "run":
        return list(range(100, 700))  # three blocks, none of them whole
    if shape == "run into a dense block":
        return list(range(1224, 1400))
    rng = np.random.default_rng(6)
    if shape == "scattered":
        return rng.permutation(_free(radix, range(2048, NR_FRAMES)))[:400].tolist()
    return rng.permutation(_free(radix, range(1024, 2048)))[:400].tolist()  # "crowded"


@pytest.mark.parametrize("shape", ["run", "run into a dense block", "scattered", "crowded"])
@pytest.mark.parametrize("nr_owners", [1, 3])
def test_in_bulk_or_one_by_one(shape, nr_owners):
    whole, single = _pair()
    pfns = _batch(whole, shape)
    rows = [(pfn, 2 * (pfn % nr_owners) + 8, pfn * 3) for pfn in sorted(pfns)]
    pins = PinRows.of(rows)
    whole.store(pins)
    assert all(single.add(*row) for row in rows)
    _assert_equal(whole, single)
    assert whole.has_pins(pins).all()
    whole.remove(pins)
    assert all(single.discard(*row) for row in rows)
    _assert_equal(whole, single)


def test_further_pins_of_a_frame_in_bulk():
    whole, single = _pair()
    rows = [(pfn, tag, value) for pfn in range(1210, 1240) for tag in (8, 10) for value in (1, 2)]
    whole.store(PinRows.of(rows))
    assert all(single.add(*row) for row in rows)
    _assert_equal(whole, single)
    assert list(whole.pins_of(np.arange(1210, 1240)).at(slice(0, 5)).each()) == [
        (1210, 4, 0),
        *rows[:4],
    ]
    some = PinRows.of([row for row in rows if row[1] == 8])
    whole.remove(some)
    assert all(single.discard(*row) for row in some.each())
    _assert_equal(whole, single)
