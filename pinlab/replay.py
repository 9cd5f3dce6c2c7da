"""A recording becomes a machine, frame by frame.

Every used frame gets a holder that knows it:

    anonymous   processes that map it, as many as the recording counts, so that mm moves it
    page cache  one address space of kind "file", the cache
    zbud        a zbud pool under zswap: really compressed pages, whose virtual pages are
                swapped out of the first process
    pinned      an anonymous page that also has a pin with 1024 references, as FOLL_PIN takes
    the rest    an `OpaqueOwner` per class (slab, pagetable, kernel ...), which refuses to
                move unless it is declared movable

So "who has a callback" is a parameter of the run, not of the code.

What is not kept: which process mapped what, swap cache pages (replayed as mapped ones),
compound slab pages (each frame moves by itself), transient references.
"""

from collections.abc import Set as AbstractSet

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from mm.contents import ArenaContents, Contents
from mm.frames import MAPCOUNT_NONE, MAPCOUNT_ZBUD, Frames, FrameState, PageFlag
from mm.machine import Machine
from mm.nodes import Zone, place_frames
from mm.pageblock import Pageblocks
from mm.swap import swp_entry
from owners.compress import compressor
from owners.opaque import OpaqueOwner
from owners.zbud import ZbudPool
from owners.zbud_owner import Coverage
from owners.zbud_reclaim import ZbudReclaim
from owners.zswap import BLOB_HEADER_NR_BYTES, Zswap
from pinlab.corpus import Corpus
from pinlab.designs import Dispatch, design
from pinlab.fill import NO_OBJECT, fill_arena, pick_pairs
from pinlab.ledger import Ledger
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot, count_classes
from pinpage.errors import PinpageError
from pinpage.registry import PinRegistry
from pinpage.units import PAGEBLOCK_NR_PAGES, Pfns, Span

__all__ = ["OPAQUE_OWNERS", "Replayed", "class_counts", "movable_owners", "replay"]

OPAQUE_OWNERS: dict[FrameClass, str] = {
    FrameClass.SLAB: "slab",
    FrameClass.PAGETABLE: "pagetable",
    FrameClass.KERNELSTACK: "kernel",
    FrameClass.VMALLOC: "kernel",
    FrameClass.OTHER: "kernel",
    FrameClass.CMA: "kernel",
    FrameClass.HUGETLB: "hugetlb",
    FrameClass.Z3FOLD: "z3fold",
    FrameClass.ZSMALLOC: "zsmalloc",
    FrameClass.ZRAM: "zram",
}
"""Class of a frame -> the opaque owner that adopts it."""

GUP_PIN_COUNTING_BIAS = 1024
"""References that one FOLL_PIN pin takes on a small page."""

_KEPT_FLAGS = np.bitwise_or.reduce(
    [
        flag.mask
        for flag in (
            PageFlag.REFERENCED, PageFlag.UPTODATE, PageFlag.DIRTY, PageFlag.ACTIVE,
            PageFlag.SLAB, PageFlag.ANON, PageFlag.SWAPBACKED, PageFlag.PGTABLE,
        )
    ]
)  # fmt: skip
"""Flags that a replay takes over; the rest are those of moments (locks, LRU batches)."""

_CLASS_OF_OWNER = {name: klass for klass, name in reversed(OPAQUE_OWNERS.items())} | {
    "gup": FrameClass.GUP,
    "kernel": FrameClass.OTHER,
}
_CLASS_OF_STATE = np.full(len(FrameState), FrameClass.UNKNOWN, dtype=np.uint8)
_CLASS_OF_STATE[FrameState.HOLE] = FrameClass.HOLE
_CLASS_OF_STATE[FrameState.RESERVED] = FrameClass.RESERVED
_CLASS_OF_STATE[FrameState.FREE] = FrameClass.FREE
_CLASS_OF_STATE[FrameState.PCP] = FrameClass.PCP
_CLASS_OF_STATE[FrameState.TAKEN] = FrameClass.PCP


