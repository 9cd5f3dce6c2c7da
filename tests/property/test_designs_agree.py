"""One memory under every design: what must be equal, and what must not be worse.

The machines are small and real: a process writes pages, some are swapped out into zswap and
so into zbud, some are dropped, and kernel pages stand between them.  Nothing is read back
before the comparison: a page in memory whose compressed copy stays behind would make unuse
give memory back.
"""

import random

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define
from hypothesis import example, given, settings

from mm.machine import Machine
from mm.paging.vmscan import shrink_inactive
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from owners.compress import compressor
from owners.opaque import OpaqueOwner
from owners.zbud.reclaim import ZbudReclaim
from owners.zswap.zswap import Zswap
from pinpage.owner import Mode
from pinpage.testing.world import column
from tests.kit.mm.machines import small_machine

NR_SLOTS = 128
KINDS = (
    "unmovable",
    "zbud-reclaim",
    "registry:migrate",
    "registry:unuse",
    "registry:none",
    "registry:migrate+slab",
)
RUNS = [(kind, strategy) for kind in KINDS for strategy in ("scan", "plan")]


@define
class Recipe:
    """How to build the same memory again."""

    seed: int
    nr_blocks: int
    nr_pages: int
    nr_kernel: int
    drop: float


@define(eq=False)
class World:
    machine: Machine
    zswap: Zswap
    space: AddressSpace
    slab: OpaqueOwner
    slab_ids: np.ndarray
    pages: dict[int, bytes]

    def nr(self, *states: FrameState) -> int:
        return int(np.isin(self.machine.frames.state, states).sum())

    @property
    def nr_wholly_free(self) -> int:
        return int(self.machine.buddy.wholly_free().sum())

    def page_at(self, vpn: int) -> bytes:
        """A page's bytes, wherever it is; changes nothing."""
        pte = int(self.space.pte[vpn])
        swap = self.machine.swap
        pfn = pte - 1 if pte > 0 else swap.cache.lookup(-pte - 1)
        if pfn >= 0:
            return self.machine.contents.read(pfn)
        area, offset = swap.locate(-pte - 1)
        return area.read_page(offset)

    def check(self) -> None:
        self.machine.check()
        self.zswap.check()
        assert np.flatnonzero(self.space.pte).tolist() == sorted(self.pages)
        assert {vpn: self.page_at(vpn) for vpn in self.pages} == self.pages
        tags = self.machine.contents.tags(self.slab.pfn_of(self.slab_ids))
        assert tags.tolist() == (self.slab_ids + 500).tolist()
        assert self.nr(FrameState.FREE, FrameState.PCP, FrameState.USED) == len(
            self.machine.frames.state
        )

    def columns(self) -> dict[str, object]:
        """Everything that a design could have left different, frame by frame."""
        machine, frames = self.machine, self.machine.frames
        used = np.flatnonzero(frames.state == FrameState.USED)
        return {
            "frames": [
                column.tobytes()
                for column in (
                    frames.state, frames.order, frames.flags, frames.refcount, frames.mapcount,
                )
            ],
            "rmap": [machine.rmap.first_mm.tobytes(), machine.rmap.first_vpn.tobytes()],
            "ptes": self.space.pte.tobytes(),
            "swap": [machine.swap.area_of(0).map_byte(slot) for slot in range(NR_SLOTS)],
            "contents": machine.contents.read_many(used).tobytes(),
        }  # fmt: skip


def page(rng: random.Random, vpn: int) -> bytes:
    """Compresses to 100 ... 2500 bytes, now and then not at all."""
    nr_random = rng.choice((64, 600, 1300, 2400, 4080))
    return (vpn.to_bytes(8, "little") + rng.randbytes(nr_random)).ljust(4096, b"\7")


def build(recipe: Recipe, kind: str) -> World:
    """The memory of a recipe with a design in force; before that, all are alike."""
    rng = random.Random(recipe.seed)
    design, _, coverage = kind.partition(":")
    machine = small_machine(recipe.nr_blocks, arena=True)
    registry = machine.use_registry() if design == "registry" else None
    zswap = Zswap(
        machine, compressor("zlib"), host=machine.swap_core, registry=registry,
        coverage=coverage.removesuffix("+slab") or None, max_pool_percent=50,
    )  # fmt: skip
    zswap.init(0)
    machine.swap.swapon(NR_SLOTS, zswap)
    if design == "zbud-reclaim":
        machine.design = ZbudReclaim(machine, zswap.pools)
    slab = OpaqueOwner("slab", movable=coverage.endswith("+slab"), registry=registry)
    space = machine.memory.mmap("p", recipe.nr_pages)
    kernel = [rng.randrange(recipe.nr_pages) for _ in range(recipe.nr_kernel)]
    world = World(machine, zswap, space, slab, np.arange(0), {})
    for vpn in range(recipe.nr_pages):
        for _ in range(kernel.count(vpn)):
            pfn = machine.alloc_page(Gfp.KERNEL)
            if pfn >= 0:
                which = slab.adopt(column(pfn))
                machine.contents.set_tags(column(pfn), (which + 500).astype(np.uint64))
        text = page(rng, vpn)
        if machine.memory.write(space, vpn, text) == Errno.OK:
            world.pages[vpn] = text
        if rng.random() < 0.3:
            forget_references(machine)
            shrink_inactive(machine.paging, 4)
    world.slab_ids = np.arange(slab.nr_objects)
    drop = [vpn for vpn in world.pages if rng.random() < recipe.drop]
    machine.memory.dontneed(space, column(*drop))
    for vpn in drop:
        del world.pages[vpn]
    machine.pcp.drain_all()
    machine.allocator.reclaim = None  # what compaction brings back, it may not push out again
    return world


