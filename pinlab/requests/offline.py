"""Memory blocks taken offline: some together, or one after the other.

    wanted      memory blocks that are to go; unless it is said how many, all that there are
    obtained    those that went
    bound       together: the most that can be away at once; one by one: those that hold
                nothing, at the start, that nobody can move, and may go at all
    certain     of these, those that go for certain: reclaim need not make room, nor compaction
                a huge page
    attempts    one per block; its errno is what the write to its `state` file answers

Who says how many means them together, as whoever unplugs a DIMM does: a block that went stays
away.  Otherwise, as in the recordings, each block is back before the next one goes, from what
it left behind; one of ZONE_MOVABLE comes back as movable memory, any other as kernel memory.

Where some are enough, `scan` tries the lowest first and `plan` those with the fewest moves.

Time.  The kernel goes on for ever, so somebody runs `timeout` around the write.  Unless told
otherwise that is `USUAL_TIMEOUT_NS`, the 8 s of the recordings divided by the six times that
their machine was slower than the costs here; a number of tries bounds the rounds instead.
"""

from collections.abc import Iterable

from attrs import evolve

from mm.contig.retry import RetryPolicy
from mm.hotplug.memory_hotplug import OnlineKind
from mm.hotplug.verdict import BlockPlanner, OfflineResult
from mm.machine import Machine
from mm.planning.range_plan import RangePlan
from mm.state.errno import Errno
from mm.state.nodes import ZoneKind
from mm.state.reasons import Refusals
from pinlab.requests.account import Account, Subject, machine_of
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestOptions, RequestReport
from pinpage.errors import PinpageError, require
from pinpage.units import in_words

__all__ = ["USUAL_TIMEOUT_NS", "serve"]

USUAL_TIMEOUT_NS = 1_333_000_000
"""Simulated ns after which somebody sends the signal."""


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Take memory blocks offline; bring them back, unless they are to be away together.

    Reads of the options: strategy, mode, count (blocks that go, at most), together, block,
    block_nr_pages, nr_tries, timeout_ns, nr_retries, pause_ns, interrupted, advance.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: a block that the machine does not have, or a size that is none.

    Cost: about 8 us of CPU per page moved, and 5 ms for each round over a block that a
        pinned page keeps from going.
    """
    require_obeyed("offline", options)
    machine = machine_of(subject)
    hotplug = machine.hotplug
    _require_size(machine, options.block_nr_pages)
    if options.block_nr_pages is not None:
        hotplug.blocks.nr_pages = options.block_nr_pages
    _require_block(machine, options.block)
    together = _together(options)
    planner = hotplug.planner(machine.design, options.mode)
    plan = planner.plan(None if together else 1)
    wanted = _in_order(machine, options, plan)
    bound, certain = _foreseen(machine, planner, plan, wanted, together=together)
    account = Account(
        subject, options, request="offline", unit="memory block", bound=bound, certain=certain
    )
    obtained = nr_rounds = 0
    left = list(reversed(wanted))
    while left and not account.interrupted and obtained != options.count:
        block = left.pop()
        account.begin(f"block {block}", of=len(wanted))
        result = hotplug.offline(
            block,
            machine.design,
            retry=_retry(options),
            strategy=options.strategy,
            mode=options.mode,
        )
        nr_rounds += result.nr_rounds
        obtained += bool(result)
        if not together:
            _bring_back(machine, result)
        account.end(
            result.span,
            result.errno,
            refusals=_refusals(result),
            pages_released=result.report.pages_released,
            pages_moved=result.report.pages_moved,
            timed_out=result.report.timed_out,
        )
        if not result and account.again():
            left.append(block)
    report = account.finish(
        wanted=len(wanted) if options.count is None else options.count,
        obtained=obtained,
        details={"rounds": nr_rounds},
    )
    return evolve(report, counted="together" if together else "one by one")


def _foreseen(
    machine: Machine, planner: BlockPlanner, plan: RangePlan, wanted: list[int], *, together: bool
) -> tuple[int, int]:
    """How many of these blocks can go at most, and how many go for certain."""
    block_of, clear = machine.hotplug.blocks.block_of, plan.is_clear

    def nr_wanted(starts: Iterable[int]) -> int:
        return len({*wanted} & {block_of(start) for start in starts})

    goes = planner.goes() if len(wanted) == 1 else planner.may_go_later(clear)
    bound = nr_wanted(planner.starts[clear & goes].tolist())
    if not together:
        return bound, nr_wanted(planner.starts[clear & planner.certain().goes].tolist())
    return min(bound, plan.bound), nr_wanted(span.start for span in plan.spans)


def _together(options: RequestOptions) -> bool:
    """Whether a block that went stays away."""
    return options.count is not None if options.together is None else options.together


def _require_size(machine: Machine, nr_pages: int | None) -> None:
    """Memory blocks are a power of two, no larger than memory (memory_block_size_bytes)."""
    if nr_pages is None:
        return
    nr_frames = machine.frames.nr_frames
    if nr_pages & (nr_pages - 1) or nr_pages > nr_frames:
        most = in_words(nr_frames * machine.frames.page_nr_bytes)
        raise PinpageError(
            f"offline: block_nr_pages={nr_pages}: give a power of two, at most the "
            f"{nr_frames:,d} pages that there are ({most})"
        )


def _require_block(machine: Machine, block: int | None) -> None:
    """Refuse a memory block that is not there, in the words of whoever named it."""
    blocks = machine.hotplug.blocks
    if block is not None and not 0 <= block < blocks.nr_blocks:
        size = in_words(blocks.nr_pages * machine.frames.page_nr_bytes)
        raise PinpageError(
            f"offline: block={block} is not there: memory blocks of {size} are numbered 0 to "
            f"{blocks.nr_blocks - 1}: give one of these, or block_nr_pages="
        )


def _in_order(machine: Machine, options: RequestOptions, plan: RangePlan) -> list[int]:
    """The blocks to try: from the bottom up; by plan, where some are enough, cheapest first."""
    hotplug = machine.hotplug
    if options.block is not None:
        return [options.block]
    blocks = hotplug.blocks.online()
    if options.strategy == "plan" and options.count is not None:
        if not _together(options):
            plan = hotplug.cheapest(machine.design, want=None, mode=options.mode)
        first = [hotplug.blocks.block_of(span.start) for span in plan.spans]
        blocks = first + [block for block in blocks if block not in first]
    return blocks


def _retry(options: RequestOptions) -> RetryPolicy:
    bounded = options.nr_tries is not None or options.timeout_ns is not None
    return RetryPolicy(
        nr_tries=options.nr_tries,
        timeout_ns=options.timeout_ns if bounded else USUAL_TIMEOUT_NS,
        signal_pending=options.interrupted,
    )


def _bring_back(machine: Machine, result: OfflineResult) -> None:
    """Online again, as the same kind of memory, if it went."""
    if not result:
        return
    kind: OnlineKind = "movable" if result.zone_kind is ZoneKind.MOVABLE else "kernel"
    errno = machine.hotplug.online(result.block, kind=kind)
    require(errno is Errno.OK, "memory that went does not come back", errno=errno.name)


def _refusals(result: OfflineResult) -> Refusals | None:
    """Frames that stayed; where isolation failed at once, the one that it named."""
    if result or not len(result.obstacles):
        return None
    return result.report.refusals if result.nr_rounds else result.obstacles.refusals()