@define
class Replayed:
    """A machine made from a recording, with everybody who holds its pages.

    Attributes:
        machine: memory as recorded, under the design asked for.
        ledger: what is stored in it.
        opaque: name -> opaque owner.
        pool, zswap: the compressed pages, if the recording has zbud.
    """

    machine: Machine
    ledger: Ledger
    opaque: dict[str, OpaqueOwner] = field(factory=dict)
    pool: ZbudPool | None = None
    zswap: Zswap | None = None


def movable_owners(snapshot: Snapshot) -> tuple[str, ...]:
    """Names that can be declared movable on this recording, sorted."""
    present = np.unique(snapshot.klass)
    names = {OPAQUE_OWNERS[FrameClass(c)] for c in present if FrameClass(c) in OPAQUE_OWNERS}
    names |= {"zbud"} if FrameClass.ZBUD in present else set()
    names |= {"gup"} if FrameClass.GUP in present else set()
    return tuple(sorted(names))


def replay(
    snapshot: Snapshot,
    corpus: Corpus,
    *,
    design_name: str = "registry",
    movable: AbstractSet[str] = frozenset(),
    zbud_coverage: Coverage = "migrate",
    contents: Contents | None = None,
    write: bool = True,
    seed: int = 0,
) -> Replayed:
    """Build the machine.

    Args:
        snapshot: the recording.
        corpus: contents for its pages.
        design_name: the design in force.
        movable: owners that have a callback, under a design that asks them.
        zbud_coverage: what zbud can do where it is movable: "migrate", or "unuse".
        contents: where bytes go; a fresh arena if not given.
        write: whether to write the contents (not if `contents` came filled).
        seed: of the contents, and of which zbud page holds two objects.

    Raises:
        PinpageError: unknown design, or an owner that the recording does not have.

    Cost: about 1 s and 600 MB of touched memory for a full 1 GiB machine.
    """
    known = movable_owners(snapshot)
    strangers = sorted(movable - set(known))
    if strangers:
        raise PinpageError(
            f"movable owner {strangers[0]!r} holds nothing in {snapshot.name}: "
            f"its owners are {', '.join(known)}"
        )
    return _Replay(snapshot, corpus, design_name, movable, zbud_coverage, contents, write, seed).build()


def class_counts(replayed: Replayed) -> NDArray[np.int32]:
    """Whose frames each pageblock holds now, int32 (nr_blocks, NR_CLASSES), for a map."""
    frames = replayed.machine.frames
    klass = _CLASS_OF_STATE[frames.state]
    used = np.flatnonzero(frames.state == FrameState.USED)
    anon = frames.has_flag(used, PageFlag.ANON)
    klass[used] = np.where(anon, FrameClass.ANON, FrameClass.FILE)
    klass[used[frames.mapcount[used] == MAPCOUNT_ZBUD]] = FrameClass.ZBUD
    klass[used[frames.has_flag(used, PageFlag.HUGE)]] = FrameClass.HUGETLB
    for name, owner in replayed.opaque.items():
        pfns = owner.pfn_of(np.arange(owner.nr_objects))
        klass[pfns] = _CLASS_OF_OWNER[name]
    return count_classes(klass)


