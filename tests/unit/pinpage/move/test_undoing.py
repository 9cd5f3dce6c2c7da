"""What a move that is undone leaves behind: nothing that anybody waits for or still uses."""

import numpy as np
import pytest

from pinpage.migrate import move_many, move_steps
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import FrameIs, World, WorldTargets, column
from pinpage.topology import Topology
from tests.kit import inside

NR_FRAMES = 8


class Does(PinOwner):
    """Does as told in each callback; the pin is handed to what is given for it."""

    def __init__(self, name, **does):
        self.name, self.does, self.quiet, self.place = name, does, False, {}

    def _do(self, what, *args):
        if what in self.does:
            self.does[what](*args)

    def isolate(self, pin, mode):
        self._do("isolate", pin)
        self.quiet = True
        return Verdict.YES

    def migrate(self, pin, target):
        self._do("migrate", pin)
        self.quiet = False
        self.place[pin.private] = target

    def putback(self, pin):
        self.quiet = False
        self._do("putback", pin)


class Lab:
    """A frame shared by some owners, one pin each."""

    def __init__(self, *owners):
        self.world = World(NR_FRAMES)
        self.registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
        self.targets = WorldTargets(self.world)
        self.pfn = self.world.alloc_page(contents=7)
        for owner in owners:
            self.registry.register(owner)
            self.share(owner, 1)
        self.world.put_page(self.pfn)

    def share(self, owner, private):
        self.world.get_page(self.pfn)
        self.registry.pin(self.pfn, owner, private)
        owner.place[private] = self.pfn

    def let_go(self, owner, pfn, private=1):
        self.registry.unpin(pfn, owner, private)
        self.world.put_page(pfn)

    def move(self):
        targets = column(self.pfn)
        report = move_many(self.registry, self.world, targets, self.targets, Mode.SYNC)
        return Reason(int(report.reasons[0]))

    def check(self):
        self.world.check()
        self.registry.check()
        assert not self.world.taken
        assert not self.world.frozen
        assert not self.registry.statistics().nr_moving

    def free_and_referenced(self):
        frames = range(NR_FRAMES)
        return [p for p in frames if self.world.state[p] is FrameIs.FREE and self.world.refcount[p]]


def interrupt(*_):
    raise KeyboardInterrupt


def fail(*_):
    raise RuntimeError("not now")


@pytest.mark.parametrize("nr_pins", [1, 3])
def test_a_second_interrupt_out_of_the_undo_does_not_end_it(nr_pins):
    honest, slow = Does("honest"), Does("slow", migrate=interrupt, putback=interrupt)
    lab = Lab(honest, slow)
    for private in range(2, 1 + nr_pins):
        lab.share(slow, private)
    with pytest.raises(KeyboardInterrupt):
        lab.move()
    lab.check()
    assert not honest.quiet
    assert honest.place[1] == lab.pfn
    assert FrameIs.TARGET not in lab.world.state
    assert not lab.registry.is_faulty(slow), "an interrupt is nobody's fault"


@pytest.mark.parametrize("owner_first", [True, False])
def test_an_interrupt_is_raised_and_not_what_it_interrupts(owner_first):
    """Closing a generator is no reason to swallow a Ctrl-C."""
    owners = [Does("slow", putback=interrupt), Does("honest")]
    lab = Lab(*(owners if owner_first else owners[::-1]))
    steps = move_steps(lab.registry, lab.world, column(lab.pfn), lab.targets, Mode.SYNC)
    for _ in range(4):
        next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.close()
    lab.check()
    assert not any(owner.quiet for owner in owners)


def test_an_owner_that_cannot_go_back_keeps_its_target_from_others():
    """Interrupted as often as it is told, it is where it was told to be: nobody else may be."""
    calls = []

    def never_back(pin):
        calls.append(pin)
        if len(calls) > 1:
            raise KeyboardInterrupt

    stuck, broken = Does("stuck", migrate=never_back), Does("broken", migrate=fail)
    lab = Lab(stuck, broken)
    with pytest.raises(KeyboardInterrupt):
        lab.move()
    lab.check()
    assert lab.world.state[stuck.place[1]] is FrameIs.QUARANTINED


def test_targets_that_cannot_be_given_back_are_an_error_and_no_endless_loop():
    lab = Lab(Does("broken", migrate=fail))
    calls = []

    def refuse(pfns):
        calls.append(pfns)
        raise MemoryError

    lab.targets.give_back = refuse
    with pytest.raises(MemoryError):
        lab.move()
    assert 1 < len(calls) < 10


def test_a_lie_is_not_hidden_by_a_partner_that_let_go():
    honest = Does("honest", migrate=lambda pin: lab.let_go(honest, target_of(lab)))
    liar = Does("liar", migrate=lambda pin: lab.world.sneak_reference(pin.pfn))
    lab = Lab(honest, liar)
    assert lab.move() is Reason.OWNER_FAULTY
    lab.check()
    assert lab.registry.is_faulty(liar)
    assert not lab.registry.is_faulty(honest)
    assert lab.world.state[lab.pfn] is FrameIs.QUARANTINED


def target_of(lab):
    return lab.world.state.index(FrameIs.TARGET)


def test_a_pin_that_lies_is_not_hidden_by_another_of_the_same_owner():
    def one_goes_one_lies(pin):
        if pin.private == 1:
            lab.let_go(both, pin.pfn)
        else:
            lab.world.sneak_reference(pin.pfn)

    both = Does("both", migrate=one_goes_one_lies)
    lab = Lab(both)
    lab.share(both, 2)
    assert lab.move() is Reason.OWNER_FAULTY
    assert lab.registry.is_faulty(both)
    assert lab.world.state[lab.pfn] is FrameIs.QUARANTINED


