"""A crash dump, or the running kernel (/proc/kcore), through drgn.

struct page is read in bulk, a valid range of pfns at a time, and taken apart by the offsets that
the kernel's own debug information names; no layout is built in.  What comes out is what
kpageflags would have said, and references beside it, which kpageflags does not say.

Owns: which member of struct page is which column.
Ignores: what drgn does; the extra `drgn` brings it.
Kernel counterpart: `fs/proc/page.c`, stable_page_flags.
Cost: some 100 ns a page.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from mm.state.frames import PageFlag
from pinlab.files.npz import require_frames
from pinlab.procfs.capture import columns_of
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot
from pinlab.sources.counts import Reading
from pinpage.extras import missing_extra
from pinpage.units import Span

__all__ = ["PageRange", "open_dump", "snapshot_of_pages"]

PageRange = tuple[int, int, int]
"""First pfn, the pfn behind the last one, and the address of the first one's struct page."""

_KCORE: Final = Path("/proc/kcore")
_CHUNK_NR_PAGES: Final = 1 << 15
_MOST_ORDER: Final = 18
_MOST_ZONES: Final = 255
_FIX: Final = "give drgn the kernel's debug information, or use another source"
_FLAG_OF: Final = {
    "PG_locked": PageFlag.LOCKED, "PG_error": PageFlag.ERROR,
    "PG_referenced": PageFlag.REFERENCED, "PG_uptodate": PageFlag.UPTODATE,
    "PG_dirty": PageFlag.DIRTY, "PG_lru": PageFlag.LRU, "PG_active": PageFlag.ACTIVE,
    "PG_slab": PageFlag.SLAB, "PG_writeback": PageFlag.WRITEBACK,
    "PG_reclaim": PageFlag.RECLAIM, "PG_head": PageFlag.COMPOUND_HEAD,
    "PG_swapbacked": PageFlag.SWAPBACKED, "PG_unevictable": PageFlag.UNEVICTABLE,
    "PG_hwpoison": PageFlag.HWPOISON, "PG_reserved": PageFlag.RESERVED,
    "PG_mlocked": PageFlag.MLOCKED,
}  # fmt: skip
"""Enumerator of enum pageflags -> bit of kpageflags."""
_TYPES: Final = {
    "buddy": PageFlag.BUDDY, "offline": PageFlag.OFFLINE, "table": PageFlag.PGTABLE,
    "slab": PageFlag.SLAB, "hugetlb": PageFlag.HUGE,
}  # fmt: skip
"""What a page's type is called -> bit of kpageflags."""
_USUAL_TYPES: Final = {"PG_buddy": 0x80, "PG_offline": 0x100}
"""Of kernels whose types are no enum, so that debug information does not have them."""


def open_dump(path: Path) -> Snapshot:
    """The snapshot that a dump makes.

    Args:
        path: of the dump; /proc/kcore is the running kernel.

    Raises:
        PinpageError: drgn is not installed.
        SnapshotError: it cannot read the dump, or finds no debug information of its kernel.
    """
    try:
        import drgn  # noqa: PLC0415  (an extra, loaded late)
        from drgn.helpers.linux import mm, mmzone  # noqa: PLC0415
    except ImportError:
        raise missing_extra(f"{path}: a crash dump is read by drgn", "drgn") from None
    program = drgn.Program()
    try:
        if path == _KCORE:
            program.set_kernel()
        else:
            program.set_core_dump(path)
        program.load_default_debug_info()
        size = drgn.sizeof(program.type("struct page"))
        ranges = [
            (start, stop, int(pages.value_()) + start * size)
            for start, stop, pages in mm.for_each_valid_page_range(program)
        ]
        zones = _zones(program, mmzone.for_each_online_pgdat(program))
        release = program["UTS_RELEASE"].string_().decode(errors="replace")
        return snapshot_of_pages(program, ranges, zones, release, path)
    except SnapshotError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, OSError, drgn.FaultError) as error:
        problem = f"cannot be read ({str(error) or type(error).__name__})"
        raise SnapshotError(path, "dump", problem, _FIX) from None


