"""The same memory without a word of whose it was: to hand a recording to strangers.

What is kept is numbers, and words out of a fixed list: names of zones and migratetypes that the
kernel has, counters that a replay reads.  Names of processes, stacks, the command line, the
host's part of the kernel's release, names of scenarios, labels and contiguous areas are not
looked at and judged; they are left out, or numbered.

Owns: what may stay.
Ignores: where the snapshot came from.
Cost: a copy of the header.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import evolve

from pinlab.procfs.capture import KEPT_COUNTERS
from pinlab.snapshot.facts import CmaFacts, Measured, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot
from pinlab.sources.counts import MEANINGS
from pinlab.sources.page_owner import MIGRATETYPES
from pinlab.sources.words import FIELDS

__all__ = ["redacted"]

_RELEASE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,4}){0,2}")
_ZONES: Final = frozenset({"DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"})
_COUNTERS: Final = KEPT_COUNTERS | {
    "zswap_stored_pages", "zswap_pool_total_size", "swap_size_kb", "zram_orig_data_size",
    "nr_zspages", "zram_mem_used_total", "zram_compr_data_size", "cma_base_pfn", "cma_count",
    "cma_used", "cma_maxchunk", "nr_hugepages", "nr_mlock", "nr_swapcached", "swap_used_kb",
}  # fmt: skip
_VMSTAT: Final = frozenset(
    {
        "pgmigrate_success", "pgmigrate_fail", "compact_migrate_scanned", "compact_free_scanned",
        "compact_isolated", "compact_stall", "compact_fail", "compact_success",
    }
)  # fmt: skip
_PHASES: Final = frozenset({"compact", "request", "total"})
_OPERATIONS: Final = frozenset({"cmphuge", "huge", "offline", "cma", "giga"})
_STEP = re.compile(r"(?:cmphuge|compact|huge|offline|online|cma|giga)[0-9_]{0,12}")
_OF_STEP: Final = frozenset(
    {"rc", "ns", "obtained", "requested", "pages", "block", "used", "maxchunk", "guard_killed"}
)


def redacted(snapshot: Snapshot) -> Snapshot:
    """The same frames, and no string of its source but out of a fixed list."""
    geometry = snapshot.geometry
    areas = tuple(
        evolve(area, name=_numbered("area", nr, geometry.cma_areas))
        for nr, area in enumerate(geometry.cma_areas, 1)
    )
    labels = sorted(snapshot.labels)
    allocations, measured = snapshot.allocations, snapshot.measured
    return evolve(
        snapshot,
        provenance=_provenance(snapshot.provenance),
        zones=tuple(_zone(nr, facts, snapshot.zones) for nr, facts in enumerate(snapshot.zones, 1)),
        workload=_of(snapshot.workload, _COUNTERS),
        measured=None if measured is None else _measured(measured),
        guessed_fields=tuple(name for name in snapshot.guessed_fields if name in FIELDS),
        unknown_fields=tuple(name for name in snapshot.unknown_fields if name in FIELDS),
        geometry=evolve(geometry, cma_areas=areas),
        labels={
            _numbered("label", nr, labels): snapshot.labels[name]
            for nr, name in enumerate(labels, 1)
        },
        allocations=None if allocations is None else allocations.without_texts(),
        reading=_of(snapshot.reading, MEANINGS),
    )


def _numbered(what: str, nr: int, among: Iterable[str | CmaFacts]) -> str:
    """A name that sorts as its number does."""
    return f"{what}-{nr:0{len(str(len(list(among))))}d}"


def _of(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(names) if name in counts}


def _provenance(facts: Provenance) -> Provenance:
    release = _RELEASE.match(facts.kernel_release)
    return Provenance(
        source="redacted",
        kernel_release=release[0] if release else "",
        drift_nr_pages=facts.drift_nr_pages,
        changed_nr_frames=facts.changed_nr_frames,
    )


def _zone(nr: int, facts: ZoneFacts, among: tuple[ZoneFacts, ...]) -> ZoneFacts:
    name = facts.name if facts.name in _ZONES else _numbered("zone", nr, [z.name for z in among])
    return evolve(facts, name=name, nr_blocks_of_type=_of(facts.nr_blocks_of_type, MIGRATETYPES))


def _measured(measured: Measured) -> Measured:
    steps: dict[str, dict[str, Any]] = {}
    for nr, (name, step) in enumerate(measured.steps.items(), 1):
        kept = name if _STEP.fullmatch(name) else f"step{nr}"
        steps[kept] = {
            key: value
            for key, value in step.items()
            if key in _OF_STEP and isinstance(value, int | float)
        }
    return evolve(
        measured,
        operation=measured.operation if measured.operation in _OPERATIONS else "other",
        vmstat_delta={
            phase: _of(counts, _VMSTAT)
            for phase, counts in measured.vmstat_delta.items()
            if phase in _PHASES
        },
        steps=steps,
    )