def forget_references(machine: Machine) -> None:
    for flag in (PageFlag.REFERENCED, PageFlag.ACTIVE):
        pfns = np.flatnonzero(machine.frames.flags & flag.mask)
        on_lru = pfns[machine.frames.has_flag(pfns, PageFlag.LRU)]
        machine.lru.del_many(on_lru)
        machine.frames.clear_flag(pfns, flag)
        machine.lru.add_many(on_lru)


CROWDED = Recipe(seed=12, nr_blocks=14, nr_pages=160, nr_kernel=4, drop=0.5)
RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**16),
    nr_blocks=st.integers(6, 14),
    nr_pages=st.integers(40, 160),
    nr_kernel=st.integers(0, 12),
    drop=st.sampled_from((0.3, 0.6, 0.8)),
)


@given(recipe=RECIPES)
@example(recipe=CROWDED)
@settings(max_examples=12, deadline=None)
def test_contents_and_frames_survive_every_design(recipe):
    before = None
    for kind, strategy in RUNS:
        world = build(recipe, kind)
        world.check()
        start = world.columns()
        before = before or start
        assert start == before  # the design has not acted yet
        nr_used = world.nr(FrameState.USED)
        report = world.machine.compact(strategy).report
        world.check()
        if report.pages_released == 0 and "reclaim" not in kind and "unuse" not in kind:
            assert world.nr(FrameState.USED) == nr_used


@given(recipe=RECIPES, mode=st.sampled_from(Mode), strategy=st.sampled_from(("scan", "plan")))
@example(recipe=CROWDED, mode=Mode.SYNC, strategy="scan")
@settings(max_examples=25, deadline=None)
def test_the_registry_with_unuse_is_zbud_reclaim_frame_by_frame(recipe, mode, strategy):
    specific, generic = (build(recipe, kind) for kind in ("zbud-reclaim", "registry:unuse"))
    reports = [world.machine.compact(strategy, mode).report for world in (specific, generic)]
    assert specific.columns() == generic.columns()
    assert specific.zswap.counters == generic.zswap.counters
    one, two = reports
    assert (one.pages_moved, one.pages_released) == (two.pages_moved, two.pages_released)
    assert one.pages_scanned_free == two.pages_scanned_free
    specific.check()
    generic.check()


@given(recipe=RECIPES)
@example(recipe=CROWDED)
@settings(max_examples=25, deadline=None)
def test_planning_with_zbud_movable_is_never_behind_zbud_reclaim_and_grows_nothing(recipe):
    planned = build(recipe, "registry:migrate")
    nr_used = planned.nr(FrameState.USED)
    planned.machine.compact("plan")
    assert planned.nr(FrameState.USED) == nr_used
    assert planned.zswap.counters.unused_pages == 0
    planned.check()
    for strategy in ("scan", "plan"):
        reclaimed = build(recipe, "zbud-reclaim")
        reclaimed.machine.compact(strategy)
        assert reclaimed.nr_wholly_free <= planned.nr_wholly_free


@pytest.mark.parametrize("kind", KINDS)
def test_the_worlds_are_worth_comparing(kind):
    """There is zbud in them, under unuse pages come back, and zbud pages do move."""
    world = build(CROWDED, kind)
    nr_zbud = world.zswap.pools[0].pages_nr
    assert nr_zbud >= 8
    assert len(world.space.swapped()) > nr_zbud
    used = world.nr(FrameState.USED)
    homes = world.zswap.pools[0].pages.pfn.copy()
    world.machine.compact("scan")
    unused = world.zswap.counters.unused_pages
    assert (unused > 0) == (kind in ("zbud-reclaim", "registry:unuse"))
    assert (world.nr(FrameState.USED) > used) == (unused > 0)
    moved = (world.zswap.pools[0].pages.pfn != homes).any()
    assert moved == (unused > 0 or "migrate" in kind)
