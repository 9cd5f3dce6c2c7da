"""`pinpage check --design`: find somebody's design by its name, and run the design kit on it."""

import json
from typing import Any

import typer

from pinlab.cli.errors import usage_errors

__all__ = ["check_a_design"]


def check_a_design(target: str, *, nr_machines: int, seed: int, as_json: bool) -> None:
    """Load `MODULE:DESIGN`, check what it makes, print the report.

    Args:
        target: as for an owner: a dotted name or the path of a .py file, and a callable in it.
        nr_machines: to try it on.
        seed: of the first of them.
        as_json: one object instead of text.

    Raises:
        typer.Exit: 1 for a broken promise, 2 for what is no design.
    """
    with usage_errors():
        from pinlab.cli.output import waiting_progress
        from pinlab.design_kit.check import check_design
        from pinlab.lab.find import load_factory
        from pinpage.testing.conformance.escape import exits_are_raised

        with waiting_progress(f"checking {target}"):
            with exits_are_raised():
                make: Any = load_factory(target)
            report = check_design(make, nr_examples=nr_machines, seed=seed)
    typer.echo(json.dumps(_as_json(report), indent=2) if as_json else report)
    if not report.kept:
        raise typer.Exit(1)


def _as_json(report: Any) -> dict[str, Any]:
    finding = report.finding
    return {
        "design": report.design,
        "kept": report.kept,
        "counts": {
            "nr_machines": report.nr_machines,
            "nr_moved": report.nr_moved,
            "nr_released": report.nr_released,
            "nr_refused": report.nr_refused,
        },
        "finding": finding
        and {
            "promise": finding.promise.name,
            "title": finding.promise.title,
            "meaning": finding.promise.meaning,
            "detail": finding.detail,
            "machine": finding.seed,
        },
    }
