"""A recording becomes a machine, frame by frame.

Every used frame gets a holder that knows it:

    anonymous   processes that map it, as many as the recording counts, so that mm moves it
    page cache  one address space of kind "file", the cache
    zbud, z3fold, zsmalloc   the pool that zswap had: really compressed pages, whose virtual
                pages are swapped out of the first process
    hugetlb     a pool of each size; a page that somebody has is its owner's (`HugetlbPages`)
    large pages of processes and of the page cache (THP) stay one page
    pinned      an anonymous page that also has a pin with 1024 references, as FOLL_PIN takes
    the rest    an `OpaqueOwner` per class (slab, pagetable, kernel ...), which refuses to
                move unless it is declared movable

So "who has a callback" is a parameter of the run, not of the code.

What is not kept: which process mapped what, swap cache pages (replayed as mapped ones),
compound slab pages (each frame moves by itself), how many map a huge page, transient references.
"""

from collections.abc import Set as AbstractSet
from functools import partial

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.machine import Machine
from mm.state.contents import Contents, TagContents
from mm.state.frames import GUP_PIN_COUNTING_BIAS, FrameState, PageFlag
from mm.state.nodes import place_frames
from mm.swap.swapops import swp_entry
from owners.compress import compressor
from owners.gup.before_pin import MigrateBeforePin, before_pin
from owners.hugetlb_pages import HugetlbPages
from owners.opaque import GIVEN_UP, OpaqueOwner
from owners.pool.owner import Coverage
from owners.zbud.pool import ZbudPool
from owners.zpool import Zpool
from owners.zswap.zswap import BLOB_HEADER_NR_BYTES, Zswap
from pinlab.replay.contents import PagePlan, contents_of, plan_pages
from pinlab.replay.corpus import Corpus
from pinlab.replay.designs import DesignEntry, design
from pinlab.replay.frames import frames_of, nr_frames_padded, pageblocks_of, zones_of
from pinlab.replay.layout_only import blobs_of, sizes_of
from pinlab.replay.owners import (
    CLASS_OF_OWNER,
    ZPOOL_OF_CLASS,
    check_movable,
    check_release,
    hugetlb_pieces,
    opaque_classes,
    pool_class,
)
from pinlab.replay.pools import MOST_OBJECTS_PER_PAGE, fill_pool
from pinlab.replay.read_back import ExpectedContents
from pinlab.replay.replayable import check_replayable, nr_swap_slots
from pinlab.replay.take_over import OwnFrames, TakesOver, label_for
from pinlab.replay.whole_pages import huge_pages, large_folios
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot, count_classes
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["Replayed", "class_counts", "replay", "replay_layout", "replay_over"]

_OBJECTS_AT_ONCE = 8192
"""Compressed objects made at a time: some 12 MB."""

_NOT_ON_DISK = PageFlag.DIRTY.mask | PageFlag.SWAPBACKED.mask
"""Flags of page cache (shmem among it) whose bytes are in memory only."""

