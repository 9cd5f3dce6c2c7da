"""Import of recordings that were made inside Linux 6.1 guests, before and after a request.

Such a recording is an .npz whose arrays come from one pass over all frames with the
kernel's own functions and page_owner, and whose `meta_json` holds the texts of /proc and
what the kernel then gave.  `S0` is the state before the request, `S1` after compacting,
`S2` after the request.  Only what a snapshot keeps is read; the rest stays in the file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinlab.files import npz
from pinlab.files.careful import awry, load_json, plain
from pinlab.files.npz import Archive, ArrayHeader
from pinlab.procfs.infer import settle_orders
from pinlab.procfs.iomem import parse_iomem
from pinlab.procfs.proc_text import kernel_release, parse_zones
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Measured, Provenance, ZoneFacts
from pinlab.snapshot.image import AfterState, Snapshot, count_classes
from pinpage.units import PAGEBLOCK_NR_PAGES

__all__ = ["load_recording"]

_CLASS_OF_CODE: Final = np.array(
    [
        FrameClass.HOLE,
        FrameClass.FREE,
        FrameClass.RESERVED,
        FrameClass.ANON,
        FrameClass.FILE,
        FrameClass.ZBUD,
        FrameClass.Z3FOLD,
        FrameClass.ZSMALLOC,
        FrameClass.ZRAM,
        FrameClass.GUP,
        FrameClass.SLAB,
        FrameClass.PAGETABLE,
        FrameClass.KERNELSTACK,
        FrameClass.VMALLOC,
        FrameClass.HUGETLB,
        FrameClass.OTHER,
        FrameClass.PCP,
        FrameClass.CMA,
    ],
    dtype=np.uint8,
)
_TYPE_NAMES: Final = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
_NOT_MOVABLE: Final = 3
_SKIP_BIT: Final = 32
_ZONE_SHIFT: Final = 6
_STATE_ARRAYS: Final = (
    "flags",
    "mapcount",
    "refcount",
    "class",
    "mov",
    "order",
    "bits",
    "gfpmt",
    "block_mt",
)
_PHASES: Final = {"B0->S1": "compact", "B1->S2": "request", "B0->S2": "total"}
_AFTER: Final = (("S1", "compact"), ("S2", "request"))
_FIX: Final = "fetch the recording again"
_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "flags": (0, (1 << 64) - 1),
    "mapcount": (-1, (1 << 64) - 1),
    "refcount": (-1, (1 << 31) - 1),
    "order": (-128, 255),
    "bits": (0, (256 << _ZONE_SHIFT) - 1),
}
"""Column -> least and greatest value; a byte where nothing is said."""
_MOST_META_NR_BYTES: Final = 16 << 20

_Arrays = Mapping[str, NDArray[Any]]


def load_recording(path: Path) -> Snapshot:
    """Import one recording.

    Frames that the recorder saw as anonymous or page cache but not movable (not on the LRU,
    owned by a driver) become `FrameClass.OTHER`.

    Raises:
        SnapshotError: missing, cut short, damaged or not such a recording.
    """
    wanted = {f"S0_{name}" for name in _STATE_ARRAYS} | {"pinned_pfns", "meta_json"}
    optional = {f"{label}_{name}" for label, _ in _AFTER for name in ("class", "block_mt")}
    with npz.opened(path) as archive:
        if missing := sorted(wanted - archive.names):
            raise SnapshotError(
                path, f"array {missing[0]}", "is missing, so this is no such recording", _FIX
            )
        present = sorted((wanted | optional) & archive.names)
        _check_shapes(archive, present)
        arrays = {name: archive.read(name) for name in present}
    _check_values(arrays, path)
    meta = _meta_of(arrays["meta_json"], path)
    try:
        return _snapshot_of(arrays, meta, path)
    except SnapshotError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise SnapshotError(path, "meta_json", f"lacks or garbles {error}", _FIX) from None


def _meta_of(meta_json: NDArray[Any], path: Path) -> dict[str, Any]:
    try:
        meta = load_json(str(meta_json))
    except ValueError as error:
        raise SnapshotError(path, "meta_json", f"is not JSON ({error})", _FIX) from None
    if not isinstance(meta, dict):
        raise SnapshotError(path, "meta_json", "is not an object", _FIX)
    if found := awry(meta, lines=True):
        raise SnapshotError(path, f"meta_json {found[0]}", found[1], _FIX)
    return meta


def _check_shapes(archive: Archive, names: Sequence[str]) -> None:
    """Dtypes and lengths, before anything but these is inflated."""
    path = archive.path
    shape = archive.header("S0_class").shape
    nr_frames = shape[0] if len(shape) == 1 else 0
    npz.require_frames(nr_frames, path, "array S0_class")
    nr_blocks = nr_frames // PAGEBLOCK_NR_PAGES
    for name in names:
        header = archive.header(name)
        if name == "meta_json":
            archive.require_at_most(name, _MOST_META_NR_BYTES, "any recording has")
            fits = header.dtype.kind == "U" and not header.shape
        elif name == "pinned_pfns":
            fits = _is_column(header) and header.shape[0] <= nr_frames
        elif name.endswith("_block_mt"):  # the recorder leaves out a partial last pageblock
            lengths = (nr_blocks, -(-nr_frames // PAGEBLOCK_NR_PAGES))
            fits = _is_column(header) and header.shape[0] in lengths
        else:
            fits = _is_column(header) and header.shape[0] == nr_frames
        if not fits:
            wanted = "a text" if name == "meta_json" else f"integers for {nr_frames} frames"
            problem = f"is {header.dtype}{list(header.shape)}, not {wanted}"
            raise SnapshotError(path, f"array {name}", problem, _FIX)


def _is_column(header: ArrayHeader) -> bool:
    return header.dtype.kind in "iu" and len(header.shape) == 1


def _check_values(arrays: _Arrays, path: Path) -> None:
    """Every value within what its column holds later: a cast that wraps would misread it."""
    nr_frames = len(arrays["S0_class"])
    for name, array in arrays.items():
        if name == "meta_json" or not array.size:
            continue
        _, _, column = name.partition("_")
        lowest, highest = _BOUNDS.get(column, (0, 255))
        if name == "pinned_pfns":
            lowest, highest = 0, nr_frames - 1
        for value in (int(array.min()), int(array.max())):
            if column == "class" and value >= len(_CLASS_OF_CODE):
                problem = f"holds the class code {value}, which is not known"
            elif not lowest <= value <= highest:
                problem = f"holds {value}, outside {lowest}..{highest}"
            else:
                continue
            raise SnapshotError(path, f"array {name}", problem, _FIX)


def _snapshot_of(arrays: _Arrays, meta: dict[str, Any], path: Path) -> Snapshot:
    klass = _CLASS_OF_CODE[arrays["S0_class"]]
    fixed = (arrays["S0_mov"] == _NOT_MOVABLE) & np.isin(klass, (FrameClass.ANON, FrameClass.FILE))
    klass[fixed] = FrameClass.OTHER
    state = STATE_OF_CLASS[klass]
    free = klass == FrameClass.FREE
    zone = (arrays["S0_bits"] >> _ZONE_SHIFT).astype(np.uint8)
    order, guessed = settle_orders(arrays["S0_order"], free, zone)
    text = meta["text"]
    zones = parse_zones(text["S0/zoneinfo"], text["S0/buddyinfo"], text["S0/pagetypeinfo"], path)
    migratetype = _per_block(arrays["S0_block_mt"], len(klass), zones)
    guessed_fields = {
        "order": guessed.any(),
        "block_migratetype": len(migratetype) > len(arrays["S0_block_mt"]),
    }
    snapshot = Snapshot(
        state=state,
        klass=klass,
        order=order,
        flags=arrays["S0_flags"].astype(np.uint64),
        refcount=arrays["S0_refcount"].astype(np.int32),
        mapcount=np.minimum(arrays["S0_mapcount"], np.iinfo(np.int32).max).astype(np.int32),
        zone=zone,
        # page_owner's word on a frame that is free by now is about its last life.
        gfp=np.where(_in_use(klass), arrays["S0_gfpmt"], np.uint8(NOT_KNOWN)).astype(np.uint8),
        guessed=guessed,
        block_migratetype=migratetype,
        block_skip=(arrays["S0_bits"][::PAGEBLOCK_NR_PAGES] & _SKIP_BIT) != 0,
        pinned_pfns=np.unique(arrays["pinned_pfns"].astype(np.int64)),
        zones=zones,
        provenance=_provenance_of(meta),
        workload=_workload_of(meta),
        measured=_measured_of(arrays, meta),
        after=_after_of(arrays),
        ram=parse_iomem(text["iomem"], path) if "iomem" in text else (),
        guessed_fields=tuple(name for name, is_guessed in guessed_fields.items() if is_guessed),
    )
    snapshot.check(path)
    return snapshot


def _in_use(klass: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return ~np.isin(klass, (FrameClass.FREE, FrameClass.PCP, FrameClass.HOLE))


def _per_block(
    recorded: NDArray[Any], nr_frames: int, zones: tuple[ZoneFacts, ...] = ()
) -> NDArray[np.uint8]:
    """Migratetypes, with the partial last pageblock that the recorder left out.

    pagetypeinfo did count that one, so its type is the one of which the recorder has one
    pageblock too few; not known if the counts differ in any other way.
    """
    types = np.full(-(-nr_frames // PAGEBLOCK_NR_PAGES), NOT_KNOWN, dtype=np.uint8)
    types[: len(recorded)] = recorded
    counted = np.zeros(len(_TYPE_NAMES), dtype=np.int64)
    for zone in zones:
        counted += [zone.nr_blocks_of_type.get(name, 0) for name in _TYPE_NAMES]
    short = counted - np.bincount(recorded, minlength=len(_TYPE_NAMES))[: len(_TYPE_NAMES)]
    if len(recorded) == len(types) - 1 and np.count_nonzero(short) == 1 and short.max() == 1:
        types[-1] = short.argmax()
    return types


def _provenance_of(meta: dict[str, Any]) -> Provenance:
    release = kernel_release(meta["kernel"])
    return Provenance(
        source=f"recorded inside a guest running Linux {release}, with page_owner",
        kernel_release=release,
        command_line=plain(meta["cmdline"]),
        scenario=meta["scenario"],
        variant=meta["variant"],
        seed=meta["seed"],
        parameters={
            name: value
            for name, value in sorted(meta["params"].items())
            if type(value) in (int, str)
        },
    )


def _workload_of(meta: dict[str, Any]) -> dict[str, int]:
    """Counters by the names of their /sys and /proc files, at S0."""
    facts: dict[str, int] = {}
    for name, value in meta["text"].items():
        label, _, counter = name.partition("/")
        if (
            label == "S0"
            and counter.startswith(("zswap_", "cma_", "nr_hugepages"))
            and value.strip().isdigit()
        ):
            facts[counter] = int(value)
    zram = meta["text"].get("S0/zram_mm_stat", "").split()
    if len(zram) >= 3 and any(map(int, zram)):
        facts |= dict(
            zip(
                ("zram_orig_data_size", "zram_compr_data_size", "zram_mem_used_total"),
                map(int, zram),
                strict=False,
            )
        )
    swaps = [row.split() for row in meta["text"].get("S0/swaps", "").splitlines()[1:]]
    facts["swap_size_kb"] = sum(int(row[2]) for row in swaps)
    facts["swap_used_kb"] = sum(int(row[3]) for row in swaps)
    for counter in (
        "nr_zspages",
        "nr_swapcached",
        "nr_mlock",
        "zswpin",
        "zswpout",
        "pswpin",
        "pswpout",
    ):
        if counter in meta["vmstat"]["S0"]:
            facts[counter] = int(meta["vmstat"]["S0"][counter])
    return dict(sorted(facts.items()))


def _nr_wholly_free(klass_codes: NDArray[Any]) -> int:
    counts = count_classes(_CLASS_OF_CODE[klass_codes])
    return int(np.count_nonzero(counts[:, FrameClass.FREE] == PAGEBLOCK_NR_PAGES))


def _measured_of(arrays: _Arrays, meta: dict[str, Any]) -> Measured:
    delta = {
        phase: meta["vmstat_delta"][key]
        for key, phase in _PHASES.items()
        if key in meta["vmstat_delta"]
    }
    total = delta.get("total", {})
    huge = meta["results"].get("huge", {})
    compacted = "compact" in meta["results"] and "S1_class" in arrays
    return Measured(
        operation=meta["op"],
        nr_requested=huge.get("requested"),
        huge_pages=huge.get("obtained"),
        wholly_free_before=_nr_wholly_free(arrays["S0_class"]),
        wholly_free_after_compaction=_nr_wholly_free(arrays["S1_class"]) if compacted else None,
        pgmigrate_success=total.get("pgmigrate_success", 0),
        pgmigrate_fail=total.get("pgmigrate_fail", 0),
        compact_migrate_scanned=total.get("compact_migrate_scanned", 0),
        compact_free_scanned=total.get("compact_free_scanned", 0),
        vmstat_delta=delta,
        steps=meta["results"],
    )


def _after_of(arrays: _Arrays) -> AfterState | None:
    for label, phase in _AFTER:
        if f"{label}_class" in arrays:
            klass = _CLASS_OF_CODE[arrays[f"{label}_class"]]
            migratetype = _per_block(arrays[f"{label}_block_mt"], len(klass))
            return AfterState(phase, count_classes(klass).astype(np.uint16), migratetype)
    return None
