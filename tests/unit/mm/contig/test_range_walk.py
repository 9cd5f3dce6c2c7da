"""One walk over a range: its batches cover it, and a scan counts what it looks at."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm.contig.range_walk import RangeWalk, nr_steps
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode
from pinpage.units import Span
from tests.kit.mm.ranges import Ranged

NO_TARGETS = GivenTargets(np.empty(0, dtype=np.int64))


def walk_of(world, span):
    machine = world.machine
    return RangeWalk(
        machine.evacuator.parts, span, machine.design, Mode.SYNC, NO_TARGETS,
        drop_clean=True, looks_first=True,
    )  # fmt: skip


@given(
    st.lists(st.text(alphabet=".a#", min_size=8, max_size=8), min_size=1, max_size=4),
    st.integers(1, 9),
    st.data(),
)
def test_batches_cover_every_used_frame_once(blocks, most, data):
    stop = len(blocks) * 8
    start = data.draw(st.integers(0, stop - 1))
    walk = walk_of(Ranged(*blocks), Span(start, stop))
    seen, position = [], start
    while position < stop:
        batch, position = walk.next_batch(position, most)
        assert len(batch) <= most
        assert len(set((batch // 8).tolist())) <= 1, "of one pageblock"
        seen += batch.tolist()
    used = [pfn for pfn, sign in enumerate("".join(blocks)) if sign != "." and pfn >= start]
    assert seen == used


def test_a_scan_jumps_over_free_blocks():
    world = Ranged("a.......", "........", "a#a#....")
    frames = world.machine.frames
    assert nr_steps(frames, Span(0, 8)) == 4  # a, 1, 2-3, 4-7
    assert nr_steps(frames, Span(8, 16)) == 1
    assert nr_steps(frames, Span(16, 24)) == 5
    walk = walk_of(world, Span(0, 24))
    walk.next_batch(8, 32)
    assert world.machine.counters.pages_scanned_migrate == 1
