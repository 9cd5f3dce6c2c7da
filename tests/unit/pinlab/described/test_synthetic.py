"""Memory from a description: laid out as it says, and refused by the field that is wrong."""

import re

import numpy as np
import pytest

from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from pinlab.described.synthetic import describe_machine, is_description
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay
from pinlab.snapshot.classes import FrameClass
from pinpage.errors import PinpageError
from pinpage.units import PAGEBLOCK_NR_PAGES

NR_FRAMES = 16 * 1024 * 1024 // 4096


def block_classes(snapshot):
    return snapshot.klass.reshape(-1, PAGEBLOCK_NR_PAGES)


def test_shares_and_sizes_are_counted_in_whole_frames():
    snapshot = describe_machine("scenario:16MiB,anon=30%,file=1MiB,slab=2%,reserved=4MiB,gup=1.5%")
    assert snapshot.nr_frames == NR_FRAMES
    of = snapshot.nr_frames_of
    assert of(FrameClass.ANON) == int(NR_FRAMES * 0.3)
    assert of(FrameClass.FILE) == 256
    assert of(FrameClass.SLAB) == int(NR_FRAMES * 0.02)
    assert of(FrameClass.GUP) == len(snapshot.pinned_pfns) == int(NR_FRAMES * 0.015)
    assert (snapshot.klass[:1024] == FrameClass.RESERVED).all()
    snapshot.check()


def test_what_cannot_move_is_grouped_and_only_its_share_is_scattered():
    snapshot = describe_machine("scenario:256MiB,anon=30%,slab=4%,kernel=2%,scatter=10%")
    unmovable = np.isin(snapshot.klass, (FrameClass.SLAB, FrameClass.OTHER))
    own = np.repeat(snapshot.block_migratetype == MigrateType.UNMOVABLE, PAGEBLOCK_NR_PAGES)
    astray = np.count_nonzero(unmovable & ~own)
    assert 0.05 * unmovable.sum() < astray < 0.11 * unmovable.sum()


def test_a_contiguous_area_holds_movable_pages_only_and_lies_at_the_top():
    snapshot = describe_machine(
        "scenario:64MiB,anon=40%,slab=5%,gup=5%,scatter=50%,cma=8MiB,movable=8MiB"
    )
    types, classes = snapshot.block_migratetype, block_classes(snapshot)
    assert np.flatnonzero(types == MigrateType.CMA).tolist() == [24, 25, 26, 27]
    assert set(np.unique(classes[24:])) == {FrameClass.FREE, FrameClass.ANON}
    assert [zone.name for zone in snapshot.zones] == ["Normal", "Movable"]
    assert snapshot.zones[0].cma == 2048
    assert snapshot.zones[1].start_pfn == 28 * PAGEBLOCK_NR_PAGES


def test_the_same_seed_lays_out_the_same_and_another_does_not():
    text = "scenario:16MiB,anon=30%"
    first, again, other = (describe_machine(text, seed=seed) for seed in (1, 1, 2))
    assert (first.klass == again.klass).all()
    assert (first.klass != other.klass).any()


def test_it_replays_like_any_recording():
    text = "scenario:16MiB,anon=20%,file=5%,zbud=3%,slab=3%,gup=1%,cma=4MiB,nodes=2"
    snapshot = describe_machine(text)
    machine = replay(snapshot, Corpus.build(), movable={"zbud", "slab"}).machine
    machine.check()
    assert (machine.frames.state[: snapshot.nr_frames] == snapshot.state).all()
    assert [zone.node for zone in machine.zones] == [0, 1]
    assert all(zone.min < zone.low < zone.high for zone in machine.zones)
    assert machine.buddy.nr_free() == np.count_nonzero(snapshot.state == FrameState.FREE)


def test_a_file_says_the_same_in_lines(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text('size = "16MiB"\nnodes = 1\nanon = "30%"\n')
    assert is_description(str(path))
    inline = describe_machine("scenario:16MiB,nodes=1,anon=30%", seed=3)
    assert (describe_machine(str(path), seed=3).klass == inline.klass).all()
    assert describe_machine(str(path), seed=3).name == "small-seed3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "size: is missing"),
        ("anon=30%", "size: is missing"),
        ("1GB", "size='1GB': give an amount such as 1GiB"),
        ("50%", "size='50%'"),
        ("3MiB", "multiple of 4MiB"),
        ("8MiB,nodes=4", "4MiB per node"),
        ("8MiB,nodes=0", "nodes=0: give a whole number"),
        ("8MiB,nodes=two", "nodes=two"),
        ("8MiB,anon", "write field=value"),
        ("8MiB,anom=3%", "anom: is unknown; fields are size, nodes"),
        ("8MiB,anon=3%,anon=4%", "anon: is given twice"),
        ("8MiB,anon=300%", "at most 100%"),
        ("8MiB,anon=-3%", "anon='-3%'"),
        ("8MiB,anon=90%,file=30%", "anon: shares come to more"),
        ("8MiB,slab=99%", "slab: shares come to more"),
        ("8MiB,zbud=1%,z3fold=1%", "z3fold: zswap has one pool, zbud"),
        ("16MiB,cma=6MiB", "cma='6MiB': give a multiple of 4MiB"),
        ("16MiB,cma=16MiB", "leave no room"),
        ("16MiB,nodes=2,movable=8MiB", "leave no room"),
        ("16MiB,scatter=many", "scatter='many'"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_the_fix(text, words):
    with pytest.raises(PinpageError) as caught:
        describe_machine(f"scenario:{text}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(PinpageError, match=r"no\.toml: file: No such file"):
        describe_machine(str(tmp_path / "no.toml"))
    path = tmp_path / "bad.toml"
    path.write_text("size = \n")
    with pytest.raises(PinpageError, match="is not TOML"):
        describe_machine(str(path))
    for fields, words in (
        ("size = 3", "size=3: give a text"),
        ('size = "64MiB"\nanom = "3%"', "anom: is unknown"),
        ('size = "64MiB"\nanon = "3"', "anon='3': give an amount"),
        ('size = "64MiB"\nanon = "90%"\nfile = "30%"', "anon: shares come to more"),
    ):
        path.write_text(f"{fields}\n")
        with pytest.raises(PinpageError, match=f"^{re.escape(str(path))}: {words}"):
            describe_machine(str(path))
    with pytest.raises(PinpageError, match=r"^scenario: None: begin with"):
        describe_machine(None)
