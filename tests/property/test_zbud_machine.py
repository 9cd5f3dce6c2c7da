"""A zbud pool against plain lists, while its pages move, are reclaimed and held by others.

The model knows no ids, no columns and no frames: pages are objects in Python lists, exactly
as the kernel's list heads have them.  Moves are cut into their steps, so that everything
else can happen between any two of them.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from owners.pool.extents import read_objects
from owners.zbud.pool import ZbudOps, ZbudPool
from pinpage.owner import Mode, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import column
from pinpage.topology import Topology
from tests.kit.owners.few_frames import FewFrames, fill

NR_FRAMES = 7  # six usable: a full pool and a move without target must be common
SIZES = st.sampled_from((1, 64, 700, 1280, 1984, 2048, 2752, 3968))


class ModelPage:
    """Two slots of (handle, chunks, bytes), or None."""

    def __init__(self):
        self.slots = [None, None]

    @property
    def objects(self):
        return [slot for slot in self.slots if slot]

    @property
    def free_chunks(self):
        return 63 - sum(chunks for _, chunks, _ in self.objects)


class Model:
    """The three lists, head first."""

    def __init__(self):
        self.lru, self.buddied = [], []
        self.unbuddied = [[] for _ in range(64)]

    def file(self, page):
        lists = self.buddied if len(page.objects) == 2 else self.unbuddied[page.free_chunks]
        lists.insert(0, page)

    def unfile(self, page):
        for pages in (self.buddied, *self.unbuddied):
            if page in pages:
                pages.remove(page)

    def alloc(self, chunks, closed):
        """The page and slot that the object goes to; a new page if none has room."""
        open_ones = (p for pages in self.unbuddied[chunks:] for p in pages if p not in closed)
        page = next(open_ones, None)
        if page is None:
            return ModelPage(), 0
        return page, 1 if page.slots[0] else 0

    def place(self, page, slot, entry):
        self.unfile(page)
        page.slots[slot] = entry
        self.file(page)
        if page in self.lru:
            self.lru.remove(page)
        self.lru.insert(0, page)

    def free(self, page, slot):
        self.unfile(page)
        page.slots[slot] = None
        if page.objects:
            self.file(page)
        else:
            self.lru.remove(page)

    def reclaim(self, retries, refuse, closed, held, forget):
        """Patch 1's loop; `held` pages do not go when they are empty."""
        if not self.lru:
            return Errno.EINVAL
        for _ in range(retries):
            page = next((p for p in reversed(self.lru) if p not in closed), None)
            if page is None:
                return Errno.EAGAIN if self.lru else Errno.OK
            self.lru.remove(page)
            self.lru.insert(0, page)
            for slot in [slot for slot in (0, 1) if page.slots[slot]]:
                if next(refuse):
                    break
                forget(page.slots[slot][0])
                self.free(page, slot)
            if not page.objects and page not in held:
                return Errno.OK
        return Errno.EAGAIN


