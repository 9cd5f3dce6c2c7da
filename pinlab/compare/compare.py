"""The same memory, the same owners, the same request, under one design after another.

The request is the recordings' `cmphuge`: compact all memory, then take as many huge pages
as there are.  Under `scan` they come from the page allocator, min watermark included, as a
write to nr_hugepages gets them.  Under `plan` they are the blocks that the plan emptied.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import get_args

import numpy as np
from attrs import evolve

from mm.machine import Machine
from mm.move.design import Strategy
from mm.state.contents import Contents
from mm.state.frames import FrameState
from pinlab.compare.fork import can_fork, run_forked
from pinlab.compare.give_up import compact_giving_up
from pinlab.compare.results import Comparison, Maps, MeasuredRow, Row, Run
from pinlab.replay.contents import PagePlan, contents_of, plan_pages
from pinlab.replay.corpus import Corpus
from pinlab.replay.designs import design
from pinlab.replay.host_memory import require_host_memory
from pinlab.replay.owners import check_movable, check_release, classes_of
from pinlab.replay.read_back import ReadBack
from pinlab.replay.replay import Replayed, class_counts, replay_over
from pinlab.replay.replayable import check_replayable
from pinlab.replay.take_over import TakesOver, label_for
from pinlab.snapshot.errors import WrongCallError
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError

__all__ = [
    "RunProgress",
    "WrongRunError",
    "check_run",
    "check_runs",
    "compare",
    "coverage_named",
    "default_runs",
    "measured_row",
    "runs_of",
    "serve",
    "with_release",
]


RunProgress = Callable[[Run, int, int], None]
"""Told before each run: the run, how many are done, how many there are."""


def default_runs(snapshot: Snapshot) -> tuple[Run, ...]:
    """What is shown when nothing is asked for: each design, then knowledge.

    Owners that the recording does not have are left out of the coverage.
    """
    both = tuple(name for name in ("slab", "zbud") if classes_of([name]) & snapshot.classes)
    zbud = both[both.index("zbud") :] if "zbud" in both else ()
    runs = (
        Run("unmovable"),
        Run("zbud-reclaim"),
        Run("registry", zbud),
        Run("registry", both),
        Run("registry", (), "plan"),
        Run("registry", both, "plan"),
    )
    return tuple(dict.fromkeys(runs))


def coverage_named(names: str, argument: str = "movable") -> tuple[str, ...]:
    """Owners from a list such as "zbud,slab"; "none" for nobody.

    Args:
        names: the list.
        argument: what it is called, for messages.

    Raises:
        PinpageError: the list is empty, or says none and names somebody.
    """
    owners = tuple(sorted({name.strip() for name in names.split(",")} - {""}))
    if not owners or ("none" in owners and len(owners) > 1):
        raise PinpageError(f"{argument}={names!r}: name owners, or none alone for nobody")
    return () if owners == ("none",) else owners


def runs_of(
    snapshot: Snapshot,
    designs: Sequence[str],
    coverages: Sequence[tuple[str, ...]],
    strategy: Strategy | None,
    release: tuple[str, ...] = (),
) -> tuple[Run, ...]:
    """The runs that designs, coverages and a strategy name together.

    Args:
        snapshot: the recording, for the defaults.
        designs: names; if none, the default runs' where no coverage is given either, else
            the registry, for it alone asks owners.
        coverages: owners with a callback, one run each for designs that ask them; if none,
            such designs run with nobody movable.
        strategy: None for "scan".
        release: owners that give pages up, in every run of a design that asks them.

    Raises:
        PinpageError: an unknown design, or coverages for one that asks nobody.
    """
    strategy = strategy or "scan"
    if not designs and not coverages:
        runs = [evolve(run, strategy=strategy) for run in default_runs(snapshot)]
        return tuple(dict.fromkeys(with_release(runs, release)))
    spread = [tuple(sorted(set(owners))) for owners in coverages] or [()]
    runs = []
    for name in designs or ["registry"]:
        asks = design(name).takes_coverage
        if not asks and coverages and len(designs) == 1:
            raise PinpageError(f"design {name!r} asks no owner: leave movable= out for it")
        if not asks and release and len(designs) == 1:
            raise PinpageError(f"design {name!r} asks no owner: leave release= out for it")
        runs += [Run(name, owners, strategy) for owners in (spread if asks else [()])]
    return tuple(dict.fromkeys(with_release(runs, release)))


def with_release(runs: Iterable[Run], release: tuple[str, ...]) -> list[Run]:
    """The same runs, those owners giving pages up wherever owners are asked.

    Args:
        runs: to be made.
        release: who gives up; in a run in which it is movable, too, it moves.

    Raises:
        PinpageError: one of them gives up in no run.
    """
    made = [
        evolve(run, release=tuple(name for name in release if name not in run.movable))
        if design(run.design).takes_coverage
        else run
        for run in runs
    ]
    for name in release:
        if not any(name in run.release for run in made):
            raise PinpageError(
                f"release={name}: in every run it is movable too, or no owner is asked: who can "
                "move is not asked to give up: leave one out, or add a run in which it stays"
            )
    return made


class WrongRunError(WrongCallError):
    """A run that cannot be made of this recording."""


def check_run(run: Run) -> None:
    """Refuse a run that can be made of no recording.

    Raises:
        PinpageError: an unknown design or strategy, or a coverage given to a design that asks
            nobody.
    """
    entry = design(run.design)
    if run.strategy not in get_args(Strategy):
        names = ", ".join(get_args(Strategy))
        raise PinpageError(f"strategy {run.strategy!r} is unknown: it is one of {names}")
    for argument, owners in (("movable", run.movable), ("release", run.release)):
        if owners and not entry.takes_coverage:
            raise PinpageError(f"design {run.design!r} asks no owner: leave {argument}= out for it")


def check_runs(snapshot: Snapshot, runs: Iterable[Run]) -> None:
    """Refuse runs that cannot be made, before the first one starts.

    Args:
        snapshot: the recording.
        runs: what to compare.

    Raises:
        WrongRunError: see `check_run`; or an owner that the recording does not have.
    """
    try:
        for run in runs:
            check_run(run)
        check_movable(snapshot, {name for run in runs for name in run.movable})
        for run in runs:
            check_release(snapshot, run.release, run.movable)
    except PinpageError as error:
        raise WrongRunError(str(error)) from None


def _check_own(own: TakesOver, snapshot: Snapshot, runs: Iterable[Run]) -> None:
    """Refuse an owner that has no frames here, before the first run starts."""
    try:
        for run in runs:
            label_for(own, snapshot, run.movable, run.release)
    except PinpageError as error:
        raise WrongRunError(str(error)) from None


def measured_row(snapshot: Snapshot) -> MeasuredRow | None:
    """The recorded outcome of `cmphuge`, or None."""
    measured = snapshot.measured
    if measured is None or measured.operation != "cmphuge" or measured.huge_pages is None:
        return None
    moved = measured.during("compact", "pgmigrate_success")
    migrate = measured.during("compact", "compact_migrate_scanned")
    free = measured.during("compact", "compact_free_scanned")
    emptied = measured.wholly_free_after_compaction
    return MeasuredRow(
        kernel=f"Linux {'.'.join(snapshot.provenance.kernel_release.split('.')[:2])}".strip(),
        huge_pages=measured.huge_pages,
        pageblocks_emptied=None if emptied is None else emptied - measured.wholly_free_before,
        pages_moved=measured.pgmigrate_success if moved is None else moved,
        pages_scanned=(measured.compact_migrate_scanned if migrate is None else migrate)
        + (measured.compact_free_scanned if free is None else free),
    )


def compare(  # noqa: PLR0913  (what the command can be asked)
    snapshot: Snapshot,
    runs: Sequence[Run],
    *,
    seed: int = 0,
    with_maps: bool = False,
    nr_jobs: int = 1,
    progress: RunProgress | None = None,
    layout_only: bool = False,
    keeps_ended: bool = False,
    own: TakesOver | None = None,
) -> Comparison:
    """Make every run, each on a machine of its own that starts from the same memory.

    Args:
        snapshot: the recording.
        runs: what to compare.
        seed: of the contents.
        with_maps: keep a map of memory before and after each run.
        nr_jobs: runs at a time, each in a process of its own; rows do not depend on it.
        progress: told before each run.
        layout_only: move frames and no bytes, for machines larger than this one; nothing is
            read back then.
        keeps_ended: whether an interruption gives the rows that had ended, if there are any,
            in a comparison that is partial; else it is the caller's.
        own: an owner of one's own for the frames of a label (`pinlab.lab.own.OwnOwner`).

    Raises:
        KeyboardInterrupt: see `keeps_ended`.
        WrongRunError: see `check_runs`; nothing has run then, nor in the next two cases.
        SnapshotError: see `check_replayable`.
        HostMemoryError: see `require_host_memory`.
        PinpageError: a run ended without a result, or `own` did not take its frames.

    Cost: one to four seconds a run for a 1 GiB machine.  Contents are written once and
        shared copy-on-write: 0.6 GiB, and up to 0.3 more for each run under way.
    """
    check_runs(snapshot, runs)
    if own is not None:
        _check_own(own, snapshot, runs)
    check_replayable(snapshot)
    if not layout_only:
        require_host_memory(snapshot, nr_jobs)
    corpus = Corpus.build(seed=seed, page_nr_bytes=snapshot.geometry.page_nr_bytes)
    pages = plan_pages(snapshot, corpus, seed=seed)
    contents = _contents(snapshot, corpus, pages, layout_only=layout_only)
    found: dict[int, tuple[Row, Maps | None]] = {}

    def one(run: Run) -> tuple[Row, Maps | None]:
        replayed = replay_over(
            contents, pages, snapshot, corpus,
            design_name=run.design, movable=frozenset(run.movable), own=own,
            release=frozenset(run.release),
        )  # fmt: skip
        if not with_maps:
            return serve(replayed, run, reads_back=not layout_only), None
        before = class_counts(replayed)
        row = serve(replayed, run, reads_back=not layout_only)
        return row, Maps(before, class_counts(replayed))

    def starts(run: Run, nr_ended: int) -> None:
        if progress is not None:
            progress(run, nr_ended, len(runs))

    try:
        if can_fork():
            run_forked(one, runs, nr_jobs=nr_jobs, started=starts, ended=found.__setitem__)
        else:
            for at, run in enumerate(runs):
                starts(run, at)
                found[at] = one(run)
                contents = _contents(snapshot, corpus, pages, layout_only=layout_only)
    except KeyboardInterrupt:
        if not keeps_ended or not found:
            raise
    return _comparison(snapshot, [found[at] for at in sorted(found)], len(runs), seed)


def _comparison(
    snapshot: Snapshot, done: Sequence[tuple[Row, Maps | None]], nr_runs: int, seed: int
) -> Comparison:
    return Comparison(
        recording=snapshot.name,
        request="cmphuge",
        seed=seed,
        measured=measured_row(snapshot),
        rows=tuple(row for row, _ in done),
        partial=len(done) < nr_runs,
        maps=tuple(maps for _, maps in done if maps is not None),
        page_nr_bytes=snapshot.geometry.page_nr_bytes,
        nr_pages_per_block=snapshot.nr_pages_per_block,
    )


def _contents(
    snapshot: Snapshot, corpus: Corpus, pages: PagePlan, *, layout_only: bool
) -> Contents:
    """The contents that every run starts from."""
    contents = contents_of(snapshot, corpus, layout_only=layout_only)
    pages.write(contents, corpus)
    return contents


def serve(replayed: Replayed, run: Run, *, reads_back: bool = True) -> Row:
    """Compact, take huge pages, read everything back.

    Args:
        replayed: the machine, as recorded.
        run: what to do with it.
        reads_back: whether there are bytes to be compared.

    Raises:
        InvariantError: the machine contradicts itself afterwards.
    """
    machine = replayed.machine
    used_before = _nr_used(machine)
    compacted = (
        compact_giving_up(machine, run.strategy) if run.release else machine.compact(run.strategy)
    )
    machine.pcp.drain_all()
    pages_grown = _nr_used(machine) - used_before
    pool = machine.hugetlb
    wanted = machine.pageblocks.nr_blocks
    large_pages_split = machine.refs.folios.nr_split.total()
    huge_pages = pool.claim(wanted) if run.strategy == "plan" else pool.grow(wanted)
    read = ReadBack()
    if reads_back:
        read = replayed.expected.read_back(machine.contents, replayed.zswap, machine.swap)
    machine.check()
    report = compacted.report
    return Row(
        design=run.design,
        movable=run.movable,
        strategy=run.strategy,
        bound=compacted.bound,
        huge_pages=huge_pages,
        pageblocks_emptied=report.pageblocks_emptied,
        pages_moved=report.pages_moved,
        pages_unused=0 if replayed.zswap is None else replayed.zswap.counters.unused_pages,
        pages_grown=pages_grown,
        pages_scanned=report.pages_scanned_migrate + report.pages_scanned_free,
        refused={reason.name.lower(): n for reason, n in sorted(report.refused.items())},
        lock_acquisitions=machine.counters.lock_acquisitions,
        modelled_ns=compacted.elapsed_ns,
        bytes_verified=read.bytes_verified,
        bytes_lost=read.bytes_lost,
        digest=machine.digest(),
        large_pages_split=large_pages_split,
        release=run.release,
        pages_released=report.pages_released,
    )


def _nr_used(machine: Machine) -> int:
    return int(np.count_nonzero(machine.frames.state == FrameState.USED))
