"""A request's report for a person: what was obtained, what it cost, what stood in the way."""

from collections.abc import Sequence

from mm.state.costs import STEPS
from pinlab.report.tables import lay_out
from pinlab.requests.latency import PERCENTILES, percentiles
from pinlab.requests.reasons import as_text as reasons_as_text
from pinlab.requests.report import Attempt, InTheWay, RequestReport

__all__ = ["as_text", "cdf_as_text"]

_MOST_NAMED = 10
_COUNTED = {
    "together": ", all away together",
    "one by one": ", one by one: each is back before the next",
}
_MOST_ATTEMPTS = 24
"""More are shown by their first ones, and the number of the rest."""


def as_text(report: RequestReport, width: int | None = None) -> str:
    """The report as paragraphs and tables within `width` columns; None: as wide as it comes.

    Args:
        report: what was served.
        width: columns of text; None: as wide as it comes.
    """
    parts = [_headline(report), _summary(report)]
    if report.attempts:
        parts.append("Attempts\n\n" + _attempts(report.attempts, width))
    if report.refused:
        title = "Frames that stayed where they were, by reason and holder"
        parts.append(f"{title}\n\n" + reasons_as_text(report.refused_by_owner, width))
    if report.in_the_way:
        parts.append(_in_the_way(report.in_the_way, width))
    return "\n\n".join(parts)


def _in_the_way(rows: Sequence[InTheWay], width: int | None) -> str:
    """The first few frames, and how many there are."""
    nr_frames = sum(row.nr_pages for row in rows)
    lines = [
        [
            f"{row.pfn:#x}" if row.nr_pages == 1 else f"{row.pfn:#x}-{row.pfn + row.nr_pages:#x}",
            row.owner,
            row.reason.replace("_", " "),
        ]
        for row in rows[:_MOST_NAMED]
    ]
    text = lay_out(["frames", "holder", "reason"], lines, width, nr_names=3)
    rest = nr_frames - sum(row.nr_pages for row in rows[:_MOST_NAMED])
    text = text if not rest else f"{text}\n... and {rest:,d} more, which the JSON has"
    return f"Frames in the way: {nr_frames:,d}\n\n{text}"


def cdf_as_text(report: RequestReport, width: int | None = None) -> str:
    """Percentiles of the attempts' time per step, in microseconds of simulated time.

    Args:
        report: what was served.
        width: columns of text; None: as wide as it comes.
    """
    header = ["step", *(f"p{rank}" for rank in PERCENTILES)]
    lines = [
        [step, *(f"{ns / 1e3:,.1f}" for ns in ranks.values())]
        for step, ranks in percentiles(report.attempts).items()
    ]
    title = f"Time of {len(report.attempts):,d} attempts in us, each step on its own"
    return f"{title}\n\n" + lay_out(header, lines, width, nr_names=1)


def _headline(report: RequestReport) -> str:
    names = [*report.movable, *(f"{name} gives up" for name in report.release)]
    callbacks = f" ({'+'.join(names)})" if names else ""
    partial = "PARTIAL, interrupted: " if report.partial else ""
    asked = f"{report.request}, {report.design}{callbacks}, {report.strategy}"
    return f"{partial}{report.recording or 'machine'}: {asked}"


def _summary(report: RequestReport) -> str:
    most = "" if report.bound is None else f"; {report.bound:,d} at most by any strategy"
    if report.certain is not None and report.certain != report.bound:
        most += f", {report.certain:,d} for certain"
    spent = ", ".join(f"{step} {report.steps_ns.get(step, 0) / 1e6:,.2f}" for step in STEPS)
    gave_up = f"{report.pages_dropped:,d} dropped, {report.pages_released:,d} released"
    rows = [
        ("obtained", f"{_units(report)}{most}"),
        ("moved", f"{report.pages_moved:,d} pages; {gave_up}, {report.pages_scanned:,d} scanned"),
        ("model ms", f"{report.modelled_ns / 1e6:,.2f}: {spent}"),
        ("bytes", f"{report.bytes_verified:,d} verified, {report.bytes_lost:,d} lost"),
    ]
    rows += [
        (name.replace("_", " "), f"{value:,d}") for name, value in report.details.items() if value
    ]
    size = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(size)}  {value}" for name, value in rows)


def _units(report: RequestReport) -> str:
    unit = f"{report.unit}{'' if report.wanted == 1 else 's'}"
    counted = _COUNTED.get(report.counted, "")
    return f"{report.obtained:,d} of {report.wanted:,d} ({unit}{counted})"


def _attempts(attempts: Sequence[Attempt], width: int | None) -> str:
    header = ["attempt", "result", "frames", "moved", "stayed", "model ms"]
    shown = attempts if len(attempts) <= _MOST_ATTEMPTS else attempts[: _MOST_ATTEMPTS - 1]
    lines = [
        [
            attempt.name,
            attempt.errno,
            "-" if attempt.start < 0 else f"{attempt.start:#x}-{attempt.stop:#x}",
            f"{attempt.pages_moved:,d}",
            f"{sum(attempt.refused.values()):,d}",
            f"{attempt.modelled_ns / 1e6:,.2f}",
        ]
        for attempt in shown
    ]
    text = lay_out(header, lines, width, nr_names=2)
    rest = len(attempts) - len(shown)
    return text if not rest else f"{text}\n... and {rest:,d} more"
