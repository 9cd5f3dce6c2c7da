"""Pages that no page table maps, as load: a balloon, completion rings, huge pages."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from mm.state.errno import Errno
from owners.aio.ring_format import EVENT_NR_BYTES, IoEvent
from owners.aio.rings import AioRings
from owners.balloon import Balloon
from owners.hugetlb_pages import HugetlbPages
from pinlab.load.workload import NOTHING, Action, Holding, LoadedMachine, Workload
from pinpage.owner import Mode, Pin
from pinpage.units import PAGEBLOCK_NR_PAGES, Pfns

__all__ = ["AioCompletions", "BalloonChurn", "HugePageUsers"]

_NR_EVENTS_AT_ONCE = 16


class BalloonChurn(Workload):
    """A host that takes memory from its guest and gives it back.

    Nothing is stored in balloon pages; what counts is that none of them gets lost.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """At most `nr_slots` pages.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self._most_nr_pages = nr_slots
        self.balloon = Balloon(world.machine, registry=world.registry)

    def start(self) -> None:
        """Half full."""
        self.balloon.inflate(self._most_nr_pages // 2)

    def actions(self) -> Iterator[Action]:
        """Inflate by up to an eighth; one time in ten give everything back.

        That leaves holes all over memory, so that a compaction has targets to move to.
        """
        while True:
            deflates, nr_pages = self.below(10) == 0, 1 + self.below(self._most_nr_pages // 8 + 1)
            if deflates:
                self.balloon.deflate(self.balloon.nr_pages)
                yield self.act("deflate")
            else:
                nr_pages_more = min(nr_pages, self._most_nr_pages - self.balloon.nr_pages)
                yield self.act("inflate", done=self.balloon.inflate(nr_pages_more) == nr_pages_more)

    def read_back(self) -> None:
        """There is nothing to read."""

    def holdings(self) -> Iterator[Holding]:
        """Its pages."""
        yield Holding(np.array(sorted(self.balloon.host), dtype=np.int64))

    def let_go(self) -> None:
        """Empty."""
        self.balloon.deflate(self.balloon.nr_pages)

    def check(self) -> None:
        """Balloon and host agree."""
        self.balloon.check()


class AioCompletions(Workload):
    """Contexts whose events must come out whole, each once, in the order in which they went in.

    Slots are contexts; what is stored are events of 32 bytes, kept in a queue.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """`nr_slots` contexts at a time.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.rings = AioRings(world.machine, registry=world.registry)
        self._ctx: list[int] = [0] * nr_slots
        self._unread: list[deque[IoEvent]] = [deque() for _ in range(nr_slots)]

    def start(self) -> None:
        """Every context is there."""
        for slot in range(len(self._ctx)):
            self._setup(slot, 200)

    def actions(self) -> Iterator[Action]:
        """Completions and readers; one time in a hundred a context ends and another begins."""
        while True:
            which, slot = self.below(100), self.below(len(self._ctx))
            nr_events, stamp = 1 + self.below(512), self.pages.draw()
            if which == 0 or self._ctx[slot] == 0:
                self._destroy(slot)
                yield self.act("setup", done=self._setup(slot, nr_events))
            elif which < 60:
                yield self.act("complete", done=self._complete(slot, stamp))
            else:
                yield self.act("get_events", done=self._read(slot, _NR_EVENTS_AT_ONCE))

    def _setup(self, slot: int, nr_events: int) -> bool:
        self._ctx[slot] = max(self.rings.setup(nr_events), 0)
        return self._ctx[slot] > 0

    def _destroy(self, slot: int) -> None:
        """Its unread events go with it, as they would."""
        if self._ctx[slot]:
            self.rings.destroy(self._ctx[slot])
        self._ctx[slot] = 0
        self._unread[slot].clear()

    def _complete(self, slot: int, stamp: int) -> bool:
        event = IoEvent(stamp, slot, -stamp)
        done = self.rings.complete(self._ctx[slot], event) == Errno.OK
        if done:
            self._unread[slot].append(event)
        return done

    def _read(self, slot: int, nr_events: int) -> bool:
        events = self.rings.get_events(self._ctx[slot], nr_events)
        if isinstance(events, Errno):
            return False
        for event in events:
            expected = self._unread[slot].popleft() if self._unread[slot] else None
            self.pages.compare_with(
                event.pack() if expected is None else expected.pack(),
                None if expected is None else event.pack(),
            )
        return True

    def read_back(self) -> None:
        """Every unread event; what does not come out is lost."""
        for slot in range(len(self._ctx)):
            self._read(slot, len(self._unread[slot]) + 1)
            for _ in range(len(self._unread[slot])):
                self.pages.compare_with(bytes(EVENT_NR_BYTES), None)
            self._unread[slot].clear()

    def holdings(self) -> Iterator[Holding]:
        """The pages of all rings."""
        pages = [pfn for ctx in self._ctx if ctx for pfn in self.rings.pages_of(ctx)]
        yield Holding(np.array(pages, dtype=np.int64))

    def let_go(self) -> None:
        """Every context ends."""
        for slot in range(len(self._ctx)):
            self._destroy(slot)

    def check(self) -> None:
        """The rings' headers."""
        self.rings.check()