_MAX_POOL_PERCENT = 40
"""What the recorded machines had zswap set to; the default of 20 would be exceeded at once."""

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
        expected: what is stored in it.
        opaque: name -> opaque owner.
        hugetlb: frames of a huge page -> who has the pages of that pool.
        pool, zswap: the compressed pages, if zswap had a pool.
        pool_class: what the recording calls the pool's frames.
        own: an owner from outside that has taken frames over, if there is one.
    """

    machine: Machine
    expected: ExpectedContents
    opaque: dict[str, OpaqueOwner] = field(factory=dict)
    hugetlb: dict[int, HugetlbPages] = field(factory=dict)
    own: OwnFrames | None = None
    pool: Zpool | None = None
    zswap: Zswap | None = None
    pool_class: FrameClass = FrameClass.ZBUD


def replay(
    snapshot: Snapshot,
    corpus: Corpus,
    *,
    design_name: str = "registry",
    movable: AbstractSet[str] = frozenset(),
    zbud_coverage: Coverage = "migrate",
    seed: int = 0,
    own: TakesOver | None = None,
    release: AbstractSet[str] = frozenset(),
) -> Replayed:
    """Build the machine, with contents in all its frames.

    Args:
        snapshot: the recording.
        corpus: contents for its pages.
        design_name: the design in force.
        movable: owners that have a callback, under a design that asks them.
        zbud_coverage: what zbud can do where it is movable: "migrate", or "unuse".
        seed: of the contents, and of which zbud page holds two objects.
        own: an owner from outside, for the frames of a label.
        release: owners that give their pages up where they are asked to move, such as caches.

    Raises:
        PinpageError: unknown design, an owner that the recording does not have, one from
            outside that does not take its frames, or a recording that no replay can be made
            of: see `check_replayable`.

    Cost: about 1 s and 600 MB of touched memory for a full 1 GiB machine.
    """
    check_replayable(snapshot)
    check_movable(snapshot, movable)
    check_release(snapshot, release, movable)
    pages = plan_pages(snapshot, corpus, seed=seed)
    contents = contents_of(snapshot, corpus)
    pages.write(contents, corpus)  # first: who takes frames over writes into them
    return replay_over(
        contents, pages, snapshot, corpus,
        design_name=design_name, movable=movable, zbud_coverage=zbud_coverage, own=own,
        release=release,
    )  # fmt: skip


def replay_layout(
    snapshot: Snapshot,
    corpus: Corpus,
    *,
    design_name: str = "registry",
    movable: AbstractSet[str] = frozenset(),
    seed: int = 0,
    own: TakesOver | None = None,
    release: AbstractSet[str] = frozenset(),
) -> Replayed:
    """Build a machine of which only the layout counts: of any size, nothing to be read back.

    Args, Raises: as `replay`.
    """
    check_replayable(snapshot)
    check_movable(snapshot, movable)
    check_release(snapshot, release, movable)
    contents = contents_of(snapshot, corpus, layout_only=True)
    pages = plan_pages(snapshot, corpus, seed=seed)
    pages.write(contents, corpus)
    return replay_over(
        contents, pages, snapshot, corpus,
        design_name=design_name, movable=movable, own=own, release=release,
    )  # fmt: skip


def replay_over(  # noqa: PLR0913  (what a run may vary)
    contents: Contents,
    pages: PagePlan,
    snapshot: Snapshot,
    corpus: Corpus,
    *,
    design_name: str,
    movable: AbstractSet[str],
    zbud_coverage: Coverage = "migrate",
    own: TakesOver | None = None,
    release: AbstractSet[str] = frozenset(),
) -> Replayed:
    """Build the machine over contents that hold its whole pages already, or never will.

    The objects of a pool are written here, if the contents hold bytes: only the pool knows
    where in its pages they go.

    Args:
        contents: what `pages` was written to, or is going to be.
        pages: which page is in which frame.
        snapshot: the recording, replayable.
        corpus: as of `pages`.
        design_name: the design in force.
        movable: owners that have a callback; nobody asks whether there are any of that name.
        zbud_coverage: as in `replay`.
        own: as in `replay`.
        release: as in `replay`; nobody asks whether they can.

    Raises:
        PinpageError: unknown design, or an owner from outside that does not take its frames.
    """
    entry = design(design_name)
    options = _Options(entry, movable | entry.moves, zbud_coverage, own, release)
    return _Replay(snapshot, corpus, options, contents, pages).build()


def class_counts(replayed: Replayed) -> NDArray[np.int32]:
    """Whose frames each pageblock holds now, int32 (nr_blocks, NR_CLASSES), for a map."""
    frames = replayed.machine.frames
    klass = _CLASS_OF_STATE[frames.state]
    used = np.flatnonzero(frames.state == FrameState.USED)
    anon = frames.has_flag(used, PageFlag.ANON)
    klass[used] = np.where(anon, FrameClass.ANON, FrameClass.FILE)
    if replayed.pool is not None:
        klass[used[replayed.pool.holds(used)]] = replayed.pool_class
    klass[used[frames.has_flag(used, PageFlag.HUGE)]] = FrameClass.HUGETLB
    for name, owner in replayed.opaque.items():
        pfns = owner.pfn_of(np.arange(owner.nr_objects))
        klass[pfns[pfns != GIVEN_UP]] = CLASS_OF_OWNER.get(name, FrameClass.LABELLED)
    if replayed.own is not None:
        klass[replayed.own.pfns()] = FrameClass.LABELLED
    return count_classes(klass, replayed.machine.pageblocks.nr_pages_per_block)


@frozen
class _Options:
    """Who can move what."""

    design: DesignEntry
    movable: AbstractSet[str]
    zbud_coverage: Coverage
    own: TakesOver | None = None
    release: AbstractSet[str] = frozenset()


@define(slots=False)
class _Replay:
    """One replay under way."""

    _snapshot: Snapshot
    _corpus: Corpus
    _options: _Options
    _contents: Contents
    _pages: PagePlan
    _registry: PinRegistry | None = None

    def __attrs_post_init__(self) -> None:
        snapshot, nr_frames = self._snapshot, nr_frames_padded(self._snapshot)
        self._frames = frames_of(snapshot, nr_frames)
        zones = zones_of(snapshot, nr_frames)
        place_frames(self._frames, zones)
        pageblocks = pageblocks_of(snapshot, nr_frames)
        self._machine = Machine(self._frames, pageblocks, zones, self._contents)
        self._done = Replayed(self._machine, ExpectedContents(self._corpus))
        self._has_bytes = not isinstance(self._contents, TagContents)
        self._pool_class = pool_class(snapshot)
        own, options = self._options.own, self._options
        self._taken_over = (
            None if own is None else label_for(own, snapshot, options.movable, options.release)
        )

    def build(self) -> Replayed:
        machine = self._machine
        block_nr_pages = self._snapshot.geometry.memory_block_nr_pages
        if block_nr_pages is not None:
            machine.hotplug.blocks.nr_pages = block_nr_pages
        if self._snapshot.ram:
            machine.hotplug.blocks.ram = self._snapshot.ram
        if self._options.design.dispatch.has_registry:
            self._registry = machine.use_registry()
        pcp = np.flatnonzero(self._frames.state == FrameState.PCP)
        machine.pcp.adopt(pcp, 0)
        areas = self._snapshot.geometry.cma_areas
        machine.cma.most_areas = max(machine.cma.most_areas, len(areas))
        for area in areas:
            machine.cma.create(area.span, area.order_per_bit, name=area.name)
        self._map_pages()
        self._adopt_huge_pages()
        self._adopt_opaque()
        if self._pool_class is not None:
            self._adopt_pool(self._pool_class)
        if self._options.own is not None:
            self._hand_over(self._options.own)
        pool = self._done.pool
        self._options.design.put_in_force(machine, [pool] if isinstance(pool, ZbudPool) else [])
        return self._done

    # Page tables and the page cache.

    def _map_pages(self) -> None:
        anon, serials = self._pages.pfns["anon"], self._pages.serials["anon"]
        # A page on its way out of the swap cache says no more what it is; a process maps it here.
        self._frames.flags[anon] |= PageFlag.ANON.mask | PageFlag.UPTODATE.mask
        nr_mappings = np.maximum(self._snapshot.mapcount[anon], 1)
        nr_swapped = self._nr_pool_objects()
        mapped = np.arange(len(anon))
        for process in range(int(nr_mappings.max(initial=1))):
            mapped = mapped[nr_mappings[mapped] > process]  # so all of it costs a step a mapping
            nr_vpns = len(mapped) + (nr_swapped if process == 0 else 0)
            space = self._machine.rmap.create(f"process{process}", nr_vpns)
            expected = np.full(nr_vpns, -1, dtype=np.int64)
            expected[: len(mapped)] = serials[mapped]
            self._machine.rmap.map_many(space, np.arange(len(mapped)), anon[mapped])
            self._done.expected.spaces.append((space, expected))
        cache = self._pages.pfns["file"]
        space = self._machine.rmap.create("page cache", len(cache), kind="file")
        self._machine.rmap.map_many(space, np.arange(len(cache)), cache)
        self._done.expected.spaces.append((space, self._pages.serials["file"]))
        self._done.expected.on_disk[space.mm_id] = (self._frames.flags[cache] & _NOT_ON_DISK) == 0
        self._machine.lru.putback_many(np.sort(np.concatenate((anon, cache))))
        large = large_folios(self._snapshot)
        self._machine.refs.folios.adopt(large.heads, large.orders)

    def _adopt_huge_pages(self) -> None:
        """Pools of whole pages, one for each size; every used page has a user of its own."""
        found, pools = huge_pages(self._snapshot), self._machine.hugetlbs
        pfns, serials = self._pages.pfns["hugetlb"], self._pages.serials["hugetlb"]
        for order in np.unique(found.orders).tolist():
            mine = found.orders == order
            pool = pools.of(1 << order)
            for head in found.heads[mine].tolist():
                pool.adopt(head)
            owner = HugetlbPages(self._machine, pool, registry=self._registry)
            self._done.hugetlb[1 << order] = owner
            used = found.heads[mine & found.used]
            for user, head in enumerate(used.tolist()):
                owner.use_page(user, head)
            first = np.searchsorted(pfns, used)
            rows = (first[:, None] + np.arange(1 << order)).ravel()
            self._done.expected.huge.append((owner, serials[rows].reshape(len(used), 1 << order)))

    # Holders that mm cannot move by itself.

    def _adopt_opaque(self) -> None:
        for name in (*opaque_classes(self._snapshot), *self._snapshot.labels):
            pfns, serials = self._pages.pfns[name], self._pages.serials[name]
            if name == "hugetlb":
                pieces = np.isin(pfns, hugetlb_pieces(self._snapshot))
                pfns, serials = pfns[pieces], serials[pieces]
            if len(pfns) and name != self._taken_over:
                owner = self._adopt(name, pfns, 1)
                self._done.expected.objects.append((owner, serials))
        pinned = np.flatnonzero(self._snapshot.klass == FrameClass.GUP)
        if self._options.design.kind is MigrateBeforePin:
            _, pinned, _ = before_pin(self._machine, self._machine.rmap, pinned)
        if len(pinned):
            self._machine.refs.get_many(pinned, GUP_PIN_COUNTING_BIAS)
            self._adopt("gup", pinned, GUP_PIN_COUNTING_BIAS)

    def _hand_over(self, own: TakesOver) -> None:
        """Frames that are somebody's of whom nothing is known are now those of `own`."""
        assert self._taken_over is not None
        pfns, seed = self._pages.pfns[self._taken_over], self._pages.seed
        self._done.own = own.take_over(self._machine, self._registry, pfns, seed)
        self._done.expected.own = self._done.own.read_back

    def _adopt(self, name: str, pfns: Pfns, references: int) -> OpaqueOwner:
        owner = OpaqueOwner(
            name,
            movable=name in self._options.movable,
            references=references,
            registry=self._registry,
            put_page=self._machine.refs.put_page if name in self._options.release else None,
        )
        owner.adopt(pfns)
        self._done.opaque[name] = owner
        return owner

    def _nr_pool_objects(self) -> int:
        """Objects that the pool is to hold: as many as recorded, at least one per page."""
        if self._pool_class is None:
            return 0
        nr_pages = self._snapshot.nr_frames_of(self._pool_class)
        stored = self._snapshot.workload.get("zswap_stored_pages", nr_pages)
        most = MOST_OBJECTS_PER_PAGE[ZPOOL_OF_CLASS[self._pool_class]] * nr_pages
        return min(max(stored, nr_pages), most)

    def _adopt_pool(self, klass: FrameClass) -> None:
        asked = self._options.design.dispatch.has_registry
        machine, zpool = self._machine, ZPOOL_OF_CLASS[klass]
        unused = zpool in self._options.release
        covered: Coverage = "unuse" if unused else "none"
        if zpool in self._options.movable:
            covered = self._options.zbud_coverage if zpool == "zbud" else "migrate"
        zswap = Zswap(
            machine,
            compressor("zlib") if self._has_bytes else sizes_of(self._corpus),
            host=machine.swap_core,
            registry=self._registry,
            handles="indirect" if asked or zpool != "zbud" else "address",
            coverage=covered if asked else None,
            zpool=zpool,
            max_pool_percent=_MAX_POOL_PERCENT,
        )
        self._done.zswap = zswap
        self._done.pool_class = klass
        self._done.pool = self._swap_out(zswap, np.flatnonzero(self._snapshot.klass == klass))

    def _swap_out(self, zswap: Zswap, pfns: Pfns) -> Zpool:
        """Adopt the pool's pages and make the objects in them swapped virtual pages."""
        machine, corpus = self._machine, self._corpus
        nr_objects = self._nr_pool_objects()
        area = machine.swap.swapon(nr_swap_slots(self._snapshot, nr_objects), zswap)
        pool = zswap.init(area.type)
        held = fill_pool(
            pool, pfns, corpus, self._pages.stream(zswap.zpool),
            nr_objects=nr_objects,
            first=self._pages.nr_serials,
            header_nr_bytes=BLOB_HEADER_NR_BYTES,
        )  # fmt: skip
        handles, serials = held.handles, held.serials
        space, expected = self._done.expected.spaces[0]
        start = len(expected) - nr_objects  # a zsmalloc pool may have taken fewer
        vpns = np.arange(start, start + len(serials))
        expected[vpns] = serials
        offsets = machine.swap.adopt(space, vpns, area) - swp_entry(area.type, 0)
        blobs = corpus.blobs if self._has_bytes else partial(blobs_of, corpus)
        for at in range(0, len(serials), _OBJECTS_AT_ONCE):
            some = slice(at, at + _OBJECTS_AT_ONCE)
            zswap.fill(area.type, offsets[some], handles[some], blobs(serials[some]))
        return pool
