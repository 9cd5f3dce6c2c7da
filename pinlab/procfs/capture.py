"""Capture of a live machine from /proc.

Two binary files, kpageflags and kpagecount, one u64 per pfn; and the texts of iomem,
zoneinfo, buddyinfo, pagetypeinfo, meminfo, version and, where it is asked for, cmdline.  They
are not read at one instant: what they disagree about is told as `drift_nr_pages`, and what
changed while they were read as `changed_nr_frames`.

Not exported by any kernel: references, orders, owners of pages without a flag, migratetypes
of single pageblocks, skip hints.  `pinlab.procfs.infer` works out what can be worked out.
"""

import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinlab.files.careful import plain
from pinlab.files.npz import require_frames
from pinlab.files.output import path_of, require_place
from pinlab.files.packed import DAMAGE, unpacked
from pinlab.procfs import infer
from pinlab.procfs.iomem import ram_addresses, spans_of
from pinlab.procfs.proc_text import check_release, kernel_release, parse_zones
from pinlab.procfs.survey import PROC, Folder, Survey, survey
from pinlab.procfs.unread import unread_in
from pinlab.snapshot import image
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Geometry, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot, count_classes
from pinlab.snapshot.labels import labelled_as
from pinpage.units import PAGE_SIZE, PAGEBLOCK_NR_PAGES, Mask, Span

__all__ = ["KEPT_COUNTERS", "Progress", "capture", "columns_of", "record", "zone_column"]

Progress = Callable[[str, int, int], None]
"""Called with (file being read, pfns done, pfns in all)."""

_ENTRY_NR_BYTES: Final = 8
_AGAIN: Final = "copy it again"
_CHUNK_NR_PFNS: Final = 1 << 17
KEPT_COUNTERS: Final = frozenset(
    f"meminfo_{name}"
    for name in (
        "MemTotal", "MemFree", "AnonPages", "Buffers", "Cached", "SwapCached", "Slab",
        "PageTables", "KernelStack", "Percpu", "VmallocUsed", "CmaTotal", "CmaFree", "Balloon",
        "SwapTotal", "SwapFree", "Zswap", "Zswapped", "HugePages_Total", "Hugepagesize",
        "Hugetlb",
    )
)  # fmt: skip
"""What is kept of meminfo, in kB (HugePages_Total: huge pages), to stand beside the frames."""
_USE: Final = np.bitwise_or.reduce(
    [
        flag.mask
        for flag in (
            PageFlag.BUDDY, PageFlag.LRU, PageFlag.ANON, PageFlag.SLAB, PageFlag.PGTABLE,
            PageFlag.HUGE, PageFlag.RESERVED, PageFlag.NOPAGE,
        )
    ]
)  # fmt: skip
"""Flags that change when a frame's use does."""


def capture(
    proc: Path = PROC,
    progress: Progress | None = None,
    *,
    command_line: bool = False,
    look_twice: bool | None = None,
) -> Snapshot:
    """Read a machine's memory map; about 0.3 us per frame.

    Args:
        proc: a directory that holds the files, for copies of another machine's.
        progress: called after every chunk of the large files.
        command_line: whether to keep the kernel's, which can hold secrets.
        look_twice: read kpageflags again at the end and count what changed meanwhile; None:
            only of a live machine.

    Raises:
        SnapshotError: not root, a kernel without CONFIG_PROC_PAGE_MONITOR, a file missing
            or shorter than the machine's memory, two files that contradict each other.
    """
    if not proc.is_dir():
        problem = "is no folder" if proc.exists() else "does not exist"
        fix = "name a folder of copies of /proc; `pinpage convert` takes a single file"
        raise SnapshotError(proc, "folder", problem, fix)
    folder = Folder(proc)
    rows = ram_addresses(folder.text("iomem"), folder.place("iomem"))
    release = kernel_release(folder.text("version", ""))
    check_release(release, folder.place("version"))
    zones = parse_zones(
        folder.zoneinfo(),
        folder.text("buddyinfo"),
        folder.text("pagetypeinfo", ""),
        folder.place("zoneinfo"),
    )
    if max(last for _, last in rows) < PAGE_SIZE:
        problem = "ends before the first whole page"
        raise SnapshotError(folder.place("iomem"), "System RAM", problem, "copy it again")
    found = survey(folder, rows, zones)
    ram = spans_of(rows, found.geometry.page_nr_bytes)
    nr_frames = ram[-1].stop
    require_frames(nr_frames, folder.place("iomem"), "System RAM")
    flags = _read_entries(folder.place("kpageflags"), nr_frames, progress)
    mappings = _read_entries(folder.place("kpagecount"), nr_frames, progress)
    provenance = Provenance(
        source=f"captured from /proc of Linux {release or 'of unknown release'}",
        kernel_release=release,
        command_line=plain(folder.text("cmdline", "").strip()) if command_line else "",
        date=datetime.now(UTC).isoformat(timespec="seconds") if folder.is_live else "",
    )
    if folder.is_live if look_twice is None else look_twice:
        again = _read_entries(folder.place("kpageflags"), nr_frames, progress)
        changed = int(np.count_nonzero((flags ^ again) & _USE))
        provenance = evolve(provenance, changed_nr_frames=changed)
    counters = {f"meminfo_{name}": n for name, n in sorted(folder.meminfo().items())}
    kept = {name: n for name, n in counters.items() if name in KEPT_COUNTERS}
    snapshot = columns_of(flags, mappings, ram, zones, provenance, found, kept)
    return evolve(snapshot, reading=unread_in(folder))


