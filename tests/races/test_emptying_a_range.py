"""A range is being emptied while others allocate, free, pin and give up pages.

R-20 pins in a batch when the range is looked at; R-21 and R-22 pages on per-CPU lists, before
and after they were drained; R-23 allocations, destinations among them, inside the range; R-32
retries without end; R-33 and R-34 what is left when it is given up; R-36 an owner that has to
allocate to make way.
Rule:   isolate, then drain, then scan; nothing is allocated inside; every budget ends; one exit.
"""

import threading

import numpy as np
import pytest

from mm.contig.page_isolation import first_not_isolated
from mm.contig.retry import RetryPolicy
from mm.move.design import Answer
from mm.paging.paging import ANON_BITS
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.explore import Scenario, explore
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit import inside
from tests.kit.mm.machines import ScriptedDesign
from tests.kit.mm.ranges import Ranged, names

RANGE = Span(0, 8)
PATIENT = RetryPolicy(None, timeout_ns=10**9)


class Bench:
    """A range with pages of a process and of the per-CPU lists in it, and those around it."""

    def __init__(self, *blocks):
        self.world = Ranged(*(blocks or ("ap.ap...", "ap......", "........")))
        self.isolated = False
        self.emptied = False
        self.held = []

    def scenario(self, **actors):
        return Scenario(actors, check=self.check, finish=self.finish)

    def check(self):
        """Whatever has just happened: nobody got a frame of the range, and nobody hides one."""
        self.world.check()
        if not self.isolated:
            return
        state = self.world.machine.frames.state[RANGE.start : RANGE.stop]
        assert not (state == FrameState.PCP).any(), "R-22: a page of the range on a per-CPU list"
        inside = [pfn for pfn in self.held if pfn in RANGE]
        assert not inside, f"R-23: {inside} were allocated from the range"

    def finish(self):
        assert self.emptied, "the range did not come free"

    # Actors.

    def emptier(self):
        """alloc_contig_range in its steps."""
        machine = self.world.machine
        self.held = [pfn for pfn in self.held if pfn not in RANGE]  # (had before: not ours to ask)
        assert machine.evacuator.isolate(RANGE, machine.design)
        self.isolated = True
        yield "isolates and drains"
        machine.evacuator.sweep(RANGE, machine.design)
        yield "empties"
        if first_not_isolated(machine.buddy, RANGE) >= 0:
            machine.evacuator.sweep(RANGE, machine.design)
            yield "empties again"
        self.emptied = first_not_isolated(machine.buddy, RANGE) < 0
        machine.evacuator.undo(RANGE)
        self.isolated = False
        yield "lets allocations in"

    def allocator(self, count=3):
        """Allocates, page by page."""
        for _ in range(count):
            pfn = self.world.machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
            if pfn >= 0:
                if not self.isolated:
                    # A page that was got before: mapped, so that it can be moved again.
                    self._map(pfn)
                else:
                    self.held.append(pfn)
            yield f"allocates {pfn}"

    def _map(self, pfn):
        world, vpn = self.world, int(np.flatnonzero(self.world.space.pte == 0)[-1])
        world.machine.contents.set_tags(column(pfn), np.array([1000 + vpn], dtype=np.uint64))
        world.machine.frames.flags[pfn] = ANON_BITS
        world.machine.rmap.map_many(world.space, column(vpn), column(pfn))
        world.machine.lru.add_many(column(pfn))

    def freer(self):
        """A process drops its pages, one by one: they go to the per-CPU lists."""
        for vpn in (0, 3):
            self.world.machine.memory.dontneed(self.world.space, column(vpn))
            yield f"drops {vpn}"


def test_allocations_never_get_a_frame_of_the_range():
    """R-23, under every interleaving."""

    def make():
        bench = Bench()
        return bench.scenario(emptier=bench.emptier(), allocator=bench.allocator())

    explore(make).require_none()


def test_pages_freed_before_during_and_after_come_free():
    """R-21 and R-22, under every interleaving."""

    def make():
        bench = Bench()
        return bench.scenario(emptier=bench.emptier(), freer=bench.freer())

    explore(make).require_none()


def test_all_at_once():
    def make():
        bench = Bench()
        return bench.scenario(
            emptier=bench.emptier(), allocator=bench.allocator(2), freer=bench.freer()
        )

    explore(make, max_preemptions=1).require_none()


