"""Huge pages: what a write to nr_hugepages obtains, and how much of memory that sets moving.

They are of one pageblock: 2 MiB where pages are of 4 KiB and pageblocks of order 9, 32 MiB on
arm64 with pages of 16 KiB, 512 MiB with 64; the report's `unit` says which.

    wanted      pages: one for each pageblock with memory, of the node, unless told otherwise
    obtained    pages that the pool has got
    bound       the most that any strategy can obtain on the node with what can be moved and, where
                the request presses somebody, given up
    attempts    one per page, up to the first that fails, as the write goes

`serve` asks right away.  Under `scan` each page comes from the allocator, which compacts and
reclaims for it, while kswapd and kcompactd work beside it; under `plan` memory is compacted by
plan, and the pages are the blocks that this emptied; where that is not enough, as much of the
page cache is dropped, or released by its owners, as is short, and it is planned again; what is
still missing then is asked of the allocator.  `serve_compacted` compacts all memory first, by
either strategy, and takes what is there then, pressing nobody.

Of a zram device that the recorded machine swapped to, the pages are there but not the table;
what is swapped out now goes to a new device beside it.
"""

from collections.abc import Callable

import numpy as np
from attrs import evolve

from mm.machine import Machine
from mm.move.obstacles import find_obstacles
from mm.planning.execute import NR_PLAN_ROUNDS
from mm.state.contents import TagContents
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType
from mm.state.reasons import Refusals
from owners.compress import compressor
from owners.zram.swap import ZramSwap
from owners.zram.zram import Zram
from pinlab.replay.layout_only import TagZramSwap, sizes_of
from pinlab.replay.replay import Replayed
from pinlab.requests.account import Account, Subject, machine_of, most_wanted
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestOptions, RequestReport
from pinpage.owner import Mode
from pinpage.units import Span, in_words

