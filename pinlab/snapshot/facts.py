"""The facts beside the columns: where they come from, the zones, what the kernel then did.

Each class here is a JSON object of the header.  Reading one back checks the type of every
field, so that a bad header is named here and not by an AttributeError much later.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import field, frozen
from attrs.validators import deep_iterable, deep_mapping, instance_of, optional

from mm.state.pageblock import USUAL_MAX_ORDER
from pinlab.snapshot.errors import SnapshotError
from pinpage.units import PAGE_SIZE, Span

__all__ = ["CmaFacts", "Geometry", "Measured", "Provenance", "ZoneFacts", "decode", "encode"]

_int = instance_of(int)
_str = instance_of(str)
_any_mapping: Any = Mapping  # mypy wants a class that can be instantiated
_mapping = instance_of(_any_mapping)
_counters = deep_mapping(_str, _int, _mapping)
_ints = deep_iterable(_int, instance_of(tuple))


def _tuple_of(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)  # JSON has lists only


@frozen
class ZoneFacts:
    """One zone, as /proc/zoneinfo, buddyinfo and pagetypeinfo show it; counts are pages.

    Attributes:
        name: "DMA", "DMA32", "Normal", "Movable" ...
        node: NUMA node.
        start_pfn: first pfn that the zone spans.
        spanned, present, managed: pages in its range, pages that exist, pages the buddy has;
            managed is None where the kernel does not count it (before v3.8).
        cma: pages of contiguous areas among them; None where it does not say (before v5.12).
        min, low, high: watermarks without the boost.  zoneinfo prints them with it.
        boost: the boost that the printed watermarks carried.
        lowmem_reserve: pages held back from requests that could use a higher zone, per zone.
        nr_free: NR_FREE_PAGES, per-CPU lists not included.
        pcp_batch, pcp_high: of the first CPU's list; None where not shown.
        pcp_count: pages on the lists of all CPUs; None where not shown.
        nr_free_blocks: free buddy blocks by order (buddyinfo), empty if not known.
        nr_blocks_of_type: pageblocks by migratetype name (pagetypeinfo), empty if not known.
    """

    name: str = field(validator=_str)
    node: int = field(validator=_int)
    start_pfn: int = field(validator=_int)
    spanned: int = field(validator=_int)
    present: int = field(validator=_int)
    managed: int | None = field(validator=optional(_int))
    cma: int | None = field(validator=optional(_int))
    min: int = field(validator=_int)
    low: int = field(validator=_int)
    high: int = field(validator=_int)
    boost: int = field(validator=_int)
    nr_free: int = field(validator=_int)
    pcp_batch: int | None = field(validator=optional(_int), default=None)
    pcp_high: int | None = field(validator=optional(_int), default=None)
    pcp_count: int | None = field(validator=optional(_int), default=None)
    lowmem_reserve: tuple[int, ...] = field(converter=_tuple_of, validator=_ints, default=())
    nr_free_blocks: tuple[int, ...] = field(converter=_tuple_of, validator=_ints, default=())
    nr_blocks_of_type: Mapping[str, int] = field(validator=_counters, factory=dict)

    @property
    def nr_pages_of_buddy(self) -> int:
        """`managed`; of a kernel that did not count it, what it had in that place: `present`."""
        return self.present if self.managed is None else self.managed


@frozen
class CmaFacts:
    """One contiguous area, as /sys/kernel/debug/cma shows it.

    Attributes:
        name: of the area, such as "linux,cma" or "reserved".
        start_pfn, nr_pages: where it lies.
        order_per_bit: log2 of the pages that are handed out together.
    """

    name: str = field(validator=_str)
    start_pfn: int = field(validator=_int)
    nr_pages: int = field(validator=_int)
    order_per_bit: int = field(validator=_int, default=0)

    @property
    def span(self) -> Span:
        """Its frames."""
        return Span(self.start_pfn, self.start_pfn + self.nr_pages)


def _areas(areas: Iterable[Any]) -> tuple[CmaFacts, ...]:
    return tuple(CmaFacts(**area) if isinstance(area, Mapping) else area for area in areas)


@frozen
class Geometry:
    """How large the units of a machine are, pageblocks excepted, and where its CMA areas lie.

    Attributes:
        page_nr_bytes: bytes in a page.
        max_order: order of the largest free block.
        memory_block_nr_pages: pages that are plugged together; None where nothing says.
        cma_areas: the areas of which the place is known, by address.
    """

    page_nr_bytes: int = field(validator=_int, default=PAGE_SIZE)
    max_order: int = field(validator=_int, default=USUAL_MAX_ORDER)
    memory_block_nr_pages: int | None = field(validator=optional(_int), default=None)
    cma_areas: tuple[CmaFacts, ...] = field(
        converter=_areas, validator=deep_iterable(instance_of(CmaFacts)), default=()
    )


@frozen
class Provenance:
    """Where a snapshot comes from.

    Attributes:
        source: what made it, in words.
        kernel_release: "6.1.192"; empty if not known.
        command_line: of the recorded kernel.
        date: ISO 8601 with zone, when it was captured; empty if not recorded.
        scenario, variant: the workload, where it was a staged one.
        seed: of that workload; None for a machine in the wild.
        drift_nr_pages: free pages that /proc's files disagree about, for they are not
            read at one instant; 0 where the capture was atomic.
        parameters: of the scenario.
        changed_nr_frames: frames whose use was another one when kpageflags was read again at
            the end; None where nobody looked again.
    """

    source: str = field(validator=_str)
    kernel_release: str = field(validator=_str, default="")
    command_line: str = field(validator=_str, default="")
    date: str = field(validator=_str, default="")
    scenario: str = field(validator=_str, default="")
    variant: str = field(validator=_str, default="")
    seed: int | None = field(validator=optional(_int), default=None)
    drift_nr_pages: int = field(validator=_int, default=0)
    parameters: Mapping[str, int | str] = field(validator=_mapping, factory=dict)
    changed_nr_frames: int | None = field(validator=optional(_int), default=None)


@frozen
class Measured:
    """What the recorded kernel gave when it was asked, starting from this very state.

    Attributes:
        operation: "cmphuge" (compact everything, then ask for every 2 MiB page), "huge"
            (ask only), "offline", "cma" or "giga".
        nr_requested, huge_pages: asked for and obtained; None for other operations.
        wholly_free_before: pageblocks of 512 free frames in this state.
        wholly_free_after_compaction: the same after compact_memory; None if not run alone.
        pgmigrate_success, pgmigrate_fail: pages over the whole operation.
        compact_migrate_scanned, compact_free_scanned: frames over the whole operation.
        vmstat_delta: /proc/vmstat counters by phase: "compact", "request", "total".
        steps: what each step answered: rc, time in ns of emulated time, and so on.
    """

    operation: str = field(validator=_str)
    nr_requested: int | None = field(validator=optional(_int))
    huge_pages: int | None = field(validator=optional(_int))
    wholly_free_before: int = field(validator=_int)
    wholly_free_after_compaction: int | None = field(validator=optional(_int))
    pgmigrate_success: int = field(validator=_int)
    pgmigrate_fail: int = field(validator=_int)
    compact_migrate_scanned: int = field(validator=_int)
    compact_free_scanned: int = field(validator=_int)
    vmstat_delta: Mapping[str, Mapping[str, int]] = field(validator=deep_mapping(_str, _counters))
    steps: Mapping[str, Mapping[str, Any]] = field(validator=deep_mapping(_str, _mapping))

    def during(self, phase: str, counter: str) -> int | None:
        """A vmstat counter's growth during "compact", "request" or "total".

        None if that phase was not recorded on its own; 0 if the counter did not change.

        Args:
            phase: "compact", "request" or "total".
            counter: its name in vmstat.
        """
        counters = self.vmstat_delta.get(phase)
        return None if counters is None else counters.get(counter, 0)


_Fact = TypeVar("_Fact", ZoneFacts, Geometry, Provenance, Measured)


def encode(fact: _Fact) -> dict[str, Any]:
    """The JSON object of a fact."""
    return attrs.asdict(fact)


def decode(kind: type[_Fact], data: object, path: Path | str, where: str) -> _Fact:
    """A fact from its JSON object.

    Args:
        kind: the class of the fact.
        data: the JSON object.
        path: the file, for messages.
        where: what to call it in messages.

    Raises:
        SnapshotError: not an object, a field missing, unknown or of a wrong type.
    """
    fix = "restore the file from its source; its header was not written by this version"
    if not isinstance(data, Mapping):
        raise SnapshotError(
            path, f"header {where}", f"is {type(data).__name__}, not an object", fix
        )
    known = attrs.fields_dict(kind)
    unknown = sorted(set(data) - set(known))
    missing = sorted(n for n, a in known.items() if a.default is attrs.NOTHING and n not in data)
    if missing or unknown:
        name = (missing or unknown)[0]
        raise SnapshotError(
            path, f"header {where}.{name}", "is missing" if missing else "is not known", fix
        )
    try:
        return kind(**data)
    except TypeError as error:
        problem = str(error.args[0]) if error.args else "has a wrong type"
        raise SnapshotError(path, f"header {where}", problem.split(" (got")[0], fix) from None
