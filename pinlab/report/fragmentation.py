"""Free memory by order as the kernel sees it: unusable free index, and the fragmentation index.

    unusable   share of free memory in blocks too small for the order, in thousandths
    extfrag    why a request of the order would fail: near 0 for want of memory, near 1000 for
               fragmentation, -1000: it would not fail

Owns: which counts go into the formulas of `mm.buddy.fragindex`: buddyinfo's, where the
recording has them, else those of the columns.
Kernel counterpart: extfrag/unusable_index and extfrag/extfrag_index of debugfs, which print both
divided by 1000.
Cost: O(zones x orders), or one pass over the frames.
"""

from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen

from mm.buddy.fragindex import fragmentation_index, unusable_free_index
from pinlab.report.sizes import titled
from pinlab.report.tables import lay_out
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import require_free_recorded

__all__ = ["FragmentationReport", "ZoneRow", "as_json", "as_text", "fragmentation_of"]

_WIDTH: Final = 79


@frozen
class ZoneRow:
    """One zone's free blocks and the two indices, by order."""

    zone: str
    nr_free_blocks: tuple[int, ...]
    unusable: tuple[int, ...]
    extfrag: tuple[int, ...]


@frozen
class FragmentationReport:
    """Zones with free memory."""

    recording: str
    rows: tuple[ZoneRow, ...]


def fragmentation_of(snapshot: Snapshot, path: str | None = None) -> FragmentationReport:
    """Both indices of every zone and order of a recording.

    Args:
        snapshot: the recording; where it names no zone, all its free blocks are one row.
        path: of the source, for messages; None: its name.

    Raises:
        SnapshotError: nothing in it says what is free.
    """
    if not any(facts.nr_free_blocks for facts in snapshot.zones):
        require_free_recorded(snapshot, path or snapshot.name)
    nr_orders = snapshot.geometry.max_order + 1
    heads = np.flatnonzero(snapshot.order >= 0)
    rows = []
    for index, facts in enumerate(snapshot.zones):
        counts = facts.nr_free_blocks
        if not counts:
            mine = heads[snapshot.zone[heads] == index]
            counts = tuple(np.bincount(snapshot.order[mine], minlength=nr_orders).tolist())
        rows.append(_row(f"node {facts.node}, {facts.name}", counts))
    if not snapshot.zones:
        counts = tuple(np.bincount(snapshot.order[heads], minlength=nr_orders).tolist())
        rows.append(_row("zones not known", counts))
    found = tuple(row for row in rows if any(row.nr_free_blocks))
    return FragmentationReport(snapshot.name, found)


def _row(zone: str, counts: tuple[int, ...]) -> ZoneRow:
    orders = range(len(counts))
    return ZoneRow(
        zone,
        tuple(counts),
        tuple(unusable_free_index(counts, order) for order in orders),
        tuple(fragmentation_index(counts, order) for order in orders),
    )


def as_json(report: FragmentationReport) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(report)
    shown["rows"] = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
        for row in shown["rows"]
    ]
    return shown


def as_text(report: FragmentationReport) -> str:
    """A table per zone; indices as debugfs prints them."""
    parts = [titled(report.recording, "free memory, by order")]
    for row in report.rows:
        header = ("order", "free blocks", "unusable", "extfrag")
        lines = [
            [str(order), f"{count:,d}", f"{unusable / 1000:.3f}", f"{extfrag / 1000:.3f}"]
            for order, (count, unusable, extfrag) in enumerate(
                zip(row.nr_free_blocks, row.unusable, row.extfrag, strict=True)
            )
        ]
        parts.append(f"{row.zone}\n{lay_out(header, lines, _WIDTH, nr_names=1)}")
    if len(parts) == 1:
        parts.append("No zone has free blocks.")
    parts.append(
        "unusable: share of free memory in smaller blocks. extfrag: -1 a request would\n"
        "not fail, near 0 it fails for want of memory, near 1 for fragmentation."
    )
    return "\n\n".join(parts)
