"""Rows made by hand, for what prints them."""

from pinlab.compare.results import Comparison, MeasuredRow, Row

__all__ = ["comparison", "row"]


def row(design="unmovable", movable=(), strategy="scan", **changes):
    """A row with unremarkable figures but for the changes."""
    figures = {
        "bound": 44, "huge_pages": 12, "pageblocks_emptied": 6, "pages_moved": 33_000,
        "pages_unused": 0, "pages_grown": 0, "pages_scanned": 231_424, "refused": {"no_owner": 61},
        "lock_acquisitions": 406, "modelled_ns": 78_500_000, "bytes_verified": 438_000_000,
        "bytes_lost": 0, "digest": "00",
    }  # fmt: skip
    return Row(design=design, movable=movable, strategy=strategy, **(figures | changes))


def comparison(*rows, measured=True):
    """A comparison of these rows, with a measured one before them unless it is not wanted."""
    kernel = MeasuredRow(
        kernel="Linux 6.1", huge_pages=12, pageblocks_emptied=6, pages_moved=33_373,
        pages_scanned=204_184,
    )  # fmt: skip
    return Comparison(
        recording="a-recording", request="cmphuge", seed=0,
        measured=kernel if measured else None, rows=rows,
    )  # fmt: skip
