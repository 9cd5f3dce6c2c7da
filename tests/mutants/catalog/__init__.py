"""The planted bugs, one module per area, each with a list `MUTANTS`."""

import importlib
import pkgutil

from tests.mutants.mutant import Mutant

__all__ = ["load"]


def load() -> list[Mutant]:
    """Every mutant of every module here, modules in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [mutant for module in modules for mutant in module.MUTANTS]
