"""csv, markdown, results from their JSON, and machines without bytes."""

from tests.mutants.mutant import planted

PLAIN = "tests/unit/pinlab/report/test_plain.py"
LAYOUT = "tests/unit/pinlab/replay/test_layout_only.py"

MUTANTS = [
    planted(
        "plain-bar-ends-a-cell",
        "markdown of every table",
        "pinlab/report/plain.py",
        """_cell(value).replace("|", "\\\\|")""",
        "_cell(value)",
        PLAIN,
    ),
    planted(
        "plain-release-not-read",
        "round trip of results",
        "pinlab/compare/results.py",
        'for name in ("movable", "release")})',
        'for name in ("movable",)})',
        PLAIN,
    ),
    planted(
        "fidelity-believes-what-does-not-fit",
        "round trip of results",
        "pinlab/requests/fidelity.py",
        "if found.to_json() != data:",
        "if found.case != data['case']:",
        PLAIN,
    ),
    planted(
        "layout-only-compresses-tags",
        "--layout-only gives the figures of real bytes",
        "pinlab/replay/layout_only.py",
        "real.compress(corpus.page(serial))",
        "real.compress(tag)",
        LAYOUT,
    ),
    planted(
        "layout-only-without-tags",
        "--layout-only gives the figures of real bytes",
        "pinlab/replay/replay.py",
        "    pages = plan_pages(snapshot, corpus, seed=seed)\n    pages.write(contents, corpus)\n",
        "    pages = plan_pages(snapshot, corpus, seed=seed)\n",
        LAYOUT,
    ),
    planted(
        "layout-only-objects-stay-behind",
        "--layout-only gives the figures of real bytes",
        "pinlab/replay/layout_only.py",
        "        if self._objects:\n            for source, target",
        "        if len(self._objects) < 0:\n            for source, target",
        LAYOUT,
    ),
]
