"""Rules about names: one class per name, and errors that speak of arguments."""

import ast
import re
from collections.abc import Iterator

from tests.arch import table
from tests.kit.project import Project

__all__ = ["errors_name_no_options", "public_classes_have_names_of_their_own"]

_OPTION = re.compile(r"(?<![\w-])--[a-z]")


def public_classes_have_names_of_their_own(project: Project) -> Iterator[str]:
    """No two public classes share a name, in any package: who reads one must not mean the other."""
    seen: dict[str, str] = {}
    for module in project.modules.values():
        for node in module.tree.body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                continue
            where = project.where(module, node.lineno)
            if node.name in seen and node.name not in table.SHARED_CLASS_NAMES:
                yield f"{where}: class {node.name} is also in {seen[node.name]}"
            seen[node.name] = where


def errors_name_no_options(project: Project) -> Iterator[str]:
    """Only the command knows its options: no text of the library's has a `--word` in it."""
    for module in project.modules.values():
        if module.name.startswith(table.KNOWS_OPTIONS):
            continue
        words = set(_docstrings(module.tree))
        for node in ast.walk(module.tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and node not in words and _OPTION.search(node.value):
                yield f"{project.where(module, node.lineno)}: names an option: {node.value!r}"


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    """Strings that stand by themselves: they are for those who read the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
