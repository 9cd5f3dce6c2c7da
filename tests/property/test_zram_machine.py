"""zram against a dict: what was written is read, wherever it is and wherever that is now."""

import functools

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from owners.compress import compressor
from owners.zram.backing import BytesBacking
from owners.zram.zram import Zram
from pinpage.migrate import move_steps
from pinpage.owner import Mode
from tests.kit.mm.machines import small_machine
from tests.kit.owners.pool_world import Spare, noise

PAGE = 4096
NR_SLOTS = 24
SLOTS = st.integers(0, NR_SLOTS - 1)
NR_BLOCKS = 3


@functools.cache
def page(number):
    """In turn: a word, little noise, half a page of it, much, nothing but noise."""
    if number % 5 == 0:
        return noise(number, 8) * 512
    nr_noise = (0, 300, 1800, 3000, PAGE)[number % 5]
    return noise(number, nr_noise) + bytes(PAGE - nr_noise)


class ZramAgainstDict(RuleBasedStateMachine):
    """The dict knows pages by slot, and which of them were marked idle."""

    def __init__(self):
        super().__init__()
        self.machine = small_machine(NR_BLOCKS, arena=True)
        self.registry = self.machine.use_registry()
        self.zram = Zram(
            self.machine,
            compressor("zlib"),
            NR_SLOTS,
            registry=self.registry,
            backing=BytesBacking(bytearray(7 * PAGE)),
        )
        self.model, self.idle = {}, set()
        self.move = None

    @rule(slot=SLOTS, number=st.integers(0, 40), limit=st.sampled_from((0, 0, 0, 4, 9)))
    def write(self, slot, number, limit):
        if self.move is not None:
            return  # a slot may be on its way: nobody else could end the wait
        self.zram.mem_limit = limit * PAGE
        used = self.zram.pool.pages_nr
        error = self.zram.write_page(slot, page(number))
        if error is Errno.OK:
            self.model[slot] = page(number)
            self.idle.discard(slot)
        else:
            assert error is Errno.ENOMEM
            assert number % 5
            assert limit or used > 8 * NR_BLOCKS - 4
            assert self.zram.pool.pages_nr == used

    @rule(slot=SLOTS, count=st.integers(1, 4))
    def discard(self, slot, count):
        count = min(count, NR_SLOTS - slot)
        self.zram.discard(slot, count)
        for each in range(slot, slot + count):
            self.model.pop(each, None)
            self.idle.discard(each)

    @precondition(lambda self: self.move is None)
    @rule(slot=SLOTS)
    def read(self, slot):
        assert self.zram.read_page(slot) == self.model.get(slot, bytes(PAGE))
        self.idle.discard(slot)

    @rule()
    def mark_idle(self):
        self.zram.mark_idle()
        self.idle = set(self.model)

    @precondition(lambda self: self.move is None)
    @rule(which=st.sampled_from(("idle", "huge", "huge_idle")), limit=st.integers(0, 3))
    def writeback(self, which, limit):
        before = self.zram.bd_stat().bd_count
        found = self.zram.writeback(which, limit)
        after = self.zram.bd_stat().bd_count
        assert after == 6 if isinstance(found, Errno) else after == before + found
        assert found <= limit

    @rule()
    def compact(self):
        self.zram.compact()

    @precondition(lambda self: self.move is None)
    @rule(strategy=st.sampled_from(("scan", "plan")))
    def compact_memory(self, strategy):
        self.machine.compact(strategy)

    @precondition(lambda self: self.move is None and self.zram.pool.pages_nr)
    @rule(data=st.data())
    def begin_move(self, data):
        zspages = self.zram.pool.zspages
        ids = zspages.all_page_ids()
        first = data.draw(st.integers(0, len(ids) - 1))
        pfns = zspages.pfns_of(ids[first : first + 5])
        targets = Spare(self.machine)
        self.move = move_steps(self.registry, self.machine.mover, pfns, targets, Mode.SYNC)

    @precondition(lambda self: self.move is not None)
    @rule(count=st.integers(1, 9))
    def step_move(self, count):
        for _ in range(count):
            if next(self.move, None) is None:
                self.move = None
                return

    @precondition(lambda self: self.move is not None)
    @rule()
    def call_off(self):
        self.move.close()
        self.move = None

    @invariant()
    def agrees(self):
        assert [self.zram.is_stored(s) for s in range(NR_SLOTS)] == [
            s in self.model for s in range(NR_SLOTS)
        ]
        stat = self.zram.mm_stat()
        assert stat.orig_data_size == len(self.model) * PAGE
        assert stat.mem_used_total == self.zram.pool.pages_nr * PAGE <= stat.mem_used_max
        if self.move is None:
            self.zram.check()
            self.machine.check()
            for slot, data in self.model.items():
                assert self.zram._read(slot, uses=False)[0] == data

    def teardown(self):
        if self.move is not None:
            self.move.close()
            self.move = None
        self.agrees()
        self.zram.reset()
        assert (self.zram.pool.pages_nr, self.zram.bd_stat().bd_count) == (0, 0)
        assert len(self.registry) == 0
        self.machine.check()


TestZram = ZramAgainstDict.TestCase
TestZram.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
