"""Rules about columns that one place alone may change."""

import ast
from collections.abc import Iterator

from tests.arch import table
from tests.kit.project import Project

__all__ = ["references_have_one_place"]


def references_have_one_place(project: Project) -> Iterator[str]:
    """Counts of references change in `mm.state.page_ref`; others set 0 or 1: birth and death."""
    for module in project.modules.values():
        if module.name in table.MAY_COUNT:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AugAssign) and _is_count(node.target):
                yield f"{project.where(module, node.lineno)}: counts references by hand"
            elif isinstance(node, ast.Assign) and not _is_birth_or_death(node.value):
                for target in node.targets:
                    if any(_is_count(part) for part in ast.walk(target)):
                        yield f"{project.where(module, node.lineno)}: counts references by hand"


def _is_count(node: ast.AST) -> bool:
    """An item of the column of frames; an object's own column of that name is another matter."""
    is_written = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    if not is_written or not isinstance(node.value, ast.Attribute):
        return False
    column = node.value
    own = isinstance(column.value, ast.Name) and column.value.id == "self"
    return column.attr == "_refcount" or (column.attr == "refcount" and not own)


def _is_birth_or_death(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value in (0, 1)
