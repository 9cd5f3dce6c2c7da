"""The map: each cell says what a plain reading of its frames says."""

import builtins

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinlab.report import heatmap
from pinlab.report.cells import NOT_IN_USE, count_cells
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import MOVABLE_CLASSES, NR_CLASSES, FrameClass
from pinpage.errors import PinpageError

K = FrameClass


def counts(*blocks: dict[FrameClass, int]) -> np.ndarray:
    table = np.zeros((len(blocks), NR_CLASSES), dtype=np.int32)
    for row, block in enumerate(blocks):
        for klass, nr_frames in block.items():
            table[row, klass] = nr_frames
    return table


BLOCKS = counts(
    {K.FREE: 512},
    {K.FREE: 500, K.PCP: 12},
    {K.FREE: 511, K.ANON: 1},
    {K.FREE: 384, K.ANON: 128},
    {K.FREE: 383, K.FILE: 129},
    {K.ANON: 512},
    {K.ZBUD: 1, K.ANON: 511},
    {K.ZBUD: 2, K.SLAB: 1},
    {K.ZBUD: 1, K.SLAB: 2},
    {K.HOLE: 512},
    {K.HOLE: 511, K.RESERVED: 1},
    {K.UNKNOWN: 1, K.FREE: 511},
    {K.HUGETLB: 512},
    {K.HUGETLB: 256, K.FREE: 256},
    {K.ZSMALLOC: 512},
)


def test_one_letter_for_each_pageblock():
    assert heatmap.cells(BLOCKS) == "..::-#Zzs R?H-#"


def test_a_callback_turns_letters_into_shades():
    movable = MOVABLE_CLASSES | {K.ZBUD}
    assert heatmap.cells(BLOCKS, movable=movable) == "..::-##SS R?H-#"
    assert heatmap.cells(BLOCKS, movable=movable | {K.SLAB})[6:9] == "###"


def test_losing_a_callback_turns_shades_into_letters():
    assert heatmap.cells(BLOCKS, movable=frozenset())[2:6] == "AAFA"


def test_several_pageblocks_in_a_cell_show_the_worst_of_them():
    assert heatmap.cells(BLOCKS[[0, 1, 0, 6, 9, 9, 9, 0]], 2) == ".Z ."


BLOCK = st.dictionaries(st.sampled_from(list(K)), st.integers(1, 99), min_size=1, max_size=4)


@given(
    st.lists(BLOCK, min_size=1, max_size=9), st.integers(1, 4), st.sets(st.sampled_from(list(K)))
)
def test_the_tally_equals_a_plain_count(blocks, nr_blocks_per_cell, movable):
    movable = frozenset(movable - NOT_IN_USE)
    taken = count_cells(counts(*blocks), nr_blocks_per_cell, movable)
    for cell, start in enumerate(range(0, len(blocks), nr_blocks_per_cell)):
        frames: dict[FrameClass, int] = {}
        for block in blocks[start : start + nr_blocks_per_cell]:
            for klass, nr_frames in block.items():
                frames[klass] = frames.get(klass, 0) + nr_frames
        fixed = {k: n for k, n in frames.items() if k not in movable | NOT_IN_USE}
        nr_movable = sum(n for k, n in frames.items() if k in movable)
        assert taken.nr_fixed[cell] == sum(fixed.values())
        assert taken.nr_movable[cell] == nr_movable
        assert taken.nr_pages[cell] == sum(n for k, n in frames.items() if k != K.HOLE)
        assert taken.alone[cell] == (len(fixed) == 1)
        is_free = taken.nr_pages[cell] > 0 and not fixed and not nr_movable
        assert taken.wholly_free[cell] == is_free
        if fixed:
            assert taken.worst[cell] == min(fixed, key=lambda k: (-fixed[k], k))


