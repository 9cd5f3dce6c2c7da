"""Per-CPU lists of free pages: the allocator's batching, and what it hides.

A page that was freed here is free, yet invisible to merging: refcount 0, no marker, state PCP.
Who scans or isolates must drain first.  Lists hold order 0 only (v6.1 also keeps orders 1-3
and 9); CPUs are counted alike for every zone.

Kernel counterpart: struct per_cpu_pages, zone_batchsize, zone_highsize, rmqueue_bulk,
free_pcppages_bulk and nr_pcp_free (v6.1, but for how often a drain doubles: that limit is of
6.7), and their simpler forms of v3.11.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from attrs import define, field

from mm.buddy.buddy import Buddy
from mm.buddy.bulk import FREEABLE, sorted_frames
from mm.state.frames import MAPCOUNT_NONE, FrameState
from mm.state.gfp import AllocFlags
from mm.state.nodes import KernelVersion, Zone
from mm.state.pageblock import MIGRATETYPE_FORMS, NR_PCPTYPES, MigrateType
from pinpage.errors import PinpageError, at_least, require, whole
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["PerCpuPages", "pcp_batch", "pcp_high"]

_MAX_BATCH_NR_BYTES = {"6.1": 1 << 20, "3.11": 512 << 10}
"""Before the division by four."""
_USE_CMA = int(AllocFlags.CMA)
_MAX_FREE_FACTOR = 5
"""Freeing without allocating doubles the drain up to this often: CONFIG_PCP_BATCH_SCALE_MAX, which
came with 6.7.  In 6.1 the drain doubles until it reaches what the list may hold, so it differs
where the list holds more than 33 batches; recordings are replayed with the limit."""


def pcp_batch(
    managed_nr_pages: int, version: KernelVersion = "6.1", *, page_nr_bytes: int = PAGE_SIZE
) -> int:
    """Pages moved between a CPU's list and the buddy lists under one lock.

    A 1024th of the zone, bounded, divided by four, and rounded so that it is one less than a
    power of two: that keeps the lists of several CPUs from cycling through the same colours.

    Args:
        managed_nr_pages: pages that the allocator manages.
        version: of the kernel whose rule it is.
        page_nr_bytes: bytes in a page.

    >>> pcp_batch(262144), pcp_batch(262144, "3.11"), pcp_batch(262144, page_nr_bytes=65536)
    (63, 31, 3)
    """
    batch = min(managed_nr_pages // 1024, _MAX_BATCH_NR_BYTES[version] // page_nr_bytes) // 4
    batch = max(batch, 1)
    power_of_two = 1 << ((batch + batch // 2).bit_length() - 1)
    return max(power_of_two - 1, 1)


def pcp_high(zone: Zone, batch: int, nr_cpus: int, version: KernelVersion = "6.1") -> int:
    """Pages on a CPU's list at which it is drained.

    v6.1: the zone's low watermark shared out among the CPUs, at least four batches; v3.11:
    six batches.

    Args:
        zone: the zone.
        batch: pages moved under one lock.
        nr_cpus: CPUs of the machine.
        version: of the kernel whose rule it is.
    """
    return 6 * batch if version == "3.11" else max(zone.low // nr_cpus, 4 * batch)


@define(eq=False)
class _CpuList:
    """The lists of one CPU for one zone; the right end is the hot end."""

    lists: tuple[deque[int], ...] = field(
        factory=lambda: tuple(deque[int]() for _ in range(NR_PCPTYPES))
    )
    nr_pages: int = 0
    free_factor: int = 0

    def push(self, pfn: int, migratetype: int) -> None:
        self.lists[migratetype if migratetype < NR_PCPTYPES else MigrateType.MOVABLE].append(pfn)
        self.nr_pages += 1


class PerCpuPages:
    """Order-0 lists for every zone and CPU, in front of a `Buddy`.

    Attributes:
        buddy: where pages come from and go to.
        batches, highs: per zone, in pages.
        nr_pages: pages on all lists.

    Invariants, run by `check`:
        PC1 a frame stands on a list exactly if its state is PCP, and on one list only.
        PC2 counts agree with the lists.
        PC3 a listed frame has no references and no mapping, and lies in the list's zone.
    """

    def __init__(self, buddy: Buddy, nr_cpus: int = 2, version: KernelVersion = "6.1") -> None:
        """Empty lists.

        Args:
            buddy: the free lists.
            nr_cpus: CPUs of the machine.
            version: of the kernel whose rule it is.

        Raises:
            PinpageError: no CPU.
        """
        (nr_cpus,) = at_least(1, "pcp", nr_cpus=nr_cpus)
        self.buddy = buddy
        self.nr_cpus = nr_cpus
        self.version = version
        self.batches: list[int] = []
        self.highs: list[int] = []
        self._cpus: list[list[_CpuList]] = []
        self._nr_disabled: list[int] = []
        for zone in buddy.zones:
            self.add_zone(zone)

    @property
    def batch(self) -> int:
        """The batch of the largest zone, in pages."""
        return max(self.batches)

    @property
    def high(self) -> int:
        """The high mark of the zone that has the highest, in pages."""
        return max(self.highs)

    @property
    def nr_pages(self) -> int:
        """Pages on all lists."""
        return sum(cpu.nr_pages for cpus in self._cpus for cpu in cpus)

    def alloc(
        self,
        migratetype: int,
        cpu: int = 0,
        *,
        zone: int = 0,
        alloc_flags: AllocFlags = AllocFlags.DEFAULT,
    ) -> int:
        """One page, from the CPU's list; refilled by a batch when empty.  -1 when there is none.

        A movable request that may not use CMA goes past the lists, for CMA pages stand among
        the movable ones.  The page is USED with one reference.  Costs about 1 us.

        Args:
            migratetype: a `MigrateType`.
            cpu: whose list.
            zone: the zone's row in `Frames.zone`.
            alloc_flags: which watermarks and lists it may use.

        Raises:
            PinpageError: a type that nobody may ask for, or no such zone or CPU.
        """
        if type(zone) is not int or type(migratetype) not in MIGRATETYPE_FORMS:
            migratetype, zone = whole("pcp", migratetype=migratetype, zone=zone)
        cpu = self._as_cpu(cpu)
        if migratetype == MigrateType.MOVABLE and not int(alloc_flags) & _USE_CMA:
            return self.buddy.alloc(0, migratetype, zone=zone, alloc_flags=alloc_flags)
        if not 0 <= migratetype < NR_PCPTYPES:
            raise PinpageError(
                f"pcp: migratetype={migratetype}: has no per-CPU list (0..{NR_PCPTYPES - 1})"
            )
        if not 0 <= zone < len(self._cpus):
            raise PinpageError(f"pcp: zone={zone}: there are 0..{len(self._cpus) - 1}")
        mine = self._cpus[zone][cpu]
        pages = mine.lists[migratetype]
        mine.free_factor >>= 1
        if not pages and not self._refill(mine, migratetype, zone, alloc_flags):
            return -1
        pfn = pages.pop()
        mine.nr_pages -= 1
        self.buddy.frames.state[pfn] = FrameState.USED
        self.buddy.frames.refcount[pfn] = 1
        return pfn

    def _refill(self, mine: _CpuList, migratetype: int, zone: int, alloc_flags: AllocFlags) -> int:
        pfns = self.buddy.alloc_many(
            self.batches[zone], migratetype, zone=zone, alloc_flags=alloc_flags
        )
        self._strip(pfns)
        # Served in the order in which the buddy gave them: neighbours stay neighbours.
        mine.lists[migratetype].extendleft(pfns.tolist())
        mine.nr_pages += len(pfns)
        return len(pfns)

    def free(self, pfn: int, cpu: int = 0) -> None:
        """Give one page back, to the hot end of the CPU's list; drained at its high mark.

        A page of an isolated pageblock goes straight to the buddy lists; CMA and HIGHATOMIC
        pages stand among the movable ones.  Costs about 1 us.

        Args:
            pfn: the frame.
            cpu: whose list it goes to.

        Raises:
            PinpageError: it is not allocated (a double free), or no such CPU.
        """
        cpu = self._as_cpu(cpu)
        frames = self.buddy.frames
        if type(pfn) is not int:
            (pfn,) = whole("pcp free", pfn=pfn)
        self._require_allocated(pfn)
        migratetype = int(self.buddy.pageblocks.migratetype[pfn >> self.buddy.pageblocks.order])
        if migratetype == MigrateType.ISOLATE:
            self.buddy.free(pfn)
            return
        frames.state[pfn] = FrameState.PCP
        frames.refcount[pfn] = 0
        frames.mapcount[pfn] = MAPCOUNT_NONE
        frames.flags[pfn] = 0
        zone = self._zone_of(pfn)
        mine = self._cpus[zone][cpu]
        mine.push(pfn, migratetype)
        if mine.nr_pages >= self.highs[zone]:
            self._drain(mine, self._nr_to_drain(mine, zone))

    def _as_cpu(self, cpu: int) -> int:
        if type(cpu) is not int:
            (cpu,) = whole("pcp", cpu=cpu)
        if not 0 <= cpu < self.nr_cpus:
            raise PinpageError(f"pcp: cpu={cpu}: there are 0..{self.nr_cpus - 1}")
        return cpu

    def _require_allocated(self, pfn: int) -> None:
        if not 0 <= pfn < self.buddy.frames.nr_frames:
            raise PinpageError(f"pcp free: pfn {pfn:#x} is outside the machine")
        state = FrameState(self.buddy.frames.state[pfn])
        if state not in (FrameState.USED, FrameState.TAKEN):
            raise PinpageError(f"pcp free: pfn {pfn:#x} is {state.name}, not allocated")

    def _zone_of(self, pfn: int) -> int:
        return int(self.buddy.area.zone_of_block[pfn >> self.buddy.pageblocks.order])

    def _nr_to_drain(self, mine: _CpuList, zone: int) -> int:
        """A batch; more while the CPU only frees, within [batch, high - batch] (nr_pcp_free)."""
        batch, most = self.batches[zone], self.highs[zone] - self.batches[zone]
        if self.version == "3.11":
            return batch
        wanted = batch << mine.free_factor
        if wanted < most and mine.free_factor < _MAX_FREE_FACTOR:
            mine.free_factor += 1
        return max(min(wanted, most), batch)

    def _drain(self, mine: _CpuList, count: int) -> None:
        """The coldest pages of each list in turn, as one batch."""
        pfns: list[int] = []
        count = min(count, mine.nr_pages)
        for pages in itertools.cycle(mine.lists):
            if len(pfns) == count:
                break
            if pages:
                pfns.append(pages.popleft())
        mine.nr_pages -= len(pfns)
        self.buddy.free_many(np.array(pfns, dtype=np.int64))

    def add_zone(self, zone: Zone) -> None:
        """Empty lists for one zone more."""
        self._cpus.append([_CpuList() for _ in range(self.nr_cpus)])
        self._nr_disabled.append(0)
        self.batches.append(0)
        self.highs.append(0)
        self.resize(zone)

    def resize(self, zone: Zone) -> None:
        """Work batch and high mark out anew, for a zone whose size or watermarks changed.

        A zone whose lists are disabled stays so; they come back with the new figures.
        """
        size = self.buddy.frames.page_nr_bytes
        batch = pcp_batch(zone.managed_nr_pages, self.version, page_nr_bytes=size)
        high = pcp_high(zone, batch, self.nr_cpus, self.version)
        off = self._nr_disabled[zone.index] > 0
        self.batches[zone.index], self.highs[zone.index] = (1, 0) if off else (batch, high)

    @contextmanager
    def disabled(self, zone: Zone) -> Iterator[None]:
        """Empty all lists and keep those of a zone so: every page freed goes on to the buddy lists.

        What `drain_all` alone does not promise: the next page freed could stay on a list
        (zone_pcp_disable).  May nest.
        """
        self._nr_disabled[zone.index] += 1
        self.resize(zone)
        self.drain_all()
        try:
            yield
        finally:
            self._nr_disabled[zone.index] -= 1
            self.resize(zone)

    def drain_all(self) -> int:
        """Empty every list of every CPU into the buddy lists; how many pages that were.

        Not a fence: the next allocation refills.
        """
        pfns = np.fromiter(self._members(), dtype=np.int64)
        for cpus in self._cpus:
            for cpu in cpus:
                for pages in cpu.lists:
                    pages.clear()
                cpu.nr_pages = 0
        self.buddy.free_many(pfns)
        return len(pfns)

    def adopt(self, pfns: Pfns, cpu: int = 0) -> None:
        """Put frames on a CPU's lists as they are found in a recording, high marks aside.

        Args:
            pfns: allocated frames, or frames of state PCP that stand on no list yet.
            cpu: whose lists.

        Raises:
            PinpageError: a frame is in another state, named twice or listed already, or no such
                CPU; nothing changed.
        """
        cpu = self._as_cpu(cpu)
        pfns = sorted_frames(self.buddy.frames, pfns, FREEABLE, "adopt")
        listed = np.isin(pfns, np.fromiter(self._members(), dtype=np.int64))
        if listed.any():
            pfn = int(pfns[listed.argmax()])
            raise PinpageError(f"adopt: pfn {pfn:#x} stands on a per-CPU list already")
        self._strip(pfns)
        types = self.buddy.pageblocks.types_of(pfns)
        for pfn, migratetype in zip(pfns.tolist(), types.tolist(), strict=True):
            self._cpus[self._zone_of(pfn)][cpu].push(pfn, migratetype)

    def _strip(self, pfns: Pfns) -> None:
        frames = self.buddy.frames
        frames.state[pfns] = FrameState.PCP
        frames.refcount[pfns] = 0
        frames.mapcount[pfns] = MAPCOUNT_NONE
        frames.flags[pfns] = 0

    def _members(self) -> Iterator[int]:
        for cpus in self._cpus:
            for cpu in cpus:
                for pages in cpu.lists:
                    yield from pages

    def check(self) -> None:
        """Run PC1..PC3.

        Raises:
            InvariantError: one does not hold.
        """
        frames = self.buddy.frames
        members = np.sort(np.fromiter(self._members(), dtype=np.int64))
        marked = np.flatnonzero(frames.state == FrameState.PCP)
        require(
            np.array_equal(members, marked),
            "PC1 per-CPU lists and states disagree",
            listed=len(members),
        )
        held = (frames.refcount[members] != 0) | (frames.mapcount[members] != MAPCOUNT_NONE)
        require(not held.any(), "PC3 a page on a per-CPU list is held", nr_pages=int(held.sum()))
        for zone, cpus in enumerate(self._cpus):
            for cpu in cpus:
                pfns = [pfn for pages in cpu.lists for pfn in pages]
                require(cpu.nr_pages == len(pfns), "PC2 a per-CPU list is miscounted", zone=zone)
                strangers = [pfn for pfn in pfns if self._zone_of(pfn) != zone]
                require(not strangers, "PC3 a page on the list of another zone", zone=zone)
