"""The collector notices a document that has gone stale."""

from pathlib import Path

import pytest

from tests.docs.collect import documents

ROOT = Path(__file__).resolve().parents[2]


def failures(tmp_path, text):
    """What each example of a document with this text has to say for itself."""
    path = tmp_path / "README.md"
    path.write_text(text)
    found = []
    for example in documents.parse(path).examples():
        try:
            example.evaluate()
        except Exception as error:  # noqa: BLE001 (whatever the example raises is the finding)
            found.append(type(error).__name__)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n", []),
        ("```python\nprint(6 * 7)\n```\n\n```text\n43\n```\n", ["SybilFailure"]),
        ("```python\nprint(6 * 7)\n```\n\nProse.\n\n```text\n43\n```\n", []),
        ("```text\n43\n```\n", []),
        ("```python\nx = 6\n```\nand\n```python\nassert x == 7\n```\n", ["AssertionError"]),
        ("```python\n>>> 6 * 7\n43\n```\n", ["SybilFailure"]),
        ("```python\nimport nowhere_to_be_found\n```\n", ["ModuleNotFoundError"]),
        ("```console\n$ rm everything\n```\n", []),
    ],
    ids=["true", "stale", "prose-between", "prose", "shared", "doctest", "import", "console"],
)
def test_a_stale_example_fails(tmp_path, text, found):
    assert failures(tmp_path, text) == found


@pytest.mark.parametrize(
    "name", ["README.md", "tests/README.md", "docs/first-hour.md", "docs/explanation/contract.md"]
)
def test_our_documents_are_collected(name, pytestconfig):
    assert documents.should_parse(ROOT / name)
    assert list(documents.parse(ROOT / name).examples())
    below = [(ROOT / place).resolve() for place in pytestconfig.getini("testpaths")]
    assert any((ROOT / name).is_relative_to(place) for place in below)
