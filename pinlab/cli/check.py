"""`pinpage check`: find somebody's owner by its name, and run the kit against it.

The one shipped module that leads to the test kit; the command loads it when it is asked to.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pinpage.errors import PinpageError
from pinpage.testing.conformance.check import Report, check
from pinpage.testing.conformance.escape import exits_are_raised, is_users, what_it_says
from pinpage.testing.conformance.lab import Factory

__all__ = ["check_owner", "load_factory", "report_as_json"]


def check_owner(target: str, *, nr_examples: int, seed: int) -> Report:
    """Load `MODULE:OWNER` and check what it makes.

    Raises:
        PinpageError: there is no such module or factory, or it gives no subject.
    """
    with exits_are_raised():
        factory = load_factory(target)
    return check(factory, nr_examples=nr_examples, seed=seed)


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


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values: `kept`, what was covered, and the finding or None."""
    finding = report.finding
    counts = report.counts
    return {
        "owner": report.owner,
        "kept": report.kept,
        "can_migrate": report.can_migrate,
        "can_release": report.can_release,
        "counts": {
            "nr_plans": counts.nr_plans,
            "nr_schedules": counts.nr_schedules,
            "nr_moved": counts.nr_moved,
            "nr_refused": counts.nr_refused,
            "nr_freed": counts.nr_freed,
        },
        "finding": finding
        and {
            "promise": finding.promise.name,
            "title": finding.promise.title,
            "meaning": finding.promise.meaning,
            "detail": finding.detail,
            "trace": list(finding.trace),
        },
    }


def _load(module_name: str) -> ModuleType:
    if not module_name.endswith(".py"):
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
