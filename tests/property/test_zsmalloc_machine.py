"""zsmalloc against a dict: no byte is lost, whatever is freed, compacted, moved or called off.

The machine is so small that pages run out, and moves are cut into their steps, so that all
the rest happens between any two of them.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from owners.zsmalloc.classes import class_of, size_classes
from owners.zsmalloc.mapping import MapMode
from pinpage.owner import PinOwner, Reason, Verdict
from tests.kit.owners.pool_world import noise
from tests.kit.owners.zs_world import ZsWorld

NR_BLOCKS = 3  # of eight frames
SIZES = st.sampled_from((20, 900, 1340, 2400, 3000, 3256, 4096))


class Refuser(PinOwner):
    """Shares a frame now and then, and says no."""

    def references(self, pfns, privates):
        return np.zeros(len(pfns), dtype=np.int64)

    def isolate(self, pin, mode):
        return Verdict.BUSY

    def migrate(self, pin, target):
        raise AssertionError("it never said yes")


class ZsmallocAgainstDict(RuleBasedStateMachine):
    """Bytes by handle, and which handles are mapped: that is all a user knows."""

    def __init__(self):
        super().__init__()
        self.world = ZsWorld(nr_blocks=NR_BLOCKS)
        self.pool = self.world.pool
        self.model = {}  # handle -> bytes
        self.mapped = []  # open mappings
        self.moves = []  # running moves: (generator, its frames, the zspages that it may have)
        self.refuser = Refuser()
        self.world.registry.register(self.refuser)
        self.counter = 0

    # What the model can say about who may refuse.

    def may_be_moving(self, handle):
        zspage = self.world.zspage_of(handle)
        return any(zspage in zspages for _, _, zspages in self.moves)

    def step(self, move):
        steps, pfns, zspages = move
        # Until its pins are read a move has frames only, and whose they are may change.
        pages = self.pool.zspages.all_page_ids()
        now = self.pool.zspages.pfns_of(pages)
        zspages.update((pages[np.isin(now, pfns)] >> 2).tolist())
        next(steps)

    def draw_handle(self, data, without=()):
        return data.draw(st.sampled_from(sorted(set(self.model) - set(without)) or [0]))

    def bytes_for(self, nr_bytes):
        self.counter += 1
        return noise(self.counter, nr_bytes)

    # Users.

    @rule(nr_bytes=SIZES, count=st.integers(1, 6))
    def alloc(self, nr_bytes, count):
        for _ in range(count):
            free, in_buddy = self.world.nr_free, self.world.machine.buddy.nr_free()
            handle = self.pool.alloc(nr_bytes)
            if handle < 0:
                assert handle == Errno.ENOMEM
                # A frame that one of our own moves has marked cannot be pinned before that ends.
                # A per-CPU list may have more, of another migratetype.
                assert in_buddy < class_of(nr_bytes).nr_pages or self.moves
                assert self.world.nr_free == free
                return
            assert handle not in self.model
            self.model[handle] = self.bytes_for(nr_bytes)
            assert self.pool.write(handle, self.model[handle]) is Errno.OK

    @precondition(lambda self: self.model)
    @rule(data=st.data(), count=st.integers(1, 8))
    def free(self, data, count):
        for _ in range(count):
            handle = self.draw_handle(data, {m.handle for m in self.mapped})
            if handle:
                self.pool.free(handle)
                del self.model[handle]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def write(self, data):
        handle = self.draw_handle(data, {m.handle for m in self.mapped})
        if handle:
            new = self.bytes_for(len(self.model[handle]))
            error = self.pool.write(handle, new)
            assert error is Errno.OK or self.may_be_moving(handle)
            if error is Errno.OK:
                self.model[handle] = new

    @precondition(lambda self: self.model and len(self.mapped) < 3)
    @rule(data=st.data(), mode=st.sampled_from(MapMode))
    def map(self, data, mode):
        handle = self.draw_handle(data, {m.handle for m in self.mapped})
        if not handle:
            return
        mapping = self.pool.map(handle, mode)
        if isinstance(mapping, Errno):
            assert mapping is Errno.EAGAIN
            assert self.may_be_moving(handle)
            return
        if mode is not MapMode.WO:
            assert bytes(mapping.view[: len(self.model[handle])]) == self.model[handle]
        self.mapped.append(mapping)

    @precondition(lambda self: self.mapped)
    @rule()
    def unmap(self):
        mapping = self.mapped.pop(0)
        if mapping.mode is not MapMode.RO:
            nr_bytes = len(self.model[mapping.handle])
            self.model[mapping.handle] = self.bytes_for(nr_bytes)
            mapping.view[:nr_bytes] = np.frombuffer(self.model[mapping.handle], dtype=np.uint8)
        self.pool.unmap(mapping)

    # Compaction, of the pool and of memory.

    @rule()
    def zs_compact(self):
        most, before = self.pool.count_objects(), self.pool.pages_nr
        freed = self.pool.compact()
        assert freed <= most
        assert before - self.pool.pages_nr == freed
        if not self.mapped and not self.moves:
            assert (freed, self.pool.count_objects()) == (most, 0)

    @precondition(lambda self: not self.moves)
    @rule(strategy=st.sampled_from(("scan", "plan")))
    def compact_memory(self, strategy):
        self.world.machine.compact(strategy)

    # Moves, cut into their steps.

    @precondition(lambda self: self.model and len(self.moves) < 2)
    @rule(data=st.data(), refused=st.booleans())
    def begin_move(self, data, refused):
        pages = self.pool.zspages.all_page_ids()
        chosen = data.draw(
            st.lists(st.sampled_from(pages.tolist()), min_size=1, max_size=4, unique=True)
        )
        pfns = self.pool.zspages.pfns_of(np.array(chosen))
        move = (self.world.steps(pfns), pfns, set())
        self.moves.append(move)
        if refused and self.world.registry.pin(int(pfns[-1]), self.refuser, wait=False) == 0:
            self.step(move)  # all pins are read now
            self.world.registry.unpin(int(pfns[-1]), self.refuser)

    @precondition(lambda self: self.moves)
    @rule(data=st.data(), count=st.integers(1, 4))
    def step_move(self, data, count):
        which = data.draw(st.integers(0, len(self.moves) - 1))
        for _ in range(count):
            try:
                self.step(self.moves[which])
            except StopIteration as end:
                for reason in end.value.reasons.tolist():
                    assert Reason(reason) not in (Reason.OWNER_FAULTY, Reason.NO_CALLBACK)
                del self.moves[which]
                return

    @precondition(lambda self: self.moves)
    @rule()
    def call_off(self):
        self.moves.pop()[0].close()

    # What must hold.

    @invariant()
    def bytes_are_intact(self):
        being_written = {m.handle for m in self.mapped if m.mode is not MapMode.RO}
        for handle, data in self.model.items():
            found = self.pool.read(handle, len(data))
            if isinstance(found, Errno):
                assert self.may_be_moving(handle)
            elif handle not in being_written:
                assert found == data

    @invariant()
    def nothing_is_lost(self):
        self.pool.zspages.check(size_classes())
        assert self.pool.handles.nr_handles == len(self.model)
        if not self.moves:
            self.world.check()

    def teardown(self):
        while self.moves:
            for _ in self.moves.pop()[0]:
                pass
        while self.mapped:
            self.unmap()
        self.bytes_are_intact()
        for handle in list(self.model):
            self.pool.free(handle)
        assert self.pool.pages_nr == 0
        self.world.check()


TestZsmalloc = ZsmallocAgainstDict.TestCase
TestZsmalloc.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
