"""Rules about where a name is defined, and about classes that are one cut in two."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from attrs import frozen

from tests.arch import table
from tests.kit.project import Project

__all__ = ["bases_are_used", "names_have_one_path"]


def names_have_one_path(project: Project) -> Iterator[str]:
    """A name is imported from the module that defines it; only the facade shows others' names."""
    for module in project.modules.values():
        foreign = _listed(module.tree) - _defined(module.tree)
        for name in sorted(foreign if module.name != table.FACADE else ()):
            yield f"{project.where(module)}: shows {name}, which is another module's"
        for target, found in project.own_imports(module):
            name = found.target.removeprefix(target).lstrip(".")
            is_foreign = name and name not in _defined(project.modules[target].tree)
            if is_foreign and target != table.FACADE:
                yield f"{project.where(module, found.line)}: {name} is not {target}'s own"


def bases_are_used(project: Project) -> Iterator[str]:
    """A base class has two subclasses, or is used by itself: else it is half of a class.

    A protocol is no base, nor is an error.  Tests use a class as shipped code does.
    """
    classes = {c.path: c for c in _classes(project)}
    subclasses = defaultdict(set)
    for each in classes.values():
        for base in each.bases:
            subclasses[base].add(each.path)
    used = _used(project)
    for path, below in sorted(subclasses.items()):
        base = classes.get(path)
        if base is None or len(below) > 1 or path in used:
            continue
        if not base.is_free:
            yield f"{base.where}: {path} is a base of {min(below)} alone, and never used by itself"


@frozen
class _Class:
    """A class of the project: its dotted path, its bases', and whether it may have one heir."""

    path: str
    where: str
    bases: tuple[str, ...]
    is_free: bool


def _classes(project: Project) -> Iterator[_Class]:
    for module in project.modules.values():
        names = _names(module.tree, module.name)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                bases = tuple(_dotted(base, names) for base in node.bases)
                ends = {base.rpartition(".")[2] for base in bases}
                is_free = bool(ends & {"Protocol", "Exception", "NamedTuple", "TypedDict"}) or any(
                    end.endswith(("Error", "Enum", "Flag", "Warning")) for end in ends
                )
                where = project.where(module, node.lineno)
                yield _Class(f"{module.name}.{node.name}", where, bases, is_free)


def _used(project: Project) -> set[str]:
    """Paths of everything that is called, or of whose class a method is, in code and tests."""
    trees = [(module.tree, module.name) for module in project.modules.values()]
    paths = sorted((project.root / "tests").rglob("*.py"))
    trees += [(ast.parse(path.read_text()), f"tests.{path.stem}") for path in paths]
    used = set()
    for tree, name in trees:
        names = _names(tree, name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                used.add(_dotted(node.func, names))
                if isinstance(node.func, ast.Attribute):
                    used.add(_dotted(node.func.value, names))
    return used


def _names(tree: ast.Module, module: str) -> dict[str, str]:
    """What the names of a module stand for, dotted: its own, and those it imports."""
    names = {name: f"{module}.{name}" for name in _defined(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Subscript):  # Base[T]
        return _dotted(node.value, names)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _defined(tree: ast.Module) -> set[str]:
    """Names that a module binds itself at the top level, also under if and try."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            found |= {part.id for part in parts if isinstance(part, ast.Name)}
        elif isinstance(node, ast.If | ast.Try):
            pending += [*node.body, *node.orelse]
    return found


def _listed(tree: ast.Module) -> set[str]:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id == "__all__":
            return set(ast.literal_eval(node.value))
    return set()