class _Replay:
    """One replay under way: the arguments, and the serials given out so far."""

    def __init__(
        self,
        snapshot: Snapshot,
        corpus: Corpus,
        design_name: str,
        movable: AbstractSet[str],
        zbud_coverage: Coverage,
        contents: Contents | None,
        write: bool,
        seed: int,
    ) -> None:
        self._snapshot = snapshot
        self._corpus = corpus
        self._entry = design(design_name)
        self._movable = movable
        self._zbud_coverage = zbud_coverage
        self._write = write
        nr_frames = -(-snapshot.nr_frames // PAGEBLOCK_NR_PAGES) * PAGEBLOCK_NR_PAGES
        self._contents = contents if contents is not None else ArenaContents(nr_frames)
        self._frames = _frames_of(snapshot, nr_frames)
        self._machine = self._make_machine(nr_frames)
        self._registry: PinRegistry | None = None
        self._done = Replayed(self._machine, Ledger(corpus))
        self._seed = seed
        self._nr_serials = 0

    def build(self) -> Replayed:
        machine = self._machine
        if self._entry.dispatch is Dispatch.REGISTRY:
            self._registry = machine.use_registry()
        pcp = np.flatnonzero(self._frames.state == FrameState.PCP)
        machine.pcp.adopt(pcp, 0)
        self._map_pages()
        self._adopt_opaque()
        if self._snapshot.nr_frames_of(FrameClass.ZBUD):
            self._adopt_zbud()
        if self._entry.dispatch is Dispatch.PAGE_TYPE:
            pools = [self._done.pool] if self._done.pool is not None else []
            machine.design = ZbudReclaim(machine, pools)
        return self._done

    def _make_machine(self, nr_frames: int) -> Machine:
        snapshot = self._snapshot
        pageblocks = Pageblocks(nr_frames)
        known = snapshot.block_migratetype <= 5
        pageblocks.migratetype[: snapshot.nr_blocks][known] = snapshot.block_migratetype[known]
        zones = _zones_of(snapshot, nr_frames)
        place_frames(self._frames, zones)
        return Machine(self._frames, pageblocks, zones, self._contents)

    def _pfns_of(self, *classes: FrameClass) -> Pfns:
        return np.flatnonzero(np.isin(self._snapshot.klass, classes))

    def _fill(self, stream: str, pfns: Pfns) -> NDArray[np.int64]:
        """Contents for whole pages; their serials, shape (n,)."""
        serials = self._corpus.draw(self._stream(stream), len(pfns), first=self._take(len(pfns)))
        if self._write:
            fill_arena(self._contents, self._corpus, pfns, serials)
        return serials

    def _take(self, count: int) -> int:
        """The first of `count` serial numbers that nobody else gets."""
        self._nr_serials += count
        return self._nr_serials - count

    def _stream(self, name: str) -> np.random.Generator:
        """The random stream of that name: another one does not shift this one's draws."""
        return np.random.default_rng([self._seed, *name.encode()])

    # Page tables and the page cache.

    def _map_pages(self) -> None:
        anon = self._pfns_of(FrameClass.ANON, FrameClass.GUP)
        nr_mappings = np.maximum(self._snapshot.mapcount[anon], 1)
        serials = self._fill("anon", anon)
        nr_swapped = self._nr_zbud_objects()
        for process in range(int(nr_mappings.max(initial=1))):
            mapped = nr_mappings > process
            nr_vpns = int(mapped.sum()) + (nr_swapped if process == 0 else 0)
            space = self._machine.rmap.create(f"process{process}", nr_vpns)
            expected = np.full(nr_vpns, -1, dtype=np.int64)
            expected[: mapped.sum()] = serials[mapped]
            self._machine.rmap.map_many(space, np.arange(mapped.sum()), anon[mapped])
            self._done.ledger.spaces.append((space, expected))
        cache = self._pfns_of(FrameClass.FILE)
        space = self._machine.rmap.create("page cache", len(cache), kind="file")
        self._machine.rmap.map_many(space, np.arange(len(cache)), cache)
        self._done.ledger.spaces.append((space, self._fill("file", cache)))
        self._machine.lru.putback_many(np.sort(np.concatenate((anon, cache))))

    # Holders that mm cannot move by itself.

    def _adopt_opaque(self) -> None:
        for name in dict.fromkeys(OPAQUE_OWNERS.values()):
            classes = [c for c, owner in OPAQUE_OWNERS.items() if owner == name]
            pfns = self._pfns_of(*classes)
            if len(pfns):
                self._adopt(name, pfns, 1)
        pinned = self._pfns_of(FrameClass.GUP)
        if len(pinned):
            self._frames.refcount[pinned] += GUP_PIN_COUNTING_BIAS
            self._adopt("gup", pinned, GUP_PIN_COUNTING_BIAS)

    def _adopt(self, name: str, pfns: Pfns, references: int) -> None:
        owner = OpaqueOwner(
            name,
            movable=name in self._movable,
            references=references,
            registry=self._registry,
        )
        owner.adopt(pfns)
        self._done.opaque[name] = owner
        if name != "gup":  # a pinned page is its process's; the pinner stored nothing
            self._done.ledger.objects.append((owner, self._fill(name, pfns)))

    def _nr_zbud_objects(self) -> int:
        nr_pages = self._snapshot.nr_frames_of(FrameClass.ZBUD)
        stored = self._snapshot.workload.get("zswap_stored_pages", nr_pages)
        return min(max(stored, nr_pages), 2 * nr_pages)

    def _adopt_zbud(self) -> None:
        pfns = self._pfns_of(FrameClass.ZBUD)
        asked = self._entry.dispatch is Dispatch.REGISTRY
        machine = self._machine
        covered: Coverage = self._zbud_coverage if "zbud" in self._movable else "none"
        zswap = Zswap(
            machine,
            compressor("zlib"),
            host=machine.swap_core,
            registry=self._registry,
            handles="indirect" if asked else "address",
            coverage=covered if asked else None,
        )
        self._done.zswap = zswap
        self._done.pool = self._swap_out(zswap, pfns)

    def _swap_out(self, zswap: Zswap, pfns: Pfns) -> ZbudPool:
        """Adopt the pool's pages and make the objects in them swapped virtual pages."""
        machine, corpus = self._machine, self._corpus
        nr_objects = self._nr_zbud_objects()
        first = self._take(2 * len(pfns))
        pairs = pick_pairs(
            corpus, self._stream("zbud"), len(pfns), nr_objects, first=first,
            header_nr_bytes=BLOB_HEADER_NR_BYTES,
        )  # fmt: skip
        area = machine.swap.swapon(nr_objects + nr_objects // 4 + 1, zswap)
        pool = zswap.init(area.type)
        handles = np.concatenate(pool.adopt(pfns, pairs.first_nr_bytes, pairs.last_nr_bytes))
        serials = np.concatenate((pairs.first_serials, pairs.last_serials))
        there = serials != NO_OBJECT
        handles, serials = handles[there], serials[there]
        space, expected = self._done.ledger.spaces[0]
        vpns = np.arange(len(expected) - nr_objects, len(expected))
        expected[vpns] = serials
        offsets = machine.swap.adopt(space, vpns, area) - swp_entry(area.type, 0)
        if self._write:
            zswap.fill(area.type, offsets, handles, corpus.blobs(serials))
        else:
            zswap.adopt(area.type, offsets, handles, corpus.blob_nr_bytes(serials))
        return pool


def _frames_of(snapshot: Snapshot, nr_frames: int) -> Frames:
    """The columns as recorded, padded with holes to whole pageblocks."""
    frames = Frames(nr_frames)
    n = snapshot.nr_frames
    frames.state[:n] = snapshot.state
    frames.order[:n] = snapshot.order
    used = np.flatnonzero(snapshot.state == FrameState.USED)
    frames.flags[used] = snapshot.flags[used] & _KEPT_FLAGS
    frames.refcount[used] = 1
    frames.mapcount[:] = MAPCOUNT_NONE
    return frames


def _zones_of(snapshot: Snapshot, nr_frames: int) -> list[Zone]:
    """The recorded zones that have memory, with their watermarks."""
    zones = []
    for facts in snapshot.zones:
        if not facts.managed:
            continue
        start = facts.start_pfn // PAGEBLOCK_NR_PAGES * PAGEBLOCK_NR_PAGES
        stop = -(-(facts.start_pfn + facts.spanned) // PAGEBLOCK_NR_PAGES) * PAGEBLOCK_NR_PAGES
        zone = Zone(
            len(zones), facts.name, facts.node, Span(start, min(stop, nr_frames)), facts.managed
        )
        zone.min, zone.low, zone.high = facts.min, facts.low, facts.high
        zones.append(zone)
    if not zones:
        raise PinpageError(f"{snapshot.name}: no zone has memory; record it with zoneinfo")
    return zones
