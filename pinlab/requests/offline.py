"""Memory blocks taken offline, one after the other, each brought online again before the next.

    wanted      memory blocks that are to go; unless it is said how many, all that there are
    obtained    those that went
    bound       those that hold nothing, at the start, that nobody can move, and may go at all
    attempts    one per block; its errno is what the write to its `state` file answers

Where some are enough, `scan` tries the lowest first and `plan` those with the fewest moves.

Each block starts from what the one before it left behind, as in the recordings.  A block of
ZONE_MOVABLE comes back as movable memory, any other as kernel memory.

Time.  The kernel goes on for ever, so somebody runs `timeout` around the write.  Unless told
otherwise that is `USUAL_TIMEOUT_NS`, the 8 s of the recordings divided by the six times that
their machine was slower than the costs here; a number of tries bounds the rounds instead.
"""

from mm.contig.retry import RetryPolicy
from mm.hotplug.memory_hotplug import OnlineKind
from mm.hotplug.verdict import OfflineResult
from mm.machine import Machine
from mm.state.errno import Errno
from mm.state.nodes import ZoneKind
from mm.state.reasons import Refusals
from pinlab.requests.account import Account, Subject, machine_of
from pinlab.requests.report import RequestOptions, RequestReport
from pinpage.errors import require

__all__ = ["USUAL_TIMEOUT_NS", "serve"]

USUAL_TIMEOUT_NS = 1_333_000_000
"""Simulated ns after which somebody sends the signal."""


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Take memory blocks offline and bring them back.

    Reads of the options: strategy, mode, count (blocks that go, at most), block,
    block_nr_pages, nr_tries, timeout_ns, interrupted, advance.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: a block that the machine does not have, or a size that is none.

    Cost: about 8 us of CPU per page moved, and 5 ms for each round over a block that a
        pinned page keeps from going.
    """
    machine = machine_of(subject)
    hotplug = machine.hotplug
    if options.block_nr_pages is not None:
        hotplug.blocks.nr_pages = options.block_nr_pages
    wanted = _in_order(machine, options)
    bound = len({*wanted} & {*hotplug.removable(machine.design, options.mode)})
    account = Account(subject, options, request="offline", unit="memory block", bound=bound)
    obtained = nr_rounds = 0
    for block in wanted:
        if account.interrupted or obtained == options.count:
            break
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
        _bring_back(machine, result)
        account.end(
            result.span,
            result.errno,
            refusals=_refusals(result),
            pages_released=result.report.pages_released,
            pages_moved=result.report.pages_moved,
            timed_out=result.report.timed_out,
        )
    return account.finish(
        wanted=len(wanted) if options.count is None else options.count,
        obtained=obtained,
        details={"rounds": nr_rounds},
    )


def _in_order(machine: Machine, options: RequestOptions) -> list[int]:
    """The blocks to try: from the bottom up; by plan, where some are enough, cheapest first."""
    hotplug = machine.hotplug
    if options.block is not None:
        return [options.block]
    blocks = hotplug.blocks.online()
    if options.strategy == "plan" and options.count is not None:
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
