"""How much of each package the default suite runs, branch by branch; fails below its floor.

    make coverage            the default suite, measured, then this
    python -m tests.coverage.floors [--file .coverage] [--missing]

Lines and branches count alike, as coverage.py counts them.  A module that no test ever imports
counts as not run.  `# pragma: no cover` is for code that only a bug can reach, each with its
reason beside it.
"""

import argparse
import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen
from coverage import Coverage
from coverage.results import Numbers

__all__ = ["FLOORS", "Share", "below", "main", "shares", "table"]

ROOT = Path(__file__).resolve().parents[2]
FLOORS: Mapping[str, float] = {"pinpage": 98.0, "mm": 92.0, "owners": 92.0}
"""Package -> the least per cent of its lines and branches."""


@frozen
class Share:
    """One package.

    Attributes:
        package: its name.
        nr_run: lines and branches that ran.
        nr_all: lines and branches that there are.
        floor: the least per cent that must run.
    """

    package: str
    nr_run: int
    nr_all: int
    floor: float

    @property
    def percent(self):
        return 100 * self.nr_run / self.nr_all if self.nr_all else 0.0

    @property
    def is_below(self):
        return self.percent < self.floor


def shares(measured: Coverage, root: Path = ROOT) -> list[Share]:
    """Each package with a floor, over all of its files that exist."""
    found = []
    for package, floor in FLOORS.items():
        total = Numbers()
        for path in sorted((root / package).rglob("*.py")):
            total += measured._analyze(str(path)).numbers
        run, everything = total.ratio_covered
        found.append(Share(package, run, everything, floor))
    return found


def below(found: Iterable[Share]) -> list[str]:
    """Packages that miss their floor."""
    return [each.package for each in found if each.is_below]


def table(found: Iterable[Share]) -> str:
    """One line for each package."""
    return "\n".join(
        f"{each.package:<8} {each.percent:6.2f} % of {each.nr_all:>6} lines and branches, "
        f"{'BELOW' if each.is_below else 'at least'} {each.floor:g} %"
        for each in found
    )


def main(arguments=None):
    """Read what was measured; exit 1 if a package is below its floor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", default=str(ROOT / ".coverage"), help="what was measured")
    parser.add_argument("--missing", action="store_true", help="name the lines that did not run")
    options = parser.parse_args(arguments)
    measured = Coverage(data_file=options.file, config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    found = shares(measured)
    if options.missing:
        text = io.StringIO()
        measured.report(
            show_missing=True, skip_covered=True, file=text, ignore_errors=True
        )  # code that a test compiled has no file
        print(text.getvalue())
    print(table(found))
    sys.exit(1 if below(found) else 0)


if __name__ == "__main__":
    main()
