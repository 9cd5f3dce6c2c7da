"""Worlds in which every public class comes to be: a mixed load, and a machine asked for all."""

import numpy as np

from mm.compaction.compact_control import CompactPriority
from mm.contig.retry import RetryPolicy
from mm.designs.confinement import ConfinedPages
from mm.paging.shmem import shmem_create, shmem_getpage
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from owners.odirect.device import cost_since
from owners.zbud.pool import ZbudPool
from pinlab.lab.machine import MachineLab
from pinlab.load import mixed
from pinlab.load.run import LoadRun, make_world
from pinlab.replay.designs import DESIGNS
from pinpage.owner import Mode, PinOwner
from pinpage.testing.conformance.lab import DATA_NR_BYTES
from pinpage.units import Span
from tests.kit import inside
from tests.kit.conformance.subjects import SUBJECTS
from tests.kit.mm.machines import SIZE, Drawn

__all__ = ["WORLDS"]


def everybody_at_work():
    """Every workload of the mixed load, for a moment, on a small machine."""
    world = make_world(nr_pages=2048, design_name="registry", seed=1)
    rows = mixed.WORKLOAD_SHARES.values()
    workloads = [
        row.make(world, row.name, nr_slots=row.nr_slots(world.nr_pages), pace_ns=row.pace_ns)
        for row in rows
    ]
    scenario = LoadRun(world, workloads)
    scenario.run(250_000_000)
    return [scenario]


def asked_for_all():
    """One machine of whom every consumer wants something, some in vain; what came of it."""
    drawn = Drawn(
        "........", "aaaa....", "a.a.x...", "........", "aaaaaaaa", "........", "#.......",
        "........", "........", "aaaaaa..", "........", "........",
        movable=True, arena=True,
    )  # fmt: skip
    machine, design = drawn.machine, drawn.machine.design
    control = CompactPriority.SYNC_LIGHT.control(machine.zones[0], 3, MigrateType.MOVABLE)
    came = [drawn, control, machine.compaction.compact_zone(control, design)]
    came += [machine.compact("scan", Mode.ASYNC), machine.compact("plan")]
    came.append(machine.cma.create(Span(11 * SIZE, 12 * SIZE)))
    machine.start_daemons()
    machine.swap.swapon(20)
    process = machine.memory.mmap("p", 20)
    for vpn in range(12):
        machine.memory.write(process, vpn, bytes([vpn]) * 4096)
    came.append(machine.memory.fork(process, "child"))
    machine.reclaimer.shrink(6)
    came.append(file := shmem_create(machine.paging, "file", 4))
    shmem_getpage(machine.paging, file, 1)
    machine.hugetlb.nr_overcommit = 1
    machine.hugetlb.set_max(4)
    head = machine.hugetlb.alloc_huge_page()
    machine.get_page(head + 1)
    machine.hugetlb.free_huge_page(head)
    machine.hugetlb.alloc_huge_page()
    machine.put_page(head + 1)
    came.append(machine.hugetlbs.gigantic_of(2 * SIZE).walk())
    came.append(machine.hugetlbs.gigantic_of(2 * SIZE).alloc_planned())
    machine.hotplug.blocks.nr_pages = SIZE
    planner = machine.hotplug.planner(design)
    came += [planner, planner.plan(None), planner.certain()]
    came.append(machine.hotplug.offline(7, design))
    came.append(machine.hotplug.offline(6, design, strategy="plan"))
    came.append(machine.cma.request(3))
    came.append(machine.cma.request(3, strategy="plan"))
    machine.power.configure(SIZE)
    came.append(machine.power.consolidate(design, retry=RetryPolicy(nr_tries=1), want=1))
    came.append(machine.power.account())
    came.append(machine.alloc_pages(3, Gfp.KERNEL))
    for kcompactd in machine.kcompactd.values():
        came.append(kcompactd.run(3))
    came.append(machine.contig.alloc_contig_range(SIZE, 2 * SIZE, design))
    came.append(machine.reclaimer.shrink(np.iinfo(np.int32).max >> 16))
    machine.check()
    return came


def each_owner_by_itself():
    """Every owner that the kit tries, alone on a machine, with something in it."""
    came = []
    for factory in SUBJECTS:
        if factory.__name__ == "odirect_real":
            continue  # threads of its own, and a file
        lab = MachineLab()
        subject = factory(lab)
        came += [lab, subject, *(subject.hold(bytes([n]) * DATA_NR_BYTES) for n in (1, 2))]
        came += [lab.machine.compact(strategy) for strategy in ("scan", "plan")]
    registry = lab.registry
    cost = cost_since(registry, registry.statistics(), 1)
    unpinned_late(registry)
    return [*came, *under_each_design(), list_with_a_stale_place(), cost]


def unpinned_late(registry):
    """As a finalizer does it that interrupts the registry; it is over when this returns."""
    owner = PinOwner()
    registry.register(owner)
    registry.pin(5, owner, "late")
    registry.flush()
    inside.shards(registry)[0].run(registry.unpin, 5, owner, "late")
    registry.unregister(owner)


def list_with_a_stale_place():
    """Memory without swap, whose oldest page has become the youngest: its place is left behind."""
    drawn = Drawn("aaaa....")
    drawn.machine.lru.del_many(np.array([0]))
    drawn.machine.lru.add_many(np.array([0]))
    return drawn


def under_each_design():
    """A page of zbud under each design; and pages that cannot move, kept together."""
    came = []
    for name in DESIGNS:
        world = make_world(nr_pages=512, design_name=name, seed=0)
        pool = ZbudPool(world.machine)
        world.zbud_pools.append(pool)
        pool.alloc(100)
        came += [world, pool, world.machine.compact("scan"), ConfinedPages(world.machine, 0)]
    return came


WORLDS = (everybody_at_work, asked_for_all, each_owner_by_itself)
