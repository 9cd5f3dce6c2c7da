"""A balloon spoils every huge page of a guest, until its pages can move.

Shows:  an owner in action (owners/balloon.py, the one to read first): inflating, compacting
        with and without it, deflating.
Expect: no huge page before, none by compaction of a kernel that does not know the owner,
        and as many as can be with it; every page comes back at the end.
"""

from mm.machine import Machine
from mm.move.design import Unmovable
from mm.state.gfp import Gfp
from owners.balloon import Balloon

machine = Machine.build(nr_pages=8192)  # 32 MiB: 16 pageblocks of 2 MiB
registry = machine.use_registry()
design = machine.design
balloon = Balloon(machine, registry=registry)

# The guest is busy: every eighth page goes to the balloon, and the others are freed later.
busy = []
while machine.buddy.nr_free() > 256:
    balloon.inflate(1)
    busy += [machine.alloc_page(Gfp.HIGHUSER_MOVABLE) for _ in range(7)]
for pfn in busy:
    machine.put_page(pfn)
machine.pcp.drain_all()


def show(when: str) -> None:
    """One line: how much memory is free, and how much of it as whole pageblocks."""
    print(f"{when:<28}{machine.buddy.nr_free():>6} free pages, "
          f"{int(machine.buddy.wholly_free().sum()):>2} free pageblocks")  # fmt: skip


show(f"{balloon.nr_pages} pages in the balloon")

machine.design = Unmovable()  # a kernel in which nobody says whose pages these are
machine.compact()
show("compacted, nobody asked")

machine.design = design
machine.compact()
show("compacted, balloon asked")

print(f"deflated: {balloon.deflate(balloon.nr_pages)} pages")
machine.pcp.drain_all()
show("at the end")
balloon.check()
machine.check()
