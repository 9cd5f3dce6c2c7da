"""What of a memory block takes a free frame each, where huge pages lie in it, too."""

from mm.hotplug.verdict import nr_small_moves
from owners.hugetlb_pages import HugetlbPages
from pinpage.owner import Mode
from pinpage.units import Span
from tests.kit.mm.whole_machines import SIZE, Layout


def test_huge_pages_go_as_a_whole():
    blocks = ("HHHHHHHH", "c.aaP...", "FFFFFFFF")
    machine = Layout(blocks, (0, 0, 0), (("Normal", 0),)).build().machine
    HugetlbPages(machine, machine.hugetlb, registry=machine.registry)  # who would move them, too
    moves = [
        nr_small_moves(machine, Span(at * SIZE, (at + 1) * SIZE), machine.design, Mode.SYNC)
        for at in range(3)
    ]
    assert moves == [0, 3, 0]