class HugePageUsers(Workload):
    """A pool of huge pages that takes what compaction has made, uses it, and dissolves it again.

    A slot is a user; its page is stored all over the huge page, frame by frame.

    Attributes:
        owner: of the pool's pages.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """`nr_slots` users at most, and one fiftieth of memory, or one page if that is less.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        most = min(nr_slots, max(world.nr_pages // (50 * PAGEBLOCK_NR_PAGES), 1))
        super().__init__(world, name, nr_slots=most, pace_ns=pace_ns)
        machine = world.machine
        self.owner = HugetlbPages(machine, machine.hugetlb, registry=world.registry)

    def actions(self) -> Iterator[Action]:
        """A user gets a page, reads it, or gives it back; one time in eight the pool shrinks."""
        while True:
            which, slot, serial = self.below(8), *self.any_slot()
            if self.pages.serials.item(slot) == NOTHING:
                yield self.act("use", done=self._use(slot, serial))
            elif which < 6:
                self._read(slot)
                yield self.act("read")
            else:
                self._unuse(slot)
                if which == 7:
                    self._dissolve()
                yield self.act("dissolve" if which == 7 else "unuse")

    def _use(self, slot: int, serial: int) -> bool:
        """A page of the pool, or a fresh one: without compaction, so only what is there."""
        machine = self.world.machine
        if not self.owner.nr_free and machine.hugetlb.grow(1):
            self.owner.adopt()
        if self.owner.use(slot) < 0:
            return False
        page = np.frombuffer(self.pages.page(serial), dtype=np.uint8)
        machine.contents.write_many(self._frames(slot), np.tile(page, (PAGEBLOCK_NR_PAGES, 1)))
        self.pages.store(slot, serial)
        return True

    def _frames(self, slot: int) -> Pfns:
        head = self.owner.head_of(slot)
        return np.arange(head, head + PAGEBLOCK_NR_PAGES)

    def _read(self, slot: int) -> None:
        slots = np.full(PAGEBLOCK_NR_PAGES, slot, dtype=np.int64)
        self.pages.compare_frames(self.world.machine.contents, slots, self._frames(slot))

    def _unuse(self, slot: int) -> None:
        self.owner.unuse(slot)
        self.pages.drop(slot)

    def _dissolve(self) -> None:
        """Every page of the pool that nobody uses."""
        used = {self.owner.head_of(slot) for slot in self.pages.stored().tolist()}
        self.owner.may_dissolve = True
        for head in [head for head in self.world.machine.hugetlb.heads if head not in used]:
            self.owner.release(Pin(head, self.owner, head), Mode.SYNC)
        self.owner.may_dissolve = False

    def read_back(self) -> None:
        """All 512 frames of every user."""
        for slot in self.pages.stored().tolist():
            self._read(slot)

    def holdings(self) -> Iterator[Holding]:
        """512 frames for each page of the pool, and a head more for its user."""
        heads = np.array(self.world.machine.hugetlb.heads, dtype=np.int64)
        yield Holding((heads[:, None] + np.arange(PAGEBLOCK_NR_PAGES)).ravel())
        used = [self.owner.head_of(slot) for slot in self.pages.stored().tolist()]
        yield Holding(np.array(used, dtype=np.int64))

    def let_go(self) -> None:
        """No users, no pool."""
        for slot in self.pages.stored().tolist():
            self._unuse(slot)
        self._dissolve()

    def check(self) -> None:
        """Owner and pool agree."""
        self.owner.check()
