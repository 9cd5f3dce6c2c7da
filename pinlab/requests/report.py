"""What a request for memory is told, and what it answers: plain data, the same for every consumer.

Every consumer's module (`pinlab.requests.cma`, `.offline`, `.huge2m`, `.huge1g`, `.power`) has

    serve(subject: Replayed | Machine, options: RequestOptions) -> RequestReport

`pinlab.requests.account.Account` counts for it and makes the report, so that what is asked of
every report holds for all: steps that sum to the time, reasons that sum to the failures,
every byte read back.  A consumer with a mistake in its options raises PinpageError before
anything has changed; one that fails says so in the report.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Self, TypeAlias, get_args

import attrs
from attrs import field, frozen

from mm.move.design import Strategy
from pinlab.report.plain import PlainTable, of_rows
from pinpage.errors import PinpageError, at_least, one_of
from pinpage.owner import Mode

__all__ = [
    "DEFAULT_DESIGN",
    "Advance",
    "Attempt",
    "First",
    "InTheWay",
    "RequestName",
    "RequestOptions",
    "RequestReport",
]

RequestName: TypeAlias = Literal["huge2m", "huge1g", "cma", "offline", "power"]
"""The consumers, as on the command line."""

Advance: TypeAlias = Callable[[str, int, int], None]
"""Told before each attempt: its name, how many are done, how many there are at most."""


First: TypeAlias = Literal["compact", "drop-caches"]
"""What a request may begin with, as whoever needs memory writes to /proc/sys/vm first."""

DEFAULT_DESIGN = "registry"
"""The design in force where none is named, in scripts and on the command line alike."""


def _never() -> bool:
    return False


def _no_progress(_name: str, _done: int, _total: int) -> None:
    return


def _positive_or_none(_options: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise PinpageError(f"request: {attribute.name}={value!r}: give a whole number, 1 or more")


def _not_negative_or_none(_options: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None and (type(value) is not int or value < 0):
        raise PinpageError(f"request: {attribute.name}={value!r}: give a whole number, 0 or more")


def _not_negative(_options: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    at_least(0, "request", **{attribute.name: value})


def _yes_no_or_none(_options: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    one_of((None, True, False), "request", **{attribute.name: value})


def _is_a(kind: type) -> Callable[[object, "attrs.Attribute[Any]", Any], None]:
    def check(_options: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if not isinstance(value, kind):
            what = "a name" if kind is str else f"one of pinpage.owner.{kind.__name__}"
            raise PinpageError(f"request: {attribute.name}={value!r}: give {what}")

    return check


def _releasing(names: Any) -> tuple[str, ...]:
    return _owners(names, "release")


def _owners(names: Any, argument: str = "movable") -> tuple[str, ...]:
    is_several = isinstance(names, Iterable) and not isinstance(names, str)
    found = tuple(names) if is_several else (None,)
    if any(not isinstance(name, str) for name in found):
        raise PinpageError(
            f"request: {argument}={names!r}: give names of owners, such as ('slab',)"
        )
    return found


def _firsts(names: Iterable[First]) -> tuple[First, ...]:
    if isinstance(names, str):
        raise PinpageError(f"request: first={names!r}: give several, such as ({names!r},)")
    found = tuple(names)
    for name in found:
        one_of(get_args(First), "request", first=name)
    return found


@frozen(kw_only=True)
class RequestOptions:
    """How a request is to be served.  What a consumer would not obey it refuses (`obeyed`).

    Left out, each is as it is where `pinpage request` is called without the option.

    Attributes:
        design, movable, release: what `run_request` puts the machine under; a consumer has it
            already.  `release` names owners that give pages up and cannot move them (a cache).
        strategy: "scan" or "plan".
        mode: how long to wait for one frame.
        count: units wanted (huge pages, allocations, memory blocks, regions); None: as many
            as there are, or the consumer's usual sequence.
        together: whether memory blocks stay away until all of `count` are gone, or each comes
            back before the next; None: together where a count is given (offline).
        nr_pages: pages per unit where the consumer leaves that open (cma); None: its usual.
        align_order: the first pfn is a multiple of 2**align_order (cma).
        area: the area to ask, by its name (cma); None: the only one.
        block: the one memory block to offline; None: each of them, in order.
        block_nr_pages: pages per memory block; None: 32768 (128 MiB).
        region_nr_pages: pages per power region; None: the consumer's usual.
        nr_interleaved: power regions that share each page, cache line by cache line; 1: none.
        expected_idle_ns: empty a power region only if it is worth it over so much idle time;
            None: whatever can be emptied.
        node: the NUMA node to serve from; None: any.
        nr_tries: tries without progress before giving up; None: the kernel's own number.
        timeout_ns: simulated ns for each attempt; None: as long as the kernel would.
        first: what is done to the machine before, in that order (`run_request` alone):
            "compact" all memory, "drop-caches".
        nr_retries: how often a unit that failed is asked for again.
        pause_ns: simulated ns that pass before each retry.
        seed: of the contents, for the report's reader.
        interrupted: asked between attempts and between tries, cheaply: True ends the request
            as a fatal signal would, and what is done so far is reported as partial.
        advance: told of each attempt.
    """

    design: str = field(default=DEFAULT_DESIGN, validator=_is_a(str))
    movable: tuple[str, ...] = field(default=(), converter=_owners)
    release: tuple[str, ...] = field(default=(), converter=_releasing)
    strategy: Strategy = field(default="scan", validator=_is_a(str))
    mode: Mode = field(default=Mode.SYNC, validator=_is_a(Mode))
    count: int | None = field(default=None, validator=_positive_or_none)
    together: bool | None = field(default=None, validator=_yes_no_or_none)
    nr_pages: int | None = field(default=None, validator=_positive_or_none)
    align_order: int = field(default=0, validator=_not_negative_or_none)
    area: str | None = None
    block: int | None = field(default=None, validator=_not_negative_or_none)
    block_nr_pages: int | None = field(default=None, validator=_positive_or_none)
    region_nr_pages: int | None = field(default=None, validator=_positive_or_none)
    nr_interleaved: int = field(default=1, validator=_positive_or_none)
    expected_idle_ns: int | None = field(default=None, validator=_positive_or_none)
    node: int | None = field(default=None, validator=_not_negative_or_none)
    nr_tries: int | None = field(default=None, validator=_positive_or_none)
    timeout_ns: int | None = field(default=None, validator=_positive_or_none)
    first: tuple[First, ...] = field(default=(), converter=_firsts)
    nr_retries: int = field(default=0, validator=_not_negative)
    pause_ns: int = field(default=0, validator=_not_negative)
    seed: int = field(default=0, validator=_not_negative)
    interrupted: Callable[[], bool] = field(default=_never, repr=False, eq=False)
    advance: Advance = field(default=_no_progress, repr=False, eq=False)


@frozen(kw_only=True)
class Attempt:
    """One try at one unit: a huge page, an allocation, a memory block, a region.

    Attributes:
        name: what was tried, such as "block 3" or "512 pages".
        start, stop: the span that it came to, or was tried on last; -1 where there is none.
        errno: name of an `mm.state.errno.Errno`: "OK" or why not.
        pages_moved: pages whose contents went elsewhere for it.
        refused: reason -> frames that stood in its way at its end.
        steps_ns: step -> simulated ns, as in the report; all steps of `STEPS`.
    """

    name: str
    start: int
    stop: int
    errno: str
    pages_moved: int = 0
    refused: dict[str, int] = field(factory=dict)
    steps_ns: dict[str, int] = field(factory=dict)

    @property
    def modelled_ns(self) -> int:
        """Simulated time of this attempt."""
        return sum(self.steps_ns.values())


@frozen
class InTheWay:
    """Frames in a row that did not leave, with one holder and for one reason.

    Attributes:
        pfn: the first of them.
        nr_pages: how many.
        owner: who holds them.
        reason: why they stay, as in `RequestReport.refused`.
    """

    pfn: int
    nr_pages: int
    owner: str
    reason: str


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)  # JSON has lists only


def _attempts(attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
    return tuple(attempts)


def _in_the_way(rows: Iterable[InTheWay]) -> tuple[InTheWay, ...]:
    return tuple(rows)


@frozen(kw_only=True)
class RequestReport:
    """What a request came to.  Counts are pages unless the name says otherwise.

    Attributes:
        request: the consumer.
        design, movable, strategy: how it was served.
        wanted, obtained: in `unit`s.
        unit: such as "2 MiB page" or "memory block".
        counted: of units that come back (memory blocks), whether `wanted`, `obtained` and
            `bound` are those that are away "together" or "one by one"; else empty.
        bound: the most that any strategy can obtain with what can be moved and given up, in
            `unit`s that fit the request: its size, area, node and zone; None: not known.
        attempts: in order.
        pages_moved: contents went elsewhere.
        pages_dropped: clean page cache given up instead.
        pages_released: given up by their owners instead (compressed pages unused, say).
        pages_scanned: frames looked at.
        refused: reason -> frames that did not move, each counted once per attempt it failed.
        refused_by_owner: holder -> reason -> frames; sums to `refused`.
        in_the_way: every frame that made an attempt fail, once, by pfn, as far as the attempts
            came to know them.
        steps_ns: step -> simulated ns; all steps of `STEPS`; sums to `modelled_ns`.
        modelled_ns: simulated time of the request.
        bytes_verified, bytes_lost: everything stored, read back and compared at the end.
        digest: of the machine's state at the end.
        recording: what memory was replayed; empty for one made by hand.
        seed: of its contents.
        partial: whether it was interrupted.
        details: figures of this consumer alone, such as frames probed or region-seconds off.
        certain: of `bound`, what needs neither reclaim nor compaction; None: not known.
    """

    request: RequestName
    design: str
    movable: tuple[str, ...] = field(converter=_names)
    strategy: Strategy
    wanted: int
    obtained: int
    unit: str
    bound: int | None
    attempts: tuple[Attempt, ...] = field(converter=_attempts)
    pages_moved: int
    pages_dropped: int
    pages_released: int
    pages_scanned: int
    refused: dict[str, int]
    refused_by_owner: dict[str, dict[str, int]]
    steps_ns: dict[str, int]
    modelled_ns: int
    bytes_verified: int
    bytes_lost: int
    digest: str
    recording: str = ""
    seed: int = 0
    partial: bool = False
    counted: str = ""
    details: dict[str, int] = field(factory=dict)
    in_the_way: tuple[InTheWay, ...] = field(default=(), converter=_in_the_way)
    release: tuple[str, ...] = field(default=(), converter=_names)
    certain: int | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse a report whose parts do not sum to its totals.

        Raises:
            PinpageError: names the sum that is wrong; a bug of the consumer.
        """
        by_owner: dict[str, int] = {}
        for reasons in self.refused_by_owner.values():
            for reason, count in reasons.items():
                by_owner[reason] = by_owner.get(reason, 0) + count
        if by_owner != self.refused:
            raise PinpageError(f"request: refused={self.refused}, by owner {by_owner}: must agree")
        if sum(self.steps_ns.values()) != self.modelled_ns:
            raise PinpageError(
                f"request: steps_ns={self.steps_ns} must sum to modelled_ns={self.modelled_ns}"
            )

    def to_json(self) -> dict[str, Any]:
        """One JSON object, attempts and all."""
        shown = attrs.asdict(self, recurse=True)
        shown["movable"], shown["release"] = list(self.movable), list(self.release)
        shown["attempts"] = list(shown["attempts"])
        shown["in_the_way"] = list(shown["in_the_way"])
        return shown

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """A report from `to_json`.

        Raises:
            PinpageError: a field is missing, unknown, or the sums do not hold.
        """
        try:
            attempts = tuple(Attempt(**attempt) for attempt in data["attempts"])
            in_the_way = tuple(InTheWay(**row) for row in data.get("in_the_way", ()))
            return cls(**(data | {"attempts": attempts, "in_the_way": in_the_way}))
        except (TypeError, KeyError, AttributeError) as error:
            raise PinpageError(f"request report: {error}") from None

    def plain(self) -> tuple[PlainTable, ...]:
        """Tables: the request in one row, attempts, why frames stayed and whose, which they are."""
        shown = self.to_json()
        several = ("attempts", "refused", "refused_by_owner", "in_the_way", "steps_ns", "details")
        refused = [
            (owner, reason, nr_frames)
            for owner, reasons in self.refused_by_owner.items()
            for reason, nr_frames in reasons.items()
        ]
        return (
            of_rows("request", [shown], several),
            PlainTable("details", ("figure", "value"), tuple(self.details.items())),
            PlainTable("steps_ns", ("step", "ns"), tuple(self.steps_ns.items())),
            of_rows("attempts", shown["attempts"], ("refused", "steps_ns")),
            PlainTable("refused", ("owner", "reason", "frames"), tuple(refused)),
            of_rows("in_the_way", shown["in_the_way"]),
        )

    as_json = to_json
