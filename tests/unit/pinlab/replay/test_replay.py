"""A recording becomes a machine: frame by frame, with everybody who holds something."""

import zlib

import attrs
import numpy as np
import pytest

from mm.state.contents import ArenaContents
from mm.state.frames import GUP_PIN_COUNTING_BIAS, MAPCOUNT_ZBUD, FrameState
from mm.state.pageblock import MigrateType
from owners.zbud.reclaim import ZbudReclaim
from pinlab.replay.contents import plan_pages
from pinlab.replay.corpus import Corpus
from pinlab.replay.frames import nr_frames_padded
from pinlab.replay.owners import OPAQUE_OWNERS
from pinlab.replay.replay import class_counts, replay, replay_layout, replay_over
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import block_heads
from pinpage.errors import PinpageError
from pinpage.units import Span
from tests.kit.pinlab.blocks import snapshot_of
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import BLOCK, NR_FRAMES, NR_OBJECTS, NR_ZBUD_PAGES, small_recording

K = FrameClass


@pytest.fixture(scope="module")
def corpus():
    return Corpus.build(nr_pages=64)


@pytest.fixture(scope="module")
def snapshot():
    return small_recording()


@pytest.fixture
def replayed(snapshot, corpus):
    return replay(snapshot, corpus)


def test_a_hole_that_looks_reserved_is_known_as_one(snapshot, corpus):
    told = attrs.evolve(snapshot, ram=(Span(1, 0x9F), Span(0x100, NR_FRAMES)))
    assert replay_layout(told, corpus).machine.hotplug.blocks.ram == told.ram


def test_lower_zones_keep_a_reserve_as_they_do_in_the_kernel(corpus):
    """A page in 256 of the zones above, from the first: not from the first hot-remove on."""
    zone = np.repeat([0, 1], [1024, 4096]).astype(np.uint8)
    drawn = snapshot_of(np.full(5120, FrameClass.FREE), zone=zone)
    low, high = drawn.zones
    zones = (
        attrs.evolve(low, name="DMA32", spanned=1024),
        attrs.evolve(high, name="Normal", start_pfn=1024, spanned=4096),
    )
    machine = replay_layout(attrs.evolve(drawn, zones=zones), corpus).machine
    assert [zone.lowmem_reserve for zone in machine.zones] == [(0, 0, 16, 16), (0, 0, 0, 0)]


def pfns_of(snapshot, *classes):
    return np.flatnonzero(np.isin(snapshot.klass, classes))


