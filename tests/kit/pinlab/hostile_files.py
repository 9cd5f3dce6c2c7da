"""Hostile files by number: what each kind of reader gets, and what it may do with it.

A case is a kind and a number; the same number gives the same file.  Every reader either reads
it or refuses it in one line (`PinpageError`), within a bound of memory, and what it read can
be drawn, saved, replayed and put to a request, or be refused by these in one line.

    python -m tests.kit.pinlab.hostile_files KIND NUMBER SECONDS

the last one from that number on, until time is up.
"""

import copy
import functools
import gzip
import json
import lzma
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mm.state.frames import FrameState, PageFlag
from pinlab.described.synthetic import describe_machine
from pinlab.procfs import capture, infer
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay_layout
from pinlab.report import heatmap
from pinlab.requests import reasons
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, run_request
from pinlab.snapshot import form, image
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.inspect import as_text, inspect
from pinlab.sources.redact import redacted
from pinpage.errors import PinpageError
from tests.kit.pinlab.every_view import look
from tests.kit.pinlab.in_guest import arrays_and_meta, recorded
from tests.kit.pinlab.mutations import (
    change_array,
    change_bytes,
    change_text,
    change_value,
    change_zip,
)
from tests.kit.pinlab.small import small_recording
from tests.kit.pinlab.source_texts import Asked, mutilate, owner_text, types_text
from tests.kit.pinlab.source_texts import folder as source_folder

__all__ = ["KINDS", "run_case"]

_RAW = Path(__file__).resolve().parents[2] / "data" / "proc-6.1"
_TEXTS = ("iomem", "zoneinfo", "buddyinfo", "pagetypeinfo")
_ADDRESS_SPACE_NR_BYTES = 3 << 30
"""More than any case needs with what is imported, and far less than a hostile size claims."""
_SECONDS_PER_CASE = 30


@functools.cache
def _corpus() -> Corpus:
    return Corpus.build(seed=0)


@functools.cache
def _small_form() -> tuple[dict[str, Any], dict[str, Any]]:
    header, columns = small_recording().to_form()
    return json.loads(json.dumps(header)), columns


def _write(path: Path, header: dict[str, Any], columns: dict[str, Any]) -> None:
    """As `form.write`, for values that JSON or the form cannot hold too."""
    try:
        form.write(path, header, columns)
    except (TypeError, ValueError, OverflowError):
        form.write(path, {"zones": None}, {"state": np.zeros(3)})


def _snapshot_file(rng: random.Random, path: Path) -> None:
    header, columns = copy.deepcopy(_small_form())
    for _ in range(rng.choice([1, 1, 2, 4])):
        if rng.random() < 0.6:
            header = change_value(rng, header)
            if not isinstance(header, dict):
                header = {"zones": header}
        else:
            name = rng.choice(list(columns))
            columns[name] = change_array(rng, columns[name])
    _write(path, header, columns)


