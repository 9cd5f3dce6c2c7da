"""A factory that MODULE:OWNER names: a dotted name, or the path of a .py file.

Kernel counterpart: none.
Cost: of importing that module.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from pinpage.errors import PinpageError
from pinpage.testing.conformance.escape import is_users, what_it_says
from pinpage.testing.conformance.lab import Factory

__all__ = ["load_factory"]


def load_factory(target: str) -> Factory:
    """The callable that `MODULE:OWNER` names.

    MODULE is a dotted name, looked for in the current directory first, or the path of a .py
    file.

    Raises:
        PinpageError: it cannot be loaded, or is no callable; says which, in one line.
    """
    module_name, _, name = target.rpartition(":")
    if not module_name or not name:
        raise PinpageError(f"{target!r} is not MODULE:OWNER, such as my_owner.py:make_ring")
    try:
        module = _load(module_name)
    except PinpageError:
        raise
    except BaseException as error:  # a script that exits when it is imported, too
        if is_users(error):
            raise
        raise PinpageError(f"{module_name} does not load: {what_it_says(error)}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        there = ", ".join(n for n, v in vars(module).items() if _is_own_callable(module, n, v))
        raise PinpageError(
            f"{module_name} has no callable {name!r}" + (f"; it has {there}" if there else "")
        )
    made: Factory = factory
    return made


def _load(module_name: str) -> ModuleType:
    if not module_name.endswith(".py"):
        if Path(module_name).is_file():
            raise PinpageError(f"{module_name}: is a file, but no .py: give one that Python reads")
        if "" not in sys.path:
            sys.path.insert(0, "")  # as `python -m` does: the project that one stands in
        return importlib.import_module(module_name)
    path = Path(module_name)
    if not path.is_file():
        raise PinpageError(f"{module_name}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # so that its classes can be looked up by name
    spec.loader.exec_module(module)
    return module


def _is_own_callable(module: ModuleType, name: str, value: object) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return callable(value) and own and not name.startswith("_")
