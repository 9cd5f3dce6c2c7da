"""Capture of a live machine from /proc.

Two binary files, kpageflags and kpagecount, one u64 per pfn; and the texts of iomem,
zoneinfo, buddyinfo, pagetypeinfo, version and cmdline.  They are not read at one instant:
what they disagree about is told as `drift_nr_pages`.

Not exported by any kernel: references, orders, owners of pages without a flag, migratetypes
of single pageblocks, skip hints.  `pinlab.snapshot.infer` works out what can be worked out.
"""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from mm.state.frames import FrameState
from pinlab.files.careful import MOST_TEXT_NR_BYTES, plain, read_bytes
from pinlab.files.npz import require_frames
from pinlab.files.output import path_of, require_place
from pinlab.snapshot import image, infer
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot, count_classes
from pinlab.snapshot.text import kernel_release, parse_iomem, parse_zones
from pinpage.units import Mask, Span

__all__ = ["PROC", "Progress", "capture", "columns_of", "record"]

PROC: Final = Path("/proc")
"""Where the kernel shows itself."""

Progress = Callable[[str, int, int], None]
"""Called with (file being read, pfns done, pfns in all)."""

_ENTRY_NR_BYTES: Final = 8
_CHUNK_NR_PFNS: Final = 1 << 17
_MOST_TEXT_NR_BYTES: Final = 4 << 20
"""Of a text that has a line per zone or per span of addresses; zoneinfo has many per CPU."""


def capture(proc: Path = PROC, progress: Progress | None = None) -> Snapshot:
    """Read a machine's memory map; about 0.3 us per frame.

    Args:
        proc: a directory that holds the files, for copies of another machine's.
        progress: called after every chunk of the two large files.

    Raises:
        SnapshotError: not root, a kernel without CONFIG_PROC_PAGE_MONITOR, a file missing
            or shorter than the machine's memory.
    """
    ram = parse_iomem(_text(proc / "iomem"), proc / "iomem")
    nr_frames = ram[-1].stop
    if not nr_frames:
        problem = "ends before the first whole page"
        raise SnapshotError(proc / "iomem", "System RAM", problem, "copy it again")
    require_frames(nr_frames, proc / "iomem", "System RAM")
    flags = _read_entries(proc / "kpageflags", nr_frames, progress)
    mappings = _read_entries(proc / "kpagecount", nr_frames, progress)
    zones = parse_zones(
        _text(proc / "zoneinfo", most_nr_bytes=MOST_TEXT_NR_BYTES),
        _text(proc / "buddyinfo"),
        _text(proc / "pagetypeinfo", ""),
        proc / "zoneinfo",
    )
    release = kernel_release(_text(proc / "version", ""))
    provenance = Provenance(
        source=f"captured from /proc of Linux {release or 'of unknown release'}",
        kernel_release=release,
        command_line=plain(_text(proc / "cmdline", "").strip()),
        date=datetime.now(UTC).isoformat(timespec="seconds") if proc == PROC else "",
    )
    return columns_of(flags, mappings, ram, zones, provenance)


def columns_of(
    flags: NDArray[np.uint64],
    mappings: NDArray[np.uint64],
    ram: tuple[Span, ...],
    zones: tuple[ZoneFacts, ...],
    provenance: Provenance,
) -> Snapshot:
    """A snapshot from the raw columns: reads what is there, infers the rest, marks which.

    Args:
        flags, mappings: /proc/kpageflags and kpagecount, uint64, one row per pfn.
        ram: where there is memory.
        zones: the zones, with their counts of free blocks.
        provenance: where the columns come from; the drift is filled in here.
    """
    in_ram = _in_spans(len(flags), ram)
    mapcount = np.minimum(mappings, np.uint64(np.iinfo(np.int32).max)).astype(np.int32)
    zone = _zone_column(len(flags), zones)
    klass, guessed = infer.classify(flags, in_ram)
    free = klass == FrameClass.FREE
    nr_marked = int(np.count_nonzero(free))
    if _only_heads_marked(nr_marked, zones):
        blank = in_ram & (klass == FrameClass.UNKNOWN) & (flags == 0) & (mapcount == 0)
        tails = infer.unmarked_tails(free, blank, zone, zones)
        klass[tails] = FrameClass.FREE
        nr_marked += int(np.count_nonzero(tails))
    free = klass == FrameClass.FREE
    order = infer.maximal_orders(free, zone)
    state = infer.states(klass, flags, mapcount)
    counts = count_classes(klass)
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
        guessed=guessed | free,
        block_migratetype=infer.block_migratetypes(counts),
        block_skip=np.zeros(len(counts), dtype=np.bool_),
        pinned_pfns=np.empty(0, dtype=np.int64),
        zones=zones,
        provenance=evolve(provenance, drift_nr_pages=abs(nr_marked - nr_pages_free)),
        guessed_fields=("block_migratetype", "klass", "order"),
        unknown_fields=("block_skip", "gfp", "pinned_pfns", "refcount"),
        ram=ram,
    )
    snapshot.check()
    return snapshot