def test_a_drain_alone_would_not_do():
    """R-21: after the drain somebody frees into the range, and the page is there at once."""
    world = Ranged("aaP.....", "........")
    freed = []

    def world_goes_on():
        if not freed:
            world.unpin()
            world.machine.memory.dontneed(world.space, column(2))
            freed.append(2)

    assert world.isolate(0, 8)
    report = world.machine.evacuator.evacuate(
        RANGE, world.machine.design, retry=RetryPolicy(None, between_tries=world_goes_on)
    )
    assert report.errno is Errno.OK
    assert world.machine.buddy.nr_free_in_block[0] == 8
    world.machine.evacuator.undo(RANGE)


#


def in_another_thread(action):
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.mark.parametrize("movable", [True, False])
def test_a_pin_in_another_threads_batch_is_seen_by_the_isolation_and_asked_by_the_move(movable):
    world = Ranged("#.......", "........", movable=movable)
    in_another_thread(lambda: world.owner.adopt(column(0)))
    registry = world.machine.registry
    assert registry.statistics().nr_drained == 0, "the pin must still be in its batch"
    found = world.contig(0, 8)
    assert found.errno is (Errno.OK if movable else Errno.EBUSY)
    holders = {"opaque": 1} if not movable else {}
    assert {name: sum(n.values()) for name, n in found.report.refusals.by_owner().items()} == (
        holders
    )


def test_a_page_whose_unpin_is_in_a_batch_is_nobodys():
    world = Ranged("x.......", "........", movable=True)
    world.machine.registry.flush()
    in_another_thread(lambda: world.machine.registry.unpin(0, world.owner, 0))
    found = world.contig(0, 8)
    assert found.errno is Errno.EBUSY
    assert names(found.report) == {"unknown": {"NO_OWNER": 1}}


#


def test_again_for_ever_ends_with_the_budget():
    world = Ranged("#a......", "........")
    design = ScriptedDesign(reasons=[Reason.OWNER_AGAIN] * 1000)
    world.machine.design = design
    found = world.contig(0, 8, design)
    assert found.errno is Errno.EBUSY
    assert sum(call[0] == "move" for call in design.calls) == 50


def test_hot_removes_endless_loop_honours_signals():
    world = Ranged("P.......", "........")
    asked = []

    def signal_pending():
        asked.append(1)
        return len(asked) > 200

    assert world.isolate(0, 8)
    retry = RetryPolicy(None, timeout_ns=10**7, signal_pending=signal_pending)
    report = world.machine.evacuator.evacuate(RANGE, world.machine.design, retry=retry)
    assert (report.errno, report.nr_tries) == (Errno.EINTR, 200)
    world.machine.evacuator.undo(RANGE)
    world.check()


#


@pytest.mark.parametrize("nr_targets", range(8))
def test_giving_up_at_any_page_puts_everything_back_where_it_was(nr_targets):
    """Destinations run out after every number of pages; kinds and lists are as before."""
    world = Ranged("adaxaaxa", "########", movable=True)
    world.machine.lru.activate(column(0, 4, 7))
    lru = world.machine.lru
    nr_pages = [lru.nr_pages(active=active) for active in (False, True)]
    hidden = world.machine.buddy  # no other memory than the targets given
    targets = _Given(world, nr_targets)
    assert world.isolate(0, 8)
    report = world.machine.evacuator.evacuate(RANGE, world.machine.design, targets=targets)
    assert report.errno is Errno.ENOMEM
    world.machine.evacuator.undo(RANGE)
    frames = world.machine.frames
    assert not frames.isolated.any()
    assert not (frames.state == FrameState.TAKEN).any()
    assert [lru.nr_pages(active=active) for active in (False, True)] == nr_pages
    assert hidden.nr_free() == report.pages_moved
    world.check()


class _Given:
    """Targets cut out of the second block, so many of them."""

    def __init__(self, world, count):
        self._world = world
        self.pfns = list(range(8, 8 + count))
        for pfn in self.pfns:
            world.machine.frames.state[pfn] = FrameState.TAKEN

    def take(self, count):
        taken, self.pfns = self.pfns[:count], self.pfns[count:]
        return column(*taken)

    def give_back(self, pfns):
        self.pfns = pfns.tolist() + self.pfns


def test_whatever_an_owner_answers_nothing_stays_isolated():
    for script in ("yes", "again", "busy", "raise"):
        world = Ranged("xax.....", "........", movable=True)
        world.owner.isolate_many = _answers(script)
        found = world.contig(0, 8)
        assert not world.machine.frames.isolated.any()
        assert (found.errno is Errno.OK) == (script == "yes")
        world.check()


