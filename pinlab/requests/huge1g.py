"""1 GiB pages: how many there are, and what they cost to get.

    wanted      pages: as many as the machine could hold unless told otherwise
    obtained    pages that the pool has got
    bound       the most that any strategy can obtain on the node with what can be moved or given
                up
    attempts    one per page, up to the first that fails, as a write to nr_hugepages goes

Under `scan` memory is walked as the kernel walks it; under a design that knows who pins what,
a range is judged by that knowledge before it is tried, which obtains the same pages.  The
details count what was looked at either way: `probes` by this request, and what a walk by
frames and one by pageblocks would look at in memory as it was at first.
"""

from mm.contig.retry import NR_CONTIG_TRIES, RetryPolicy
from mm.hugetlb.gigantic import GiganticPages, GiganticWalk, Knowledge
from mm.state.errno import Errno
from pinlab.requests.account import Account, Subject, machine_of, most_wanted
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestOptions, RequestReport
from pinpage.units import in_words

__all__ = ["serve"]

_PAGE_NR_BYTES = 1 << 30


def serve(subject: Subject, options: RequestOptions) -> RequestReport:
    """Write to hugepages-1048576kB/nr_hugepages.

    Reads of the options: strategy, mode, count, nr_pages (of one page; 1 GiB), node, nr_tries,
    timeout_ns, nr_retries, pause_ns, interrupted, advance.

    Args:
        subject: the machine, replayed or bare.
        options: how to serve.

    Raises:
        PinpageError: a size that no huge page has, or no such node; nothing has changed.
    """
    require_obeyed("huge1g", options)
    machine = machine_of(subject)
    page_nr_bytes = machine.frames.page_nr_bytes
    nr_pages = options.nr_pages or _PAGE_NR_BYTES // page_nr_bytes
    pages, pool = machine.hugetlbs.gigantic_of(nr_pages), machine.hugetlbs.of(nr_pages)
    nodes = pool.nodes_for(options.node)
    knows = machine.registry is not None
    known = {
        "probes_by_frames": pages.survey(options.node, "frames"),
        "probes_by_blocks": pages.survey(options.node, "blocks"),
    }
    made = pages.plan(None, options.node, mode=options.mode)
    bound = pages.bound(options.node, mode=options.mode)
    unit = f"{in_words(nr_pages * page_nr_bytes)} page"
    account = Account(subject, options, request="huge1g", unit=unit, bound=bound)
    wanted = options.count or most_wanted(machine, nr_pages, nodes, whole=True)
    obtained, probes = 0, 0
    while obtained < wanted and not account.interrupted:
        account.begin(f"page {obtained}", of=wanted)
        walk = _walk(pages, options, "blocks" if knows else "frames")
        probes += walk.probes
        last, report = walk.candidates[-1] if walk.candidates else None, walk.report
        account.end(
            last.span if last else None,
            walk.errno,
            refusals=walk.refusals if walk.head < 0 else None,
            pages_dropped=report.pages_dropped,
            pages_released=report.pages_released,
        )
        if walk.errno is Errno.OK:
            pool.adopt(walk.head)
            obtained += 1
        elif not account.again():
            break
    return account.finish(
        wanted=wanted,
        obtained=obtained,
        details={"probes": probes, "nr_pages": nr_pages, "moves_planned": made.nr_moves} | known,
    )


def _walk(pages: GiganticPages, options: RequestOptions, knowledge: Knowledge) -> GiganticWalk:
    """One page, by the strategy."""
    retry = RetryPolicy(
        nr_tries=options.nr_tries or NR_CONTIG_TRIES,
        timeout_ns=options.timeout_ns,
        signal_pending=options.interrupted,
    )
    if options.strategy == "plan":
        return pages.alloc_planned(options.node, mode=options.mode, retry=retry)[0]
    return pages.walk(options.node, knowledge, mode=options.mode, retry=retry)