def _odd_machine_file(rng: random.Random, path: Path) -> None:
    """A recording that agrees with itself, of a machine that nobody has built."""
    draw = np.random.default_rng(rng.getrandbits(32))
    nr_frames = rng.choice([1, 511, 512, 513, 2048, 3000, 5000])
    runs = draw.choice(len(FrameClass), size=nr_frames, p=_weights(draw)).astype(np.uint8)
    klass = np.repeat(runs, draw.integers(1, rng.choice([2, 9, 600]), size=nr_frames))[:nr_frames]
    state = STATE_OF_CLASS[klass].copy()
    unknown = klass == FrameClass.UNKNOWN
    state[unknown & (draw.random(nr_frames) < 0.5)] = FrameState.USED
    header, columns = copy.deepcopy(_small_form())
    header["zones"], zone = _odd_zones(rng, nr_frames, header["zones"][0])
    used = np.flatnonzero(state == FrameState.USED)
    anon = np.isin(klass, (FrameClass.ANON, FrameClass.GUP))
    nr_blocks = -(-nr_frames // 512)
    columns |= {
        "state": state,
        "klass": klass,
        "order": infer.maximal_orders(klass == FrameClass.FREE, zone),
        "flags": np.where(anon, np.uint64(PageFlag.ANON.mask), np.uint64(rng.getrandbits(26))),
        "refcount": np.where(state == FrameState.USED, rng.choice([-1, 1, 9]), 0).astype("<i4"),
        "mapcount": (draw.random(nr_frames) ** 20 * rng.choice([0, 3, 40])).astype("<i4"),
        "zone": zone,
        "gfp": np.full(nr_frames, 255, dtype=np.uint8),
        "guessed": draw.random(nr_frames) < 0.5,
        "block_migratetype": draw.choice([0, 1, 2, 3, 4, 5, 255], size=nr_blocks).astype(np.uint8),
        "block_skip": draw.random(nr_blocks) < 0.5,
        "pinned_pfns": used[draw.random(len(used)) < 0.3].astype("<i8"),
    }
    header["ram"] = rng.choice(
        [[], [[0, nr_frames]], [[1, 7], [7, 7], [9, nr_frames + 9]], [[0, 1 << 50]]]
    )
    header["workload"] = {
        name: rng.choice([0, -5, 7, 10**6, 2**62])
        for name in ("zswap_stored_pages", "swap_size_kb", "zram_orig_data_size", "nr_zspages")
        if rng.random() < 0.5
    }
    _write(path, header, columns)


def _weights(draw: np.random.Generator) -> Any:
    weights = draw.random(len(FrameClass)) ** 4 + 1e-9
    pools = [FrameClass.ZBUD, FrameClass.Z3FOLD, FrameClass.ZSMALLOC]
    weights[pools] *= draw.permutation([1, 0, 0])
    return weights / weights.sum()


def _odd_zones(rng: random.Random, nr_frames: int, like: dict[str, Any]) -> Any:
    borders = sorted(rng.randrange(nr_frames + 1) for _ in range(rng.choice([0, 0, 1, 2, 5])))
    if rng.random() < 0.5:
        borders = [border // 512 * 512 for border in borders]
    zone = np.full(nr_frames, rng.choice([255, 0]), dtype=np.uint8)
    zones = []
    for index, start in enumerate([0, *borders]):
        stop = [*borders, nr_frames][index] + rng.choice([0, 0, 0, 40, 10**6])
        zone[start:stop] = index
        managed = rng.choice([0, stop - start, (stop - start) // 2, min(nr_frames, stop) - start])
        marks = sorted(rng.choice([0, 1, 20, 600, 10**9]) for _ in range(3))
        zones.append(
            like | {
                "name": rng.choice(["DMA", "DMA32", "Normal", "Movable", "Device"]),
                "node": rng.choice([0, 0, 0, 1, 1023]), "start_pfn": start,
                "spanned": stop - start, "present": stop - start, "managed": max(managed, 0),
                "min": marks[0], "low": marks[1], "high": marks[2],
                "lowmem_reserve": rng.choice([[], [0, 5], [0, 0, 10**9, 0, 0]]),
                "nr_free": rng.choice([0, 10**9]),
            }
        )  # fmt: skip
    return zones, zone


def _recording_file(rng: random.Random, path: Path) -> None:
    arrays, meta = arrays_and_meta()
    for _ in range(rng.choice([1, 1, 2, 4])):
        if rng.random() < 0.6:
            meta = change_value(rng, meta)
        else:
            name = rng.choice(list(arrays))
            arrays[name] = change_array(rng, arrays[name])
    recorded(path, arrays, meta)


def _npz(make: Callable[[random.Random, Path], None], rng: random.Random, folder: Path) -> None:
    path = folder / "a.npz"
    make(rng, path)
    if make is not _odd_machine_file and rng.random() < 0.3:
        change_zip(rng, path)
    if rng.random() < 0.05:
        path.write_bytes(change_bytes(rng, path.read_bytes()))
    _use(rng, open_snapshot(path), folder)


def _proc(rng: random.Random, folder: Path) -> None:
    nr_pfns = 0x9FD1
    for name in _TEXTS:
        shutil.copyfile(_RAW / name, folder / name)
    for name in ("kpageflags", "kpagecount"):
        (folder / name).write_bytes(_unzipped(name)[: nr_pfns * 8])
    for _ in range(rng.choice([1, 1, 2, 4])):
        path = folder / rng.choice([*_TEXTS, *_TEXTS, "kpageflags", "kpagecount", "version"])
        what = rng.random()
        if what < 0.05:
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            rng.choice([path.mkdir, lambda: os.mkfifo(path), lambda: None])()  # noqa: B023
        elif path.is_file() and path.name in _TEXTS and what < 0.85:
            text = change_text(rng, path.read_text(errors="replace"))
            path.write_text(text, errors="replace")
        elif path.is_file() or not path.exists():
            content = path.read_bytes() if path.exists() else b"Linux version 6"
            path.write_bytes(change_bytes(rng, content))
    _use(rng, capture.capture(folder), folder)


@functools.cache
def _unzipped(name: str) -> bytes:
    return gzip.decompress((_RAW / f"{name}.gz").read_bytes())


def _copies(rng: random.Random, folder: Path) -> None:
    """A folder of copies with page_owner and page-types in it, several things done to it."""
    copies = source_folder(folder / "copies")
    if rng.random() < 0.4:
        (copies / "kpageflags").unlink()
    for _ in range(rng.choice([1, 1, 2, 4])):
        mutilate(rng, copies)
    _use(rng, open_snapshot(copies), folder)


def _text(rng: random.Random, folder: Path) -> None:
    """One text, of any form that is a source by itself."""
    records = [
        Asked(
            pfn=rng.choice([7, 512, 4000, 1 << 20]) + i,
            order=rng.choice([0, 0, 0, 1, 9]),
            flags=rng.choice(["", "slab", "lru|head", "lru|swapbacked|uptodate"]),
            stack=(rng.choice(["zbud_alloc", "pte_alloc_one", "x" * 150]),) * rng.choice([0, 1, 3]),
        )
        for i in range(rng.choice([1, 5, 60]))
    ]
    flags = np.array([rng.getrandbits(27) for _ in range(rng.choice([1, 600]))], dtype=np.uint64)
    whole = rng.choice(
        [
            lambda: owner_text(records, rng.choice(["4.9", "5.15", "6.1", "6.12"])),
            lambda: types_text(flags, rng.choice([None, flags]), ranges=rng.random() < 0.5),
            lambda: (_RAW / "buddyinfo").read_text() + (_RAW / "pagetypeinfo").read_text(),
        ]
    )()
    for _ in range(rng.choice([1, 1, 2, 4])):
        whole = change_text(rng, whole)
    content = whole.encode(errors="replace")
    if rng.random() < 0.3:
        content = change_bytes(rng, rng.choice([gzip.compress, lzma.compress])(content))
    (folder / "text").write_bytes(content)
    table = None
    if rng.random() < 0.3:
        table = folder / "mine.toml"
        table.write_text(
            change_text(rng, '[[owner]]\nname = "mine"\nfunctions = ["zbud_alloc", "p*"]\n'),
            errors="replace",
        )
    snapshot = open_snapshot(folder / "text", owners_table=table)
    image.save(redacted(snapshot), folder / "redacted.npz")
    assert image.load(folder / "redacted.npz").nr_frames == snapshot.nr_frames
    as_text(inspect(snapshot, "text", "a text")).encode()
    _use(rng, snapshot, folder)


def _scenario(rng: random.Random, folder: Path) -> None:
    shares = [
        "anon",
        "file",
        "slab",
        "gup",
        "zbud",
        "zram",
        "cma",
        "movable",
        "scatter",
        "reserved",
    ]
    size = rng.choice(["4MiB", "8MiB", "12MiB", "16MiB", "3.9TiB", "1023TiB"])
    fields = [
        size,
        *(f"{rng.choice(shares)}={rng.randrange(40)}%" for _ in range(rng.randrange(4))),
    ]
    fields += rng.choice([[], ["nodes=2"], ["nodes=300"], ["scatter=1GiB"], ["anon=7MiB"]])
    text = ",".join(fields)
    for _ in range(rng.choice([0, 0, 1, 2])):
        text = change_text(rng, text)
    if rng.random() < 0.3:
        rows = (field.partition("=") for field in fields[1:])
        lines = [f'size = "{size}"', *(f'{name} = "{value}"' for name, _, value in rows)]
        path = folder / "a.toml"
        path.write_text(change_text(rng, "\n".join(lines)), errors="replace")
        _use(rng, describe_machine(str(path)), folder)
    else:
        _use(rng, describe_machine(f"scenario:{text}"), folder)


def _report(rng: random.Random, _folder: Path) -> None:
    counts = {"no_callback": 3, "pinned": 2}
    data: Any = rng.choice(
        [
            {"request": "cma", "refused_by_owner": {"slab": counts, "gup": counts}},
            {"rows": [{"design": "registry", "movable": ["zbud"], "refused": counts}]},
        ]
    )
    for _ in range(rng.choice([1, 2, 3])):
        data = change_value(rng, data)
    text = json.dumps(data)
    if rng.random() < 0.3:
        text = change_text(rng, text)
    for run in reasons.chosen(reasons.read(text, "a.json")):
        json.dumps(reasons.as_json([run]))
        reasons.as_text(run.by_owner).encode()


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "snapshot": functools.partial(_npz, _snapshot_file),
    "machine": functools.partial(_npz, _odd_machine_file),
    "recording": functools.partial(_npz, _recording_file),
    "proc": _proc,
    "copies": _copies,
    "text": _text,
    "scenario": _scenario,
    "report": _report,
}
"""Kind -> what makes one hostile input of it, and has it read and used."""


def _use(rng: random.Random, snapshot: Snapshot, folder: Path) -> None:
    """Whatever can be done with a file that opens."""
    heatmap.text(snapshot).encode()
    look(rng, snapshot)
    image.save(snapshot, folder / "again.npz")
    assert image.load(folder / "again.npz").to_form()[0] == snapshot.to_form()[0]
    if snapshot.nr_frames > 1 << 16:
        return
    design = rng.choice(["unmovable", "zbud-reclaim", "registry"])
    if rng.random() < 0.5:
        replay_layout(snapshot, _corpus(), design_name=design).machine.check()
        return
    request = rng.choice(list(SERVERS))
    options = RequestOptions(design=design, strategy=rng.choice(["scan", "plan"]))
    report = run_request(request, snapshot, options, contents="none")
    json.dumps(report.as_json())


def run_case(kind: str, number: int, folder: Path) -> str:
    """Make one case and have it used.

    Args:
        kind: one of `KINDS`.
        number: of the case.
        folder: empty, for its files.

    Returns:
        "" where it was read, else the line that refused it.

    Raises:
        AssertionError: the refusal is no single line that can be printed.
        Exception: whatever was raised instead of a refusal.
    """
    rng = random.Random(f"{kind} {number}")
    try:
        KINDS[kind](rng, folder)
    except PinpageError as error:
        line = str(error)
        assert "\n" not in line, f"more than a line: {line!r}"
        line.encode()
        return line
    return ""


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_NR_BYTES, _ADDRESS_SPACE_NR_BYTES))


def _too_long(_number: int, _frame: object) -> None:
    raise TimeoutError(f"a case took more than {_SECONDS_PER_CASE} s of CPU time")


def main(kind: str, number: int, seconds: float) -> int:
    """Cases of a kind from a number on, until time is up; the number of the next one."""
    _bounded()
    signal.signal(signal.SIGPROF, _too_long)  # (CPU time: the machine may be busy otherwise)
    stop = time.monotonic() + seconds
    while True:
        signal.setitimer(signal.ITIMER_PROF, _SECONDS_PER_CASE)
        with tempfile.TemporaryDirectory() as folder:
            try:
                run_case(kind, number, Path(folder))
            except BaseException:
                print(f"PINPAGE_FUZZ_SEED={number}", file=sys.stderr)
                raise
        signal.setitimer(signal.ITIMER_PROF, 0)
        number += 1
        if time.monotonic() >= stop:
            return number


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
