"""Links between documents lead somewhere, and every document is linked to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def targets(document):
    """The files that a document links to."""
    return {(document.parent / link).resolve() for link in LINK.findall(document.read_text())}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    assert not [path for path in targets(document) if not path.exists()]


def test_no_document_is_an_island():
    linked = set().union(*map(targets, DOCUMENTS))
    assert not [path for path in DOCUMENTS[1:] if path not in linked]
