"""Many locks: R-30, R-31.  The explorer sees who waits for what, so that nobody hangs."""

from typing import Any

from owners.pool.objects import BuddyPool
from owners.zbud.pool import ZbudPool
from pinlab.races.bench import Bench
from pinlab.races.broken import Broken
from pinlab.races.machines import AnyFree, Small
from pinlab.races.race import Race
from pinpage.errors import require
from pinpage.migrate import move_many
from pinpage.owner import Mode, Reason
from pinpage.store.marks import Marks
from pinpage.testing.explore import Scenario, Until
from pinpage.testing.stepping import by_calls, in_steps, stop_here
from pinpage.testing.world import column

__all__ = ["OBJECT_NR_BYTES", "RACES", "owner_lock_and_page", "two_movers_two_pages"]

OBJECT_NR_BYTES = 1000


def owner_lock_and_page() -> Scenario:
    """R-30: a pool makes an object on a frame that a mover has marked.

    The frame was somebody else's when the mover marked it, and is free by the time that the
    mover takes it; the pool gets it, and has to wait before it can pin.  Meanwhile the mover
    asks the pool about its other page.
    """
    world = Small()
    pool = ZbudPool(world.machine, registry=world.registry)
    handles = [pool.alloc(OBJECT_NR_BYTES) for _ in range(2)]  # the page is full
    (page,) = pool.pages.pfn[pool.pages.in_use()].tolist()
    other = ZbudPool(world.machine, registry=world.registry, name="other")
    thing = other.alloc(OBJECT_NR_BYTES)
    (its_page,) = other.pages.pfn[other.pages.in_use()].tolist()
    both = column(*sorted((page, its_page)))

    def moving(registry: Any, memory: Any) -> None:  # lent, not themselves
        report = move_many(registry, memory, both, AnyFree(world.machine), Mode.SYNC)
        world.reasons["mover"] = [Reason(int(reason)) for reason in report.reasons]

    def using() -> None:
        other.free(thing)
        stop_here("the other pool frees its page")
        handles.append(pool.alloc(OBJECT_NR_BYTES))

    def finish() -> None:
        world.check()
        pool.check()
        require(min(handles) > 0, "an object was refused")

    lent = world.registry, world.machine.mover
    mover = by_calls(moving, *lent, names={"take", "calling", "marks.end_move"})
    return Scenario({"mover": mover, "user": in_steps(using)}, finish=finish)


def two_movers_two_pages() -> Scenario:
    """R-31: each wants the same two pages, in another order."""
    bench = Bench(8)
    zbud = bench.owner("zbud", strict=False)
    pages = [zbud.keep(number, contents=number + 1) for number in range(2)]

    def moving(name: str, *sources: int) -> None:
        for step in bench.mover(*sources, name=name):
            stop_here(step)

    def finish() -> None:
        nr_moved = sum(reasons.count(Reason.MOVED) for reasons in bench.reasons.values())
        require(nr_moved >= 2, "a page moved with nobody")
        require([zbud.read(number) for number in range(2)] == [1, 2], "a page lost its data")

    return bench.scenario(
        finish,
        one=in_steps(lambda: moving("one", pages[0], pages[1])),
        two=in_steps(lambda: moving("two", pages[1], pages[0])),
    )


_PINS = "verdict = Verdict.YES if registry is None else registry.pin(pfn, self.owner, private)\n"

RACES = (
    Race(
        number=30,
        title="two owners, two locks",
        actors={"mover": "moves two pages, one of a pool", "user": "frees the other for the pool"},
        rule="X",
        make=owner_lock_and_page,
        broken=Broken(
            "the pool waits for a move to end while it holds its lock",
            BuddyPool._new_page,
            f"            {_PINS}",
            f"            with self.lock:\n                {_PINS}",
        ),
    ),
    Race(
        number=31,
        title="two movers, two page locks",
        actors={"one": "moves both pages", "two": "moves both, the other one first"},
        rule="X",
        make=two_movers_two_pages,
        max_preemptions=2,
        broken=Broken(
            "a mover takes one page after the other, and sleeps for what another mover has",
            Marks.begin_move,
            '        order = np.argsort(pfns, kind="stable")\n',
            "        me = self._nodes.threads.current.ident\n"
            "        for at, pfn in enumerate(pfns.tolist()):\n"
            "            shard = self._nodes.shard_of(pfn)\n"
            "            while pfn in shard.moving:\n"
            "                stop_here(Until(lambda: pfn not in shard.moving, "
            "f'page {pfn} is let go'))\n"
            "            marked[at] = self._nodes.run([shard], shard.begin_move, [pfn], me)[0]\n"
            "            stop_here(f'has page {pfn}')\n"
            "        return marked\n"
            '        order = np.argsort(pfns, kind="stable")\n',
            names={"stop_here": stop_here, "Until": Until},
        ),
    ),
)
