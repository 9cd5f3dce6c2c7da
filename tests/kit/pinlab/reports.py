"""Reports of a request, and what `--json` prints, made by hand."""

from attrs import evolve

from mm.state.costs import STEPS
from pinlab.requests.report import Attempt, RequestReport

__all__ = ["make_report"]


def make_report(**changes):
    steps = dict.fromkeys(STEPS, 0) | {"scan": 40, "copy": 1_130}
    attempt = Attempt(
        name="block 1", start=512, stop=1024, errno="EBUSY", pages_moved=1,
        refused={"no_callback": 3, "unaccounted": 2}, steps_ns=steps,
    )  # fmt: skip
    report = RequestReport(
        request="offline", design="registry", movable=("slab",), strategy="scan",
        wanted=1, obtained=0, unit="memory block", bound=0, attempts=(attempt,),
        pages_moved=1, pages_dropped=0, pages_released=0, pages_scanned=1,
        refused={"no_callback": 3, "unaccounted": 2},
        refused_by_owner={"kernel": {"no_callback": 3}, "home": {"unaccounted": 2}},
        steps_ns=steps, modelled_ns=1_170, bytes_verified=0, bytes_lost=0, digest="00",
    )  # fmt: skip
    return evolve(report, **changes)