def _in_spans(nr_frames: int, spans: tuple[Span, ...]) -> Mask:
    mask = np.zeros(nr_frames, dtype=np.bool_)
    for span in spans:
        mask[span.start : span.stop] = True
    return mask


def _zone_column(nr_frames: int, zones: tuple[ZoneFacts, ...]) -> NDArray[np.uint8]:
    column = np.full(nr_frames, NOT_KNOWN, dtype=np.uint8)
    for index, facts in enumerate(zones):
        column[facts.start_pfn : facts.start_pfn + facts.spanned] = index
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


def _text(
    path: Path, default: str | None = None, *, most_nr_bytes: int = _MOST_TEXT_NR_BYTES
) -> str:
    try:
        return read_bytes(path, most_nr_bytes).decode(errors="replace")
    except FileNotFoundError:
        if default is not None:
            return default
        raise SnapshotError(
            path, "file", "does not exist", "mount /proc, or name a directory of copies"
        ) from None
    except OSError as error:
        fix = "run it as root" if isinstance(error, PermissionError) else "copy it again"
        raise SnapshotError(path, "file", f"cannot be read ({error.strerror})", fix) from None


def _read_entries(path: Path, nr_pfns: int, progress: Progress | None) -> NDArray[np.uint64]:
    """The first `nr_pfns` u64 of a file, shape (nr_pfns,), in the machine's byte order."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # (opening a pipe could wait for ever)
            raise SnapshotError(path, "file", "is not a regular file", "name a copy of it")
        with path.open("rb", buffering=0) as file:
            entries = np.zeros(nr_pfns, dtype=np.uint64)
            done = 0
            while done < nr_pfns:
                wanted = min(_CHUNK_NR_PFNS, nr_pfns - done) * _ENTRY_NR_BYTES
                chunk = file.read(wanted)
                if len(chunk) % _ENTRY_NR_BYTES or not chunk:
                    break
                nr_read = len(chunk) // _ENTRY_NR_BYTES
                entries[done : done + nr_read] = np.frombuffer(chunk, dtype=np.uint64)
                done += nr_read
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
    except OSError as error:
        raise SnapshotError(
            path, "file", f"cannot be read ({error.strerror})", "try again"
        ) from None
    if done < nr_pfns:
        raise SnapshotError(
            path, "length", f"ends at pfn {done:#x} of {nr_pfns:#x}", "read it again in full"
        )
    return entries


def record(
    output: Path | str, progress: Progress | None = None, *, proc_directory: Path | str = PROC
) -> Snapshot:
    """Capture this machine (or a directory of copies of its /proc files) into a file.

    Args:
        output: the snapshot to write; replaced as a whole, or not touched at all.
        progress: called with (file being read, pfns done, pfns in all).
        proc_directory: where the files are.

    Raises:
        PinpageError: a path that is none.
        SnapshotError: not root, no /proc/kpageflags, short reads, or no place to write.
    """
    place = require_place(output)  # before a minute's work
    snapshot = capture(path_of(proc_directory, "proc_directory"), progress)
    image.save(snapshot, place)
    return snapshot
