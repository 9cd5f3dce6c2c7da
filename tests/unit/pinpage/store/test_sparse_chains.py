"""Probe chains that are longer than the first windows: batch and single lookups agree."""

import numpy as np
import pytest

from pinpage.store.sparse import SparseTable
from pinpage.units import Span

SPAN = Span(0, 1 << 22)


def _colliding_pfns(table: SparseTable, count: int) -> np.ndarray:
    """Frames that all want the same slot."""
    pfns = np.arange(1 << 22, dtype=np.int64)
    homes = table._homes(pfns)
    chosen = pfns[homes == np.bincount(homes).argmax()][:count]
    assert len(chosen) == count
    return chosen


def test_every_record_of_a_long_chain_is_found_in_one_batch():
    table = SparseTable(SPAN)
    pfns = _colliding_pfns(table, 100)
    table.put_many(pfns, np.zeros(100, dtype=np.int32), pfns)
    found = table.locate(pfns)
    assert found.is_there.all()
    assert found.places.tolist() == [table.find(pfn) for pfn in pfns.tolist()]
    table.check()


@pytest.mark.parametrize("length", [1, 20, 40])
def test_what_a_column_passes_over_on_its_way_in_is_counted(length):
    table = SparseTable(SPAN)
    pfns = _colliding_pfns(table, 40)
    for at in range(0, 40, length):
        part = pfns[at : at + length]
        table.put_many(part, np.zeros(len(part), dtype=np.int32), part)
    assert table.nr_probes == sum(range(40))


def test_a_chain_grown_one_by_one_is_found_in_one_batch():
    table = SparseTable(SPAN)
    pfns = _colliding_pfns(table, 60)
    for pfn in pfns.tolist():
        assert table.put(pfn, 0, pfn)
    assert (table.values_at(table.locate(pfns).places) == pfns).all()
