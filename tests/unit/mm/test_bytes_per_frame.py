"""What a machine takes per frame: 40 bytes at most over all columns, as the benchmarks count."""

import numpy as np

from tests.kit.mm.large_machine import columns_nr_bytes, half_used

MOST_NR_BYTES = 40


def test_columns_that_a_half_used_machine_has_written_to():
    machine, space, _ = half_used(8)
    assert 30 < columns_nr_bytes(machine) <= MOST_NR_BYTES
    assert len(space.present()) > machine.frames.nr_frames // 3


def test_columns_of_the_physical_state_of_pageblocks_and_of_the_allocator():
    machine, _, _ = half_used(1)
    frames, blocks, area = machine.frames, machine.pageblocks, machine.buddy.area
    columns = [getattr(frames, field.name) for field in frames.__attrs_attrs__]
    columns += [vars(blocks)[name] for name in ("migratetype", "saved_type", "skip")]
    columns += [vars(area)[name] for name in ("nr_free_blocks", "nr_free_in_block")]
    nr_bytes = sum(column.nbytes for column in columns if isinstance(column, np.ndarray))
    # Eight more are the contents' tags, eight the two columns of the rmap.
    assert 15 < nr_bytes / frames.nr_frames + 8 + 8 <= MOST_NR_BYTES
