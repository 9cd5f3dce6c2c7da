"""Nothing is imported while the registry or a machine works.

Whoever is interrupted in an import leaves its lock held (CPython 3.11), and the next thread that
wants the same module hangs, with the locks that it has: so did the registry, where numpy's
`unique` imported `numpy.ma` at its first call, inside a locked section.
"""

import subprocess
import sys
from pathlib import Path

import pytest

REGISTRY = """
from pinpage import AlreadyPinnedError, NotPinnedError, PinOwner, PinRegistry, Topology
reg = PinRegistry(Topology.uniform(nr_frames=8192, nr_nodes=2))
owner, other = PinOwner(), PinOwner()
reg.register(owner)
reg.register(other)
BEGIN
reg.pin_range(512, 1024, owner, 1)
reg.pin_many([3, 5, 5000, 600], other, ["a", None, 7, "a"])
reg.pin_many(np.arange(0, 8192, 9), owner, np.arange(911))
for wrong in (lambda: reg.pin(600, other, "a"), lambda: reg.unpin(601, other, "a")):
    try:
        wrong()
    except (AlreadyPinnedError, NotPinnedError):
        pass
with reg.scanning():
    reg.pinned_mask(0, 8192)
    list(reg.iter_pins())
reg.pins(600), reg.owner_counts(np.arange(20)), reg.abilities(np.arange(20)), reg.next_pinned(7)
reg.marks.begin_move(np.array([9, 20]))
reg.marks.rekey_many(np.array([9]), np.array([20]))
reg.marks.end_move(np.array([9, 20]))
reg.unpin_many([3, 5, 5000], other, ["a", None, 7])
reg.unpin_many(np.arange(18, 8192, 9), owner, np.arange(2, 911))
reg.statistics(), reg.check(), reg.unregister(owner, force=True)
"""
CUT_OFF = """
from pinpage import PinOwner, PinRegistry, Topology
from pinpage.store.blocks import Blocks
reg, owner = PinRegistry(Topology.uniform(nr_frames=8192)), PinOwner()
reg.register(owner)
def cut(*_):
    raise KeyboardInterrupt
Blocks.add_many, whole = cut, Blocks.add_many
BEGIN
try:
    reg.pin_many([3, 5], owner)
except KeyboardInterrupt:
    pass
Blocks.add_many = whole
assert len(reg) == 0 and not reg.is_pinned(3)
"""
MACHINE = """
from mm.machine import Machine
from pinpage.units import Span
BEGIN
machine = Machine.build(nr_pages=8192, contents="tags")
area = machine.cma.create(Span(4096, 8192))
process = machine.memory.mmap("process", 5000)
for vpn in range(5000):
    machine.memory.touch(process, vpn, write=True)
machine.memory.dontneed(process, process.present()[::2])
machine.compact()
machine.hugetlb.grow(4)
machine.cma.request(512, 9, area=area)
machine.check()
"""


@pytest.mark.parametrize("work", [REGISTRY, CUT_OFF, MACHINE], ids=["registry", "cut off", "mm"])
def test_nothing_is_imported_on_the_way(work):
    begin = "\nloaded = set(sys.modules)\n"
    code = "import sys\nimport numpy as np\n" + work.replace("\nBEGIN\n", begin)
    code += "print(*sorted(set(sys.modules) - loaded))\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == []
