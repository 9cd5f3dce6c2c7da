"""The table of scattered pins equals a dict, under collisions, growth and churn."""

import random

import numpy as np
import pytest

from pinpage import InvariantError
from pinpage.store.sparse import SparseTable
from pinpage.units import Span

SPAN = Span(0, 1 << 22)


def contents(table):
    slots = table.live()
    rows = zip(
        table.pfns_at(slots).tolist(),
        table.tags_at(slots).tolist(),
        table.values_at(slots).tolist(),
        strict=True,
    )
    return {pfn: (tag, value) for pfn, tag, value in rows}


@pytest.mark.parametrize("seed", range(4))
def test_points_and_columns_equal_a_dict(seed):
    rng, table, model = random.Random(seed), SparseTable(SPAN, min_bits=3), {}
    universe = [block * 512 + offset for block in range(40) for offset in range(0, 512, 37)]
    for _ in range(150):
        absent = [pfn for pfn in universe if pfn not in model]
        if rng.random() < 0.5 and absent:
            chosen = rng.sample(absent, min(len(absent), rng.randrange(1, 30)))
            tags, values = (
                [rng.randrange(9) for _ in chosen],
                [rng.randrange(-9, 9) for _ in chosen],
            )
            table.put_many(np.array(chosen), np.array(tags, dtype=np.int32), np.array(values))
            model |= dict(zip(chosen, zip(tags, values, strict=True), strict=True))
        elif rng.random() < 0.5 and model:
            gone = rng.sample(sorted(model), min(len(model), rng.randrange(1, 30)))
            table.remove_many(table.locate(np.array(gone)).places)
            for pfn in gone:
                del model[pfn]
        else:
            for pfn in rng.sample(universe, 20):
                assert table.put(pfn, 1, 2) == (pfn not in model)
                model.setdefault(pfn, (1, 2))
            for pfn in rng.sample(universe, 20):
                assert not table.discard(pfn, 1, 99)
                assert table.discard(pfn, *model.get(pfn, (1, 2))) == (pfn in model)
                model.pop(pfn, None)
        table.check()
        assert contents(table) == model
        assert {pfn: table.get(pfn) for pfn in universe if table.get(pfn)} == model
        asked = np.array(universe)
        assert table.locate(asked).is_there.tolist() == [pfn in model for pfn in universe]


@pytest.mark.parametrize(("tag", "value"), [(4, 7), (2, 8), (4, 8)])
def test_a_record_goes_only_with_its_tag_and_its_value(tag, value):
    table = SparseTable(Span(0, 2048))
    assert table.put(5, 2, 7)
    assert not table.discard(5, tag, value)
    assert table.get(5) == (2, 7)
    assert table.discard(5, 2, 7)
    assert table.get(5) is None


def test_coming_and_going_leaves_no_graves_behind():
    table = SparseTable(SPAN)
    rng = np.random.default_rng(3)
    for _ in range(200):
        pfns = rng.choice(1 << 20, 100, replace=False)
        table.put_many(pfns, np.zeros(100, dtype=np.int32), pfns)
        table.remove_many(table.locate(pfns).places)
        assert table.nr_used == table.nr_live == table.nr_dead == 0


def test_a_large_table_shrinks_when_it_empties():
    table = SparseTable(SPAN)
    pfns = np.arange(0, 1 << 22, 64)
    table.put_many(pfns, np.zeros(len(pfns), dtype=np.int32), pfns)
    large = table.nr_slots
    table.remove_many(table.locate(pfns[:-5]).places)
    table.check()
    assert table.nr_slots < large / 4
    assert sorted(contents(table)) == pfns[-5:].tolist()


@pytest.mark.parametrize(
    ("broken", "match"),
    [
        (lambda t: setattr(t, "nr_dead", 7), "S2 dead"),
        (lambda t: setattr(t, "nr_used", 7), "S2 used"),
        (lambda t: t._words.__setitem__(t.find(512), 3 << 24), "S1"),
    ],
)
def test_check_notices(broken, match):
    table = SparseTable(SPAN)
    table.put(512, 1, 2)
    broken(table)
    with pytest.raises(InvariantError, match=match):
        table.check()


def test_a_table_has_one_word_for_each_block_up_to_its_last():
    table = SparseTable(Span(1024, 4096 + 5))
    assert len(table._by_block) == 9