def _answers(script):
    def isolate_many(pfns, privates, mode):
        if script == "raise":
            raise RuntimeError("a bug of the owner's")
        verdict = {"yes": Verdict.YES, "again": Verdict.AGAIN, "busy": Verdict.BUSY}[script]
        return np.full(len(pfns), verdict, dtype=np.uint8)

    return isolate_many


#


class _Expands(ScriptedDesign):
    """Makes way by allocating two pages for each that it gives up, as decompressing does."""

    def __init__(self, world):
        super().__init__(Answer.RELEASE)
        self.world, self.got, self.modes = world, [], []

    def release(self, pfns, mode):
        reasons = np.full(len(pfns), Reason.OWNER_BUSY, dtype=np.uint8)
        self.modes.append(mode)
        for row, pfn in enumerate(pfns.tolist()):
            fresh = [self.world.machine.alloc_page(Gfp.HIGHUSER_MOVABLE) for _ in range(2)]
            got = [page for page in fresh if page >= 0]
            if len(got) == 2:
                self.got += got
                self.world.machine.free_page(pfn)
                reasons[row] = Reason.RELEASED
            else:
                for page in got:
                    self.world.machine.free_page(page)
        return reasons


def test_an_owner_that_allocates_to_make_way_gets_nothing_of_the_range():
    world = Ranged("##......", "........")
    world.machine.design = design = _Expands(world)
    found = world.contig(0, 8, design)
    assert (found.errno, found.report.pages_released) == (Errno.OK, 2)
    assert len(design.got) == 4
    assert min(design.got) >= 8
    assert design.modes == [Mode.SYNC]


def test_and_where_there_is_no_memory_it_stays_and_nothing_is_lost():
    world = Ranged("##......", "#######.")
    world.machine.design = design = _Expands(world)
    found = world.contig(0, 8, design)
    assert found.errno is Errno.EBUSY
    assert found.report.pages_released == 0
    assert names(found.report) == {"unknown": {"OWNER_BUSY": 2}}
    assert world.picture()[0] == "##......"
    world.machine.pcp.drain_all()
    assert world.machine.buddy.nr_free() == 7


# Faults at every place.


@pytest.mark.parametrize("nth", range(5))
def test_a_refusal_at_the_nth_callback_stops_that_page_alone(nth):
    world = Ranged("xxxxx...", "........", movable=True)
    asked = []

    def isolate_many(pfns, privates, mode):
        verdicts = np.zeros(len(pfns), dtype=np.uint8)
        for row in range(len(pfns)):
            asked.append(1)
            refuses = len(asked) > 5 or len(asked) == nth + 1
            verdicts[row] = Verdict.BUSY if refuses else Verdict.YES
        return verdicts

    world.owner.isolate_many = isolate_many
    found = world.contig(0, 8)
    assert found.errno is Errno.EBUSY
    assert found.report.pages_moved == 4
    assert found.report.left.tolist() == [nth]
    assert names(found.report) == {"opaque": {"OWNER_BUSY": 1}}


@pytest.mark.parametrize("nth", range(4))
def test_a_kill_before_the_nth_batch_leaves_a_whole_machine(nth):
    blocks = ["aa......", "ad......", "ax......"]
    world = Ranged(*blocks, "........", "........", movable=True)
    calls = []

    def killed():
        calls.append(1)
        return len(calls) > nth

    found = world.contig(0, 24, retry=RetryPolicy(signal_pending=killed))
    assert found.errno is (Errno.EINTR if nth < 3 else Errno.OK)
    assert found.report.pages_moved == min(2 * nth, 6)
    assert not (world.machine.pageblocks.migratetype == MigrateType.ISOLATE).any()
    assert len(world.machine.registry) == 1


@pytest.mark.parametrize("nth", range(6))
def test_cma_fails_at_any_destination_and_gives_its_bits_back(nth):
    world = Ranged("aaaaaa..", "........")
    area = world.cma(0, 1)
    machine = world.machine
    alloc, given = machine.allocator.alloc_pages, []

    def alloc_pages(order, gfp, node=None):
        given.append(1)
        return alloc(order, gfp, node) if len(given) <= nth else -1

    inside.alloc_pages_through(machine.evacuator, lambda _: alloc_pages)
    found = machine.cma.request(6)
    assert (found.errno, found.report.pages_moved) == (Errno.ENOMEM, nth)
    assert names(found.report) == {"home": {"NO_TARGET": 6 - nth}}
    assert not area.bitmap.any()
    world.check()
