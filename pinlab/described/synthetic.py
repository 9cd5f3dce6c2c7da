"""Memory from a description, for machines that nobody has recorded.

    scenario:1GiB,anon=30%,slab=2%          on the command line
    size = "1GiB"                           the same in a TOML file, one line per field
    anon = "30%"
    slab = "2%"

What comes out is a `Snapshot` like any recording's, so replay, designs and requests treat it
alike.  Pages are laid out the way that grouping by mobility leaves them:

    reserved                               at the bottom, as the kernel's image is
    slab pagetable kernel zbud z3fold own  in UNMOVABLE pageblocks from the bottom, filled by
                                           half; of every hundred frames `scatter` have fallen
                                           back into the others
    anon file zsmalloc zram                spread evenly over everything else, CMA included
    gup                                    likewise, but neither in CMA nor in ZONE_MOVABLE

Evenly, or in runs as `shape` says, which `pinlab.described.shape` draws.

A description is no measurement: it says what *would* be if memory looked like this.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
from attrs import field, fields_dict, frozen
from numpy.typing import NDArray

from mm.state.frames import PageFlag
from mm.state.nodes import Zone, setup_lowmem_reserve, setup_watermarks
from mm.state.pageblock import MAX_PAGEBLOCK_ORDER, USUAL_MAX_ORDER, MigrateType
from pinlab.described.shape import MOST, Shape, draw_nr_objects, in_shape
from pinlab.files.careful import one_line, read_bytes
from pinlab.files.npz import MAX_NR_FRAMES_READ, require_frames
from pinlab.procfs.infer import maximal_orders
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Geometry, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.limits import MAX_NR_ZONES
from pinpage.errors import PinpageError, at_least, one_of
from pinpage.units import PAGE_SIZE, Pfns, Span, in_words

__all__ = [
    "PREFIX",
    "Description",
    "describe_machine",
    "is_description",
    "nr_bytes_described",
]

PREFIX = "scenario:"
"""What a description on the command line begins with."""

_UNMOVABLE = ("slab", "pagetable", "kernel", "zbud", "z3fold", "own")
_SPREAD = ("anon", "file", "zsmalloc", "zram")
_CLASS = {
    name: FrameClass[name.upper()]
    for name in (*_UNMOVABLE, *_SPREAD, "gup")
    if name not in ("kernel", "own")
}
_CLASS |= {"kernel": FrameClass.OTHER, "own": FrameClass.LABELLED}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) *(%|KiB|MiB|GiB|TiB)")
_UNIT = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
_COUNTS = {"nodes": (1, "1 or more"), "pageblock_order": (4, "4 to 13")}
"""Fields that are whole numbers: the least one, and what to give."""
_PAGE_SIZES = (4 << 10, 16 << 10, 64 << 10)
_HALF = 2
_MOST_FILE_NR_BYTES = 1 << 20
_MOST_SHOWN = 100
_MAX_NR_NODES = MAX_NR_ZONES - 1
"""A zone each, and ZONE_MOVABLE."""


@frozen
class Description:
    """Memory in a few numbers: each share is a text such as "30%" or "300MiB".

    Attributes:
        size: of all memory, a multiple of the largest free block (4 MiB, if nothing else is said).
        nodes: NUMA nodes of equal size.
        page_size: such as "16KiB".
        pageblock_order: log2 of the pages in a pageblock; None: that of a huge page of such pages,
            9 for 4KiB, 11 for 16KiB and 13 for 64KiB.
        reserved: at the bottom, never to move.
        anon, file, slab, pagetable, kernel, gup: who holds how much.
        own: pages of a driver of one's own: frames labelled "own".
        zbud, z3fold, zsmalloc, zram: compressed pages; one kind of pool at a time.
        cma: a contiguous area at the top, in MOVABLE memory's place.
        movable: ZONE_MOVABLE, at the very top.
        scatter: share of the unmovable pages that sit among movable ones.
        shape: how free places are given out: even, clusters or ages (`pinlab.described.shape`).
        objects: of a compressed pool, per page on average, such as "1.5"; "usual": as recorded
            pools of its kind.
    """

    size: str
    nodes: int = field(default=1)
    page_size: str = "4KiB"
    pageblock_order: int | None = None
    reserved: str = "2%"
    anon: str = "0%"
    file: str = "0%"
    slab: str = "0%"
    pagetable: str = "0%"
    kernel: str = "0%"
    gup: str = "0%"
    own: str = "0%"
    zbud: str = "0%"
    z3fold: str = "0%"
    zsmalloc: str = "0%"
    zram: str = "0%"
    cma: str = "0%"
    movable: str = "0%"
    scatter: str = "5%"
    shape: str = "even"
    objects: str = "usual"


def is_description(text: str) -> bool:
    """Whether a command-line argument describes memory instead of naming a recording."""
    return str(text).startswith(PREFIX) or str(text).endswith(".toml")


def describe_machine(text: str, *, seed: int = 0) -> Snapshot:
    """The memory that `scenario:...` or a TOML file describes.

    Args:
        text: the description, or the file's path.
        seed: of the layout.

    Raises:
        PinpageError: names the field that is wrong and the fix.

    Cost: about 0.15 us per frame.
    """
    at_least(0, "scenario", seed=seed)
    with _naming(text):
        return _layout_of(text, seed).snapshot()


def nr_bytes_described(text: str) -> int:
    """Bytes in the pages that somebody holds, of memory that is not laid out yet.

    Args:
        text: as for `describe_machine`, whose errors it raises, but those of shares that only
            together come to too much.
    """
    with _naming(text):
        return _layout_of(text, 0).nr_bytes_held


@contextmanager
def _naming(text: str) -> Iterator[None]:
    """What is wrong in a file is said with its name: a command may be given several."""
    try:
        yield
    except PinpageError as error:
        said = str(error)
        is_file = is_description(text) and not text.startswith(PREFIX)
        if not is_file or not said.startswith("scenario: "):
            raise
        raise PinpageError(one_line(f"{text}: {said.removeprefix('scenario: ')}")) from None


def _layout_of(text: str, seed: int) -> "_Layout":
    if not is_description(text):
        raise PinpageError(
            one_line(f"scenario: {text!r}: begin with {PREFIX}, or name a .toml file")
        )
    if text.startswith(PREFIX):
        name, given = text.removeprefix(PREFIX), _from_text(text.removeprefix(PREFIX))
    else:
        name, given = Path(text).stem, _from_file(Path(text))
    return _Layout(name, _checked(given), np.random.default_rng(seed), seed)


def _from_text(text: str) -> dict[str, object]:
    if not text.strip():
        return {}
    size, *rest = text.split(",")
    given: dict[str, object] = {} if "=" in size or not size else {"size": size.strip()}
    for entry in rest if given else [size, *rest]:
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals:
            raise PinpageError(f"scenario: {entry!r}: write field=value, such as anon=30%")
        if name in given:
            raise PinpageError(f"scenario: {name}: is given twice; leave one out")
        is_count = name in _COUNTS and value.isascii() and value.isdecimal() and len(value) < 9
        given[name] = int(value) if is_count else value
    return given


def _from_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(read_bytes(path, _MOST_FILE_NR_BYTES).decode("utf-8"))
    except OSError as error:
        problem = error.strerror or str(error)
        raise SnapshotError(path, "file", problem, "give the path of a TOML file") from None
    except (ValueError, RecursionError) as error:
        raise PinpageError(
            one_line(f'{path}: is not TOML ({error}); write lines such as anon = "30%"')
        ) from None


def _checked(given: Mapping[str, object]) -> Description:
    known = fields_dict(Description)
    for name, value in given.items():
        shown = one_line(f"{name}={value}")[:_MOST_SHOWN]
        if name not in known:
            fields = ", ".join(known)
            raise PinpageError(
                f"scenario: {one_line(name)[:_MOST_SHOWN]}: is unknown; fields are {fields}"
            )
        least, such = _COUNTS.get(name, (0, ""))
        if such and (type(value) is not int or value < least):
            raise PinpageError(f"scenario: {shown}: give a whole number, {such}")
        if not such and type(value) is not str:
            raise PinpageError(f'scenario: {shown}: give a text such as "30%" or "128MiB"')
    if "size" not in given:
        raise PinpageError(
            "scenario: size: is missing; begin with it, such as scenario:1GiB,anon=30%"
        )
    return Description(**given)  # type: ignore[arg-type]  # (each was checked above)


def _page_nr_bytes(text: str) -> int:
    found = _AMOUNT.fullmatch(text.strip())
    nr_bytes = float(found[1]) * (1 << _UNIT[found[2]]) if found and found[2] in _UNIT else 0
    if nr_bytes not in _PAGE_SIZES:
        sizes = ", ".join(in_words(size).replace(" ", "") for size in _PAGE_SIZES)
        raise PinpageError(f"scenario: page_size={_shown(text)}: give one of {sizes}")
    return int(nr_bytes)


def _order(asked: Description, page_nr_bytes: int) -> int:
    """Of a pageblock: what is said, or a huge page: a page of entries of eight bytes."""
    order = asked.pageblock_order
    if order is None:
        order = page_nr_bytes.bit_length() - 4
    if order > MAX_PAGEBLOCK_ORDER:
        problem = f"give a whole number, {_COUNTS['pageblock_order'][1]}"
        raise PinpageError(f"scenario: pageblock_order={order}: {problem}")
    return order


def _shown(text: str) -> str:
    return one_line(repr(text))[:_MOST_SHOWN]


def _nr_pages(name: str, value: str, total: int, page_nr_bytes: int = PAGE_SIZE) -> int:
    """Pages that an amount stands for; a share is of `total`, 0 where there is none to share."""
    found = _AMOUNT.fullmatch(value.strip())
    wrong_unit = found is not None and (
        (found[2] == "%" and not total) or (found[2] != "%" and name == "scatter")
    )
    if found is None or wrong_unit:
        such = {"size": "1GiB", "scatter": "5%"}.get(name, "30% or 128MiB")
        raise PinpageError(f"scenario: {name}={_shown(value)}: give an amount such as {such}")
    number, unit = float(found[1]), found[2]
    if unit == "%":
        if number > 100:
            raise PinpageError(f"scenario: {name}={value!r}: is more than all; give at most 100%")
        return int(total * number / 100)
    return int(number * (1 << _UNIT[unit]) / page_nr_bytes)


class _Layout:
    """Frames given out until everybody has his share."""

    def __init__(self, name: str, asked: Description, rng: np.random.Generator, seed: int) -> None:
        self._name, self._rng, self._seed, self._nodes = name, rng, seed, asked.nodes
        self._page_nr_bytes = _page_nr_bytes(asked.page_size)
        order = _order(asked, self._page_nr_bytes)
        self._block, self._max_order = 1 << order, max(order, USUAL_MAX_ORDER)
        self._border = 1 << self._max_order  # areas begin and end where the largest free blocks do
        total = self._total(asked)
        self._nr = {
            name: self._nr_pages(name, getattr(asked, name), total)
            for name in (*_CLASS, "reserved")
        }
        for share, nr_pages in self._nr.items():
            if nr_pages > total:
                value = getattr(asked, share)
                raise PinpageError(f"scenario: {share}={value!r}: is more than all; give less")
        self._scatter = _nr_pages("scatter", asked.scatter, 10_000) / 10_000
        one_of(get_args(Shape), "scenario", shape=asked.shape)
        self._shape = asked.shape
        pools = [name for name in MOST if self._nr[name]]
        if len(pools) > 1:
            raise PinpageError(
                f"scenario: {pools[1]}: zswap has one pool, {pools[0]} already; leave one out"
            )
        if asked.objects != "usual" and not pools:
            raise PinpageError(
                f"scenario: objects={_shown(asked.objects)}: there is no pool whose pages hold "
                f"them: give {', '.join(MOST)}, or leave it out"
            )
        self._workload: dict[str, int] = {}
        for pool in pools:
            self._workload["zswap_stored_pages"] = draw_nr_objects(
                pool, self._nr[pool], asked.objects, np.random.default_rng([seed, 1])
            )
        self._total_nr_pages = total
        areas = [self._area(name, getattr(asked, name), total) for name in ("movable", "cma")]
        self._movable = Span(total - areas[0], total)
        self._cma = Span(self._movable.start - areas[1], self._movable.start)
        if self._cma.start < total // 4 or self._movable.start <= total - total // self._nodes:
            raise PinpageError(
                "scenario: cma, movable: leave no room below; give them less of the last node"
            )

    @property
    def nr_bytes_held(self) -> int:
        """Bytes in pages that somebody holds; reserved ones have no contents."""
        return (sum(self._nr.values()) - self._nr["reserved"]) * self._page_nr_bytes

    def _total(self, asked: Description) -> int:
        total = self._nr_pages("size", asked.size, 0)
        if not total or total % self._border or total // self._border < asked.nodes:
            unit = self._border_in_words()
            raise PinpageError(
                f"scenario: size={asked.size!r}: give a multiple of {unit}, "
                f"at least {unit} per node"
            )
        if asked.nodes > _MAX_NR_NODES:
            raise PinpageError(f"scenario: nodes={asked.nodes}: give {_MAX_NR_NODES} at most")
        if total > MAX_NR_FRAMES_READ:
            raise PinpageError(
                f"scenario: size={_shown(asked.size)}: comes to {total:,d} frames, more than the "
                f"{MAX_NR_FRAMES_READ:,d} that are read: give less"
            )
        require_frames(total, f"scenario:{asked.size}", "size")
        return total

    def _area(self, name: str, value: str, total: int) -> int:
        nr_pages = self._nr_pages(name, value, total)
        if nr_pages % self._border and not value.endswith("%"):
            unit = self._border_in_words()
            raise PinpageError(f"scenario: {name}={value!r}: give a multiple of {unit}")
        return nr_pages // self._border * self._border

    def _nr_pages(self, name: str, value: str, total: int) -> int:
        return _nr_pages(name, value, total, self._page_nr_bytes)

    def _border_in_words(self) -> str:
        return in_words(self._border * self._page_nr_bytes).replace(" ", "")

    def snapshot(self) -> Snapshot:
        total = self._total_nr_pages
        self._klass = np.full(total, FrameClass.FREE, dtype=np.uint8)
        self._types = np.full(total // self._block, MigrateType.MOVABLE, dtype=np.uint8)
        self._types[self._cma.start // self._block : self._cma.stop // self._block] = (
            MigrateType.CMA
        )
        self._klass[: self._nr["reserved"]] = FrameClass.RESERVED
        self._types[: -(-self._nr["reserved"] // self._block)] = MigrateType.UNMOVABLE
        self._group()
        self._give(("gup",), self._free_below(self._cma.start))
        self._give(_SPREAD, self._free_below(len(self._klass)))
        return self._as_snapshot()

    def _group(self) -> None:
        """Whoever cannot move: most in pageblocks of their own, the rest anywhere below CMA."""
        wanted = {name: self._nr[name] for name in _UNMOVABLE}
        grouped = {name: int(count * (1 - self._scatter)) for name, count in wanted.items()}
        first = -(-self._nr["reserved"] // self._block)
        nr_blocks = -(-_HALF * sum(grouped.values()) // self._block)
        last = min(first + nr_blocks, self._cma.start // self._block)
        self._types[first:last] = MigrateType.UNMOVABLE
        own = np.arange(first * self._block, last * self._block)
        self._place(grouped, own)
        rest = {name: wanted[name] - grouped[name] for name in wanted}
        self._place(rest, self._free_below(self._cma.start))

    def _free_below(self, stop: int) -> Pfns:
        return np.flatnonzero(self._klass[:stop] == FrameClass.FREE)

    def _give(self, names: tuple[str, ...], pfns: Pfns) -> None:
        self._place({name: self._nr[name] for name in names}, pfns)

    def _place(self, wanted: Mapping[str, int], pfns: Pfns) -> None:
        total = sum(wanted.values())
        if total > len(pfns):
            name = max(wanted, key=lambda name: wanted[name])
            raise PinpageError(
                f"scenario: {name}: shares come to more than there is room for"
                f" ({total - len(pfns):,d} pages too many); give less"
            )
        if not total:
            return
        if self._shape == "even":
            chosen = self._rng.choice(pfns, total, replace=False, shuffle=True)
        else:
            chosen = in_shape(pfns, self._shape, self._rng, self._block)[:total]
        at = 0
        for name, count in wanted.items():
            self._klass[chosen[at : at + count]] = _CLASS[name]
            at += count

    def _as_snapshot(self) -> Snapshot:
        klass = self._klass
        zones = self._zones()
        zone = np.zeros(len(klass), dtype=np.uint8)
        for index, facts in enumerate(zones):
            zone[facts.start_pfn : facts.start_pfn + facts.spanned] = index
        mapped = np.isin(klass, (FrameClass.ANON, FrameClass.FILE, FrameClass.GUP))
        anon = np.isin(klass, (FrameClass.ANON, FrameClass.GUP))
        in_use = (klass != FrameClass.FREE) & (klass != FrameClass.RESERVED)
        return Snapshot(
            state=STATE_OF_CLASS[klass],
            klass=klass,
            order=maximal_orders(klass == FrameClass.FREE, zone, self._max_order),
            flags=np.where(anon, np.uint64(PageFlag.ANON.mask), np.uint64(0)),
            refcount=in_use.astype(np.int32),
            mapcount=mapped.astype(np.int32),
            zone=zone,
            gfp=np.full(len(klass), NOT_KNOWN, dtype=np.uint8),
            guessed=np.zeros(len(klass), dtype=np.bool_),
            block_migratetype=self._types,
            block_skip=np.zeros(len(self._types), dtype=np.bool_),
            pinned_pfns=np.flatnonzero(klass == FrameClass.GUP),
            zones=zones,
            nr_pages_per_block=self._block,
            geometry=Geometry(page_nr_bytes=self._page_nr_bytes, max_order=self._max_order),
            workload=self._workload,
            labels=_labels(klass),
            provenance=Provenance(
                source="made from a description", scenario=self._name, seed=self._seed
            ),
        )  # fmt: skip

    def _zones(self) -> tuple[ZoneFacts, ...]:
        borders = self._borders()
        zones = [
            Zone(index, name, node, span, self._managed(span))
            for index, (name, node, span) in enumerate(borders)
        ]
        setup_watermarks(zones, page_nr_bytes=self._page_nr_bytes)
        setup_lowmem_reserve(zones)
        return tuple(self._facts(zone) for zone in zones)

    def _borders(self) -> list[tuple[str, int, Span]]:
        total, nodes = len(self._klass), self._nodes
        step = total // nodes // self._border * self._border
        starts = [node * step for node in range(nodes)]
        stops = [*starts[1:], self._movable.start]
        borders = [
            ("Normal", n, Span(a, b)) for n, (a, b) in enumerate(zip(starts, stops, strict=True))
        ]
        if self._movable.nr_pages:
            borders.append(("Movable", nodes - 1, self._movable))
        return borders

    def _managed(self, span: Span) -> int:
        klass: NDArray[np.uint8] = self._klass[span.start : span.stop]
        return int(np.count_nonzero(klass != FrameClass.RESERVED))

    def _facts(self, zone: Zone) -> ZoneFacts:
        span = zone.span
        nr_free = np.count_nonzero(self._klass[span.start : span.stop] == FrameClass.FREE)
        cma = max(0, min(span.stop, self._cma.stop) - max(span.start, self._cma.start))
        return ZoneFacts(
            name=zone.name, node=zone.node, start_pfn=span.start, spanned=span.nr_pages,
            present=span.nr_pages, managed=zone.managed_nr_pages, cma=cma, min=zone.min,
            low=zone.low, high=zone.high, boost=0, nr_free=int(nr_free),
            lowmem_reserve=tuple(int(n) for n in zone.lowmem_reserve),
        )  # fmt: skip


def _labels(klass: NDArray[np.uint8]) -> dict[str, tuple[Span, ...]]:
    """Frames of one's own driver, if there are any, as runs."""
    is_own = np.concatenate(([False], klass == FrameClass.LABELLED, [False]))
    borders = np.flatnonzero(is_own[1:] != is_own[:-1]).reshape(-1, 2).tolist()
    return {"own": tuple(Span(start, stop) for start, stop in borders)} if borders else {}
