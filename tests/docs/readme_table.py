"""The demo's table in the README, refreshed: python -m tests.docs.readme_table."""

import functools
from pathlib import Path

from pinlab.compare.compare import compare, default_runs
from pinlab.report.tables import as_markdown
from pinlab.snapshot.bundled import bundled

__all__ = ["README", "between_marks", "demo_table", "main"]

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- demo table: begin (make readme) -->\n"
END = "<!-- demo table: end -->\n"


@functools.cache
def demo_table() -> str:
    """What `make demo` measures, as a markdown table; takes as long as the demo."""
    snapshot = bundled()
    return as_markdown(compare(snapshot, default_runs(snapshot), seed=0, nr_jobs=2)) + "\n"


def between_marks(text: str) -> str:
    """The table that a README holds now."""
    return text.partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Replace the table."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}{demo_table()}{END}{after}")


if __name__ == "__main__":
    main()
