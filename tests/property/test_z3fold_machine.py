"""A z3fold pool against plain lists, while its pages move, are mapped and reclaimed.

The model knows no ids, no columns, no frames and no arithmetic of chunks: a page is a row of
64 cells, and what is free is counted in the row.  Moves are cut into their steps, so that
everything else can happen between any two of them.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from owners.pool.extents import read_objects
from pinpage.move.steps import Step
from tests.kit.owners.z3_world import Z3World

SIZES = st.sampled_from((1, 64, 200, 700, 1280, 1984, 2048, 2752, 3904, 3905, 4096))
HEADER = "header"


class ModelPage:
    """A row of cells: None, the header, or the handle of the object there."""

    def __init__(self):
        self.cells = [HEADER] * 2 + [None] * 62
        self.slots = {}  # "first" | "middle" | "last" -> handle
        self.mapped = []

    def put(self, slot, start, handle, count):
        self.slots[slot] = handle
        self.cells[start : start + count] = [handle] * count

    def take(self, slot):
        handle = self.slots.pop(slot)
        self.cells = [None if cell == handle else cell for cell in self.cells]

    def start(self, handle):
        return self.cells.index(handle)

    def gaps(self):
        """Slot -> (start, chunks) of the run that it could take now, if it is free."""
        if self.headless:
            return {}
        gaps = {}
        if "middle" not in self.slots:
            run = self._run(2 + self._count("first"))
            names = ("first", "last", "middle")
            return {next(n for n in names if n not in self.slots): run}
        middle = self.start(self.slots["middle"])
        if "first" not in self.slots:
            gaps["first"] = (2, middle - 2)
        if "last" not in self.slots:
            gaps["last"] = self._run(middle + self._count("middle"))
        return gaps

    @property
    def headless(self):
        return HEADER not in self.cells

    @property
    def room(self):
        return max((count for _, count in self.gaps().values()), default=0)

    def place(self, handle, count):
        if count == 64:
            self.put("first", 0, handle, 64)
            return
        slot = next(s for s, (_, room) in self.gaps().items() if room >= count)
        start, room = self.gaps()[slot]
        self.put(slot, start + room - count if slot == "last" else start, handle, count)

    def tidy(self):
        """The middle object moves up, if that makes one gap of two; whether it did."""
        if "middle" not in self.slots or len(self.slots) == 3:
            return False
        handle, count = self.slots["middle"], self._count("middle")
        old = self.start(handle)
        if len(self.slots) == 1:
            self.take("middle")
            self.put("first", 2, handle, count)
            return True
        new = (
            2 + self._count("first") if "first" in self.slots else 64 - self._count("last") - count
        )
        if abs(new - old) < 3:
            return False
        self.take("middle")
        self.put("middle", new, handle, count)
        return True

    def _count(self, slot):
        return self.cells.count(self.slots[slot]) if slot in self.slots else 0

    def _run(self, start):
        stop = start
        while stop < 64 and self.cells[stop] is None:
            stop += 1
        return start, stop - start


class Model:
    """Pages: oldest first in `lru`, most recently filed first in `filed`."""

    def __init__(self, closed):
        self.lru, self.filed, self.untidy = [], [], []
        self.closed = closed

    def page_of(self, handle):
        return next(page for page in self.lru if handle in page.slots.values())

    def pick(self, count):
        """The open page with the tightest room for it, or None."""
        fits = [p for p in self.filed if p.room >= max(count, 1) and not self.closed(p)]
        return min(fits, key=lambda p: p.room, default=None) if count < 64 else None

    def place(self, page, handle, count):
        page = page or ModelPage()
        page.place(handle, count)
        self.refile(page)
        self.lru = [p for p in self.lru if p is not page] + [page]

    def refile(self, page):
        self.filed = [page, *(p for p in self.filed if p is not page)]

    def free(self, handle):
        page = self.page_of(handle)
        page.take(next(slot for slot, h in page.slots.items() if h == handle))
        if not page.slots:
            for pages in (self.lru, self.filed, self.untidy):
                pages[:] = [p for p in pages if p is not page]
            return
        self.refile(page)
        if page not in self.untidy:
            self.untidy.append(page)

    def settle(self):
        for page in list(self.untidy):
            if not page.mapped and not self.closed(page):
                self.untidy.remove(page)
                if page.tidy():
                    self.refile(page)


class Z3foldAgainstRows(RuleBasedStateMachine):
    """Places, bytes and pages agree after every step."""

    def __init__(self):
        super().__init__()
        self.world = Z3World(nr_blocks=1)
        self.pool = self.world.pool
        self.model = Model(self.closed)
        self.data = {}
        self.move = None
        self.counter = 0

    def closed(self, page):
        """Whether a mover has the page, as any user finds out."""
        handle = next(iter(page.slots.values()))
        return self.pool.read(handle, 1) == Errno.EAGAIN

    def settle(self):
        self.pool.settle()
        self.model.settle()

    def some(self, data, handles):
        return data.draw(st.sampled_from(sorted(handles)))

    @rule(nr_bytes=SIZES)
    def alloc(self, nr_bytes):
        count = -(-nr_bytes // 64) if nr_bytes <= 3904 else 64
        page = self.model.pick(count)
        handle = self.pool.alloc(nr_bytes)
        if page is None and handle < 0:
            assert handle == Errno.ENOMEM
            # A frame freed under a mover goes back to nobody before that move is over, and a
            # per-CPU list may have one, of another migratetype.
            assert self.world.machine.buddy.nr_free() == 0 or self.move is not None
            return
        self.counter += 1
        self.model.place(page, handle, count)
        assert not self.closed(self.model.page_of(handle))
        self.data[handle] = (self.counter.to_bytes(2, "little") * 2048)[:nr_bytes]
        assert self.pool.write(handle, self.data[handle]) == Errno.OK

    @precondition(lambda self: self.data)
    @rule(data=st.data())
    def free(self, data):
        handle = self.some(data, self.data)
        if handle in self.model.page_of(handle).mapped:
            return
        self.forget(handle)
        self.pool.free(handle)

    def forget(self, handle):
        del self.data[handle]
        self.model.free(handle)

    @precondition(lambda self: self.data)
    @rule(data=st.data())
    def map(self, data):
        handle = self.some(data, self.data)
        page = self.model.page_of(handle)
        is_closed = self.closed(page)
        place = self.pool.map(handle)
        assert (place == Errno.EAGAIN) == is_closed
        if not is_closed:
            assert place[1] == page.start(handle) * 64
            page.mapped.append(handle)

    @precondition(lambda self: any(page.mapped for page in self.model.lru))
    @rule()
    def unmap(self):
        page = next(page for page in self.model.lru if page.mapped)
        self.pool.unmap(page.mapped.pop())

    @precondition(lambda self: not any(page.mapped for page in self.model.lru))
    @rule(refuse=st.lists(st.booleans(), min_size=9, max_size=9), retries=st.integers(1, 3))
    def reclaim(self, refuse, retries):
        turns, answers, left = [], iter(refuse), []

        def evict(pool, handle):
            if not left:
                turns.append(self.begin_turn())
                left.extend(turns[-1])
            assert handle == left.pop(0)
            if next(answers):
                left.clear()
                return Errno.EEXIST
            self.forget(handle)
            pool.free(handle)
            return 0

        if not self.model.lru:
            possible = {Errno.EINVAL}
        elif all(map(self.closed, self.model.lru)):
            possible = {Errno.EAGAIN}
        else:
            possible = {Errno.OK, Errno.EAGAIN}
        self.pool.evict = evict
        errno = self.pool.reclaim_lru_page(retries)
        assert errno in possible
        emptied = [not set(turn) & set(self.data) for turn in turns]
        assert (errno == Errno.OK) == any(emptied)
        assert len(turns) == retries or errno != Errno.EAGAIN or Errno.OK not in possible

    def begin_turn(self):
        """The oldest page that is open goes to the head; its objects in the order of eviction."""
        self.model.settle()
        page = next(page for page in self.model.lru if not self.closed(page))
        self.model.lru = [p for p in self.model.lru if p is not page] + [page]
        return [page.slots[slot] for slot in ("middle", "first", "last") if slot in page.slots]

    @precondition(lambda self: self.model.lru and self.move is None)
    @rule(data=st.data())
    def begin_move(self, data):
        handle = self.some(data, self.data)
        page = self.model.page_of(handle)
        pfn = self.world.pfn(handle)
        steps = self.world.steps(pfn)
        self.move = (steps, pfn, page, page.headless or bool(page.mapped))

    @precondition(lambda self: self.move)
    @rule(nr_steps=st.integers(1, 6))
    def step_move(self, nr_steps):
        steps, *_ = self.move
        for _ in range(nr_steps):
            if next(steps, Step.DONE) is Step.DONE:
                for _ in steps:
                    pass
                self.move = None
                return

    @invariant()
    def agrees(self):
        self.settle()
        pages = {}
        for page in self.model.lru:
            places = [self.world.place(handle) for handle in page.slots.values()]
            ids = {page_id for page_id, _, _ in places}
            assert len(ids) == 1
            pages[ids.pop()] = page
            names = ("first", "middle", "last")
            assert [(names[buddy], at) for _, buddy, at in places] == [
                (slot, page.start(handle) * 64) for slot, handle in page.slots.items()
            ]
        assert list(self.pool.lists.lru) == list(pages)
        for page_id, page in pages.items():
            assert self.pool.pages.nr_free_chunks(page_id) == page.room

    @invariant()
    def bytes_are_intact(self):
        handles = sorted(self.data)
        extents = self.pool.extents_of(np.array(handles, dtype=np.int64))
        lengths = np.array([len(self.data[h]) for h in handles], dtype=np.int64)
        found = list(read_objects(self.world.machine.contents, extents, lengths))
        if self.move is None:  # else a frame may be on its way
            assert found == [self.data[h] for h in handles]
            self.world.check()

    def teardown(self):
        while self.move:
            self.step_move(nr_steps=6)
        for page in self.model.lru:
            while page.mapped:
                self.pool.unmap(page.mapped.pop())
        self.agrees()
        self.bytes_are_intact()
        for handle in sorted(self.data):
            assert self.pool.read(handle, len(self.data[handle])) == self.data[handle]
            self.pool.free(handle)
        assert self.pool.pages_nr == 0
        self.world.check()


TestZ3fold = Z3foldAgainstRows.TestCase
TestZ3fold.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
