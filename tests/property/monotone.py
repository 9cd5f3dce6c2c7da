"""Worlds for the question whether one callback more can do harm, and the five who ask for memory.

A world is a list of pageblocks of eight frames, drawn as in tests/unit/mm/machines:

    .  free            a  anonymous            #  a kernel page that nobody registered
    x y z  pinned by the owner of that name    X  pinned by x and by y

Every frame in use carries a tag, and every holder can be asked where its frames are now.
"""

from collections.abc import Callable

import numpy as np
from attrs import frozen
from hypothesis import strategies as st

from mm.hugetlb.gigantic import GiganticPages
from mm.state.frames import PageFlag
from mm.state.pageblock import MigrateType
from owners.opaque import OpaqueOwner
from pinpage.units import Span
from tests.kit.mm.machines import small_machine

__all__ = ["CONSUMERS", "OWNERS", "UNIT", "World", "coverages", "gigantic", "worlds"]

SIZE = 8
UNIT = 2 * SIZE
"""Frames of a memory block, of a power region, and of what stands in for a 1 GiB page."""
OWNERS = ("x", "y", "z")
_HELD_BY = {"x": "x", "y": "y", "z": "z", "X": "xy"}
_ANON = PageFlag.ANON.mask | PageFlag.SWAPBACKED.mask | PageFlag.UPTODATE.mask


class World:
    """One machine of a drawn world under one coverage."""

    def __init__(self, blocks, movable, *, cma_blocks=0, marks=(0, 0, 0), owner=OpaqueOwner):
        self.machine = machine = small_machine(len(blocks), marks=marks)
        self.cma_blocks = cma_blocks
        for block in range(cma_blocks):
            machine.buddy.set_migratetype(block, MigrateType.CMA)
        registry = machine.use_registry()
        self.owners = {
            name: owner(name, movable=name in movable, registry=registry) for name in OWNERS
        }
        signs = np.array(list("".join(blocks)))
        used = np.flatnonzero(signs != ".")
        machine.buddy.take(used)
        machine.buddy.taken_to_used(used)
        machine.contents.set_tags(used, 1000 + used.astype(np.uint64))
        self.space = machine.rmap.create("anon", len(signs))
        anon = np.flatnonzero(signs == "a")
        machine.frames.flags[anon] = _ANON
        machine.rmap.map_many(self.space, anon, anon)
        machine.lru.add_many(anon)
        machine.frames.refcount[signs == "X"] = 2
        self.born = {}
        for name, holder in self.owners.items():
            held = [sign for sign, holders in _HELD_BY.items() if name in holders]
            self.born[name] = np.flatnonzero(np.isin(signs, held))
            holder.adopt(self.born[name])
        self.unknown = np.flatnonzero(signs == "#")
        machine.check()

    def check(self):
        """Invariants hold, and everybody's bytes are where he believes them to be."""
        machine = self.machine
        machine.check()
        vpns = self.space.present()
        self._require_tags(vpns, self.space.pte[vpns] - 1)
        for name, holder in self.owners.items():
            self._require_tags(self.born[name], holder.pfn_of(np.arange(holder.nr_objects)))
        self._require_tags(self.unknown, self.unknown)

    def _require_tags(self, born, pfns):
        assert self.machine.contents.tags(pfns).tolist() == (1000 + born).tolist()


def huge2m(world, strategy):
    """Wholly free pageblocks after compaction."""
    world.machine.compact(strategy)
    return int(world.machine.buddy.wholly_free().sum())


def cma(world, strategy):
    """Allocations of a pageblock from the area until one fails."""
    if not world.cma_blocks:
        return 0
    area = world.machine.cma.create(Span(0, world.cma_blocks * SIZE))
    obtained = 0
    while world.machine.cma.request(SIZE, 3, area=area, strategy=strategy).pfn >= 0:
        obtained += 1
    return obtained


def offline(world, strategy):
    """Each memory block in turn."""
    hotplug = world.machine.hotplug
    hotplug.blocks.nr_pages = UNIT
    nr_blocks = world.machine.frames.nr_frames // UNIT
    results = [
        hotplug.offline(block, world.machine.design, strategy=strategy)
        for block in range(nr_blocks)
    ]
    return sum(result.errno == 0 for result in results)


def gigantic(world):
    """Pages of two pageblocks, as the machine would give those of 1 GiB."""
    machine = world.machine
    return GiganticPages(
        machine.contig, machine.planned, lambda: machine.zones, lambda: machine.design, UNIT
    )


def huge1g(world, strategy):
    """Gigantic pages of two pageblocks, one after the other."""
    pages, obtained = gigantic(world), 0
    while True:
        got = pages.alloc_planned()[0] if strategy == "plan" else pages.walk()
        if got.head < 0:
            return obtained
        obtained += 1


def power(world, strategy):
    """Regions off after one consolidation."""
    world.machine.power.configure(UNIT)
    return world.machine.power.consolidate(world.machine.design, strategy=strategy).nr_regions_off


Consumer = Callable[[World, str], int]
CONSUMERS: dict[str, Consumer] = {
    "huge2m": huge2m,
    "cma": cma,
    "offline": offline,
    "huge1g": huge1g,
    "power": power,
}
"""Name -> (world, strategy) -> how many it obtained."""


@frozen
class Case:
    """A world, and the coverage to which one owner is added."""

    blocks: tuple[str, ...]
    cma_blocks: int
    movable: frozenset[str]
    added: str
    marks: tuple[int, int, int] = (0, 0, 0)

    def obtained(self, consumer, strategy):
        """(without, with) the callback; contents checked in both."""
        return tuple(
            obtained(self, coverage, consumer, strategy)
            for coverage in (self.movable, self.movable | {self.added})
        )


def obtained(case, coverage, consumer, strategy):
    """What a consumer gets on a fresh machine under a coverage."""
    world = World(case.blocks, coverage, cma_blocks=case.cma_blocks, marks=case.marks)
    found = CONSUMERS[consumer](world, strategy)
    world.check()
    return found


_KINDS = (
    "........",
    "......aa",
    "..aaaaaa",
    "....xxyy",
    "aaaaaa..",
    "##......",
    "x...a...",
    "z..z..zz",
)
_LETTERS = ("..aa", ".....a", ".aaaax", ".xyzaX", "..x", ".ay", ".az#", "aaaaa.", "....#")


@st.composite
def worlds(draw, most_blocks=10):
    """Blocks of eight, some of few kinds so that they differ, some of any letters."""
    pairs = draw(st.integers(2, most_blocks // 2))
    blocks = []
    for _ in range(2 * pairs):
        letters = draw(st.sampled_from(_LETTERS))
        blocks.append(draw(st.text(st.sampled_from(letters), min_size=SIZE, max_size=SIZE)))
    return tuple(blocks)


@st.composite
def coverages(draw):
    """A world, who has a callback, and who is given one."""
    blocks = draw(worlds())
    added = draw(st.sampled_from(OWNERS))
    others = [name for name in OWNERS if name != added]
    movable = frozenset(draw(st.lists(st.sampled_from(others), unique=True)))
    reserve = draw(st.sampled_from((0, 0, 3, 8)))
    return Case(
        blocks,
        draw(st.integers(0, len(blocks))),
        movable,
        added,
        (min(reserve, 2), reserve, reserve),
    )
