"""Rules about the tests themselves: where helpers live, and who looks inside whom."""

import ast
from collections import Counter
from collections.abc import Iterator

from tests.arch import table
from tests.kit.project import Module, Project

__all__ = ["helpers_come_from_the_kit", "insides", "looks_inside_are_listed"]

_KIT = "tests.kit"
_UNIT = "tests.unit"


def helpers_come_from_the_kit(tests: Project) -> Iterator[str]:
    """A test imports helpers from tests/kit or from its own folder, never from another test.

    The folders of tests/unit share nothing but the kit; the kit needs nothing but itself.
    """
    for module in tests.modules.values():
        for target, found in tests.own_imports(module):
            where = tests.where(module, found.line)
            if target.rpartition(".")[2].startswith(("test_", "conftest")):
                yield f"{where}: imports a test module, {target}"
            elif not _within(target, _KIT) and (_place(target) != _place(module.name)):
                yield f"{where}: {target} is of another folder: what is shared is in tests/kit"


def looks_inside_are_listed(tests: Project, shipped: Project) -> Iterator[str]:
    """Tests use a private name of shipped code only where table.INSIDE_LOOKS says why, so often."""
    found = Counter(insides(tests, shipped))
    for (path, name), count in sorted(found.items()):
        allowed, _ = table.INSIDE_LOOKS.get((path, name), (0, ""))
        if count > allowed:
            yield f"{path}: uses {name} {count} times, {allowed} are listed in tests/arch/table.py"
    for (path, name), (allowed, why) in table.INSIDE_LOOKS.items():
        if found[path, name] < allowed or not why:
            yield f"{path}: {name} is listed {allowed} times, used {found[path, name]} times"
    if len(list(insides(tests, shipped))) > table.MOST_INSIDE_LOOKS:
        yield f"tests: {sum(found.values())} looks inside, {table.MOST_INSIDE_LOOKS} at most"


def insides(tests: Project, shipped: Project) -> Iterator[tuple[str, str]]:
    """(file, name) of each use of a private name that another place defines.

    Free are the names that the test itself defines, and for a unit test those of the folder that
    it mirrors: inside and test change together.
    """
    defined = {module.name: set(_defined(module)) for module in shipped.modules.values()}
    theirs = {name for names in defined.values() for name in names}
    for module in tests.modules.values():
        path = tests.where(module).partition(":")[0]
        mirrored = module.name.rpartition(".")[0].removeprefix(f"{_UNIT}.")
        inside = {mirrored, table.SHARED_INSIDES.get(mirrored)}
        own = [names for name, names in defined.items() if name.rpartition(".")[0] in inside]
        foreign = theirs.difference(_defined(module), *own)
        yield from ((path, name) for name in _used(module) if name in foreign)


def _used(module: Module) -> Iterator[str]:
    """Private names taken from something that is not `self`, spelled as code or as a string."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            names = [] if own else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node) in ("getattr", "setattr", "delattr"):
            strings = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
            names = [str(text).rpartition(".")[2] for text in strings]
        else:
            names = []
        yield from (name for name in names if _is_private(name))


def _defined(module: Module) -> Iterator[str]:
    """Private names that a file gives to functions, to variables and to attributes of `self`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            name = node.attr if own else ""
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        else:
            continue
        if _is_private(name):
            yield name


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _place(name: str) -> str:
    """What may share helpers without the kit: a folder of tests/, or one module of tests/unit."""
    return name if _within(name, _UNIT) else ".".join(name.split(".")[:2])


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
