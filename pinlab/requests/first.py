"""What is done to a machine before a request: whoever needs memory often compacts it first.

Kernel counterpart: writes to /proc/sys/vm/compact_memory and /proc/sys/vm/drop_caches ("1").
Differences: slab is not shrunk ("2"), for its objects are somebody's.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import evolve

from mm.machine import Machine
from mm.paging.clean_pages import reclaim_clean_pages
from mm.state.costs import STEPS
from mm.state.errno import Errno
from pinlab.requests.account import Account, Subject
from pinlab.requests.report import First, RequestName, RequestOptions, RequestReport
from pinpage.owner import Mode

__all__ = ["drop_caches", "joined", "serve_first"]

_Key = TypeVar("_Key")


def serve_first(subject: Subject, options: RequestOptions, request: RequestName) -> RequestReport:
    """Do what the options name first; each is an attempt of the report.

    Args:
        subject: the machine.
        options: `first`, and how to wait.
        request: the consumer that comes after it.
    """
    account = Account(subject, options, request=request, unit="")
    for name in options.first:
        if account.interrupted:
            break
        account.begin(_NAMES[name], of=len(options.first))
        dropped, released = _DO[name](account.machine, options.mode)
        account.end(None, Errno.OK, pages_dropped=dropped, pages_released=released)
    return account.finish(wanted=0, obtained=0)


def drop_caches(machine: Machine) -> int:
    """Give up all clean page cache; how many pages.

    Cost: one pass over the LRU.
    """
    paging = machine.paging
    nr_dropped = 0
    for active in (False, True):
        pfns = paging.lru.members(active=active)
        nr_dropped += int(reclaim_clean_pages(paging.frames, paging.rmap, paging.refs, pfns).sum())
    return nr_dropped


def _compact(machine: Machine, mode: Mode) -> tuple[int, int]:
    report = machine.compact("scan", mode, with_bound=False).report
    machine.pcp.drain_all()
    return 0, report.pages_released


def _drop_caches(machine: Machine, _mode: Mode) -> tuple[int, int]:
    return drop_caches(machine), 0


_DO: Mapping[First, Callable[[Machine, Mode], tuple[int, int]]] = {
    "compact": _compact,
    "drop-caches": _drop_caches,
}
"""What is done; pages dropped and released by it."""
_NAMES: Mapping[First, str] = {"compact": "compact all memory", "drop-caches": "drop caches"}


def joined(first: RequestReport, report: RequestReport) -> RequestReport:
    """The report of a request with what was done before it.

    Args:
        first: of `serve_first`.
        report: of the request itself, on the same machine afterwards.
    """
    owners = {*first.refused_by_owner, *report.refused_by_owner}
    return evolve(
        report,
        attempts=first.attempts + report.attempts,
        pages_moved=first.pages_moved + report.pages_moved,
        pages_dropped=first.pages_dropped + report.pages_dropped,
        pages_released=first.pages_released + report.pages_released,
        pages_scanned=first.pages_scanned + report.pages_scanned,
        refused=_sum(first.refused, report.refused),
        refused_by_owner={
            owner: _sum(
                first.refused_by_owner.get(owner, {}), report.refused_by_owner.get(owner, {})
            )
            for owner in sorted(owners)
        },
        steps_ns={step: first.steps_ns[step] + report.steps_ns[step] for step in STEPS},
        modelled_ns=first.modelled_ns + report.modelled_ns,
        partial=first.partial or report.partial,
    )


def _sum(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
