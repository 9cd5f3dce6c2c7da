"""Rules about what a module shows: `__all__`, docstrings, and the façade."""

import ast
import re
from collections.abc import Iterator

from tests.kit.project import Project

__all__ = [
    "all_is_what_is_public",
    "everything_public_is_documented",
    "facade_is_for_others",
    "facade_matches_the_document",
    "inits_hold_a_docstring_only",
    "public_definitions",
]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def all_is_what_is_public(project: Project) -> Iterator[str]:
    """`__all__` is there and names the public names that the module defines, all of them.

    Whose the names are that it shows besides is a rule of its own: `classes.names_have_one_path`.
    """
    for module in project.modules.values():
        if module.is_package and _is_docstring_only(module.tree):
            continue
        listed = _all(module.tree)
        if listed is None:
            yield f"{project.where(module)}: no __all__"
            continue
        public = set(_public_names(module.tree, reexports=module.is_package))
        for name in sorted(public - listed):
            yield f"{project.where(module)}: {name} is public but not in __all__"
        ours = {i.target.rpartition(".")[2] for _, i in project.own_imports(module) if not i.lazy}
        for name in sorted(listed - public - ours):
            yield f"{project.where(module)}: {name} is in __all__ but not defined here"


def everything_public_is_documented(project: Project) -> Iterator[str]:
    """A docstring on every module, public class, function and method."""
    for module in project.modules.values():
        if not ast.get_docstring(module.tree):
            yield f"{project.where(module)}: no docstring"
        for owner, node in public_definitions(module.tree, ""):
            if not ast.get_docstring(node):
                yield f"{project.where(module, node.lineno)}: {owner}{node.name} has no docstring"


def inits_hold_a_docstring_only(project: Project) -> Iterator[str]:
    """Only pinpage re-exports; a package of the other three loads nothing by itself."""
    for module in project.modules.values():
        ours = module.is_package and module.name.partition(".")[0] != "pinpage"
        if ours and not _is_docstring_only(module.tree):
            yield f"{project.where(module)}: more than a docstring"


def facade_is_for_others(project: Project) -> Iterator[str]:
    """Nothing inside pinpage imports the façade, which would tie every module into a knot."""
    for module in project.modules.values():
        if module.name.startswith("pinpage."):
            for target, found in project.own_imports(module):
                if target == "pinpage":
                    yield f"{project.where(module, found.line)}: imports the façade"


def facade_matches_the_document(project: Project, document: str) -> Iterator[str]:
    """The table of public names in `document` is exactly `pinpage.__all__`."""
    listed = _all(project.modules["pinpage"].tree) or set()
    told = set(re.findall(r"^\| `(\w+)` \|", (project.root / document).read_text(), re.MULTILINE))
    for name in sorted(listed - told):
        yield f"{document}: pinpage.{name} is missing"
    for name in sorted(told - listed):
        yield f"{document}: {name} is not in pinpage.__all__"


def _is_docstring_only(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None


def _all(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            return set(ast.literal_eval(node.value))
    return None


def _public_names(tree: ast.Module, *, reexports: bool) -> Iterator[str]:
    """Names bound at the top level, also under if and try; imported ones only on request."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        names: list[str] = []
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name for target in targets for name in _bound(target)]
            names = [] if _is_type_variable(node.value) else names
        elif isinstance(node, ast.ImportFrom) and reexports:
            names = [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.If | ast.Try):
            pending += [*node.body, *node.orelse]
        yield from (name for name in names if not name.startswith("_"))


def _is_type_variable(value: ast.expr | None) -> bool:
    """`T = TypeVar("T")` names nothing that a user could want."""
    return isinstance(value, ast.Call) and _decorator(value.func) in ("TypeVar", "ParamSpec")


def _bound(target: ast.expr) -> list[str]:
    """Names that an assignment to `target` binds; `x.y = ` and `x[y] = ` bind none."""
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Starred):
        return _bound(target.value)
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else []
    return [name for part in parts for name in _bound(part)]


def public_definitions(
    node: ast.AST, owner: str
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public classes and functions, and the public methods of public classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*_FUNCTIONS, ast.ClassDef)) or child.name.startswith("_"):
            continue
        if any(_decorator(d) in ("overload", "setter") for d in child.decorator_list):
            continue
        yield owner, child
        if isinstance(child, ast.ClassDef):
            yield from public_definitions(child, f"{owner}{child.name}.")


def _decorator(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
