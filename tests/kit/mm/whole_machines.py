"""Machines of a few pageblocks with all that a request may meet, and what is true of them.

As `Ranged` draws them, and besides

o  a hole
H  a huge page in use, F a free one: eight in a row, a whole pageblock
T  anonymous, part of a large page of a whole pageblock, eight in a row
t  anonymous, part of a large page of two frames

`zones` are those of small machines: one or two nodes, and the last pageblocks of the last node
may be ZONE_MOVABLE.
"""

import numpy as np
from attrs import field, frozen
from hypothesis import strategies as st

from mm.contig.retry import RetryPolicy
from mm.state.nodes import Zone, setup_lowmem_reserve, setup_watermarks
from mm.state.pageblock import MigrateType
from pinpage.units import Span
from tests.kit.mm.machines import SIZE
from tests.kit.mm.ranges import Ranged

__all__ = ["FOUR_ROUNDS", "SIZE", "Layout", "Whole", "blocks_of", "goes", "layouts", "whole_of"]

FOUR_ROUNDS = RetryPolicy(nr_tries=4)

_PLAIN = str.maketrans({"o": ".", "H": "#", "F": "#", "T": "a", "t": "a"})
_ORDER_OF_SIGN = {"T": 3, "t": 1}


@frozen
class Layout:
    """A picture, and which zone each pageblock is of.

    Attributes:
        blocks: one string per pageblock.
        zone_of: a zone's row per pageblock, ascending.
        zones: (name, node) per row.
        movable: whether owner `x` has a callback.
    """

    blocks: tuple[str, ...]
    zone_of: tuple[int, ...]
    zones: tuple[tuple[str, int], ...]
    movable: bool = field(default=True)

    @property
    def text(self):
        """All frames."""
        return "".join(self.blocks)

    def stays(self, *, huge=False, breaks_up=True):
        """By frame: nobody moves it, frees it, or has it free; without breaking up what is huge."""
        signs = "#PQro" + ("" if self.movable else "x") + ("" if huge else "HF")
        signs += "" if breaks_up else "T"
        return [sign in signs for sign in self.text]

    def may_be_free(self):
        """By frame: it is free, or could be given up."""
        return [sign in ".pc" for sign in self.text]

    def node_of(self, block):
        """The node of a pageblock."""
        return self.zones[self.zone_of[block]][1]

    def build(self, area=None):
        """The machine; `area` is (first pageblock, how many) that are CMA's."""
        return Whole(self, area)


class Whole(Ranged):
    """The machine of a layout."""

    def __init__(self, layout, area=None):
        spans = []
        for row, (name, node) in enumerate(layout.zones):
            mine = [block for block, zone in enumerate(layout.zone_of) if zone == row]
            spans.append(Zone(row, name, node, Span(mine[0] * SIZE, (mine[-1] + 1) * SIZE)))
        setup_watermarks(spans)
        setup_lowmem_reserve(spans)
        text = layout.text
        super().__init__(
            *(block.translate(_PLAIN) for block in layout.blocks),
            movable=layout.movable,
            zones=spans,
            holes=[pfn for pfn, sign in enumerate(text) if sign == "o"],
        )
        for block, signs in enumerate(layout.blocks):
            if signs[0] in "HF":
                self.machine.hugetlb.adopt(block * SIZE)
                if signs[0] == "H":
                    self.machine.hugetlb.use(block * SIZE)
        at = [(pfn, _ORDER_OF_SIGN[s]) for pfn, s in enumerate(text) if s in _ORDER_OF_SIGN]
        large = np.array([each for each in at if each[0] % (1 << each[1]) == 0]).reshape(-1, 2)
        self.folios = self.machine.refs.folios
        self.folios.adopt(large[:, 0], large[:, 1])
        self.area = None
        if area is not None:
            for block in range(area[0], sum(area)):
                self.machine.buddy.set_migratetype(block, MigrateType.CMA)
            self.area = self.machine.cma.adopt()[0]
        self.machine.check()


_BLOCKS = st.one_of(
    st.text(alphabet="......aaccdxP#r", min_size=SIZE, max_size=SIZE),
    st.text(alphabet="...aaccdp", min_size=SIZE, max_size=SIZE),
    st.sampled_from(["." * SIZE, "." * SIZE, "c" * SIZE, "o" * SIZE, "....oooo"]),
    st.sampled_from(["T" * SIZE, "tt....tt", "tttt.a..", "..ttc.tt", "ttttttP."]),
)


@st.composite
def layouts(draw, *, least=2, most=6, huge=True, movable_zone=True):
    """Layouts of up to six pageblocks."""
    kinds = st.one_of(_BLOCKS, st.sampled_from(["H" * SIZE, "F" * SIZE])) if huge else _BLOCKS
    blocks = draw(st.lists(kinds, min_size=least, max_size=most))
    nr_nodes = draw(st.integers(1, 2)) if len(blocks) > 1 else 1
    border = draw(st.integers(1, len(blocks) - 1)) if nr_nodes == 2 else len(blocks)
    zone_of = [0] * border + [1] * (len(blocks) - border)
    zones = [("Normal", node) for node in range(nr_nodes)]
    last = zone_of.count(nr_nodes - 1)
    if movable_zone and last > 1 and draw(st.booleans()):
        nr_movable = draw(st.integers(1, last - 1))
        zone_of[-nr_movable:] = [nr_nodes] * nr_movable
        zones.append(("Movable", nr_nodes - 1))
    return Layout(tuple(blocks), tuple(zone_of), tuple(zones), draw(st.booleans()))


# Memory blocks of a whole number of pageblocks.


def whole_of(layout, size):
    """The machine, with memory blocks of `size` pageblocks."""
    machine = layout.build().machine
    machine.hotplug.blocks.nr_pages = size * SIZE
    return machine


def goes(machine, block, strategy="plan"):
    """Take a memory block offline: whether it went."""
    design = machine.design
    return bool(machine.hotplug.offline(block, design, retry=FOUR_ROUNDS, strategy=strategy))


def blocks_of(machine, plan):
    """The memory blocks that a plan names, in its order."""
    return [machine.hotplug.blocks.block_of(span.start) for span in plan.spans]
