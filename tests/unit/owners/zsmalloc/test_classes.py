"""The size classes of zsmalloc, against the table that v6.1 shows, and against brute force."""

import pytest

from owners.zsmalloc.classes import (
    NR_SIZES,
    class_of,
    huge_class_nr_bytes,
    nr_zspage_pages,
    size_classes,
)

AS_LINUX_HAS_THEM = {
    # index: (bytes of an object, pages of a zspage), from the classes file of a v6.1 zram
    94: (1536, 3), 100: (1632, 2), 107: (1744, 3), 111: (1808, 4), 126: (2048, 1),
    144: (2336, 4), 151: (2448, 3), 168: (2720, 2), 190: (3072, 3), 202: (3264, 4),
    254: (4096, 1),
}  # fmt: skip


def test_there_are_255_sizes_and_the_large_ones_are_merged_as_in_linux():
    classes = size_classes()
    assert len(classes) == NR_SIZES == 255
    large = {c.index: (c.nr_bytes, c.nr_pages) for c in classes if c.index >= 94}
    assert large == AS_LINUX_HAS_THEM


@pytest.mark.parametrize("nr_bytes", range(32, 4097, 16))
def test_a_zspage_wastes_no_larger_share_than_another_length_would(nr_bytes):
    chosen = nr_zspage_pages(nr_bytes)
    used = [100 * (n * 4096 // nr_bytes * nr_bytes) // (n * 4096) for n in (1, 2, 3, 4)]
    assert used[chosen - 1] == max(used)
    assert chosen == used.index(max(used)) + 1, "the shortest of equals"


def test_classes_with_the_same_pages_for_the_same_number_are_one():
    shapes = [(c.nr_pages, c.nr_objects) for c in dict.fromkeys(size_classes())]
    assert len(set(shapes)) == len(shapes)


def test_each_object_fits_its_class_with_its_handle_and_not_the_one_below():
    classes = list(dict.fromkeys(size_classes()))
    for nr_bytes in range(1, 4097):
        mine = class_of(nr_bytes)
        assert mine.user_nr_bytes >= nr_bytes
        smaller = [c for c in classes if c.nr_bytes < mine.nr_bytes]
        assert all(c.user_nr_bytes < nr_bytes for c in smaller)
        assert mine.nr_objects * mine.nr_bytes <= mine.nr_pages * 4096


def test_only_the_huge_class_gives_a_page_to_one_object():
    assert huge_class_nr_bytes() == 3257
    huge = [c for c in dict.fromkeys(size_classes()) if c.is_huge]
    assert [(c.nr_bytes, c.header_nr_bytes, c.user_nr_bytes) for c in huge] == [(4096, 0, 4096)]
