"""The demo's table in the README, refreshed: python -m tests.docs.readme_table."""

from pathlib import Path

from pinlab.compare.compare import compare, default_runs
from pinlab.report.tables import as_markdown
from pinlab.snapshot.bundled import bundled

__all__ = ["README", "between_marks", "demo_table", "main"]

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- demo table: begin (make readme) -->\n"
END = "<!-- demo table: end -->\n"


def demo_table(*, layout_only: bool = False) -> str:
    """What `make demo` measures, as a markdown table; takes as long as the demo.

    Args:
        layout_only: without contents, in a fifth of the time: what is obtained is the same.
    """
    snapshot = bundled()
    runs = default_runs(snapshot)
    found = compare(snapshot, runs, seed=0, nr_jobs=2, layout_only=layout_only)
    return as_markdown(found) + "\n"


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
