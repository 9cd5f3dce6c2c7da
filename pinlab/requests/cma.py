"""Contiguous memory: how many pages of an area a device gets, asking for more and more at a time.

    wanted      pages in all that are asked for
    obtained    pages that were got; none is given back in between
    bound       pages of the area that are free or can be moved away
    attempts    one per allocation; a size that fails once is not asked for again

Unless told otherwise the sizes are those of the recordings: 1, 16, 128, 512, 2048 and 8192
pages, and 16 again, for what is left.
"""

import numpy as np

from mm.contig.cma_area import CmaArea
from mm.contig.retry import NR_CONTIG_TRIES, RetryPolicy
from mm.machine import Machine
from mm.state.errno import Errno
from mm.state.frames import FrameState
from pinlab.requests.account import Account, Subject, machine_of
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestOptions, RequestReport
from pinpage.errors import PinpageError
from pinpage.owner import Mode

__all__ = ["USUAL_SIZES", "serve"]

USUAL_SIZES = ((1, 4), (16, 4), (128, 4), (512, 8), (2048, 4), (8192, 2), (16, 2))
"""(pages of one allocation, how many of them), in order."""
_USUAL_NR_PAGES = 512


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Allocate from the first area; areas are adopted from the pageblocks' types if need be.

    Reads of the options: strategy, mode, count (allocations), nr_pages (of each),
    align_order, nr_tries, timeout_ns, nr_retries, pause_ns, interrupted, advance.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: the memory has no contiguous area; nothing has changed.

    Cost: about 0.2 s for the usual sizes on a recorded area of 128 MiB.
    """
    require_obeyed("cma", options)
    machine = machine_of(subject)
    area = _area_of(machine)
    bound = _bound(machine, area, options.mode)
    account = Account(subject, options, request="cma", unit="page", bound=bound)
    sizes, obtained = _sizes(options), 0
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


def _area_of(machine: Machine) -> CmaArea:
    if not machine.cma.areas and not machine.cma.adopt():
        raise PinpageError("cma: this memory has no contiguous area: boot it with cma=SIZE")
    return machine.cma.areas[0]


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


def _bound(machine: Machine, area: CmaArea, mode: Mode) -> int:
    """Pages that no device has and nobody holds for good."""
    census, _ = machine.planned.census(machine.design, mode, with_released=True)
    pfns = np.arange(area.span.start, area.span.stop)
    listed = machine.frames.state[pfns] == FrameState.PCP
    rows = pfns - census.start
    return int(np.count_nonzero(census.free[rows] | census.movable[rows] | listed))
