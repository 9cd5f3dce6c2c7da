"""The README shows what the demo finds."""

from tests.docs.readme_table import README, between_marks, demo_table

# The rest (locks, modelled time, bytes read, pages unused) depends on how well the texts
# compress that this machine happened to offer.
PINNED_DOWN = ("design", "callbacks", "strategy", "2 MiB pages", "bound")


def columns(table):
    """The columns that are the same on every machine, row by row."""
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in table.splitlines()]
    where = [rows[0].index(name) for name in PINNED_DOWN]
    return [[row[i] for i in where] for row in rows]


def test_the_readme_shows_what_the_demo_finds():
    shown = between_marks(README.read_text())
    assert shown, "the README has lost its table: make readme"
    assert columns(shown) == columns(demo_table(layout_only=True))
