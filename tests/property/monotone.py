"""Worlds for the question whether one callback more can do harm, and the five who ask for memory.

A world is a list of pageblocks of eight frames, drawn as in tests/unit/mm/machines:

    .  free            a  anonymous            #  a kernel page that nobody registered
    x y z  pinned by the owner of that name    X  pinned by x and by y

Every frame in use carries a tag, and every holder can be asked where its frames are now.
"""

import numpy as np
from attrs import frozen
from hypothesis import strategies as st

from mm.state.frames import PageFlag
from mm.state.pageblock import MigrateType
from owners.opaque import OpaqueOwner
from pinlab.differential.requests import REQUESTS
from tests.kit.mm.machines import small_machine

__all__ = ["CONSUMERS", "OWNERS", "UNIT", "World", "coverages", "worlds"]

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


CONSUMERS = tuple(REQUESTS)


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
    found = REQUESTS[consumer](world.machine, strategy)
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
