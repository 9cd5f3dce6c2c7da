"""Which consumer obeys which option, and the sentence with which the others refuse it.

An option that changes nothing is refused: whoever gives it expects something.  The page
docs/reference/request-options.md is made from this table, by the test that holds it to be true.

Owns: the table.
Ignores: whether a value is one that the machine can have; the consumer asks that.
Kernel counterpart: none.
Cost: none.
"""

from collections.abc import Collection

from mm.move.design import Strategy
from pinlab.requests.report import RequestName, RequestOptions
from pinpage.errors import PinpageError

__all__ = ["OPTIONS", "given", "refusal", "require_obeyed"]

_EVERYBODY: tuple[RequestName, ...] = ("huge2m", "huge1g", "cma", "offline", "power")
_WHOSE: dict[str, tuple[RequestName, ...]] = {
    "mode": _EVERYBODY,
    "count": _EVERYBODY,
    "together": ("offline",),
    "nr_pages": ("huge1g", "cma"),
    "align_order": ("cma",),
    "area": ("cma",),
    "block": ("offline",),
    "block_nr_pages": ("offline",),
    "region_nr_pages": ("power",),
    "nr_interleaved": ("power",),
    "expected_idle_ns": ("power",),
    "node": ("huge2m", "huge1g"),
    "nr_tries": ("huge1g", "cma", "offline", "power"),
    "timeout_ns": ("huge1g", "cma", "offline", "power"),
    "nr_retries": ("huge2m", "huge1g", "cma", "offline"),
    "pause_ns": ("huge2m", "huge1g", "cma", "offline"),
}
OPTIONS = tuple(_WHOSE)
"""Options that not everybody can obey, in the order of the page."""

_NOT_SO: dict[tuple[RequestName, Strategy, str], str] = {
    ("huge2m", "scan", "mode"): "the allocator decides itself how long it waits",
    ("huge2m", "plan", "nr_retries"): "a plan is made once",
    ("huge2m", "plan", "pause_ns"): "a plan is made once",
}
"""(consumer, strategy, option) -> why the option is refused though the consumer has it."""

_NOT_WITH: dict[tuple[RequestName, str], str] = {
    ("huge2m", "nr_pages"): "its pages are of one pageblock",
    ("huge2m", "nr_tries"): "the allocator decides itself how long it tries",
    ("huge2m", "timeout_ns"): "the allocator decides itself how long it tries",
    ("power", "nr_retries"): "a group of regions is one try, which nr_tries= makes several",
    ("power", "pause_ns"): "there is no retry that it could be before",
}
"""(consumer, option) -> why it has not got an option that others of its kind have."""

_TOGETHER = (
    ("block", "count", "one memory block is asked for by its number"),
    ("block", "together", "one memory block is asked for by its number"),
)
"""Two options of which the second says nothing beside the first, and why."""


def given(options: RequestOptions) -> list[str]:
    """Names of the options that somebody gave: those that are not as they are by default."""
    usual = RequestOptions()
    return [name for name in OPTIONS if getattr(options, name) != getattr(usual, name)]


def refusal(request: RequestName, strategy: Strategy, option: str) -> str | None:
    """The sentence with which an option is refused; None: it is obeyed.

    Args:
        request: the consumer.
        strategy: "scan" or "plan".
        option: one of `OPTIONS`.
    """
    whose = _WHOSE[option]
    if request not in whose:
        why = _NOT_WITH.get((request, option))
        because = "" if why is None else f": {why}"
        return f"{option}= is for {' and '.join(whose)}, not for {request}{because}: leave it out"
    why = _NOT_SO.get((request, strategy, option))
    return None if why is None else f"{option}= for {request} by {strategy}: {why}: leave it out"


def require_obeyed(
    request: RequestName,
    options: RequestOptions,
    also: Collection[str] = (),
    *,
    may_begin: bool = False,
) -> None:
    """Refuse options that this consumer would not obey, before anything has changed.

    Args:
        request: the consumer.
        options: how it is to serve.
        also: names of options that were given though they are as they are by default.
        may_begin: whether `first` is obeyed where this is asked.

    Raises:
        PinpageError: names the option, and why.
    """
    names = [name for name in OPTIONS if name in also or name in given(options)]
    for name in names:
        if sentence := refusal(request, options.strategy, name):
            raise PinpageError(sentence)
    for one, other, why in _TOGETHER:
        if one in names and other in names:
            raise PinpageError(f"{other}= beside {one}=: {why}: leave {other}= out")
    if options.first and not may_begin:
        raise PinpageError("first= is for run_request, which has the machine before: leave it out")
    if "pause_ns" in names and not options.nr_retries:
        raise PinpageError("pause_ns= is before a retry: give nr_retries= too")