def snapshot_of_pages(
    program: Any,
    ranges: Iterable[PageRange],
    zones: tuple[ZoneFacts, ...],
    release: str,
    path: Path | str = "dump",
) -> Snapshot:
    """A snapshot from the struct pages of a program.

    Args:
        program: a `drgn.Program` that knows struct page and enum pageflags.
        ranges: where there are struct pages, ascending.
        zones: the zones.
        release: of the kernel.
        path: of the dump, for messages.

    Raises:
        SnapshotError: there is no page, or a member is not what it must be.
    """
    spans = tuple(Span(start, stop) for start, stop, _ in ranges if stop > start)
    if not spans:
        raise SnapshotError(path, "struct page", "there is none", _FIX)
    nr_frames = spans[-1].stop
    require_frames(nr_frames, path, "struct page")
    layout, reading = _layout_of(program, path), Reading()
    flags = np.full(nr_frames, PageFlag.NOPAGE.mask, dtype=np.uint64)
    mappings, references = np.zeros(nr_frames, dtype=np.int64), np.zeros(nr_frames, dtype=np.int64)
    private = np.zeros(nr_frames, dtype=np.int64)
    for start, stop, address in ranges:
        for first in range(start, stop, _CHUNK_NR_PAGES):
            nr_pages = min(_CHUNK_NR_PAGES, stop - first)
            place = slice(first, first + nr_pages)
            at = address + (first - start) * layout.nr_bytes
            try:
                raw = np.frombuffer(program.read(at, nr_pages * layout.nr_bytes), dtype=np.uint8)
            except Exception as error:
                if type(error).__name__ != "FaultError":
                    raise
                flags[place], references[place] = 0, -1
                reading.add("pages_not_in_dump", nr_pages)
                continue
            pages = raw.reshape(nr_pages, layout.nr_bytes)
            flags[place], mappings[place] = layout.flags(pages)
            references[place] = layout.column(pages, "_refcount")
            private[place] = layout.column(pages, "private")
    _fill_blocks(flags, private)
    source = f"struct page of Linux {release or 'of unknown release'}"
    snapshot = columns_of(
        flags, mappings.astype(np.uint64), spans, zones, Provenance(source, release)
    )
    missing = {*snapshot.unknown_fields, *(() if zones else ("zones", "zone"))} - {"refcount"}
    refs = np.where(snapshot.refcount == 0, 0, np.clip(references, -1, (1 << 31) - 1))
    refs[(flags & PageFlag.COMPOUND_TAIL.mask) != 0] = 0
    found = evolve(
        snapshot,
        refcount=refs.astype(np.int32),
        unknown_fields=tuple(sorted(missing)),
        reading=dict(reading),
    )
    found.check(path)
    return found


