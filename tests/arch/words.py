"""Rules about words: private ones that no file and no identifier has, and the glossary's."""

import ast
import re
from collections.abc import Iterator

from tests.arch import table
from tests.kit.project import Module, Project

__all__ = ["glossary_words_are_used", "identifiers", "private_words_stay_out"]

_TERM = re.compile(r"^\| \*\*([^*]+)\*\* \|", re.MULTILINE)


def private_words_stay_out(project: Project) -> Iterator[str]:
    """No file and no identifier has one of the words that only their writers understood."""
    for module in project.modules.values():
        path = project.where(module).partition(":")[0]
        for name in sorted({module.path.stem, *identifiers(module)}):
            for word in table.PRIVATE_WORDS:
                if word in _words(name) or ("_" in word and word in name):
                    yield f"{path}: {name} says {word}"


def glossary_words_are_used(project: Project, document: str) -> Iterator[str]:
    """Each word that the glossary explains is in some identifier."""
    known = {
        word for module in project.modules.values()
        for name in identifiers(module) for word in _words(name)
    }  # fmt: skip
    terms = _TERM.findall((project.root / document).read_text())
    if not terms:
        yield f"{document}: explains no word"
    for term in terms:
        stems = {term, term.rstrip("e") + "ed", term + "s", term + "d", term.removesuffix("d")}
        if not stems & known:
            yield f"{document}: nothing in the code is called {term}"


def identifiers(module: Module) -> set[str]:
    """Names that a module defines: functions, classes, arguments, variables, attributes."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def _words(name: str) -> set[str]:
    """`nr_pagesIn_it` -> nr, pages, in, it."""
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return {part.lower() for part in spread.split("_") if part}