def test_an_honest_owner_with_two_pins_may_let_go_of_one():
    both = Does("both", migrate=lambda pin: pin.private == 1 and lab.let_go(both, pin.pfn))
    lab = Lab(both)
    lab.share(both, 2)
    lab.move()
    lab.check()
    assert not lab.registry.is_faulty(both)
    assert FrameIs.QUARANTINED not in lab.world.state


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["honest first", "liar first"])
def test_a_reference_dropped_with_the_pin_kept_is_this_owners_lie(order):
    honest = Does("honest")
    liar = Does("liar", migrate=lambda pin: lab.world.put_page(pin.pfn))
    lab = Lab(*[(honest, liar)[place] for place in order])
    lab.move()
    assert lab.registry.is_faulty(liar)
    assert not lab.registry.is_faulty(honest)


@pytest.mark.parametrize("nr_partners", [0, 1])
def test_a_target_on_which_a_reference_was_kept_is_not_given_to_anybody(nr_partners):
    def keep(pin):
        if keeper.place[1] != lab.pfn:  # told to go back, it keeps where it was
            lab.world.sneak_reference(pin.pfn)

    keeper, broken = Does("keeper", migrate=keep), Does("broken", migrate=fail)
    partners = [Does(f"partner {nth}") for nth in range(nr_partners)]
    lab = Lab(keeper, *partners, broken)
    assert lab.move() is Reason.OWNER_FAULTY
    lab.check()
    assert not lab.free_and_referenced()
    assert lab.registry.is_faulty(keeper)
    assert not any(lab.registry.is_faulty(partner) for partner in partners)


def test_a_target_that_several_may_have_kept_is_set_aside_and_nobody_blamed():
    """Seen when it is undone: one of the two that were told, and it is not known which."""
    first = Does("first")
    second = Does("second", migrate=lambda pin: lab.world.sneak_reference(target_of(lab)))
    lab = Lab(first, second, Does("broken", migrate=fail))
    second.does["isolate"] = lambda pin: second.does.pop("migrate", None) if second.place else None
    second.place.clear()
    lab.move()
    assert not lab.free_and_referenced()
    assert not lab.registry.is_faulty(first)


def test_a_target_is_looked_at_whoever_may_have_kept_it():
    def keep_and_fail(pin):
        lab.world.sneak_reference(target_of(lab))
        raise RuntimeError

    lab = Lab(Does("broken", migrate=keep_and_fail))
    lab.move()
    assert not lab.free_and_referenced()


def test_what_is_owed_by_the_targets_name_stays_with_the_target():
    """It unpins where it was told to be; the move is undone; then it drops its reference."""
    leaver, broken = Does("leaver"), Does("broken", migrate=fail)
    lab = Lab(leaver, broken)
    leaver.does["migrate"] = lambda pin: lab.registry.unpin(target_of(lab), leaver, 1)
    assert lab.move() is Reason.OWNER_FAULTY
    lab.check()
    owed = leaver.place[1]
    assert lab.world.state[owed] is FrameIs.USED
    assert lab.world.refcount[owed] == lab.world.refcount[lab.pfn] == 1
    assert lab.world.put_page(owed), "and is free when that is dropped"
    lab.check()


def test_the_others_go_forward_with_what_is_owed_by_the_targets_name():
    leaver, stays = Does("leaver"), Does("stays")
    lab = Lab(leaver, stays)
    leaver.does["migrate"] = lambda pin: lab.registry.unpin(target_of(lab), leaver, 1)
    assert lab.move() is Reason.MOVED
    lab.check()
    assert lab.world.refcount[stays.place[1]] == 2
    lab.world.put_page(leaver.place[1])
    lab.check()


def test_an_owner_that_was_interrupted_when_it_was_quiet_is_put_back():
    def quiesce_and_raise(pin):
        slow.quiet = True
        raise KeyboardInterrupt

    slow = Does("slow", isolate=quiesce_and_raise)
    lab = Lab(slow)
    with pytest.raises(KeyboardInterrupt):
        lab.move()
    lab.check()
    assert not slow.quiet


def test_pins_of_a_frame_that_is_forced_out_in_the_middle_are_no_error():
    going = Does("going")
    first = Does("first", isolate=lambda pin: lab.registry.unregister(going, force=True))
    lab = Lab(first, going)
    assert lab.move() is Reason.UNACCOUNTED, "it has left its reference behind"
    lab.check()
    assert not first.quiet
    assert first.place[1] == lab.pfn


def test_an_owner_that_is_leaving_is_not_called_and_not_faulty():
    """It is not registered any more, and has its pins still: the next pass will see."""
    owner, partner = Does("owner"), Does("partner")
    lab = Lab(partner, owner)
    inside.owner_table(lab.registry).start_leaving(owner)
    assert lab.move() in (Reason.OWNER_AGAIN, Reason.PARTNER_REFUSED)
    assert not owner.quiet
    assert not partner.quiet
    assert not lab.world.taken


def test_references_that_no_count_can_hold_are_nonsense():
    class Many(Does):
        def references(self, pfns, privates):
            return np.full(len(pfns), 2**64 - 1, dtype=np.uint64)

    owner = Many("many")
    assert Lab(owner).move() is Reason.OWNER_FAULTY
