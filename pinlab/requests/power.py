"""Memory power management: how many regions can be switched off, and whether that pays.

    wanted      regions to switch off: unless told otherwise all that have memory
    obtained    regions that are off in the end
    bound       the most that any strategy can have off, a reserve of free memory kept on, with
                what can be moved or given up
    attempts    one per group of regions that was tried; under `plan` also one for each that
                cannot be emptied, without a single move, with the frames in its way

The energy figures of `details` are for a period of idle time after the request, the expected
one or a minute: what the regions off do not draw in it, and what moving cost.
"""

from attrs import evolve

from mm.contig.retry import RetryPolicy
from mm.machine import Machine
from mm.power.power import PowerManagement
from mm.power.report import GroupAttempt, GroupWatch
from pinlab.requests.account import Account, Subject, machine_of
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestOptions, RequestReport

__all__ = ["IDLE_NS", "REGION_NR_BYTES", "serve"]

REGION_NR_BYTES = 128 << 20
"""Of a region; or an eighth of a smaller machine, and a pageblock at least."""
IDLE_NS = 60_000_000_000
"""The idle time that energy is told for, unless another is expected."""
_PJ_PER_UJ = _NS_PER_MS = 1_000_000


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Switch regions off.

    Reads of the options: strategy, mode, count, region_nr_pages, nr_interleaved,
    expected_idle_ns, nr_tries, timeout_ns, interrupted, advance.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: a region size or interleaving that fits no machine; nothing has changed.
    """
    require_obeyed("power", options)
    machine = machine_of(subject)
    power = machine.power
    power.configure(
        options.region_nr_pages or _usual_region(machine),
        nr_interleaved=options.nr_interleaved,
    )
    account = Account(subject, options, request="power", unit="power region")
    done = power.consolidate(
        machine.design,
        strategy=options.strategy,
        want=None if options.count is None else -(-options.count // options.nr_interleaved),
        expected_idle_ns=options.expected_idle_ns,
        mode=options.mode,
        retry=RetryPolicy(
            nr_tries=options.nr_tries or 1,
            timeout_ns=options.timeout_ns,
            signal_pending=options.interrupted,
        ),
        watch=_CountedByGroup(account),
    )
    report = account.finish(
        wanted=options.count or power.nr_regions,
        obtained=done.nr_regions_off,
        details=_details(power, options, done.nr_not_worth_it, machine.frames.page_nr_bytes),
    )
    return evolve(report, bound=done.bound)


class _CountedByGroup(GroupWatch):
    """Hands each group's attempt to the account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def begin(self, group: int, nr_groups: int) -> None:
        self._account.begin(f"region group {group}", of=nr_groups)

    def end(self, attempt: GroupAttempt) -> None:
        report = attempt.report
        self._account.end(
            attempt.span,
            attempt.errno,
            refusals=report.refusals,
            pages_dropped=report.pages_dropped,
            pages_released=report.pages_released,
        )


def _usual_region(machine: Machine) -> int:
    size = machine.pageblocks.nr_pages_per_block
    eighth = machine.frames.nr_frames // 8 // size * size
    usual = max(REGION_NR_BYTES // machine.frames.page_nr_bytes, size)
    return min(usual, max(eighth, size))


def _details(
    power: PowerManagement, options: RequestOptions, nr_not_worth_it: int, page_nr_bytes: int
) -> dict[str, int]:
    """The map, and the account as it will stand after the idle time."""
    now, idle_ns = power.account(), options.expected_idle_ns or IDLE_NS
    nr_bytes_off = power.nr_pages_off * page_nr_bytes
    saved_pj = power.energy.saved_pj(nr_bytes_off, idle_ns)
    details = {
        "nr_regions": power.nr_regions,
        "region_nr_pages": power.map.region_nr_pages,
        "nr_interleaved": power.map.nr_interleaved,
        "groups_not_worth_it": nr_not_worth_it,
        "idle_ms": idle_ns // _NS_PER_MS,
        "region_ms_off": power.nr_regions_off * idle_ns // _NS_PER_MS,
        "saved_uj": saved_pj // _PJ_PER_UJ,
        "spent_uj": now.spent_pj // _PJ_PER_UJ,
        "net_uj": saved_pj // _PJ_PER_UJ - now.spent_pj // _PJ_PER_UJ,
    }
    if nr_bytes_off:
        details["break_even_ms"] = (
            power.energy.break_even_ns(nr_bytes_off, now.spent_pj) // _NS_PER_MS
        )
    return details