def columns_of(
    flags: NDArray[np.uint64],
    mappings: NDArray[np.uint64],
    ram: tuple[Span, ...],
    zones: tuple[ZoneFacts, ...],
    provenance: Provenance,
    found: Survey | None = None,
    counters: Mapping[str, int] | None = None,
) -> Snapshot:
    """A snapshot from the raw columns: reads what is there, infers the rest, marks which.

    Args:
        flags, mappings: /proc/kpageflags and kpagecount, uint64, one row per pfn.
        ram: where there is memory.
        zones: the zones, with their counts of free blocks.
        provenance: where the columns come from; the drift is filled in here.
        found: the machine's sizes; None: pages of 4 KiB, pageblocks of 2 MiB.
        counters: of meminfo, under `KEPT_COUNTERS`.
    """
    found = found or Survey(Geometry(), PAGEBLOCK_NR_PAGES, ())
    max_order = found.geometry.max_order
    in_ram = _in_spans(len(flags), ram)
    mapcount = np.minimum(mappings, np.uint64(np.iinfo(np.int32).max)).astype(np.int32)
    zone = zone_column(len(flags), zones)
    klass, guessed = infer.classify(flags, in_ram)
    free = klass == FrameClass.FREE
    nr_marked = int(np.count_nonzero(free))
    blank = in_ram & (klass == FrameClass.UNKNOWN) & (flags == 0) & (mapcount == 0)
    if _only_heads_marked(nr_marked, zones):
        tails = infer.unmarked_tails(free, blank, zone, zones, max_order)
        klass[tails] = FrameClass.FREE
        nr_marked += int(np.count_nonzero(tails))
    free = klass == FrameClass.FREE
    unmanaged = infer.not_managed(klass, blank & ~free, zone, zones)
    klass[unmanaged] = FrameClass.UNMANAGED
    order = infer.maximal_orders(free, zone, max_order)
    state = infer.states(klass, flags, mapcount)
    migratetypes = _migratetypes(klass, found)
    nr_pages_free = sum(facts.nr_free for facts in zones)
    snapshot = Snapshot(
        state=state,
        klass=klass,
        order=order,
        flags=flags,
        refcount=np.where(free | (state == FrameState.HOLE), 0, -1).astype(np.int32),
        mapcount=mapcount,
        zone=zone,
        gfp=np.full(len(flags), NOT_KNOWN, dtype=np.uint8),
        guessed=guessed | free | unmanaged,
        block_migratetype=migratetypes,
        block_skip=np.zeros(len(migratetypes), dtype=np.bool_),
        pinned_pfns=np.empty(0, dtype=np.int64),
        zones=zones,
        provenance=evolve(provenance, drift_nr_pages=abs(nr_marked - nr_pages_free)),
        guessed_fields=("block_migratetype", "klass", "order"),
        unknown_fields=("block_skip", "gfp", "pinned_pfns", "refcount", *found.not_said),
        ram=ram,
        workload=dict(counters or {}),
        nr_pages_per_block=found.nr_pages_per_block,
        geometry=found.geometry,
    )
    snapshot.check()
    return snapshot


