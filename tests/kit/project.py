"""A source tree as modules and imports, read without importing any of it."""

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from attrs import define, field, frozen

__all__ = ["PACKAGES", "Import", "Module", "Project"]

PACKAGES = ("pinpage", "mm", "owners", "pinlab")


@frozen
class Import:
    """One import statement's name.

    Attributes:
        target: the module (or name in a module) as written, dotted.
        line: where.
        lazy: it stands inside a function.
    """

    target: str
    line: int
    lazy: bool

    @property
    def top(self) -> str:
        """The first part: the distribution's package or a third party's."""
        return self.target.partition(".")[0]


@define(eq=False)
class Module:
    """One file: its dotted name, its text, its syntax tree."""

    name: str
    path: Path
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, str(self.path))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import, those inside functions and `if TYPE_CHECKING` included."""
        return tuple(self._walk(self.tree, lazy=False))

    @property
    def is_package(self) -> bool:
        """Whether this is an __init__."""
        return self.path.name == "__init__.py"

    def _walk(self, node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, lazy)
            elif isinstance(child, ast.ImportFrom):
                base = self._absolute(child)
                for alias in child.names:
                    yield Import(f"{base}.{alias.name}", child.lineno, lazy)
            else:
                if (name := _dynamic(child)) is not None:
                    yield Import(name, child.lineno, lazy)
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._walk(child, lazy=lazy or inside)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        base = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*base, *([node.module] if node.module else [])])


def _dynamic(node: ast.AST) -> str | None:
    """The name in `import_module("name")` or `__import__("name")`, where it is spelled out."""
    if (
        not isinstance(node, ast.Call)
        or not node.args
        or not isinstance(node.args[0], ast.Constant)
    ):
        return None
    called = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    return str(node.args[0].value) if called in ("import_module", "__import__") else None


@define(eq=False)
class Project:
    """The packages below `root`: those that are shipped, or the tests."""

    root: Path
    packages: tuple[str, ...] = PACKAGES

    @cached_property
    def modules(self) -> dict[str, Module]:
        """Every module by its dotted name, in the order of the names."""
        found = {}
        for package in self.packages:
            for path in sorted((self.root / package).rglob("*.py")):
                parts = path.relative_to(self.root).with_suffix("").parts
                name = ".".join(parts).removesuffix(".__init__")
                found[name] = Module(name, path, path.read_text())
        return found

    def where(self, module: Module, line: int = 1) -> str:
        """`path:line` from the root, for messages."""
        return f"{module.path.relative_to(self.root).as_posix()}:{line}"

    def resolve(self, target: str) -> str | None:
        """The module of ours that an import of `target` loads, or None if it is not ours."""
        while target and target not in self.modules:
            target = target.rpartition(".")[0]
        return target or None

    def own_imports(self, module: Module) -> Iterator[tuple[str, Import]]:
        """(module of ours, the import) for each import that stays in the house."""
        for found in module.imports:
            target = self.resolve(found.target)
            if target and target != module.name:
                yield target, found

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """Module -> the modules of ours that it imports, lazily or not."""
        return {
            module.name: {target for target, _ in self.own_imports(module)}
            for module in self.modules.values()
        }

    def reachable(self, start: str) -> dict[str, str]:
        """Every module that a chain of imports from `start` leads to -> who imports it."""
        via: dict[str, str] = {}
        pending = [start]
        while pending:
            module = pending.pop()
            for target in sorted(self.graph.get(module, ())):
                if target not in via:
                    via[target] = module
                    pending.append(target)
        return via