@given(st.integers(24, 200), st.integers(1, 5000))
def test_a_map_never_exceeds_its_width_nor_the_screen(width, nr_blocks):
    table = np.tile(BLOCKS, (nr_blocks // len(BLOCKS) + 1, 1))[:nr_blocks]
    drawn = heatmap.draw(table, width).splitlines()
    rows = [line for line in drawn if line.endswith("|")]
    assert all(len(line) <= width for line in rows)
    halves = heatmap.pair(table, table, width + 20).splitlines()
    assert all(len(line) <= width + 20 for line in halves if line.endswith("|"))
    assert len(rows) <= heatmap.MAX_NR_ROWS
    assert sum(len(row.partition("|")[2]) - 1 for row in rows) >= -(-nr_blocks // 512)


def test_the_bundled_recording_as_text():
    drawn = heatmap.text(bundled())
    lines = drawn.splitlines()
    assert all(len(line) < 80 for line in lines)
    assert lines[0].startswith("zbudfr-cmphuge-seed3: 1023 MiB")
    assert lines[8].startswith("   896M|zzzzzzzz......:+--+")
    assert "512 pageblocks: 6 wholly free, 38 can be emptied, 468 cannot." in lines
    assert "zbud in 439, slab in 439" in drawn
    assert "Cell = 2 MiB" in drawn


def test_the_legend_names_only_what_is_drawn():
    legend = heatmap.draw(BLOCKS[:6]).splitlines()[-1]
    assert legend == "Cell = 2 MiB: . wholly free, : - + # movable, by quarters in use"
    assert "g gup" not in heatmap.draw(BLOCKS)


def test_before_and_after_stand_side_by_side():
    snapshot = bundled()
    assert snapshot.after is not None
    drawn = heatmap.pair(snapshot.class_counts(), snapshot.after.class_counts)
    assert all(len(line) < 80 for line in drawn.splitlines())
    assert "Wholly free or huge: 6 pageblocks before, 12 after (+6)." in drawn
    left, right = drawn.splitlines()[1].split("|  |")
    assert left == "     0M|r#sssOOORRRRRRRRR#OOOOOsoozz##Z-"
    assert right == "r.sssOOORRRRRRRRR.OOOOOsoozz..Z.|"


def test_a_pair_of_different_memories():
    with pytest.raises(PinpageError, match="same memory"):
        heatmap.pair(BLOCKS, BLOCKS[1:])


def test_too_narrow():
    with pytest.raises(PinpageError, match="width"):
        heatmap.draw(BLOCKS, 15)


def pixels(path):
    image = pytest.importorskip("matplotlib.image", reason="the extra plot is not installed")
    return image.imread(path)[:, :, :3]


def near(picture, colour):
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return int(np.count_nonzero(np.abs(picture - wanted).max(axis=2) < 0.02))


def test_the_picture_shows_what_the_map_holds_and_is_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    from pinlab.report.heatmap_png import COLOURS, FREE_COLOUR  # noqa: PLC0415

    snapshot = bundled()
    heatmap.png(snapshot, tmp_path / "a.png")
    heatmap.png(snapshot, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = pixels(tmp_path / "a.png")
    cell = (6.0 / 32 * 160) ** 2
    assert near(picture, FREE_COLOUR) > 0.7 * cell * (6 + 12)  # both maps
    assert near(picture, COLOURS[K.RESERVED]) > 0.5 * cell * 2 * 8
    assert near(picture, COLOURS[K.GUP]) < 0.1 * cell
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_picture_with_holes(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    from pinlab.report import heatmap_png  # noqa: PLC0415

    table = np.tile(BLOCKS[[0, 9, 9, 6]], (300, 1))
    heatmap_png.render(
        [heatmap_png.Panel("now", table)],
        tmp_path / "a.png",
        title="holes",
        origin="by hand",
        nr_pages_per_block=512,
    )
    assert pixels(tmp_path / "a.png").shape[0] > 100


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    really_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return really_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PinpageError, match=r"pinpage\[plot\]"):
        heatmap.png(bundled(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