class ZbudAgainstLists(RuleBasedStateMachine):
    """Lists, places, references and bytes agree after every step."""

    def __init__(self):
        super().__init__()
        self.source = FewFrames(NR_FRAMES)
        self.registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
        self.pool = ZbudPool(self.source, registry=self.registry)
        self.model = Model()
        self.where = {}  # handle -> (page, slot)
        self.moves = {}  # page -> [source, target, private, stage]
        self.mapped = []
        self.outsiders = []
        self.counter = 0

    def page_id(self, page):
        return self.pool.handles.decode(page.objects[0][0])[0]

    def pfn_of(self, page):
        return int(self.pool.pages.pfn[self.page_id(page)])

    def forget(self, handle):
        page, slot = self.where.pop(handle)
        self.model.free(page, slot)

    @rule(nr_bytes=SIZES)
    def alloc(self, nr_bytes):
        chunks = -(-nr_bytes // 64)
        page, slot = self.model.alloc(chunks, self.moves)
        handle = self.pool.alloc(nr_bytes)
        if not page.objects and handle < 0:
            assert handle == Errno.ENOMEM
            assert self.source.nr_free == 0
            return
        self.counter += 1
        data = (self.counter.to_bytes(2, "little") * 2048)[:nr_bytes]
        self.model.place(page, slot, (handle, chunks, data))
        self.where[handle] = page, slot
        fill(self.pool, handle, data)

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def free(self, data):
        handle = data.draw(st.sampled_from(sorted(set(self.where) - set(self.mapped)) or [0]))
        if handle:
            self.forget(handle)
            self.pool.free(handle)

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def map(self, data):
        handle = data.draw(st.sampled_from(sorted(self.where)))
        place = self.pool.map(handle)
        assert (place == Errno.EAGAIN) == (self.where[handle][0] in self.moves)
        if place != Errno.EAGAIN:
            self.mapped.append(handle)

    @precondition(lambda self: self.mapped)
    @rule()
    def unmap(self):
        self.pool.unmap(self.mapped.pop())

    @precondition(lambda self: not self.mapped)  # a user does not free what it has mapped
    @rule(refuse=st.lists(st.booleans(), min_size=6, max_size=6), retries=st.integers(1, 3))
    def reclaim(self, refuse, retries):
        held = [p for p in self.model.lru if self.pfn_of(p) in self.outsiders]
        expected = self.model.reclaim(retries, iter(refuse), self.moves, held, self.where.pop)
        answers = iter(refuse)

        def evict(pool, handle):
            if next(answers):
                return Errno.EEXIST
            pool.free(handle)
            return 0

        self.pool.ops = ZbudOps(evict=evict)
        assert self.pool.reclaim_lru_page(retries) == expected

    @precondition(lambda self: self.model.lru)
    @rule(data=st.data())
    def outsider_takes(self, data):
        page = data.draw(st.sampled_from(range(len(self.model.lru))))
        page = self.model.lru[page]
        if page not in self.moves:
            pfn = self.pfn_of(page)
            self.source.get_page(pfn)
            self.outsiders.append(pfn)

    @precondition(lambda self: self.outsiders)
    @rule()
    def outsider_puts(self):
        self.source.put_page(self.outsiders.pop())

    # One move, cut into steps.

    @precondition(lambda self: self.model.lru)
    @rule(data=st.data())
    def begin_move(self, data):
        page = self.model.lru[data.draw(st.sampled_from(range(len(self.model.lru))))]
        if page in self.moves:
            return
        page_id = self.page_id(page)
        source, private = int(self.pool.pages.pfn[page_id]), self.pool.pages.private(page_id)
        pfns, privates = column(source), column(private)
        verdict = self.pool.owner.isolate_many(pfns, privates, Mode.SYNC)[0]
        is_mapped = any(handle in self.mapped for handle, _, _ in page.objects)
        assert (verdict == Verdict.YES) == (not is_mapped)
        if is_mapped:
            return
        nr_own = int(self.pool.owner.references(pfns, privates)[0])
        assert nr_own == len(page.objects)
        assert self.source.frames.refcount[source] == nr_own + self.outsiders.count(source)
        target = -1 if source in self.outsiders else self.source.new_target()
        if target < 0:
            self.pool.owner.putback_many(pfns, privates)
            return
        self.source.take(source)
        self.source.freeze(source)
        self.source.contents.copy(pfns, column(target))
        self.moves[page] = [source, target, private, "copied"]

    @precondition(lambda self: self.moves)
    @rule(undo=st.booleans())
    def step_move(self, undo):
        page, move = next(iter(self.moves.items()))
        source, target, private, stage = move
        owner, privates = self.pool.owner, column(private)
        if stage == "copied" and undo:
            owner.putback_many(column(source), privates)
            self._unfreeze(source, target, page)
        elif stage == "copied":
            owner.migrate_many(column(source), privates, column(target))
            move[3] = "migrated"
        elif undo:
            owner.migrate_many(column(target), privates, column(source))
            self._unfreeze(source, target, page)
        else:
            self.registry.unpin(source, owner, private)
            self.registry.pin(target, owner, private)
            self.source.rekey(source, target)
            del self.moves[page]

    def _unfreeze(self, source, target, page):
        frames = self.source.frames
        frames.refcount[source] = -frames.refcount[source]
        frames.state[target] = 6
        del self.moves[page]
        self.source.put_page(target)
        self.source.put_page(source)

    @invariant()
    def agrees(self):
        pool = self.pool
        ids = {id(page): self.page_id(page) for page in self.model.lru}

        def as_ids(pages):
            return [ids[id(page)] for page in pages]

        assert list(reversed(pool.lists.lru)) == as_ids(self.model.lru)
        assert list(reversed(pool.lists.unbuddied[0])) == as_ids(self.model.buddied)
        for k, theirs in enumerate(self.model.unbuddied):
            mine = pool.lists.unbuddied[k] if k else ()
            assert list(reversed(mine)) == as_ids(theirs)
        for handle, (page, slot) in self.where.items():
            assert pool.handles.decode(handle) == (ids[id(page)], slot)

    @invariant()
    def bytes_are_intact(self):
        handles = sorted(self.where)
        expected = [
            next(data for h, _, data in self.where[handle][0].objects if h == handle)
            for handle in handles
        ]
        extents = self.pool.extents_of(np.array(handles, dtype=np.int64))
        lengths = np.array([len(data) for data in expected], dtype=np.int64)
        assert list(read_objects(self.source.contents, extents, lengths)) == expected

    @invariant()
    def references_add_up(self):
        if not self.moves:  # while a count is frozen nobody can say what it is
            self.pool.check()
            self.registry.check()
            for page in self.model.lru:
                pfn = self.pfn_of(page)
                outside = self.outsiders.count(pfn)
                assert self.source.frames.refcount[pfn] == len(page.objects) + outside
            assert self.pool.pages_nr == len(self.model.lru) == len(self.registry)

    def teardown(self):
        while self.moves:
            self.step_move(undo=False)
        while self.mapped:
            self.unmap()
        while self.outsiders:
            self.outsider_puts()
        for handle in sorted(self.where):
            self.pool.free(handle)
        self.pool.settle()
        assert (self.pool.pages_nr, self.source.nr_free, len(self.registry)) == (0, 6, 0)


TestZbud = ZbudAgainstLists.TestCase
TestZbud.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
