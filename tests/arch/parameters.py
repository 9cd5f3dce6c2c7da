"""A rule about docstrings: who is given two parameters or more is told what each is."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from tests.arch import table
from tests.arch.surface import public_definitions
from tests.kit.project import Project

__all__ = ["parameters_are_explained"]

_AS_ELSEWHERE = re.compile(
    r"\b[Aa]s (?:for|in|of) `|otherwise as `|the twin of `|arguments, errors and cost are the same"
)


def parameters_are_explained(project: Project) -> Iterator[str]:
    """Of each package's public functions with two parameters or more, 80 in 100 explain them.

    Explained: each has its place under `Args:`, or the docstring says whose they are like.  Left
    out are the functions of the command, where a docstring is the help that is printed, and the
    callbacks of owners, whose parameters `PinOwner` explains.
    """
    contract = project.modules.get("pinpage.owner")
    found = public_definitions(contract.tree, "") if contract else ()
    callbacks = {node.name for owner, node in found if owner == "PinOwner."}
    silent: dict[str, list[str]] = defaultdict(list)
    nr_functions: dict[str, int] = defaultdict(int)
    for module in project.modules.values():
        package = module.name.partition(".")[0]
        if module.name.startswith(table.KNOWS_OPTIONS):
            continue
        for owner, node in public_definitions(module.tree, ""):
            if isinstance(node, ast.ClassDef) or len(_parameters(node)) < table.MANY_PARAMETERS:
                continue
            if owner != "PinOwner." and node.name in callbacks:
                continue
            nr_functions[package] += 1
            if not _is_explained(node):
                silent[package].append(f"{project.where(module, node.lineno)}: {owner}{node.name}")
    for package, names in silent.items():
        if len(names) > nr_functions[package] * (1 - table.LEAST_SHARE_EXPLAINED):
            yield f"{package}: {len(names)} of {nr_functions[package]} explain no parameter"
            yield from (f"{where} explains no parameter" for where in sorted(names))


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def _is_explained(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    text = ast.get_docstring(node) or ""
    _, has_args, explained = text.partition("Args:")
    if has_args:
        return all(re.search(rf"\b{name}\b", explained) for name in _parameters(node))
    return _AS_ELSEWHERE.search(text) is not None
