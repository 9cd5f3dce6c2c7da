"""What came of one request for contiguous memory: a value.

Kernel counterpart: the page, or NULL, that cma_alloc() returns, and its trace points.
"""

from attrs import define, field

from mm.contig.contig import ContigResult
from mm.contig.retry import EvacuationReport
from mm.state.errno import Errno
from pinpage.units import Span

__all__ = ["CmaResult"]


@define
class CmaResult:
    """What came of one request.

    Attributes:
        errno: OK, or why the walk ended: ENOMEM when no free run was left to try, as
            cma_alloc tells its caller; else what stopped it.
        pfn: the first page; -1 if none was obtained.
        span: the range obtained, or tried last; None if none was.
        nr_ranges: ranges tried.
        nr_skipped: ranges not tried because a frame that was immovable a moment ago is in them.
        report: over all ranges; its refusals are those of the last one.
    """

    errno: Errno = Errno.ENOMEM
    pfn: int = -1
    span: Span | None = None
    nr_ranges: int = 0
    nr_skipped: int = 0
    report: EvacuationReport = field(factory=EvacuationReport)

    def add(self, span: Span, found: ContigResult) -> None:
        """One range more was tried.

        Args:
            span: the range.
            found: what came of it.
        """
        self.span, self.pfn = span, found.pfn
        self.nr_ranges += 1
        self.report.refusals.forget_counts()
        self.report.add(found.report)
