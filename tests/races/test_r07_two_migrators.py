"""R-7: two movers want the same frame.

Actors: two movers with overlapping batches; a mover that does not know the registry (mm's
        own, for what only page tables hold); real threads.
Bad:    two copies of one page, and the writes to one of them are lost.
Rule:   an exclusive mark, taken before anything else; the loser is told ALREADY_ISOLATED.
"""

import threading

import numpy as np

from pinlab.races.catalog import race_named
from pinlab.races.race import run_sound
from pinpage.migrate import move_many
from pinpage.owner import Mode, Reason
from pinpage.registry import PinRegistry
from pinpage.testing.explore import explore
from pinpage.testing.scripted import ScriptedOwner
from pinpage.testing.world import World, WorldTargets, column
from pinpage.topology import Topology
from tests.races.bench import Bench


def two_movers_that_overlap():
    bench = Bench(nr_frames=8)
    zbud = bench.owner("zbud")
    p, q, r = (zbud.keep(i, contents=i) for i in range(3))

    def finish():
        assert bench.world.nr_copies == 3
        assert [zbud.read(i) for i in range(3)] == [0, 1, 2]

    return bench.scenario(
        finish, one=bench.mover(p, q, name="one"), two=bench.mover(q, r, name="two")
    )


def a_mover_that_asks_nobody():
    """As mm moves what only page tables hold: it takes the frame and is gone again."""
    bench = Bench()
    pfn = bench.world.alloc_page(contents=7)
    bench.world.map_page(pfn)
    bench.world.put_page(pfn)
    bench.world.get_page(pfn)  # so that the frame is never moved: only the taking is tried

    def taker():
        (reason,) = bench.world.take(column(pfn)).tolist()
        yield Reason(reason).name
        if reason == Reason.MOVED:
            bench.world.put(column(pfn))

    return bench.scenario(mover=bench.mover(pfn), taker=taker())


def test_one_of_two_movers_has_the_frame():
    run_sound(race_named("R-7")).require_none()


def test_movers_that_overlap_move_every_frame_once():
    explore(two_movers_that_overlap, max_preemptions=2).require_none()


def test_the_mark_in_memory_excludes_movers_that_do_not_use_the_registry():
    explore(a_mover_that_asks_nobody).require_none()


class LockedWorld(World):
    """A world for real threads: one lock around each question that a move asks of it."""

    def __init__(self, nr_frames):
        super().__init__(nr_frames)
        self.lock = threading.RLock()

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if name in (
            "take",
            "put",
            "freeze",
            "still_frozen",
            "unfreeze",
            "copy",
            "rekey",
            "free",
            "only_ours",
        ):

            def locked(*args):
                with self.lock:
                    return value(*args)

            return locked
        return value


class LockedTargets(WorldTargets):
    """Targets for several movers at once."""

    def take(self, count):
        with self._world.lock:
            return super().take(count)

    def give_back(self, pfns):
        with self._world.lock:
            super().give_back(pfns)


def test_real_threads_move_each_frame_once_per_round():
    """Four threads race for the same 16 frames, round after round."""
    nr_pages, nr_threads, nr_rounds = 16, 4, 12
    world = LockedWorld(3 * nr_pages + nr_threads * nr_pages)
    registry = PinRegistry(Topology.uniform(nr_frames=world.nr_frames))
    zbud = ScriptedOwner("zbud", world, registry)
    for private in range(nr_pages):
        zbud.keep(private, contents=private)
    barrier = threading.Barrier(nr_threads, timeout=20)
    nr_moved = np.zeros((nr_rounds, nr_threads), dtype=np.int64)
    errors = []

    def race(thread):
        try:
            for round_ in range(nr_rounds):
                barrier.wait()
                sources = column(*(zbud.place[i] for i in range(nr_pages)))
                barrier.wait()
                report = move_many(registry, world, sources, LockedTargets(world), Mode.SYNC)
                nr_moved[round_, thread] = report.nr_moved
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=race, args=(n,), daemon=True) for n in range(nr_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive(), "a mover hangs"
    assert not errors, errors
    assert nr_moved.sum(axis=1).tolist() == [nr_pages] * nr_rounds
    assert [zbud.read(i) for i in range(nr_pages)] == list(range(nr_pages))
    world.check()
    registry.check()
