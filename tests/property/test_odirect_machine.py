"""Direct I/O, pins, forks and moves in any order, against two dicts: memory and disk."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves
from owners.odirect.device import Op, Policy
from pinpage.owner import Mode, Reason
from tests.kit.owners.io_world import IoWorld, block_bytes

NR_PAGES = 4
VPNS = st.integers(0, NR_PAGES - 1)
BLOCKS = st.integers(0, 7)


def page(byte):
    return bytes([byte]) * 4096


class DirectIo(RuleBasedStateMachine):
    """One process with four pages, its children, a disk, and a driver that pins at will."""

    policy = Policy.REFUSE

    def __init__(self):
        super().__init__()
        self.world = IoWorld(self.policy, queue_depth=2, flags=Foll.PIN)
        self.space = self.world.process(NR_PAGES)
        if self.policy is Policy.RESTART:
            assert self.world.device.register(self.space, 0, NR_PAGES) == Errno.OK
        self.driver = self.world.pinner(handler=IgnoresMoves())
        self.pins = {}
        self.memory = {vpn: page(vpn + 1) for vpn in range(NR_PAGES)}
        self.disk = {block: block_bytes(block) for block in range(16)}
        self.children = []

    def settle(self):
        """What has ended since: the data are where they belong, in the order of the ends."""
        for done in self.world.device.reap():
            for n in range(done.nr_pages):
                if done.op is Op.READ:
                    self.memory[done.vpn + n] = self.disk[done.block + n]
                else:
                    self.disk[done.block + n] = self.memory[done.vpn + n]

    @rule(vpn=VPNS, byte=st.integers(0, 255))
    def store(self, vpn, byte):
        assert self.world.memory.write(self.space, vpn, page(byte)) is Errno.OK
        self.memory[vpn] = page(byte)

    @rule(op=st.sampled_from(Op), vpn=VPNS, nr_pages=st.integers(1, 2), block=BLOCKS)
    def submit(self, op, vpn, nr_pages, block):
        if vpn + nr_pages <= NR_PAGES:
            assert self.world.device.submit(op, self.space, vpn, nr_pages, block) >= 0

    @rule(ns=st.sampled_from([100, 700, 1000, 5000]))
    def let_time_pass(self, ns):
        self.world.events.run_until(self.world.machine.clock.now_ns + ns)
        self.settle()

    @rule(vpn=VPNS, mode=st.sampled_from(Mode))
    def move(self, vpn, mode):
        before = self.world.pfn(self.space, vpn)
        (reason,) = self.world.move(before, mode=mode).reasons.tolist()
        assert (self.world.pfn(self.space, vpn) != before) is (reason == Reason.MOVED)
        assert reason in (Reason.MOVED, Reason.OWNER_AGAIN, Reason.PARTNER_REFUSED)
        self.settle()

    @rule()
    def compact(self):
        self.world.machine.compact()
        self.settle()

    @rule(vpn=VPNS, flags=st.sampled_from([Foll.GET, Foll.PIN, Foll.PIN | Foll.WRITE]))
    def pin(self, vpn, flags):
        got = self.world.gup.get_user_pages(self.space, vpn, 1, self.driver, flags)
        assert got.value == 1
        self.pins[got.pins[0]] = (vpn, bool(flags & Foll.PIN))

    @precondition(lambda self: self.pins)
    @rule(data=st.data())
    def unpin(self, data):
        pin_id = data.draw(st.sampled_from(sorted(self.pins)))
        del self.pins[pin_id]
        self.world.gup.put_user_pages(self.driver, [pin_id])

    @precondition(lambda self: len(self.children) < 2)
    @rule()
    def fork(self):
        child = self.world.gup.fork(self.space, f"child{len(self.children)}")
        assert child is not None
        self.children.append((child, dict(self.memory)))

    @precondition(lambda self: self.children)
    @rule()
    def exit(self):
        child, _ = self.children.pop()
        self.world.memory.exit(child)

    @invariant()
    def everybody_sees_his_own(self):
        for space, seen in [(self.space, self.memory), *self.children]:
            for vpn, expected in seen.items():
                pfn = self.world.pfn(space, vpn)
                assert self.world.machine.contents.read(pfn) == expected, (space.name, vpn)

    @invariant()
    def a_pin_for_data_is_on_the_page_of_the_process(self):
        for pin_id, (vpn, is_pin) in self.pins.items():
            if is_pin:
                assert self.driver.pfn_of(pin_id) == self.world.pfn(self.space, vpn)

    @invariant()
    def everything_is_accounted_for(self):
        self.world.check()

    def teardown(self):
        self.world.device.drain()
        self.settle()
        for block, expected in self.disk.items():
            assert self.world.disk.read(block) == expected
        self.everybody_sees_his_own()
        self.world.check()


@pytest.mark.parametrize("policy", list(Policy), ids=lambda policy: policy.value)
def test_direct_io_against_two_dicts(policy):
    class UnderPolicy(DirectIo):
        pass

    UnderPolicy.policy = policy
    UnderPolicy.TestCase.settings = settings(max_examples=6, stateful_step_count=25, deadline=None)
    UnderPolicy.TestCase().runTest()
