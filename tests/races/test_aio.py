"""R-18 for completion rings: events come in, and are read, while the pages move.

Actors: a mover of both ring pages; an interrupt that completes; a reader that may be
        preempted with the ring mutex held; somebody who takes the context down.
Bad:    an event is written to the old page after the copy and so lost; one is read twice;
        the ring of a context that is gone leaks.
Rule:   what completes while a page it needs is quiet is kept beside the ring, in order, and a
        reader in the ring is Again.
"""

from mm.state.errno import Errno
from owners.aio.ring_format import IoEvent
from owners.aio.rings import AioRings
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import explore
from tests.kit.owners.driver_world import DriverWorld

NR_BEFORE = 126  # the next event is the last of page 0, those after it go to page 1
NR_AFTER = 3


def event(number):
    return IoEvent(data=number, obj=0, res=4096)


class Ring:
    """A context with unread events at the border of its two pages."""

    def __init__(self):
        self.world = DriverWorld(16)
        self.rings = AioRings(self.world.machine, registry=self.world.registry)
        self.ctx_id = self.rings.setup(200)
        for number in range(NR_BEFORE):
            self.rings.complete(self.ctx_id, event(number))
        self.read = []

    def mover(self, mode=Mode.SYNC):
        return self.world.steps(*self.rings.pages_of(self.ctx_id), mode=mode)

    def interrupt(self):
        for number in range(NR_BEFORE, NR_BEFORE + NR_AFTER):
            assert self.rings.complete(self.ctx_id, event(number)) in (Errno.OK, Errno.EINVAL)
            yield f"completes {number}"

    def reader(self, nr_events=2, times=1):
        for _ in range(times):
            events = yield from self.rings.read_steps(self.ctx_id, nr_events)
            if not isinstance(events, Errno):
                self.read += events

    def all_read(self):
        self.read += self.rings.get_events(self.ctx_id, 999)
        assert self.read == [event(n) for n in range(NR_BEFORE + NR_AFTER)]
        reasons = set(self.world.reasons["mover"])
        assert reasons <= {Reason.MOVED, Reason.OWNER_AGAIN}, reasons


def completing_while_it_moves():
    ring = Ring()
    return ring.world.scenario(
        ring.rings, ring.all_read, mover=ring.mover(), interrupt=ring.interrupt()
    )


def completing_and_reading_while_it_moves():
    ring = Ring()
    return ring.world.scenario(
        ring.rings,
        ring.all_read,
        mover=ring.mover(Mode.ASYNC),
        interrupt=ring.interrupt(),
        reader=ring.reader(),
    )


def taken_down_while_it_moves():
    ring = Ring()

    def ending():
        assert ring.rings.destroy(ring.ctx_id) == Errno.OK
        yield "takes the context down"

    def finish():
        assert ring.world.nr_free == 16, "a ring page leaked"

    return ring.world.scenario(
        ring.rings, finish, mover=ring.mover(), interrupt=ring.interrupt(), undertaker=ending()
    )


def test_no_event_is_lost_while_its_page_moves():
    explore(completing_while_it_moves, max_preemptions=2).require_none()


def test_no_event_is_lost_or_read_twice():
    explore(completing_and_reading_while_it_moves, max_preemptions=1).require_none()


def test_a_context_taken_down_under_the_mover_leaks_nothing():
    explore(taken_down_while_it_moves, max_preemptions=2).require_none()


def test_completions_get_in_between_isolate_and_migrate_at_all():
    """The race is really run: an interrupt between the copy and migrate."""
    ring = Ring()
    mover = ring.mover()
    while next(mover).name != "COPY":
        pass
    for _ in ring.interrupt():
        pass
    for _ in mover:
        pass
    ring.all_read()
    assert ring.world.reasons["mover"] == [Reason.MOVED, Reason.MOVED]
