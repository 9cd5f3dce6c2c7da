"""What the figures say; a sentence that does not hold is not made."""

import pytest

from pinlab.compare.conclusions import conclusions, legend
from pinlab.report.tables import as_markdown
from tests.kit.pinlab.rows import comparison, row


def said(*rows, measured=False):
    return " ".join(conclusions(comparison(*rows, measured=measured)))


@pytest.mark.parametrize(
    ("huge_pages", "words"),
    [
        (13, "alone buys 1 huge page by scan (13 against 12)"),
        (12, "alone buys nothing by scan (12 against 12)"),
        (4, "alone loses 8 huge pages by scan (4 against 12)"),
    ],
)
def test_one_callback_that_buys_next_to_nothing_is_said(huge_pages, words):
    zbud = row("registry", ("zbud",), huge_pages=huge_pages, pages_moved=54_000, bound=45)
    notes = said(row(), zbud)
    assert f"A callback for zbud {words}, with 21,000 moves more." in notes
    assert "Even the bound only goes from 44 to 45" in notes


def test_the_bound_is_blamed_only_where_it_is_to_blame():
    same = row("registry", ("zbud",), pages_moved=30_000)
    assert "with 3,000 moves fewer. Even the bound stays at 44" in said(row(), same)
    better = row("registry", ("zbud",), bound=200)
    assert "Even the bound" not in said(row(), better)


def test_a_callback_that_pays_is_not_spoken_against():
    assert "alone" not in said(row(), row("registry", ("zbud",), huge_pages=100))


def test_callbacks_that_only_pay_together_are_said_to():
    zbud, both = row("registry", ("zbud",)), row("registry", ("slab", "zbud"), huge_pages=129)
    assert "Callbacks for slab and zbud together make 129 huge pages" in said(row(), zbud, both)
    assert "together" not in said(row(), zbud, row("registry", ("slab", "zbud")))
    assert "together" not in said(row(), both)


def test_what_knowledge_alone_makes_is_said_if_it_makes_more():
    plan = row("registry", (), "plan", huge_pages=44, pages_moved=10_693)
    assert "no callback at all, makes 44 huge pages with 10,693 moves" in said(row(), plan)
    assert "Knowing" not in said(row(), row("registry", (), "plan"))


def test_memory_that_grew_is_said():
    grown = row("zbud-reclaim", pages_unused=52_489, pages_grown=15_158)
    assert "52,489 of them, so that memory in use grew by 15,158 pages" in said(grown)
    assert "grew" not in said(row("zbud-reclaim"))


def test_how_far_the_model_is_from_the_kernel_is_said_where_both_are_there():
    assert "12 huge pages with 33,000 moves where the kernel made 12 with 33,373" in said(
        row(), measured=True
    )
    assert "trust" not in said(row())
    assert "trust" not in said(row("zbud-reclaim"), measured=True)


def test_lost_bytes_come_first():
    notes = conclusions(comparison(row(), row("registry", bytes_lost=4096)))
    assert notes[0] == "BUG: registry lost 4,096 bytes."


def test_the_legend_explains_every_column_and_names_what_is_not_modelled():
    shown = comparison(row("unmovable"))
    header, meaning = as_markdown(shown).splitlines()[0], legend(shown)
    for name in [cell.strip() for cell in header.strip("|").split("|")][3:]:
        assert name in meaning, name
    assert "Not modelled: " in meaning
    assert max(map(len, meaning.splitlines())) <= 100
