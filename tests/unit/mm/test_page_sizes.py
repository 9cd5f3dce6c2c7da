"""Machines of the library whose pages and pageblocks are not the usual ones."""

import numpy as np
import pytest

from mm.buddy.pcp import pcp_batch
from mm.machine import Machine
from mm.state.contents import ArenaContents, TagContents
from mm.state.frames import Frames, FrameState
from mm.state.nodes import Zone, place_frames, zones_for
from mm.state.pageblock import Pageblocks
from owners.aio.rings import AioRings
from owners.opaque import OpaqueOwner
from owners.slab.cache import Slabs
from owners.z3fold.pool import Z3foldPool
from owners.zbud.pool import ZbudPool
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import PinpageError
from pinpage.units import Span

_64_KIB = 64 << 10


def test_a_machine_is_built_of_any_pages_and_pageblocks():
    machine = Machine.build(nr_pages=4 << 5, page_nr_bytes=_64_KIB, pageblock_order=5, max_order=7)
    assert machine.hugetlb.nr_pages == 32
    assert machine.hotplug.blocks.nr_pages == 2048  # 128 MiB
    assert machine.buddy.nr_free_by_order(0)[:, 7].sum() == 1
    machine.contents.write(127, b"end", _64_KIB - 3)
    assert machine.contents.read(127, _64_KIB - 4) == b"\0end"
    assert machine.contents.read(126) == bytes(_64_KIB)
    space = machine.rmap.create("a", 3)
    assert not machine.memory.write(space, 1, b"x" * 10, _64_KIB - 10)
    assert machine.memory.read(space, 1) == bytes(_64_KIB - 10) + b"x" * 10
    with pytest.raises(PinpageError, match="beyond the page"):
        machine.memory.write(space, 1, b"x" * 10, _64_KIB - 9)
    assert machine.alloc_pages(8, 0) == -1
    machine.check()


@pytest.mark.parametrize(
    "given",
    [
        {"page_nr_bytes": 4097},
        {"page_nr_bytes": 1024},
        {"page_nr_bytes": 1 << 20},
        {"pageblock_order": 14},
        {"pageblock_order": -1},
        {"max_order": 8},
        {"nr_pages": 1 << 12, "pageblock_order": 13},
    ],
    ids=str,
)
def test_sizes_that_no_machine_has(given):
    with pytest.raises(PinpageError, match="|".join(given)):
        Machine.build(**{"nr_pages": 8192, "contents": "tags"} | given)


def test_frames_and_contents_are_of_one_size():
    frames = Frames(512, _64_KIB)
    with pytest.raises(PinpageError, match="frames of 65536 bytes with contents of 4096"):
        Machine(frames, Pageblocks(512), zones_for(512), TagContents(512))


def test_copies_and_what_is_forgotten_are_whole_pages():
    arena = ArenaContents(12, _64_KIB)
    arena.pages[:] = np.arange(12, dtype=np.uint8)[:, None]
    arena.copy(np.arange(5), np.arange(6, 11))
    arena.forget(np.array([0, 1, 4]))
    assert [set(page.tolist()) for page in arena.pages] == [
        {n} for n in (0, 0, 2, 3, 0, 5, 0, 1, 2, 3, 4, 11)
    ]


def test_watermarks_go_by_the_byte():
    """4 GiB keep 8 MiB free, whatever a page is."""
    (usual,) = zones_for(1 << 20)
    (larger,) = zones_for(1 << 16, page_nr_bytes=_64_KIB)
    assert (usual.min, larger.min) == (2048, 128)


def test_batches_of_the_per_cpu_lists_go_by_the_byte():
    assert [pcp_batch(1 << 20, page_nr_bytes=size) for size in (4096, 16384, _64_KIB)] == [
        63,
        15,
        3,
    ]
    machine = Machine.build(nr_pages=65536, contents="tags", page_nr_bytes=_64_KIB)
    assert machine.pcp.batch == 3


def test_nodes_may_meet_inside_a_leaf_of_the_registry():
    """Pageblocks of 256 pages, and a node that ends after three of them."""
    frames = Frames(8 * 256)
    frames.state[:] = FrameState.FREE
    zones = [
        Zone(0, "Normal", 0, Span(0, 3 * 256)),
        Zone(1, "Normal", 1, Span(3 * 256, 8 * 256)),
    ]
    place_frames(frames, zones)
    machine = Machine(frames, Pageblocks(8 * 256, 256), zones, TagContents(8 * 256))
    registry = machine.use_registry()
    pfns = np.arange(2 * 256 + 7, 5 * 256, 3)
    machine.buddy.take(pfns)
    machine.buddy.taken_to_used(pfns)
    machine.contents.set_tags(pfns, pfns.astype(np.uint64))
    owner = OpaqueOwner("opaque", movable=True, registry=registry)
    owner.adopt(pfns)
    assert machine.compact("plan").report.pageblocks_emptied == 1  # each node keeps one
    assert machine.contents.tags(owner.pfn_of(np.arange(len(pfns)))).tolist() == pfns.tolist()
    nodes = frames.node[owner.pfn_of(np.arange(len(pfns)))]
    assert (nodes == (pfns >= 3 * 256)).all()
    machine.check()


@pytest.mark.parametrize("owner", [ZbudPool, Z3foldPool, ZsPool, Slabs, AioRings])
def test_a_layout_for_4_kib_pages_refuses_others(owner):
    machine = Machine.build(nr_pages=512, page_nr_bytes=16 << 10, contents="tags")
    with pytest.raises(PinpageError, match=r"pages of 16 KiB: its layout is for those of 4 KiB"):
        owner(machine)
