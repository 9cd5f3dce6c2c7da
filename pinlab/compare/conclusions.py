"""What a comparison's figures say to somebody who sees them for the first time.

Each sentence is derived from the rows; one that does not hold is not made.
"""

from collections.abc import Iterator

from pinlab.compare.results import Comparison, MeasuredRow, Row

__all__ = ["conclusions", "legend"]

_LEGEND = """\
{} pages: obtained. bound: the most that any strategy could end with, given who has a callback.
emptied: pageblocks that compacting made wholly free. moved, scanned: frames; for Linux, vmstat's.
unused, grown: compressed pages brought back to ordinary memory, and by how many pages it grew.
locks: zone and registry locks taken. model ms: simulated time, for ratios between rows only.
MB verified, bytes lost: everything stored, read back in the end through whoever holds it.
scan leaves the min watermark free, as the page allocator must; plan hands out what it emptied.
Not modelled: background reclaim, memcg, TLBs, khugepaged, other tasks."""

_LITTLE = 0.1
"""A gain below this share is next to nothing."""


def legend(comparison: Comparison) -> str:
    """What the columns of its table mean."""
    return _LEGEND.format(comparison.huge_page)


def conclusions(comparison: Comparison) -> list[str]:
    """The sentences that hold, the most surprising ones first."""
    rows = comparison.rows
    sentences = [
        f"BUG: {row.design} lost {row.bytes_lost:,d} bytes." for row in rows if row.bytes_lost
    ]
    base = _first(rows, "unmovable", (), "scan") or _first(rows, "registry", (), "scan")
    if base is not None:
        sentences += _one_callback(rows, base)
        sentences += _together(rows, base)
        sentences += _knowledge(rows, base)
    sentences += _growth(rows)
    sentences += _split(rows)
    if comparison.measured is not None and base is not None:
        sentences.append(_trust(base, comparison.measured))
    return sentences


def _one_callback(rows: tuple[Row, ...], base: Row) -> Iterator[str]:
    """One owner alone, by scan: what it buys, which is often nothing, and what it costs."""
    for row in rows:
        if row.design != "registry" or row.strategy != "scan" or len(row.movable) != 1:
            continue
        gained = row.huge_pages - base.huge_pages
        if gained > base.huge_pages * _LITTLE:
            continue
        moves = row.pages_moved - base.pages_moved
        note = (
            f"A callback for {row.movable[0]} alone {_bought(gained)} by scan ({row.huge_pages} "
            f"against {base.huge_pages}), with {abs(moves):,d} moves "
            f"{'more' if moves >= 0 else 'fewer'}."
        )
        if row.bound - base.bound <= base.bound * _LITTLE:
            goes = f"only goes from {base.bound} to {row.bound}"
            stays = f"stays at {base.bound}"
            note += (
                f" Even the bound {stays if row.bound == base.bound else goes}: "
                "others hold frames in the same pageblocks."
            )
        yield note


def _bought(gained: int) -> str:
    if not gained:
        return "buys nothing"
    pages = f"{abs(gained)} huge page{'s' * (abs(gained) != 1)}"
    return f"buys {pages}" if gained > 0 else f"loses {pages}"


def _together(rows: tuple[Row, ...], base: Row) -> Iterator[str]:
    """Several owners, where they make more than the sum of each alone."""
    alone = {row.movable: row.huge_pages for row in rows if _is_scan_of(row, 1)}
    for row in rows:
        parts = [alone.get((name,)) for name in row.movable]
        known = [part for part in parts if part is not None]
        if not _is_scan_of(row, len(row.movable)) or len(row.movable) < 2 or not known:
            continue
        if row.huge_pages > max(known) and row.huge_pages > base.huge_pages * (1 + _LITTLE):
            yield (
                f"Callbacks for {' and '.join(row.movable)} together make {row.huge_pages} huge "
                f"pages by scan: what a callback is worth depends on who else has one."
            )


def _is_scan_of(row: Row, nr_owners: int) -> bool:
    return (row.design, row.strategy) == ("registry", "scan") and len(row.movable) == nr_owners


def _knowledge(rows: tuple[Row, ...], base: Row) -> Iterator[str]:
    """No callback at all, but a plan made of who holds what."""
    knows = _first(rows, "registry", (), "plan")
    if knows is not None and base.strategy == "scan" and knows.huge_pages > base.huge_pages:
        yield (
            f"Knowing who holds what, with no callback at all, makes {knows.huge_pages} huge pages "
            f"with {knows.pages_moved:,d} moves, where scanning makes {base.huge_pages} with "
            f"{base.pages_moved:,d}."
        )


def _growth(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        if row.pages_grown > 0:
            yield (
                f"{row.design} does not move compressed pages but brings them back: "
                f"{row.pages_unused:,d} of them, so that memory in use grew by "
                f"{row.pages_grown:,d} pages. It ends with {row.huge_pages} huge pages."
            )


def _split(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        if row.large_pages_split:
            yield (
                f"{row.design} by {row.strategy} broke up {row.large_pages_split:,d} large pages "
                f"to end with {row.huge_pages} huge pages."
            )


def _trust(base: Row, measured: MeasuredRow) -> str:
    """The one row that can be held against the recorded kernel."""
    return (
        f"How far to trust this: {base.design} by scan is what {measured.kernel} does, and makes "
        f"{base.huge_pages} huge pages with {base.pages_moved:,d} moves where the kernel made "
        f"{measured.huge_pages} with {measured.pages_moved:,d}."
    )


def _first(
    rows: tuple[Row, ...], design: str, movable: tuple[str, ...], strategy: str
) -> Row | None:
    wanted = (design, movable, strategy)
    return next((r for r in rows if (r.design, r.movable, r.strategy) == wanted), None)