@frozen(eq=False)
class _Layout:
    """Where the members of struct page lie, and what the numbers in them mean.

    Attributes:
        nr_bytes: of struct page.
        members: name -> (offset, bytes).
        flag_bits: bit of `flags` -> bit of kpageflags.
        types: a type's value -> bit of kpageflags; `is_byte`: types are numbers, not bits.
    """

    nr_bytes: int
    members: Mapping[str, tuple[int, int]]
    flag_bits: Mapping[int, PageFlag]
    types: Mapping[int, PageFlag]
    is_byte: bool

    def column(self, pages: NDArray[np.uint8], name: str) -> NDArray[np.int64]:
        """A member of all pages."""
        offset, nr_bytes = self.members[name]
        raw = np.ascontiguousarray(pages[:, offset : offset + nr_bytes])
        numbers = raw.view(f"<i{nr_bytes}")[:, 0]
        return numbers.astype(np.int64)

    def flags(self, pages: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """(flags as kpageflags has them, mappings) of all pages."""
        words = self.column(pages, "flags").view(np.uint64)
        found = np.zeros(len(pages), dtype=np.uint64)
        for bit, flag in self.flag_bits.items():
            found |= np.where((words >> np.uint64(bit)) & np.uint64(1), flag.mask, np.uint64(0))
        is_tail = (self.column(pages, "compound_head") & 1) != 0
        # A head that is said twice: a tail has no flags of its own but a few.
        found[is_tail] &= ~PageFlag.COMPOUND_HEAD.mask
        found[is_tail] |= PageFlag.COMPOUND_TAIL.mask
        count = self.column(pages, "_mapcount")
        typed = self._typed(count.astype(np.uint32))
        found |= typed
        mappings = np.where((typed == 0) & (count >= 0), count + 1, 0)
        found[mappings > 0] |= PageFlag.MMAP.mask
        is_anon = (self.column(pages, "mapping") & 3) == 1
        in_use = ((found & PageFlag.LRU.mask) != 0) | (mappings > 0)
        found[is_anon & in_use & ~is_tail] |= PageFlag.ANON.mask
        return found, mappings

    def _typed(self, values: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """The flag of each page's type; 0 for a page that has none."""
        found = np.zeros(len(values), dtype=np.uint64)
        for value, flag in self.types.items():
            if self.is_byte:
                is_it = values >> np.uint32(24) == value
            else:
                base = np.uint32(0x80000000 if value >= 1 << 24 else 0xF0000000)
                is_it = (values & (base | np.uint32(value))) == base
            found[is_it] |= flag.mask
        return found


def _layout_of(program: Any, path: Path | str) -> _Layout:
    try:
        page = program.type("struct page")
        bits = dict(program.type("enum pageflags").enumerators)
        names = ("flags", "_refcount", "_mapcount", "mapping", "private", "compound_head")
        members = {name: _member(page, name) for name in names}
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        problem = f"lacks what is read of it ({error})"
        raise SnapshotError(path, "struct page", problem, _FIX) from None
    if any(offset + size > page.size or size not in {4, 8} for offset, size in members.values()):
        raise SnapshotError(path, "struct page", "has a member of no known size", _FIX)
    try:
        types = dict(program.type("enum pagetype").enumerators)
    except LookupError:
        types = _USUAL_TYPES
    is_byte = "PGTY_buddy" in types
    prefix = "PGTY_" if is_byte else "PG_"
    return _Layout(
        nr_bytes=page.size,
        members=members,
        flag_bits={bits[name]: flag for name, flag in _FLAG_OF.items() if name in bits},
        types={types[prefix + n]: f for n, f in _TYPES.items() if prefix + n in types},
        is_byte=is_byte,
    )


def _member(page: Any, name: str) -> tuple[int, int]:
    """(offset, size) of a member, wherever in nested unions it stands."""
    member = page.member(name)
    inner = member.type
    while getattr(inner, "type", None) is not None and not hasattr(inner, "size"):
        inner = inner.type  # a typedef
    size = 8 if not hasattr(inner, "size") else inner.size
    return member.bit_offset // 8, size


def _fill_blocks(flags: NDArray[np.uint64], private: NDArray[np.int64]) -> None:
    """All frames of a free block are marked, as kpageflags does: the kernel marks the first."""
    heads = np.flatnonzero((flags & PageFlag.BUDDY.mask) != 0)
    orders = private[heads]
    sound = (orders >= 0) & (orders <= _MOST_ORDER)
    heads, nr_pages = heads[sound], np.int64(1) << np.clip(orders[sound], 0, _MOST_ORDER)
    sound = (heads % nr_pages == 0) & (heads + nr_pages <= len(flags))
    depth = np.zeros(len(flags) + 1, dtype=np.int64)
    np.add.at(depth, heads[sound], 1)
    np.add.at(depth, (heads + nr_pages)[sound], -1)
    inside = (np.cumsum(depth[:-1]) > 0) & ((flags & ~PageFlag.BUDDY.mask) == 0)
    flags[inside] = PageFlag.BUDDY.mask


def _zones(program: Any, pgdats: Iterable[Any]) -> tuple[ZoneFacts, ...]:
    free_pages = program.constant("NR_FREE_PAGES").value_()
    zones = []
    for pgdat in pgdats:
        for zone in pgdat.node_zones:
            marks = [int(mark.value_()) for mark in zone.member_("_watermark")][:3]
            managed = zone.managed_pages.counter.value_()
            zones.append(
                ZoneFacts(
                    name=zone.name.string_().decode(errors="replace"),
                    node=int(pgdat.node_id.value_()),
                    start_pfn=int(zone.zone_start_pfn.value_()),
                    spanned=int(zone.spanned_pages.value_()),
                    present=int(zone.present_pages.value_()),
                    managed=int(managed),
                    cma=None,
                    min=marks[0],
                    low=marks[1],
                    high=marks[2],
                    boost=int(zone.watermark_boost.value_()),
                    nr_free=max(int(zone.vm_stat[free_pages].counter.value_()), 0),
                    nr_free_blocks=tuple(int(a.nr_free.value_()) for a in zone.free_area),
                )
            )
    return tuple(zones[:_MOST_ZONES])