def check_free_blocks(snapshot, buddy):
    """Heads and orders as recorded, save where the recorder noted order 0 for every frame."""
    order = buddy.frames.order[: snapshot.nr_frames]
    heads = np.flatnonzero(order >= 0)
    odd = heads[snapshot.order[heads] != order[heads]]
    assert len(odd) <= 11
    assert (snapshot.order[odd] == 0).all()
    by_type = np.zeros(6, dtype=np.int64)
    for head, nr_pages in zip(*block_heads(snapshot.order), strict=True):
        kind = int(snapshot.block_migratetype[head // BLOCK])
        by_type[MigrateType.MOVABLE if kind > 5 else kind] += nr_pages
    assert (buddy.nr_free_by_order() @ (1 << np.arange(11))).tolist() == by_type.tolist()


def check_frame_by_frame(snapshot, replayed):
    machine = replayed.machine
    n = snapshot.nr_frames
    assert machine.frames.nr_frames == nr_frames_padded(snapshot)
    assert machine.frames.nr_frames % BLOCK == 0
    assert np.array_equal(machine.frames.state[:n], snapshot.state)
    assert (machine.frames.state[n:] == FrameState.HOLE).all()
    check_free_blocks(snapshot, machine.buddy)
    pcp = pfns_of(snapshot, K.PCP)
    assert machine.pcp.nr_pages == len(pcp)
    machine.check()


def owners_by_frame(replayed, nr_frames):
    """Owner names of each frame, from the registry."""
    names = [""] * nr_frames
    for pin in replayed.machine.registry.iter_pins(0, nr_frames):
        names[pin.pfn] = f"{names[pin.pfn]} {pin.owner.name}".strip()
    return np.array(names)


def expected_owners(snapshot):
    names = np.full(snapshot.nr_frames, "", dtype=object)
    for klass, owner in OPAQUE_OWNERS.items():
        names[snapshot.klass == klass] = owner
    names[snapshot.klass == K.GUP] = "gup"
    names[snapshot.klass == K.ZBUD] = "zbud"
    return names


@pytest.mark.parametrize("name", ["small", "bundled", *IN_TESTS])
def test_the_machine_equals_the_recording_frame_by_frame(name, corpus):
    snapshot = {"small": small_recording, "bundled": bundled}.get(name, IN_TESTS.get(name))()
    replayed = replay_layout(snapshot, corpus)
    check_frame_by_frame(snapshot, replayed)
    names = owners_by_frame(replayed, snapshot.nr_frames)
    wrong = np.flatnonzero(names != expected_owners(snapshot))
    assert not len(wrong), (wrong[:3], names[wrong[:3]], snapshot.klass[wrong[:3]])
    nr_zbud, stored = snapshot.nr_frames_of(K.ZBUD), snapshot.workload.get("zswap_stored_pages", 0)
    if nr_zbud:
        zbud = pfns_of(snapshot, K.ZBUD)
        references = replayed.machine.frames.refcount[zbud]  # one per object
        assert (replayed.machine.frames.mapcount[zbud] == MAPCOUNT_ZBUD).all()
        assert int(references.sum()) == stored
        assert np.count_nonzero(references == 2) == stored - nr_zbud
        assert replayed.zswap.counters.stored_pages == stored


def test_every_design_starts_from_the_same_frames(snapshot, corpus):
    for design_name in ("unmovable", "zbud-reclaim", "registry"):
        replayed = replay(snapshot, corpus, design_name=design_name)
        check_frame_by_frame(snapshot, replayed)
        assert replayed.machine.design.name == design_name
        assert (replayed.machine.registry is not None) == (design_name == "registry")
    assert isinstance(
        replay(snapshot, corpus, design_name="zbud-reclaim").machine.design, ZbudReclaim
    )


def test_every_stored_byte_is_there_before_anything_moves(snapshot, corpus, replayed):
    read = replayed.expected.read_back(
        replayed.machine.contents, replayed.zswap, replayed.machine.swap
    )
    whole = pfns_of(snapshot, K.ANON, K.FILE, K.GUP, *OPAQUE_OWNERS)
    twice = np.maximum(snapshot.mapcount[pfns_of(snapshot, K.ANON, K.GUP)], 1) - 1
    _, serials = replayed.expected.spaces[0]
    blobs = corpus.blob_nr_bytes(serials[-NR_OBJECTS:])
    assert read.bytes_lost == 0
    assert read.bytes_verified == (len(whole) + int(twice.sum())) * 4096 + int(blobs.sum())


def test_what_zswap_holds_are_the_pages_of_the_process_really_compressed(corpus, replayed):
    space, serials = replayed.expected.spaces[0]
    assert len(space.swapped()) == NR_OBJECTS
    blobs = {offset: blob for _, offset, blob in replayed.zswap.read_back()}
    area = replayed.machine.swap.areas[0]
    for vpn in space.swapped()[::17].tolist():
        offset = (-space.pte.item(vpn) - 1) & ((1 << 40) - 1)
        page = corpus.pages(serials[vpn : vpn + 1])[0].tobytes()
        assert zlib.decompress(blobs[offset]) == page
        assert area.read_page(offset) == page


def test_no_two_frames_hold_the_same_bytes(snapshot, replayed):
    whole = pfns_of(snapshot, K.ANON, K.FILE, K.GUP, *OPAQUE_OWNERS)
    tags = replayed.machine.contents.tags(whole)
    assert len(np.unique(tags)) == len(whole)


def test_a_pinned_page_has_the_references_of_one_pin_and_of_its_mapping(snapshot, replayed):
    machine, pinned = replayed.machine, pfns_of(snapshot, K.GUP)
    assert len(pinned)
    assert (machine.frames.refcount[pinned] == GUP_PIN_COUNTING_BIAS + 1).all()
    assert (machine.frames.mapcount[pinned] == 0).all()  # mapped once
    for pfn in pinned.tolist():
        (pin,) = machine.registry.pins(pfn)
        references = pin.owner.references(np.array([pfn]), [pin.private])
        assert (pin.owner.name, references.tolist()) == ("gup", [1024])
    names = [owner.name for owner, _ in replayed.expected.objects]
    assert names == ["slab", "pagetable", "kernel"]  # a pinner stores nothing of its own


def test_a_page_that_several_processes_map_is_mapped_by_as_many(snapshot, replayed):
    shared = pfns_of(snapshot, K.ANON)[:7]
    frames, rmap = replayed.machine.frames, replayed.machine.rmap
    assert (frames.mapcount[shared] + 1).tolist() == [2, 3, 2, 1, 1, 2, 1]
    assert [len({space.mm_id for space, _ in rmap.mappers(pfn)}) for pfn in shared.tolist()] == [
        2, 3, 2, 1, 1, 2, 1,
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_a_frame_of_which_nothing_is_known_never_becomes_free(snapshot, corpus, strategy):
    everybody = {"slab", "zbud", "pagetable", "kernel", "gup"}
    replayed = replay(snapshot, corpus, movable=everybody)
    unknown = pfns_of(snapshot, K.UNKNOWN)
    assert len(unknown) > 20
    machine = replayed.machine
    machine.compact(strategy)
    machine.hugetlb.claim(99)
    assert (machine.frames.state[unknown] == FrameState.UNKNOWN).all()
    assert len(set((unknown // BLOCK).tolist()) & {h // BLOCK for h in machine.hugetlb.heads}) == 0


def test_unknown_frames_in_use_are_never_free_either(corpus):
    snapshot = small_recording()
    state = snapshot.state.copy()
    known_used = pfns_of(snapshot, K.UNKNOWN)[::2]
    state[known_used] = FrameState.USED
    replayed = replay(attrs.evolve(snapshot, state=state), corpus)
    replayed.machine.compact("plan")
    assert (replayed.machine.frames.state[known_used] == FrameState.USED).all()


def test_frames_on_per_cpu_lists_come_free_when_the_lists_are_drained(snapshot, replayed):
    pcp = pfns_of(snapshot, K.PCP)
    assert (replayed.machine.frames.state[pcp] == FrameState.PCP).all()
    replayed.machine.pcp.drain_all()
    assert (replayed.machine.frames.state[pcp] == FrameState.FREE).all()


def test_the_seed_decides_about_contents_and_about_nothing_else(snapshot):
    def made(seed):
        return replay(snapshot, Corpus.build(nr_pages=64, seed=seed), seed=seed).machine

    one, same, other = made(1), made(1), made(2)
    assert one.digest() == same.digest()
    assert one.digest() != other.digest()
    assert np.array_equal(one.frames.state, other.frames.state)


def test_contents_that_came_filled_are_left_as_they_are(snapshot, corpus):
    contents = ArenaContents(nr_frames_padded(snapshot))
    pages = plan_pages(snapshot, corpus)
    pages.write(contents, corpus)
    first = replay_over(
        contents, pages, snapshot, corpus, design_name="registry", movable=frozenset()
    )
    before = contents.pages.copy()
    again = replay_over(contents, pages, snapshot, corpus, design_name="registry", movable={"zbud"})
    assert np.array_equal(contents.pages, before)
    assert again.machine.digest() == first.machine.digest()
    assert again.expected.read_back(contents, again.zswap, again.machine.swap).bytes_lost == 0


def test_a_stranger_is_named_with_those_that_exist(snapshot, corpus):
    with pytest.raises(PinpageError, match=r"'nobody'.*gup, kernel, pagetable, slab, zbud"):
        replay(snapshot, corpus, movable={"nobody"})
    with pytest.raises(PinpageError, match=r"'rfc9'.*unmovable, zbud-reclaim, .*registry"):
        replay(snapshot, corpus, design_name="rfc9")


@pytest.mark.parametrize("movable", [set(), {"slab", "zbud"}])
def test_a_map_of_the_machine_is_the_map_of_the_recording(snapshot, corpus, movable):
    counts = class_counts(replay(snapshot, corpus, movable=movable))
    recorded = snapshot.class_counts()
    merged = [K.GUP, K.VMALLOC, K.OTHER]
    same = [k for k in K if k not in {*merged, K.ANON, K.HOLE}]
    assert np.array_equal(counts[:, same], recorded[:, same])
    assert counts[:, K.HOLE].sum() == recorded[:, K.HOLE].sum() + 100  # padded
    assert np.array_equal(counts[:, merged].sum(axis=1), recorded[:, merged].sum(axis=1))
    assert len(counts) * BLOCK > NR_FRAMES
    assert counts[:, K.ZBUD].sum() == NR_ZBUD_PAGES


def test_an_unmovable_machine_draws_what_nobody_can_name_as_in_use(snapshot, corpus):
    counts = class_counts(replay(snapshot, corpus, design_name="unmovable"))
    assert counts[:, K.SLAB].sum() == snapshot.nr_frames_of(K.SLAB)
