"""Which function in the stack of an allocation tells whose page it is.

The table that ships with the package is `pinlab/data/owners.toml`; a table of one's own is a file
of the same form, goes before it, and may name owners that pinpage does not know:

    [[owner]]
    name = "mydriver"                     # or: class = "slab", one that is known
    functions = ["mydriver_alloc_ring", "mydriver_grow_*"]

Owns: the form of the table, and the answer for one stack.
Ignores: where stacks come from.
Cost: a look-up in a dict per function, and one per prefix of each length that the table has.
"""

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from pinlab.files.careful import read_bytes
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.label_rules import is_label

__all__ = ["Owner", "StackTable", "load_table", "packaged_table"]

_FUNCTION = re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]{0,199}\*?")
_MAY_NAME: Final = frozenset(
    {
        FrameClass.ANON, FrameClass.FILE, FrameClass.ZBUD, FrameClass.Z3FOLD, FrameClass.ZSMALLOC,
        FrameClass.ZRAM, FrameClass.GUP, FrameClass.SLAB, FrameClass.PAGETABLE,
        FrameClass.KERNELSTACK, FrameClass.VMALLOC, FrameClass.HUGETLB, FrameClass.OTHER,
        FrameClass.CMA,
    }
)  # fmt: skip
"""Classes that an allocation can be of."""
_MOST_NR_BYTES: Final = 1 << 20
_MOST_OWNERS: Final = 200
_FIX: Final = "see docs/reference/sources.md for the form of the table"

Owner = FrameClass | str
"""A class, or the name of an owner of one's own."""


@frozen
class StackTable:
    """Functions, and whose page a stack with them in it is.

    Attributes:
        exact: function -> owner.
        begins: beginning of a function -> owner.
        before: a table that is asked first, over the whole stack.
    """

    exact: Mapping[str, Owner] = field(factory=dict)
    begins: Mapping[str, Owner] = field(factory=dict)
    before: "StackTable | None" = None

    @property
    def names(self) -> tuple[str, ...]:
        """Owners of one's own, each once."""
        mine = {o for o in (*self.exact.values(), *self.begins.values()) if isinstance(o, str)}
        others = () if self.before is None else self.before.names
        return tuple(sorted(mine - {*FrameClass} | {*others}))

    def owner_of(self, stack: Iterable[str]) -> Owner:
        """Whose page it is; `FrameClass.UNKNOWN` where no function of the stack says.

        Args:
            stack: functions without offsets, the allocating one first.
        """
        stack = tuple(stack)
        first = FrameClass.UNKNOWN if self.before is None else self.before.owner_of(stack)
        if first != FrameClass.UNKNOWN:
            return first
        lengths = sorted({len(beginning) for beginning in self.begins}, reverse=True)
        for compiled in stack:
            function = compiled.partition(".")[0]  # without .part.0, .constprop.0
            if (owner := self.exact.get(function)) is not None:
                return owner
            for length in lengths:  # (the longest beginning that fits decides)
                if (owner := self.begins.get(function[:length])) is not None:
                    return owner
        return FrameClass.UNKNOWN


@functools.cache
def packaged_table() -> StackTable:
    """The table that ships with the package."""
    text = resources.files("pinlab").joinpath("data/owners.toml").read_text()
    return _table_of(tomllib.loads(text), "owners.toml", None)


def load_table(path: Path | None) -> StackTable:
    """The packaged table, after one of the user's own if there is one.

    Args:
        path: of the file; None: there is none.

    Raises:
        SnapshotError: it cannot be read, is no TOML, or no such table; names the entry.
    """
    if path is None:
        return packaged_table()
    try:
        data = tomllib.loads(read_bytes(path, _MOST_NR_BYTES).decode())
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise SnapshotError(path, "owners table", problem, _FIX) from None
    except (ValueError, RecursionError) as error:  # (TOML and UTF-8 errors are ValueErrors)
        raise SnapshotError(path, "owners table", f"is no TOML ({error})", _FIX) from None
    packaged = packaged_table()
    mine = _table_of(data, path, None)
    return StackTable(packaged.exact, packaged.begins, mine)


def _table_of(data: Mapping[str, Any], path: Path | str, before: StackTable | None) -> StackTable:
    rows = data.get("owner")
    if set(data) != {"owner"} or not isinstance(rows, list) or len(rows) > _MOST_OWNERS:
        problem = f"has something else than up to {_MOST_OWNERS} tables [[owner]]"
        raise SnapshotError(path, "owners table", problem, _FIX)
    exact: dict[str, Owner] = {}
    begins: dict[str, Owner] = {}
    for nr, row in enumerate(rows, 1):
        owner, functions = _row(row, f"[[owner]] number {nr}", path)
        for function in functions:
            target = begins if function.endswith("*") else exact
            if target.setdefault(function.removesuffix("*"), owner) != owner:
                where = f"[[owner]] number {nr}"
                raise SnapshotError(path, where, f"{function} is another owner's already", _FIX)
    return StackTable(exact, begins, before)


def _row(row: Any, where: str, path: Path | str) -> tuple[Owner, list[str]]:
    if not isinstance(row, dict) or set(row) not in ({"class", "functions"}, {"name", "functions"}):
        raise SnapshotError(path, where, "has not functions and either class or name", _FIX)
    functions = row["functions"]
    if not isinstance(functions, list) or not all(
        isinstance(name, str) and _FUNCTION.fullmatch(name) for name in functions
    ):
        raise SnapshotError(path, where, "functions is no list of names of functions", _FIX)
    if "name" in row:
        if not isinstance(row["name"], str) or not is_label(row["name"]):
            problem = f"{str(row['name'])[:40]!r} is no name for an owner of one's own"
            raise SnapshotError(path, where, problem, _FIX)
        return row["name"], functions
    known = {klass.name.lower(): klass for klass in _MAY_NAME}
    if row["class"] not in list(known):
        problem = f"class {str(row['class'])[:40]!r} is none of {', '.join(sorted(known))}"
        raise SnapshotError(path, where, problem, _FIX)
    return known[row["class"]], functions