def _migratetypes(klass: NDArray[np.uint8], found: Survey) -> NDArray[np.uint8]:
    """Guessed from what lies in each pageblock, save where an area is known to lie."""
    size = found.nr_pages_per_block
    types = infer.block_migratetypes(count_classes(klass, size))
    for area in found.geometry.cma_areas:  # (an area is whole pageblocks)
        types[-(-area.span.start // size) : area.span.stop // size] = MigrateType.CMA
    return types


def _in_spans(nr_frames: int, spans: tuple[Span, ...]) -> Mask:
    mask = np.zeros(nr_frames, dtype=np.bool_)
    for span in spans:
        mask[span.start : span.stop] = True
    return mask


def zone_column(nr_frames: int, zones: tuple[ZoneFacts, ...]) -> NDArray[np.uint8]:
    """Which zone each frame is of, as far as the spans say.

    A zone that is all present owns what it spans.  Where two zones with holes overlap, as those
    of interleaved nodes do, nothing says whose a frame is.  Devices have what nobody else has.
    """
    column = np.full(nr_frames, NOT_KNOWN, dtype=np.uint8)
    spans = [slice(facts.start_pfn, facts.start_pfn + facts.spanned) for facts in zones]
    nr_claims = np.zeros(nr_frames, dtype=np.int16)
    for index, facts in enumerate(zones):
        if not facts.present:
            column[spans[index]] = index
    for index, facts in enumerate(zones):
        if facts.present:
            column[spans[index]] = index
            nr_claims[spans[index]] += 1
    column[nr_claims > 1] = NOT_KNOWN
    for index, facts in enumerate(zones):
        if facts.present and facts.present == facts.spanned:
            column[spans[index]] = index
    return column


def _only_heads_marked(nr_marked: int, zones: tuple[ZoneFacts, ...]) -> bool:
    """Whether as many frames are marked as there are free blocks, rather than free frames.

    Since v4.6 kpageflags marks every frame of a free block.  The files drift apart while
    they are read, so the nearer of the two counts decides.
    """
    nr_blocks = sum(sum(facts.nr_free_blocks) for facts in zones)
    nr_frames = sum(
        count << order for facts in zones for order, count in enumerate(facts.nr_free_blocks)
    )
    return abs(nr_marked - nr_blocks) < abs(nr_marked - nr_frames)


def _read_entries(path: Path, nr_pfns: int, progress: Progress | None) -> NDArray[np.uint64]:
    """The first `nr_pfns` u64 of a file, shape (nr_pfns,), in the machine's byte order."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # (opening a pipe could wait for ever)
            raise SnapshotError(path, "file", "is not a regular file", "name a copy of it")
        with unpacked(path) as file:
            entries = np.zeros(nr_pfns, dtype=np.uint64)
            done = 0
            while done < nr_pfns:
                wanted = min(_CHUNK_NR_PFNS, nr_pfns - done) * _ENTRY_NR_BYTES
                chunk = file.read(wanted)
                nr_read = len(chunk) // _ENTRY_NR_BYTES
                whole = chunk[: nr_read * _ENTRY_NR_BYTES]
                entries[done : done + nr_read] = np.frombuffer(whole, dtype=np.uint64)
                done += nr_read
                if len(chunk) % _ENTRY_NR_BYTES or not chunk:
                    break
                if progress is not None:
                    progress(path.name, done, nr_pfns)
    except FileNotFoundError:
        raise SnapshotError(
            path,
            "file",
            "does not exist",
            "use a kernel with CONFIG_PROC_PAGE_MONITOR, or a recording",
        ) from None
    except PermissionError:
        raise SnapshotError(path, "file", "is root's to read", "run it as root") from None
    except DAMAGE as error:
        raise SnapshotError(path, "file", f"is cut short or damaged ({error})", _AGAIN) from None
    except OSError as error:
        raise SnapshotError(path, "file", f"cannot be read ({error.strerror})", _AGAIN) from None
    if done < nr_pfns:
        raise SnapshotError(
            path, "length", f"ends at pfn {done:#x} of {nr_pfns:#x}", "read it again in full"
        )
    return entries


def record(
    output: Path | str,
    progress: Progress | None = None,
    *,
    proc_directory: Path | str = PROC,
    command_line: bool = False,
    labels: tuple[str, ...] = (),
    more: Callable[[Snapshot, Folder], Snapshot] | None = None,
) -> Snapshot:
    """Capture this machine (or a directory of copies of its /proc files) into a file.

    Args:
        output: the snapshot to write; replaced as a whole, or not touched at all.
        progress: called with (file being read, pfns done, pfns in all).
        proc_directory: where the files are.
        command_line: whether to keep the kernel's, which can hold secrets.
        labels: NAME=PFNS each; see `pinlab.snapshot.labels`.
        more: what else is said of the frames, such as `pinlab.procfs.beside.OwnersBeside`.

    Raises:
        PinpageError: a path that is none, or a label that cannot be.
        SnapshotError: not root, no /proc/kpageflags, short reads, or no place to write.
    """
    place = require_place(output)  # before a minute's work
    folder = path_of(proc_directory, "proc_directory")
    snapshot = capture(folder, progress, command_line=command_line)
    if more is not None:
        snapshot = more(snapshot, Folder(folder))
    snapshot = labelled_as(snapshot, labels)
    image.save(snapshot, place)
    return snapshot
