"""The mixed load: every owner at once on one machine, compacted all the while.

`WORKLOAD_SHARES` is the table of who takes part.  An owner joins by adding a row: its name, its
share of the machine, its pace, and its workload.

    >>> result = run(nr_pages=4096, seconds=0.2)
    >>> result.bytes_lost, result.frames_leaked, result.nr_compactions
    (0, 0, 2)

Cost: about a third of a second per simulated second on a machine of 1 GiB, of which half are the
ten compactions; filling and reading back that machine take some ten seconds more.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from typing import get_args

import numpy as np
from attrs import define, field, frozen

from mm.move.design import Strategy
from owners.odirect.device import Policy
from pinlab.load.io import DirectIo, NetworkRing
from pinlab.load.kernel import AioCompletions, BalloonChurn, HugePageUsers
from pinlab.load.processes import Families, LockedMemory, SwapPressure
from pinlab.load.run import COMPACT_EVERY_NS, LoadRun, make_world
from pinlab.load.slab import DentryChurn, XArrayChurn
from pinlab.load.stores import ObjectChurn, PageCache, ZramChurn
from pinlab.load.workload import Workload
from pinpage.errors import PinpageError, one_of, several

__all__ = ["WORKLOAD_SHARES", "MixedResult", "WorkloadShare", "run"]


@frozen
class WorkloadShare:
    """One workload of the mixed load.

    Attributes:
        name: unique; also the name of its random stream.
        share: pages or objects that it works with, in thousandths of the machine's pages.
        per_second: actions per simulated second, on average.
        make: the workload; takes world, name, nr_slots and pace_ns.
        most_slots: never more slots than that, whatever the machine's size.
    """

    name: str
    share: int
    per_second: int
    make: Callable[..., Workload] = field(repr=False)
    most_slots: int = 1 << 30

    def nr_slots(self, nr_pages: int) -> int:
        """How many slots on a machine of that size; at least eight."""
        return min(max(nr_pages * self.share // 1000, 8), self.most_slots)

    @property
    def pace_ns(self) -> int:
        """Mean rest between two actions."""
        return 1_000_000_000 // self.per_second


WORKLOAD_SHARES: dict[str, WorkloadShare] = {
    row.name: row
    for row in (
        WorkloadShare("pagecache", 400, 60, PageCache),
        WorkloadShare("zram", 60, 100, ZramChurn),
        WorkloadShare("z3fold", 20, 100, functools.partial(ObjectChurn, zpool="z3fold")),
        WorkloadShare("aio", 1, 100, AioCompletions, most_slots=64),
        WorkloadShare("dentry", 40, 100, DentryChurn, most_slots=8192),
        WorkloadShare("xarray", 40, 100, XArrayChurn, most_slots=8192),
        WorkloadShare("ring", 4, 150, NetworkRing),
        WorkloadShare("odirect-refuse", 4, 60, functools.partial(DirectIo, policy=Policy.REFUSE)),
        WorkloadShare("odirect-wait", 4, 60, functools.partial(DirectIo, policy=Policy.WAIT)),
        WorkloadShare("odirect-cancel", 4, 60, functools.partial(DirectIo, policy=Policy.CANCEL)),
        WorkloadShare("rdma", 4, 60, functools.partial(DirectIo, policy=Policy.RESTART)),
        WorkloadShare("families", 4, 100, Families, most_slots=1024),
        WorkloadShare("locked", 4, 100, LockedMemory),
        WorkloadShare("hugetlb", 1, 20, HugePageUsers),
        WorkloadShare("balloon", 50, 5, BalloonChurn),
        WorkloadShare("processes", 660, 500, SwapPressure),
    )
}
"""Who takes part, in the order in which they start: the last ones find memory full."""


@define(kw_only=True)
class MixedResult:
    """What a mixed load came to; equal arguments give an equal result, in any process.

    Attributes:
        design, nr_pages, seconds, seed: as asked for.
        actions: workload -> kind of action -> times; "... refused" are the owner's refusals.
        nr_compactions: how many there were.
        pages_moved, pages_released: by all compactions.
        refused: reason -> frames that did not move, each time they were asked for.
        pages_stored: by all workloads.
        pages_swapped_out, pages_swapped_in: since the start.
        bytes_verified: read back through their holders, during the run and at its end.
        bytes_lost: missing or different.
        frames_leaked: in use after everybody has let go.
        digest: 32 hex digits of the machine, the stored pages and the counts before reading back.
    """

    design: str
    nr_pages: int
    seconds: float
    seed: int
    actions: dict[str, dict[str, int]]
    nr_compactions: int
    pages_moved: int
    pages_released: int
    refused: dict[str, int]
    pages_stored: int
    pages_swapped_out: int
    pages_swapped_in: int
    bytes_verified: int
    bytes_lost: int
    frames_leaked: int
    digest: str


def run(  # noqa: PLR0913  (each has a default)
    *,
    nr_pages: int = 262_144,
    seconds: float = 60.0,
    design: str = "registry",
    seed: int = 0,
    only: Collection[str] | None = None,
    strategies: Sequence[Strategy] = ("scan", "plan"),
    compact_every_ns: int = COMPACT_EVERY_NS,
    compress_with: str = "zlib",
    also: Sequence[WorkloadShare] = (),
) -> MixedResult:
    """Load a machine with everything at once, compact it, read everything back, let go.

    Args:
        nr_pages: size of the machine, whole pageblocks; 262,144 are 1 GiB.
        seconds: simulated time.
        design: a name of `pinlab.replay.designs.DESIGNS`.
        seed: of everything that is drawn.
        only: names of `WORKLOAD_SHARES`; None for all.
        strategies: of one compaction after the other; () for none.
        compact_every_ns: period of compactions, in simulated time.
        compress_with: a name of `owners.compress.COMPRESSORS`.
        also: rows of one's own beside the table's, such as `pinlab.load.own.share_of` makes.

    Raises:
        PinpageError: an argument that makes no sense, or an owner of one's own fails; names it.
        InvariantError: the machine, the registry, an owner or the accounts are inconsistent.
    """
    if not -math.inf < seconds < math.inf:
        raise PinpageError(f"mixed: seconds={seconds}: give seconds of simulated time")
    several("mixed", only=WORKLOAD_SHARES if only is None else only, strategies=strategies)
    for strategy in strategies:
        one_of(get_args(Strategy), "mixed", strategies=strategy)
    names = list(WORKLOAD_SHARES) if only is None else list(only)
    for name in names:
        if name not in WORKLOAD_SHARES:
            raise PinpageError(
                f"mixed: only={name!r}: the workloads are {', '.join(WORKLOAD_SHARES)}"
            )
    world = make_world(
        nr_pages=nr_pages, design_name=design, seed=seed, compress_with=compress_with
    )
    rows = [row for row in WORKLOAD_SHARES.values() if row.name in names]
    workloads = [
        row.make(world, row.name, nr_slots=row.nr_slots(nr_pages), pace_ns=row.pace_ns)
        for row in (*rows, *also)
    ]
    scenario = LoadRun(world, workloads, compact_every_ns=compact_every_ns, strategies=strategies)
    scenario.run(int(seconds * 1_000_000_000))
    scenario.check()
    result = _result(scenario, design=design, seconds=seconds, seed=seed)
    found = scenario.read_back()
    scenario.check()
    result.bytes_verified, result.bytes_lost = found.bytes_verified, found.bytes_lost
    result.frames_leaked = scenario.let_go()
    world.machine.check()
    return result


def _result(scenario: LoadRun, *, design: str, seconds: float, seed: int) -> MixedResult:
    """The figures as they stand at the end of the load."""
    actions: dict[str, dict[str, int]] = {}
    for (name, kind), times in sorted(scenario.counts.items()):
        actions.setdefault(name, {})[kind] = times
    world, compacted = scenario.world, scenario.compacted
    paging = world.machine.paging
    return MixedResult(
        design=design,
        nr_pages=world.nr_pages,
        seconds=seconds,
        seed=seed,
        nr_compactions=sum(actions.pop("compaction", {}).values()),
        actions=actions,
        pages_moved=compacted.pages_moved,
        pages_released=compacted.pages_released,
        refused={reason.name: n for reason, n in sorted(compacted.refused.items())},
        pages_stored=sum(workload.pages.nr_stored for workload in scenario.workloads),
        pages_swapped_out=paging.nr_swapped_out,
        pages_swapped_in=paging.nr_swapped_in,
        bytes_verified=0,
        bytes_lost=0,
        frames_leaked=0,
        digest=_digest(scenario, actions),
    )


def _digest(scenario: LoadRun, actions: dict[str, dict[str, int]]) -> str:
    found = hashlib.blake2b(scenario.world.machine.digest().encode(), digest_size=16)
    found.update(repr(actions).encode())
    for workload in scenario.workloads:
        found.update(np.ascontiguousarray(workload.pages.serials).tobytes())
    return found.hexdigest()
