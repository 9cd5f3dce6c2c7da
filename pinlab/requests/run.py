"""One request on one machine: a recording or a description, under a design, served and told.

    request     what it asks for                    served where nothing is named
    ----------  ----------------------------------  ----------------------------------------
    huge2m      every 2 MiB page                    the bundled recording
    huge1g      every 1 GiB page                    a described machine of 4 GiB
    cma         the recordings' sequence of sizes   a described machine with an area
    offline     each memory block in turn           the bundled recording
    power       every power region off              the bundled recording

The bundled recording has neither a CMA area nor room for a 1 GiB page.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from attrs import evolve

from pinlab.compare.compare import check_run
from pinlab.compare.results import Run
from pinlab.replay.corpus import Corpus
from pinlab.replay.host_memory import require_host_memory
from pinlab.replay.replay import Replayed, replay, replay_layout
from pinlab.replay.take_over import TakesOver, label_for
from pinlab.requests import cma, huge1g, huge2m, offline, power
from pinlab.requests.account import Subject
from pinlab.requests.first import joined, serve_first
from pinlab.requests.obeyed import require_obeyed
from pinlab.requests.report import RequestName, RequestOptions, RequestReport
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.open import open_snapshot
from pinpage.errors import PinpageError

__all__ = [
    "DEFAULT_MEMORY",
    "SERVERS",
    "Serve",
    "open_memory",
    "prepare",
    "run_request",
]

Serve = Callable[[Subject, RequestOptions], RequestReport]
"""What each consumer's module has."""

DEFAULT_MEMORY: Mapping[RequestName, str | None] = {
    "huge2m": None,
    "huge1g": "scenario:4GiB,anon=30%,slab=1%,pagetable=0.5%,scatter=0%",
    "cma": "scenario:1GiB,anon=50%,slab=2%,cma=128MiB",
    "offline": None,
    "power": None,
}
"""What a request is put to when nothing is named; None: the bundled recording."""


def open_memory(request: RequestName, named: str | None, *, seed: int = 0) -> Snapshot:
    """The memory that a request is put to.

    Args:
        request: for what it is put to where nothing is named.
        named: a recording's path, a description, or None.
        seed: of a description's layout.

    Raises:
        PinpageError: a description that is wrong.
        SnapshotError: a file that cannot be used.
    """
    wanted = named if named is not None else DEFAULT_MEMORY[request]
    return open_snapshot(wanted, seed=seed)


def prepare(
    snapshot: Snapshot,
    options: RequestOptions,
    *,
    contents: Literal["bytes", "none"] = "bytes",
    own: TakesOver | None = None,
) -> Replayed:
    """The machine that will serve, as recorded, under the design that the options name.

    Args:
        snapshot: the memory.
        options: design, movable owners and seed are read.
        contents: "bytes", real ones, to be read back in the end; or "none": a machine of any
            size, of which only the layout counts.
        own: an owner of one's own for the frames of a label (`pinlab.lab.own.OwnOwner`).

    Raises:
        PinpageError: an unknown design, strategy or owner, or owners given to a design that
            asks nobody; an own owner that has no frames here, or does not take them.
        HostMemoryError: too little memory here for the contents.
    """
    check_run(Run(options.design, options.movable, options.strategy, options.release))
    if own is not None:
        label_for(own, snapshot, options.movable, options.release)
    if contents == "bytes":
        require_host_memory(snapshot, 1)
    return (replay if contents == "bytes" else replay_layout)(
        snapshot,
        Corpus.build(seed=options.seed, page_nr_bytes=snapshot.geometry.page_nr_bytes),
        design_name=options.design,
        movable=frozenset(options.movable),
        seed=options.seed,
        own=own,
        release=frozenset(options.release),
    )


def run_request(
    request: RequestName,
    snapshot: Snapshot,
    options: RequestOptions,
    *,
    contents: Literal["bytes", "none"] = "bytes",
    servers: Mapping[RequestName, Serve] | None = None,
    own: TakesOver | None = None,
) -> RequestReport:
    """Replay, serve, and say on what.

    Args:
        request: the consumer.
        snapshot: the memory.
        options: how.
        contents: see `prepare`; with "none" nothing is read back.
        servers: consumers by name; None: those of this package.
        own: see `prepare`; the report's details say how much it keeps in how many frames.

    Raises:
        PinpageError: what is asked cannot be asked of this memory.
        HostMemoryError: too little memory here for the contents.
        InvariantError: the machine contradicts itself afterwards.

    Cost: replay takes about a second per GiB; then it depends on what is asked.
    """
    serve = (SERVERS if servers is None else servers).get(request)
    if serve is None:
        raise PinpageError(f"request {request!r} is unknown: it is one of {', '.join(SERVERS)}")
    require_obeyed(request, options, may_begin=True)
    if serve is cma.serve:
        _refuse_areas_without_place(snapshot)
        cma.require_area(snapshot)
    replayed = prepare(snapshot, options, contents=contents, own=own)
    before = serve_first(replayed, options, request) if options.first else None
    report = serve(replayed, evolve(options, first=()))
    if before is not None:
        report = joined(before, report)
    if replayed.own is not None:
        own_details = {"own_frames": replayed.own.nr_frames, "own_things": replayed.own.nr_things}
        report = evolve(report, details=report.details | own_details)
    return evolve(report, recording=snapshot.name, seed=options.seed)


def _refuse_areas_without_place(snapshot: Snapshot) -> None:
    """Say before anything is built that there are areas, and that nothing says where."""
    if "cma_areas" in snapshot.unknown_fields and not snapshot.geometry.cma_areas:
        raise PinpageError(
            f"cma: {snapshot.name} has contiguous areas, and no file says where: record it with "
            "/sys/kernel/debug/cma, or a copy of it as the folder cma beside the others"
        )


SERVERS: dict[RequestName, Serve] = {
    "huge2m": huge2m.serve,
    "huge1g": huge1g.serve,
    "cma": cma.serve,
    "offline": offline.serve,
    "power": power.serve,
}
"""Consumers by name."""
