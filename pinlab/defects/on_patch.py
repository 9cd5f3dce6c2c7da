"""One experiment per defect of the patch: what happens, in words, or None where it does not.

Each runs on a table that has the defects it is given; with one of them alone it shows that one.
"""

from collections.abc import Callable, Collection
from typing import Any

from pinpage.rfc2013 import KernelOopsError, PinPageOwner, Rfc2013, SoftLockupError
from pinpage.rfc2013_defects import Defect

__all__ = ["ON_PATCH", "PatchExperiment"]

_PFN = 0x1234
_PRIVATE = 7

PatchExperiment = Callable[[Collection[Defect]], str | None]
"""Gets the defects that are present; says what went wrong, or None."""


def _yes(_pfn: int, _private: Any) -> int:
    return 0


def _no(_pfn: int, _private: Any) -> int:
    return 1


def _leaves(table: Rfc2013, calls: list[str], name: str = "owner") -> PinPageOwner:
    """An owner that takes its registration back when it is called, where it can."""
    owner = PinPageOwner(name, _yes)

    def migrate(pfn: int, private: Any) -> int:
        calls.append(name)
        table.unset_pinned_page(owner, pfn, private)
        return 0

    owner.migrate = migrate
    return owner


def _counts_calls(name: str, calls: list[str]) -> PinPageOwner:
    """An owner that says yes, notes it, and keeps its registration."""

    def migrate(_pfn: int, _private: Any) -> int:
        calls.append(name)
        return 0

    return PinPageOwner(name, migrate)


def _reports(table: Rfc2013) -> str | None:
    return table.heap.reports[0] if table.heap.reports else None


