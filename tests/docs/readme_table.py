"""The demo's table in the README, refreshed: python -m tests.docs.readme_table."""

from pinlab.compare.compare import compare, default_runs
from pinlab.report.tables import as_markdown
from pinlab.snapshot.bundled import bundled
from tests.kit.readme import BEGIN, END, README

__all__ = ["demo_table", "main"]


def demo_table() -> str:
    """What `make demo` measures, as a markdown table; takes as long as the demo."""
    snapshot = bundled()
    return as_markdown(compare(snapshot, default_runs(snapshot), seed=0, nr_jobs=2)) + "\n"


def main() -> None:
    """Replace the table."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}{demo_table()}{END}{after}")


if __name__ == "__main__":
    main()
