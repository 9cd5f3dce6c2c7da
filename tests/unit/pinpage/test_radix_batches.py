"""A long batch stored as columns is the same batch stored pin by pin."""

import numpy as np
import pytest

from pinpage.radix import Radix
from pinpage.units import Span

NR_FRAMES = 1 << 16


def _filled(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Pins to have in place first: scattered ones, a dense block, a frame with two."""
    pins = [(int(pfn), 2, int(pfn)) for pfn in rng.choice(NR_FRAMES, 500, replace=False)]
    pins += [(pfn, 4, 0) for pfn in range(1024, 1224) if pfn not in {p for p, _, _ in pins}]
    return [*pins, (pins[0][0], 6, 1)]


@pytest.mark.parametrize("seed", range(4))
def test_columns_and_single_pins_end_alike(seed):
    rng = np.random.default_rng(seed)
    before = _filled(rng)
    pfns = rng.choice(NR_FRAMES, 400, replace=False).tolist()
    again = [(pfn, tag, value) for pfn, tag, value in before[:20] if pfn not in pfns]
    rows = [(pfn, (8, pfn * 3, None)) for pfn in pfns]
    rows += [(pfn, (tag, value, None)) for pfn, tag, value in again]
    whole, single = Radix(Span(0, NR_FRAMES)), Radix(Span(0, NR_FRAMES))
    for radix in (whole, single):
        for pin in before:
            assert radix.add(*pin)
    refused = whole.add_batch(rows)
    assert sorted(refused) == sorted(row for row in rows if not single.add(row[0], *row[1][:2]))
    assert sorted(row[0] for row in refused) == sorted(pfn for pfn, _, _ in again)
    whole.check()
    for pfn in {pfn for pfn, _ in rows} | {pfn for pfn, _, _ in before}:
        assert whole.records_of(pfn) == single.records_of(pfn)
    assert (whole.counts == single.counts).all()
    assert (whole.nr_frames, whole.nr_extra) == (single.nr_frames, single.nr_extra)
