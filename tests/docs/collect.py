"""Fenced examples in the documents are tests.

Every ```python block of a document runs, from top to bottom, in one namespace.  A ```text
block that directly follows one is what it printed, to the letter.  A block of `>>>` lines is
a doctest.  Any other language is prose.
"""

import io
from contextlib import redirect_stdout
from pathlib import Path

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

__all__ = ["collect_file", "documents"]

_run = PythonEvaluator()
_PRINTED = "_printed_by_the_block_that_ends_here"


def run_and_remember(example: Example) -> None:
    """Run a block; keep what it printed, and where the block ended."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        _run(example)
    example.namespace[_PRINTED] = (example.region.end, printed.getvalue())


def compare_with_printed(example: Example) -> str | None:
    """What is wrong with a ```text block, or None; one that follows no code is prose."""
    end, printed = example.namespace.get(_PRINTED, (None, ""))
    if end is None or example.document.text[end : example.region.start].strip():
        return None
    if example.parsed.rstrip() == printed.rstrip():
        return None
    return f"the document says:\n{example.parsed}\nthe example prints:\n{printed}"


def _python_parser() -> PythonCodeBlockParser:
    parser = PythonCodeBlockParser()
    parser.codeblock_parser = CodeBlockParser("python", run_and_remember)
    return parser


documents = Sybil(
    parsers=[_python_parser(), CodeBlockParser("text", compare_with_printed)],
    path=str(Path(__file__).resolve().parents[2]),
    patterns=["*.md"],
    name="documents",
)
collect_file = documents.pytest()