def _sizeof_pointer(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    table.set_pinned_page(PinPageOwner("driver", _yes), _PFN)
    return _reports(table)


def _unchecked_allocation(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects, nr_objects=0)
    try:
        table.set_pinned_page(PinPageOwner("driver", _yes), _PFN)
    except KernelOopsError as oops:
        return str(oops)
    return None


def _use_after_unlock(defects: Collection[Defect]) -> str | None:
    table, calls = Rfc2013(defects), list[str]()
    owner = _leaves(table, calls)
    table.set_pinned_page(owner, _PFN, _PRIVATE)
    steps = table.migrate_steps(_PFN)
    next(steps)
    table.unset_pinned_page(owner, _PFN, _PRIVATE)
    for _ in steps:
        pass
    return _reports(table) or ("called after it had unregistered" if calls else None)


def _same_record_again(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    table.set_pinned_page(PinPageOwner("driver", _yes), _PFN)
    try:
        table.migrate_pinned_page(_PFN)
    except SoftLockupError as lockup:
        return f"soft lockup: {lockup}"
    return None


def _no_unregister(defects: Collection[Defect]) -> str | None:
    table, owner = Rfc2013(defects), PinPageOwner("driver", _yes)
    table.set_pinned_page(owner, _PFN, _PRIVATE)
    code = table.unset_pinned_page(owner, _PFN, _PRIVATE)
    return f"{code}: the record stays, {len(table)} in all" if code else None


def _failure_is_zero(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    table.set_pinned_page(PinPageOwner("driver", _no), _PFN)
    code = table.migrate_pinned_page(_PFN)
    return None if code else "the owner refused, and 0 came back"


def _flag_is_a_stub(defects: Collection[Defect]) -> str | None:
    table, calls = Rfc2013(defects), list[str]()
    table.set_pinned_page(_leaves(table, calls), _PFN, _PRIVATE)
    code = table.migrate_pinned_page(_PFN)
    return None if calls else f"registered, and nobody was asked: {code} came back"


def _no_page_reference(defects: Collection[Defect]) -> str | None:
    table, calls = Rfc2013(defects), list[str]()
    table.set_pinned_page(_leaves(table, calls, "the old owner"), _PFN, _PRIVATE)
    if not table.free_page(_PFN):
        return None
    table.migrate_pinned_page(_PFN)  # of whoever has the page now
    return f"{calls[0]} was called for a page that somebody else has" if calls else None


def _no_isolation(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    inside: list[int] = []
    deepest: list[int] = []

    def migrate(pfn: int, _private: Any) -> int:
        inside.append(pfn)
        deepest.append(len(inside))
        if len(inside) < 2:  # another CPU comes along
            table.migrate_pinned_page(pfn)
        inside.pop()
        return 0

    table.set_pinned_page(PinPageOwner("driver", migrate), _PFN)
    table.migrate_pinned_page(_PFN)
    return "two migrators inside of one callback" if max(deepest) > 1 else None


def _duplicates(defects: Collection[Defect]) -> str | None:
    table, calls = Rfc2013(defects), list[str]()
    owner = _counts_calls("driver", calls)
    for _ in range(2):
        table.set_pinned_page(owner, _PFN, _PRIVATE)
    table.migrate_pinned_page(_PFN)
    return f"{len(calls)} calls for one registration" if len(calls) > 1 else None


def _no_rollback(defects: Collection[Defect]) -> str | None:
    table, moved = Rfc2013(defects), list[str]()
    refuses = PinPageOwner("X", _no, prepare=_no)
    agrees = _counts_calls("Y", moved)
    table.set_pinned_page(refuses, _PFN)
    table.set_pinned_page(agrees, _PFN)  # the newest is asked first
    table.migrate_pinned_page(_PFN)
    return f"{moved[0]} has moved, X has not" if moved else None


def _sleeps_in_atomic(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    table.is_atomic = True
    table.set_pinned_page(PinPageOwner("driver", _yes), _PFN)
    return _reports(table)


_NR_CROWDED = 20_480


def _one_table(defects: Collection[Defect]) -> str | None:
    table, owner = Rfc2013(defects), PinPageOwner("driver", _yes)
    for pfn in range(_NR_CROWDED):
        table.set_pinned_page(owner, pfn * 37)
    for pfn in range(0, _NR_CROWDED, 8):
        table.get_pin_page_info(pfn * 37)
    probes = table.nr_probes / table.nr_lookups
    return f"{probes:.1f} records looked at per page" if probes > 2.5 else None


def _no_destination(defects: Collection[Defect]) -> str | None:
    table, told = Rfc2013(defects), list[dict[str, int]]()

    def migrate(_pfn: int, _private: Any, **where: int) -> int:
        told.append(where)
        return 0

    table.set_pinned_page(PinPageOwner("driver", migrate, takes_target=True), _PFN)
    table.migrate_pinned_page(_PFN, target=0x999, mode=2)
    return None if told[0] else "called with the page and its private, and nothing else"


def _no_owner_lifetime(defects: Collection[Defect]) -> str | None:
    table, owner = Rfc2013(defects), PinPageOwner("driver", _yes)
    table.set_pinned_page(owner, _PFN)
    table.unload(owner)
    try:
        table.migrate_pinned_page(_PFN)
    except KernelOopsError as oops:
        return str(oops)
    return None


def _wrong_arguments(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    table.set_pinned_page(PinPageOwner("driver", _yes), _PFN)
    try:
        table.letter_example(_PFN)
    except KernelOopsError as oops:
        return str(oops)
    return None


def _home_is_forgotten(defects: Collection[Defect]) -> str | None:
    repointed: list[int] = []

    def home_migrate(pfn: int) -> int:
        repointed.append(pfn)
        return 0

    table = Rfc2013(defects, home_migrate=home_migrate)
    table.set_pinned_page(PinPageOwner("driver", _yes), _PFN)
    code = table.migrate_pinned_page(_PFN)
    return None if repointed else f"{code} came back, and page tables name the old page"


def _flag_after_record(defects: Collection[Defect]) -> str | None:
    table = Rfc2013(defects)
    steps = table.set_steps(PinPageOwner("driver", _yes), _PFN)
    next(steps)
    missed = len(table) == 1 and not table.pinned_page(_PFN)
    for _ in steps:
        pass
    return "a migrator passed by a page that was registered" if missed else None


ON_PATCH: dict[Defect, PatchExperiment] = {
    Defect.SIZEOF_POINTER: _sizeof_pointer,
    Defect.UNCHECKED_ALLOCATION: _unchecked_allocation,
    Defect.USE_AFTER_UNLOCK: _use_after_unlock,
    Defect.SAME_RECORD_AGAIN: _same_record_again,
    Defect.NO_UNREGISTER: _no_unregister,
    Defect.FAILURE_IS_ZERO: _failure_is_zero,
    Defect.FLAG_IS_A_STUB: _flag_is_a_stub,
    Defect.NO_PAGE_REFERENCE: _no_page_reference,
    Defect.NO_ISOLATION: _no_isolation,
    Defect.DUPLICATES: _duplicates,
    Defect.NO_ROLLBACK: _no_rollback,
    Defect.SLEEPS_IN_ATOMIC: _sleeps_in_atomic,
    Defect.ONE_LOCK_ONE_TABLE: _one_table,
    Defect.NO_DESTINATION: _no_destination,
    Defect.NO_OWNER_LIFETIME: _no_owner_lifetime,
    Defect.WRONG_ARGUMENTS: _wrong_arguments,
    Defect.HOME_IS_FORGOTTEN: _home_is_forgotten,
    Defect.FLAG_AFTER_RECORD: _flag_after_record,
}
"""Every defect, and what shows it."""
