"""`pinpage check`: find somebody's owner by its name, and run the kit against it.

The one shipped module that runs the test kit; the command loads it when it is asked to.
"""

from typing import Any

from pinlab.lab.find import load_factory
from pinpage.testing.conformance.check import Report, check
from pinpage.testing.conformance.escape import exits_are_raised

__all__ = ["check_owner", "report_as_json"]


def check_owner(target: str, *, nr_examples: int, seed: int) -> Report:
    """Load `MODULE:OWNER` and check what it makes.

    Raises:
        PinpageError: there is no such module or factory, or it gives no subject.
    """
    with exits_are_raised():
        factory = load_factory(target)
    return check(factory, nr_examples=nr_examples, seed=seed)


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values: `kept`, what was covered, and the finding or None."""
    finding = report.finding
    counts = report.counts
    return {
        "owner": report.owner,
        "kept": report.kept,
        "can_migrate": report.can_migrate,
        "can_release": report.can_release,
        "counts": {
            "nr_plans": counts.nr_plans,
            "nr_schedules": counts.nr_schedules,
            "nr_moved": counts.nr_moved,
            "nr_refused": counts.nr_refused,
            "nr_freed": counts.nr_freed,
        },
        "finding": finding
        and {
            "promise": finding.promise.name,
            "title": finding.promise.title,
            "meaning": finding.promise.meaning,
            "detail": finding.detail,
            "trace": list(finding.trace),
        },
    }