__all__ = ["serve", "serve_compacted", "swap_to_zram"]


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Write to nr_hugepages.

    Reads of the options: strategy, count, interrupted, advance; by scan node, nr_retries and
    pause_ns; by plan mode.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: no such node; nothing has changed.

    Cost: two to ten seconds for a recorded GiB where much is swapped out, else one.
    """
    return _serve(subject, options, _ask_at_once, presses=True)


def serve_compacted(subject: Subject, options: RequestOptions) -> RequestReport:
    """Write to compact_memory, and then to nr_hugepages.

    Reads of the options: as `serve`.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: no such node; nothing has changed.

    Cost: about a second for a recorded GiB.
    """
    return _serve(subject, options, _compact_first, presses=False)


def _serve(
    subject: Subject,
    options: RequestOptions,
    by_scan: Callable[[Subject, RequestOptions, Account], int],
    *,
    presses: bool,
) -> RequestReport:
    require_obeyed("huge2m", options)
    machine = machine_of(subject)
    machine.hugetlb.nodes_for(options.node)
    machine.pcp.drain_all()  # as every way to get a page begins; what stands there counts as free
    if presses:
        swap_to_zram(subject)
    bound = machine.bound(options.mode, node=options.node, with_reclaim=presses)
    unit = f"{in_words(machine.frames.page_nr_bytes << machine.pageblocks.order)} page"
    account = Account(subject, options, request="huge2m", unit=unit, bound=bound)
    before = _Work(machine)
    if options.strategy == "plan":
        most = min(_wanted(machine, options), bound)
        obtained = _take_planned(options, account, most, presses=presses)
        if presses and obtained < most and not account.interrupted:
            rest = evolve(options, count=_wanted(machine, options) - obtained)
            obtained += by_scan(subject, rest, account)
    else:
        obtained = by_scan(subject, options, account)
    return _finish(account, machine, options, obtained, before)


def _ask_at_once(subject: Subject, options: RequestOptions, account: Account) -> int:
    swap_to_zram(subject)
    account.machine.start_daemons()
    return _take_one_by_one(account.machine, options, account, hard=True)


def _compact_first(_subject: Subject, options: RequestOptions, account: Account) -> int:
    machine = account.machine
    account.begin("compact all memory", of=_wanted(machine, options) + 1)
    report = machine.compact("scan", options.mode).report
    machine.pcp.drain_all()
    account.end(None, Errno.OK, pages_released=report.pages_released)
    return _take_one_by_one(machine, options, account, hard=False)


def swap_to_zram(subject: Subject) -> None:
    """Give a replayed machine that swapped to zram a device to swap to; nothing else has one."""
    if not isinstance(subject, Replayed):
        return
    machine, old = subject.machine, subject.opaque.get("zram")
    if old is None or machine.swap.areas:
        return
    has_tags = isinstance(machine.contents, TagContents)
    zram = Zram(
        machine,
        sizes_of(subject.expected.corpus) if has_tags else compressor("zlib"),
        machine.frames.nr_frames,
        registry=machine.registry,
        coverage="migrate" if old.movable else "none",
        name="zram1",
    )
    area = machine.swap.swapon(machine.frames.nr_frames)
    area.frontswap = (TagZramSwap if has_tags else ZramSwap)(zram, area.type)


class _Work:
    """What was done beside the attempts, up to now; subtract two of these."""

    def __init__(self, machine: Machine) -> None:
        daemon = machine.kswapd
        self.details = {
            "kswapd_runs": daemon.nr_runs if daemon else 0,
            "kswapd_pages_reclaimed": daemon.nr_reclaimed if daemon else 0,
            "kcompactd_runs": sum(each.nr_wakes for each in machine.kcompactd.values()),
            "daemon_pages_moved": daemon.done.pages_copied if daemon else 0,
            "daemon_ns": machine.costs.cost_of(daemon.done) if daemon else 0,
            "pages_swapped_out": machine.paging.nr_swapped_out,
            "pages_dropped_by_reclaim": machine.reclaimer.nr_dropped,
        }

    def since(self, before: "_Work") -> dict[str, int]:
        return {name: count - before.details[name] for name, count in self.details.items()}


def _wanted(machine: Machine, options: RequestOptions) -> int:
    nr_pages, nodes = machine.pageblocks.nr_pages_per_block, machine.hugetlb.nodes_for(options.node)
    return options.count or most_wanted(machine, nr_pages, nodes, whole=False)


def _take_one_by_one(
    machine: Machine, options: RequestOptions, account: Account, *, hard: bool
) -> int:
    """Pages from the allocator, up to the first that it does not have."""
    pool, wanted, obtained = machine.hugetlb, _wanted(machine, options), 0
    given_up: set[int] = set()
    while obtained < wanted and not account.interrupted:
        account.begin(f"page {obtained}", of=wanted)
        dropped = machine.reclaimer.nr_dropped
        found = pool.grow(1, node=options.node, hard=hard, given_up=given_up)
        dropped = machine.reclaimer.nr_dropped - dropped
        if not found:
            in_the_way = _in_the_way(machine, options.mode)
            account.end(None, Errno.ENOMEM, refusals=in_the_way, pages_dropped=dropped)
            if not account.again():
                break
            given_up.clear()  # a retry is a new write
            continue
        account.end(_span_of(machine, pool.heads[-1]), Errno.OK, pages_dropped=dropped)
        obtained += 1
    return obtained


def _take_planned(options: RequestOptions, account: Account, most: int, *, presses: bool) -> int:
    """The blocks that plans emptied; no watermark is asked."""
    machine, wanted = account.machine, _wanted(account.machine, options)
    account.begin("compact by plan", of=2)
    report = machine.compact("plan", options.mode).report
    account.end(None, Errno.OK, pages_released=report.pages_released)
    for _ in range(NR_PLAN_ROUNDS if presses else 0):
        if _nr_ready(machine, options) >= most or not _press(account, options, most):
            break
    if account.interrupted:
        return 0
    account.begin("take the blocks that are free", of=2)
    obtained = machine.hugetlb.claim(wanted, options.node)
    is_last = obtained >= most or not presses
    full = obtained == wanted
    refusals = _in_the_way(machine, options.mode) if is_last and not full else None
    account.end(None, Errno.ENOMEM if is_last and not full else Errno.OK, refusals=refusals)
    return obtained


def _press(account: Account, options: RequestOptions, most: int) -> bool:
    """Give up what is short of so many blocks, and compact again; whether anything went."""
    if account.interrupted:
        return False
    machine = account.machine
    account.begin("give up what is short, and compact by plan", of=2)
    given = machine.planned.make_space(
        machine.design, options.mode, most, machine.zones_of(options.node)
    )
    machine.counters.pages_scanned_migrate += given.pages_scanned_migrate
    machine.pcp.drain_all()
    report = machine.compact("plan", options.mode).report
    nr_released = given.pages_released + report.pages_released
    account.end(None, Errno.OK, pages_dropped=given.pages_dropped, pages_released=nr_released)
    return bool(given.pages_dropped + given.pages_released)


def _nr_ready(machine: Machine, options: RequestOptions) -> int:
    """Wholly free pageblocks that the request could have now."""
    free = np.flatnonzero(machine.buddy.wholly_free())
    isolated = machine.pageblocks.migratetype[free] == MigrateType.ISOLATE
    heads = free[~isolated] * machine.pageblocks.nr_pages_per_block
    nodes = machine.hugetlb.nodes_for(options.node)
    return int(np.count_nonzero(np.isin(machine.frames.node[heads], nodes)))


def _span_of(machine: Machine, head: int) -> Span:
    return Span(head, head + machine.pageblocks.nr_pages_per_block)


def _in_the_way(machine: Machine, mode: Mode) -> Refusals:
    """Frames that keep a block from being emptied, each once, by reason and holder."""
    frames = machine.frames
    used = np.flatnonzero(frames.state == FrameState.USED)
    used = used[~frames.has_flag(used, PageFlag.HUGE)]
    found = find_obstacles(frames, machine.mover, machine.design, used, mode, unkept=None)
    return found.refusals()


def _finish(
    account: Account, machine: Machine, options: RequestOptions, obtained: int, before: _Work
) -> RequestReport:
    wanted = _wanted(machine, options)
    details = _Work(machine).since(before)
    return account.finish(wanted=wanted, obtained=obtained, details=details)
