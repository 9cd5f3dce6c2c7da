"""Rules about who imports whom.  Each takes a project and yields what breaks it."""

import ast
import re
import sys
from collections.abc import Iterator

from tests.arch import table
from tests.kit.project import PACKAGES, Project

__all__ = [
    "extras_are_lazy_and_the_rest_is_not",
    "importers_are_named",
    "inside_mm",
    "kit_stays_out",
    "no_chain_leads_there",
    "no_cycles",
    "owners_see_state_only",
    "owners_stand_apart",
    "packages_point_down",
    "third_parties",
]

_NAME = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)*")
_SAID = re.compile(r"^May be imported by: (.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)


def packages_point_down(project: Project) -> Iterator[str]:
    """pinlab > owners > mm > pinpage; type-only and in-function imports count."""
    for module in project.modules.values():
        package = module.name.partition(".")[0]
        for target, found in project.own_imports(module):
            if target.partition(".")[0] not in table.MAY_IMPORT[package]:
                yield f"{project.where(module, found.line)}: {package} imports {target}"


def inside_mm(project: Project) -> Iterator[str]:
    """state < move < policy < machine: every folder of mm has a row, and imports what it names."""
    order = list(table.MM_LAYERS)
    for row, (folder, below) in enumerate(table.MM_LAYERS.items()):
        for other in sorted(below - set(order[:row])):
            yield f"tests/arch/table.py: {folder} may import {other}, which is not before it"
    for module in project.modules.values():
        if not module.name.startswith("mm."):
            continue
        mine = _folder(module.name)
        if mine not in table.MM_LAYERS:
            yield f"{project.where(module)}: no layer in tests/arch/table.py"
            continue
        for target, found in project.own_imports(module):
            below = table.MM_LAYERS[mine] | {mine}
            if target.startswith("mm.") and _folder(target) not in below:
                yield f"{project.where(module, found.line)}: {target} is above it, or beside"


def owners_see_state_only(project: Project) -> Iterator[str]:
    """An owner knows mm's state, how it is asked, and the swap it backs; no policy, no machine."""
    for module in project.modules.values():
        if module.name.partition(".")[0] != "owners":
            continue
        for target, found in project.own_imports(module):
            may_see = any(_within(target, seen) for seen in table.OWNERS_SEE_OF_MM)
            if _within(target, "mm") and not may_see:
                yield f"{project.where(module, found.line)}: an owner imports {target}"


def owners_stand_apart(project: Project) -> Iterator[str]:
    """An owner imports no other, but those that it is built on in the kernel too."""
    for module in project.modules.values():
        if not module.name.startswith("owners."):
            continue
        mine = _folder(module.name)
        may_import = {mine, *table.OWNERS_SHARE, *table.OWNERS_BUILD_ON.get(mine, ())}
        for target, found in project.own_imports(module):
            if target.startswith("owners.") and _folder(target) not in may_import:
                yield f"{project.where(module, found.line)}: {mine} imports {target}"


def no_cycles(project: Project) -> Iterator[str]:
    """No module reaches itself, lazy and type-only imports included."""
    for name in project.modules:
        via = project.reachable(name)
        if name in via:
            chain = [name]
            while True:
                chain.append(via[chain[-1]])
                if chain[-1] == name:
                    break
            yield " <- ".join(chain)


def no_chain_leads_there(project: Project) -> Iterator[str]:
    """The arrows that layers do not show: see FORBIDDEN_REACH."""
    for source, target, why in table.FORBIDDEN_REACH:
        for name in project.modules:
            if name == source or name.startswith(f"{source}."):
                via = project.reachable(name)
                if target in via:
                    yield f"{name} leads to {target} through {via[target]}: {why}"


def kit_stays_out(project: Project) -> Iterator[str]:
    """Shipped code never imports the test kit, nor a test tool outside it; one command does."""
    for module in project.modules.values():
        if _within(module.name, table.TEST_KIT):
            continue
        may_use_it = any(_within(module.name, user) for user in table.MAY_USE_THE_KIT)
        for found in module.imports:
            uses_it = _within(found.target, table.TEST_KIT) and not may_use_it
            if uses_it or found.top in table.TEST_TOOLS:
                yield f"{project.where(module, found.line)}: imports {found.target}"


def third_parties(project: Project) -> Iterator[str]:
    """Only the dependencies that ADR 0004 argues for, and typer and rich in pinlab alone."""
    known = table.CORE | table.EXTRAS | table.TEST_TOOLS | set(PACKAGES)
    for module in project.modules.values():
        allowed = known | (table.CLI_ONLY if module.name.startswith("pinlab") else set())
        for found in module.imports:
            if found.top not in allowed and found.top not in sys.stdlib_module_names:
                yield f"{project.where(module, found.line)}: {module.name} imports {found.top}"


def extras_are_lazy_and_the_rest_is_not(project: Project) -> Iterator[str]:
    """An extra loads in the function that needs it; everything else at the top of its file."""
    for module in project.modules.values():
        may_be_lazy = module.name.startswith(table.LAZY_OWN_IMPORTS)
        for found in module.imports:
            if found.top in table.EXTRAS and not found.lazy:
                yield f"{project.where(module, found.line)}: {found.top} is optional, load it late"
            elif found.lazy and found.top not in table.EXTRAS and not may_be_lazy:
                yield f"{project.where(module, found.line)}: {found.target} inside a function"


def importers_are_named(project: Project) -> Iterator[str]:
    """A folder that says who may import it names whoever does: a module, its folder, its package.

    "Anybody" and "everybody" name all; a module of the folder that is named is everybody's.
    """
    said = {
        name: set(_NAME.findall(found[1].lower()))
        for name, module in project.modules.items()
        if module.is_package
        if (found := _SAID.search(ast.get_docstring(module.tree) or ""))
    }
    for module in project.modules.values():
        parts = module.name.split(".")
        names = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        for target, found in project.own_imports(module):
            for folder, words in said.items():
                if not _within(target, folder) or _within(module.name, folder):
                    continue
                opened = {target, target.removeprefix(f"{folder}.").partition(".")[0]}
                is_named = words & (names | opened | {"anybody", "everybody", *parts[1:2]})
                if not is_named and not names & table.BESIDE_THE_DOOR.get(folder, set()):
                    yield f"{project.where(module, found.line)}: {folder} does not name it"


def _folder(name: str) -> str:
    """`mm.buddy.merge` -> `buddy`, `mm.machine` -> `machine`."""
    return name.split(".")[1]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
