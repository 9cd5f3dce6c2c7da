"""Contiguous memory: how many pages of an area a device gets, asking for more and more at a time.

    wanted      pages in all that are asked for
    obtained    pages that were got; none is given back in between
    bound       the most pages that allocations of this size, however many, or the usual
                sequence can have together
    attempts    one per allocation; a size that fails once is not asked for again

Unless told otherwise the sizes are those of the recordings: 1, 16, 128, 512, 2048 and 8192
pages, and 16 again, for what is left.
"""

from mm.contig.cma_area import CmaArea
from mm.contig.retry import NR_CONTIG_TRIES, RetryPolicy
from mm.machine import Machine
from mm.state.errno import Errno
from mm.state.pageblock import MigrateType
from pinlab.requests.account import Account, Subject, machine_of
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestOptions, RequestReport
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError

__all__ = ["USUAL_SIZES", "require_area", "serve"]

USUAL_SIZES = ((1, 4), (16, 4), (128, 4), (512, 8), (2048, 4), (8192, 2), (16, 2))
"""(pages of one allocation, how many of them), in order."""
_USUAL_NR_PAGES = 512
_NO_AREA = "cma: this memory has no contiguous area: boot it with cma=SIZE"


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Allocate from one area; areas are adopted from the pageblocks' types if need be.

    Reads of the options: strategy, mode, count (allocations), nr_pages (of each),
    align_order, area, nr_tries, timeout_ns, nr_retries, pause_ns, interrupted, advance.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: the memory has no contiguous area, none of that name, or several of
            which none was named; nothing has changed.

    Cost: about 0.2 s for the usual sizes on a recorded area of 128 MiB.
    """
    require_obeyed("cma", options)
    machine = machine_of(subject)
    area = _area_of(machine, options.area)
    sizes, obtained = _sizes(options), 0
    most = sizes if sizes is USUAL_SIZES else ((sizes[0][0], area.span.nr_pages),)
    bound = machine.cma.bound(area, most, options.align_order, options.mode)
    account = Account(subject, options, request="cma", unit="page", bound=bound)
    nr_ranges = nr_skipped = 0
    for nr_pages, count in sizes:
        got = 0
        while got < count and not account.interrupted:
            account.begin(f"{nr_pages} page{'s' * (nr_pages > 1)}", of=sum(n for _, n in sizes))
            found = machine.cma.request(
                nr_pages,
                options.align_order,
                area=area,
                strategy=options.strategy,
                mode=options.mode,
                retry=_retry(options),
            )
            nr_ranges += found.nr_ranges
            nr_skipped += found.nr_skipped
            account.end(
                found.span,
                found.errno,
                refusals=found.report.refusals,
                pages_dropped=found.report.pages_dropped,
                pages_released=found.report.pages_released,
                pages_moved=found.report.pages_moved,
            )
            if found.errno is Errno.OK:
                got, obtained = got + 1, obtained + nr_pages
            elif not account.again():
                break
    return account.finish(
        wanted=sum(nr_pages * count for nr_pages, count in sizes),
        obtained=obtained,
        details={"ranges_tried": nr_ranges, "ranges_skipped": nr_skipped},
    )


def require_area(snapshot: Snapshot) -> None:
    """Refuse memory without a contiguous area before it is replayed.

    Raises:
        PinpageError: it has none.
    """
    if not (snapshot.block_migratetype == MigrateType.CMA).any():
        raise PinpageError(_NO_AREA)


def _area_of(machine: Machine, wanted: str | None) -> CmaArea:
    if not machine.cma.areas and not machine.cma.adopt():
        raise PinpageError(_NO_AREA)
    areas = machine.cma.areas
    size = machine.frames.page_nr_bytes
    named = {area.name or f"area{nth}": area for nth, area in enumerate(areas)}
    there = ", ".join(
        f"{name} ({area.span.nr_pages * size >> 10:,d} KiB at pfn {area.span.start:#x})"
        for name, area in named.items()
    )
    if wanted is None and len(areas) > 1:
        raise PinpageError(f"cma: area= names one of the {len(areas)} areas: {there}")
    if wanted is not None and wanted not in named:
        raise PinpageError(f"cma: area={wanted!r} is not there: there is {there}")
    return areas[0] if wanted is None else named[wanted]


def _sizes(options: RequestOptions) -> tuple[tuple[int, int], ...]:
    if options.count is None and options.nr_pages is None:
        return USUAL_SIZES
    return ((options.nr_pages or _USUAL_NR_PAGES, options.count or 1),)


def _retry(options: RequestOptions) -> RetryPolicy:
    return RetryPolicy(
        nr_tries=options.nr_tries or NR_CONTIG_TRIES,
        timeout_ns=options.timeout_ns,
        signal_pending=options.interrupted,
    )
