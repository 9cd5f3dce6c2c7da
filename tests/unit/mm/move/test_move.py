"""The mover: what it may touch, what travels, what is put back, and how often it tries."""

import numpy as np
import pytest

from mm.move.design import Answer, Unmovable
from mm.move.move import NR_MIGRATE_PASSES
from mm.state.frames import FrameState, PageFlag
from owners.opaque import OpaqueOwner
from pinpage.errors import InvariantError
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn, ScriptedDesign


def targets_of(drawn, *pfns):
    drawn.machine.buddy.take(column(*pfns))
    return GivenTargets(column(*pfns))


def classify(drawn, *pfns, design=None, mode=Mode.SYNC):
    found = drawn.machine.mover.classify(column(*pfns), design or drawn.machine.design, mode)
    return [
        (Answer(answer).name, Reason(reason).name, bool(alone))
        for answer, reason, alone in zip(found.answers, found.reasons, found.alone, strict=True)
    ]


def migrate(drawn, pfns, to, *, design=None, mode=Mode.SYNC):
    """Move frames as a policy does; unused targets go back to the free lists."""
    machine = drawn.machine
    design = design or machine.design
    alone = machine.mover.classify(column(*pfns), design, mode).alone
    targets = targets_of(drawn, *to)
    report = machine.mover.migrate(column(*pfns), alone, targets, design, mode)
    machine.buddy.put_taken(targets.remaining)
    machine.check()
    drawn.check_contents()
    return [Reason(reason).name for reason in report.reasons], report.targets.tolist()


# What may move.


def test_frames_that_page_tables_hold_alone_need_no_vote():
    drawn = Drawn("aa#.....")
    assert classify(drawn, 0, 1, 2) == [
        ("MOVE", "MOVED", True),
        ("MOVE", "MOVED", True),
        ("NO", "NO_OWNER", False),
    ]


def test_a_reference_that_nobody_registered_is_unaccounted_not_unknown():
    drawn = Drawn("aa......")
    drawn.machine.get_page(1)
    assert classify(drawn, 0, 1) == [("MOVE", "MOVED", True), ("NO", "UNACCOUNTED", False)]


@pytest.mark.parametrize("movable", [True, False])
def test_a_pinned_page_with_mappings_is_asked_about(movable):
    drawn = Drawn("aa......", movable=movable)
    gup = OpaqueOwner("gup", movable=movable, references=1024, registry=drawn.machine.registry)
    drawn.machine.frames.refcount[1] += 1024
    gup.adopt(column(1))
    answer = ("MOVE", "MOVED", False) if movable else ("NO", "NO_CALLBACK", False)
    assert classify(drawn, 0, 1) == [("MOVE", "MOVED", True), answer]


def test_a_claimed_frame_is_asked_about_even_without_extra_references():
    drawn = Drawn("aa......")
    design = ScriptedDesign(Answer.RELEASE, claimed=[1])
    assert classify(drawn, 0, 1, design=design)[1] == ("RELEASE", "MOVED", False)
    assert design.calls == [("ask", [1], Mode.SYNC)]


def test_classifying_changes_nothing():
    drawn = Drawn("aax#....", movable=True)
    before = drawn.machine.digest()
    classify(drawn, 0, 1, 2, 3)
    assert drawn.machine.digest() == before


# What a move does.


def test_everything_known_of_the_source_is_true_of_the_target():
    drawn = Drawn("aa......", "........")
    frames, lru = drawn.machine.frames, drawn.machine.lru
    frames.set_flag(column(0), PageFlag.DIRTY)
    lru.activate(column(0))
    flags = int(frames.flags[0])
    assert migrate(drawn, [0, 1], [9, 12]) == (["MOVED", "MOVED"], [9, 12])
    assert drawn.picture() == ["........", ".a..a..."]
    assert int(frames.flags[9]) == flags
    assert frames.refcount[[9, 12]].tolist() == [1, 1]
    assert lru.nr_pages(active=True) == lru.nr_pages(active=False) == 1
    assert drawn.space.pte[:2].tolist() == [10, 13]


def test_every_mapping_and_the_swap_cache_follow():
    drawn = Drawn("a.......", "........", arena=False)
    machine = drawn.machine
    machine.swap.swapon(8)
    child = machine.memory.fork(drawn.space, "child")
    entry = machine.swap.get_swap_page()
    machine.swap.cache.add(entry, 0)
    assert machine.frames.refcount[0] == 3
    assert machine.mover.home_references(column(0)).tolist() == [3]
    assert migrate(drawn, [0], [8]) == (["MOVED"], [8])
    assert (int(child.pte[0]), int(drawn.space.pte[0])) == (9, 9)
    assert machine.swap.cache.lookup(entry) == 8
    assert machine.frames.refcount[8] == 3
    assert machine.counters.ptes_rewritten == 2


def test_pins_and_mappings_travel_together():
    drawn = Drawn("aa......", "........", movable=True)
    gup = OpaqueOwner("gup", movable=True, references=1024, registry=drawn.machine.registry)
    drawn.machine.frames.refcount[1] += 1024
    gup.adopt(column(1))
    assert migrate(drawn, [0, 1], [8, 9]) == (["MOVED", "MOVED"], [8, 9])
    assert gup.pfn_of(column(0)).tolist() == [9]
    assert drawn.machine.frames.refcount[[8, 9]].tolist() == [1, 1025]
    assert [pin.owner for pin in drawn.machine.registry.pins(9)] == [gup]


def test_what_is_owed_by_the_targets_name_goes_with_the_target():
    """Of two references of pins one is to be dropped by the new name when the move is undone."""
    drawn = Drawn("aa......", "........")
    machine, mover = drawn.machine, drawn.machine.mover
    source, target = column(1), column(9)
    machine.buddy.take(target)
    machine.refs.get_page(1, 2)
    mover.take(source)
    assert mover.freeze(source, column(2)).all()
    mover.copy(source, target)
    assert mover.references(source).tolist() == [3], "home's is not among them"
    assert mover.hand_over(source, target, column(2)).tolist() == [False]
    assert mover.hand_over(source, target, column(1)).tolist() == [True]
    assert mover.references(column(1, 9)).tolist() == [2, 1]
    assert machine.put_page(9), "it stands for itself, and nothing else holds it"
    mover.unfreeze(source)
    mover.put(source)
    assert machine.frames.refcount[1] == 2
    assert not machine.put_page(1)
    machine.check()


def test_a_frame_that_everybody_let_go_of_is_not_rekeyed():
    drawn = Drawn("a#......", "........")
    mover, frames = drawn.machine.mover, drawn.machine.frames
    source, target = column(0, 1), column(8, 9)
    drawn.machine.buddy.take(target)
    mover.take(source)
    assert mover.freeze(source, column(0, 1)).all()
    mover.copy(source, target)
    drawn.machine.put_page(9)  # by the name that its owner was told
    assert mover.rekey(source, target).tolist() == [True, False]
    assert frames.refcount[[8, 1]].tolist() == [1, -1]
    mover.unfreeze(column(1))
    mover.put(column(1))
    mover.free(column(0))
    drawn.machine.buddy.put_taken(column(9))
    drawn.machine.check()


def test_counts_in_pages():
    drawn = Drawn("aaa.....", "........")
    migrate(drawn, [0, 1, 2], [8, 9, 10])
    counters = drawn.machine.counters
    assert (counters.pages_isolated, counters.pages_copied, counters.flushes) == (6, 3, 1)
    assert counters.ptes_rewritten == 3


# Refusals leave everything as it was.


def test_without_targets_the_rest_is_put_back():
    drawn = Drawn("aaa.....", "........")
    lru = drawn.machine.lru.nr_pages(active=False)
    assert migrate(drawn, [0, 1, 2], [8]) == (["MOVED", "NO_TARGET", "NO_TARGET"], [8, -1, -1])
    assert drawn.picture() == [".aa.....", "a......."]
    assert drawn.machine.lru.nr_pages(active=False) == lru
    assert drawn.machine.frames.refcount[[1, 2]].tolist() == [1, 1]


def test_a_reference_taken_after_the_vote_stops_the_frame_only():
    drawn = Drawn("aa......", "........")
    mover, design = drawn.machine.mover, drawn.machine.design
    alone = mover.classify(column(0, 1), design, Mode.SYNC).alone
    drawn.machine.get_page(0)
    targets = targets_of(drawn, 8, 9)
    report = mover.migrate(column(0, 1), alone, targets, design, Mode.SYNC)
    assert [Reason(r).name for r in report.reasons] == ["UNACCOUNTED", "MOVED"]
    assert drawn.machine.frames.refcount[0] == 2
    drawn.machine.buddy.put_taken(targets.remaining)
    drawn.machine.check()


def test_frames_that_are_gone_or_taken_are_told_apart():
    drawn = Drawn("aaa.....")
    mover = drawn.machine.mover
    assert mover.take(column(0)).tolist() == [Reason.MOVED]
    drawn.free_of(1)
    report = mover.move_home(column(0, 1, 2), GivenTargets(column()))
    assert [Reason(r).name for r in report.reasons] == [
        "ALREADY_ISOLATED",
        "RACED_FREE",
        "NO_TARGET",
    ]
    mover.put(column(0))
    drawn.machine.check()
    assert drawn.machine.frames.refcount[[0, 2]].tolist() == [1, 1]


def test_the_last_reference_frees_when_the_mover_lets_go():
    drawn = Drawn("aa......")
    mover = drawn.machine.mover
    mover.take(column(0, 1))
    drawn.machine.memory.dontneed(drawn.space, column(1))
    assert mover.only_ours(column(0, 1)).tolist() == [False, True]
    mover.put(column(0, 1))
    drawn.machine.check()
    assert drawn.picture() == ["ap......"]  # p: on a per-CPU list, as any freed page


@pytest.mark.parametrize("mode", Mode)
def test_writeback_is_waited_for_in_sync_mode_only(mode):
    drawn = Drawn("aa......", "........")
    frames, waited = drawn.machine.frames, []

    def end_of_io(pfn, flag):
        waited.append((pfn, flag))
        frames.clear_flag(column(pfn), flag)

    drawn.machine.mover.wait_on_page = end_of_io
    frames.set_flag(column(1), PageFlag.WRITEBACK)
    looked_at = classify(drawn, 0, 1, mode=mode)[1]
    busy = mode == Mode.ASYNC
    assert looked_at[:2] == (("NO", "OWNER_BUSY") if busy else ("MOVE", "MOVED"))
    reasons, _ = migrate(drawn, [0, 1], [8, 9], mode=mode)
    moved = mode == Mode.SYNC
    assert reasons == ["MOVED", "MOVED" if moved else "OWNER_BUSY"]
    assert waited == ([(1, PageFlag.WRITEBACK)] if moved else [])


def test_nobody_ends_a_wait_in_a_world_of_one():
    drawn = Drawn("a.......")
    drawn.machine.frames.set_flag(column(0), PageFlag.WRITEBACK)
    with pytest.raises(InvariantError, match="a wait that nobody ends"):
        migrate(drawn, [0], [4])


# Passes.


class Stubborn(OpaqueOwner):
    """Says Again until it has been asked `patience` times."""

    def __init__(self, patience, registry):
        super().__init__("stubborn", movable=True, registry=registry)
        self.nr_asked, self.patience = 0, patience

    def isolate_many(self, pfns, privates, mode):
        self.nr_asked += 1
        verdict = Verdict.YES if self.nr_asked >= self.patience else Verdict.AGAIN
        return np.full(len(pfns), verdict, dtype=np.uint8)


@pytest.mark.parametrize(("patience", "moved"), [(1, True), (10, True), (11, False)])
def test_ten_passes_over_frames_that_say_again(patience, moved):
    drawn = Drawn("a#......", "........", movable=True)
    owner = Stubborn(patience, drawn.machine.registry)
    owner.adopt(column(1))
    reasons, targets = migrate(drawn, [0, 1], [8, 9])
    assert reasons == ["MOVED", "MOVED" if moved else "OWNER_AGAIN"]
    assert targets[1] == (9 if moved else -1)
    assert owner.nr_asked == min(patience, NR_MIGRATE_PASSES)


@pytest.mark.parametrize("patience", [3, 11])
def test_one_partner_that_says_again_keeps_the_frame_in_the_running(patience):
    drawn = Drawn("x.......", "........", movable=True)
    partner = Stubborn(patience, drawn.machine.registry)
    drawn.machine.frames.refcount[0] += 1
    partner.adopt(column(0))
    reasons, _ = migrate(drawn, [0], [8])
    assert reasons == (["MOVED"] if patience == 3 else ["OWNER_AGAIN"])
    assert partner.nr_asked == min(patience, NR_MIGRATE_PASSES)


def test_a_firm_no_is_asked_once():
    drawn = Drawn("#.......", "........")
    design = ScriptedDesign(Answer.MOVE, reasons=[Reason.OWNER_BUSY] * 3)
    assert migrate(drawn, [0], [8], design=design)[0] == ["OWNER_BUSY"]
    assert [call[0] for call in design.calls].count("move") == 1


# References of a frame under move.


def test_a_frozen_frame_gives_no_references_and_loses_them_to_the_right_count():
    drawn = Drawn("x.......", "........", movable=True)
    mover, pfn = drawn.machine.mover, column(0)
    mover.take(pfn)
    assert mover.freeze(pfn, column(1)).tolist() == [True]
    assert mover.still_frozen(pfn, column(1)).tolist() == [True]
    assert not mover.refs.get_page(0)
    targets = targets_of(drawn, 8)
    mover.copy(pfn, targets.take(1))
    assert not mover.refs.put_page(8)  # the owner knows its frame by the new name already
    assert mover.still_frozen(pfn, column(0)).tolist() == [True]
    assert mover.still_frozen(pfn, column(1)).tolist() == [False]
    mover.unfreeze(pfn)
    assert drawn.machine.frames.refcount[[0, 8]].tolist() == [1, 1]


def test_freeze_takes_exact_counts_only():
    drawn = Drawn("aa......")
    mover = drawn.machine.mover
    drawn.machine.get_page(1)
    mover.take(column(0, 1))
    assert mover.freeze(column(0, 1), column(0, 0)).tolist() == [True, False]
    assert drawn.machine.frames.refcount[[0, 1]].tolist() == [-2, 3]


class Calling(GivenTargets):
    """Targets that are hard to get: others run meanwhile, as they do under reclaim."""

    def __init__(self, drawn, pfns, meanwhile):
        drawn.machine.buddy.take(pfns)
        super().__init__(pfns)
        self._meanwhile = meanwhile

    def take(self, count):
        self._meanwhile()
        return super().take(count)


def test_a_page_that_its_process_drops_while_targets_are_sought_is_freed_not_moved():
    drawn = Drawn("aaa.....", "........")
    machine = drawn.machine
    child = machine.memory.fork(drawn.space, "child")

    def meanwhile():
        machine.memory.dontneed(drawn.space, column(0, 1))  # the child maps them still
        machine.memory.dontneed(child, column(1, 2))

    targets = Calling(drawn, column(8, 9, 10), meanwhile)
    report = machine.mover.move_home(column(0, 1, 2), targets)
    assert [Reason(reason).name for reason in report.reasons] == ["MOVED", "FREED", "MOVED"]
    assert (report.targets.tolist(), targets.remaining.tolist()) == ([8, -1, 10], [9])
    machine.buddy.put_taken(targets.remaining)
    machine.check()
    assert machine.frames.state[[1, 9]].tolist() == [FrameState.PCP, FrameState.FREE]
    assert [int(child.pte[0]) - 1, int(drawn.space.pte[2]) - 1] == [8, 10]
    assert machine.frames.refcount[[8, 10]].tolist() == [1, 1]


def test_a_reference_that_shows_up_while_targets_are_sought_stops_the_frame_only():
    drawn = Drawn("aa......", "........")
    machine = drawn.machine
    targets = Calling(drawn, column(8, 9), lambda: machine.refs.hold_page(1))
    report = machine.mover.move_home(column(0, 1), targets)
    assert [Reason(reason).name for reason in report.reasons] == ["MOVED", "UNACCOUNTED"]
    machine.buddy.put_taken(targets.remaining)
    machine.check()
    assert machine.frames.refcount[1] == 2


def test_a_source_that_takes_nothing_back_keeps_no_frame_taken():
    drawn = Drawn("aa......", "........")
    machine = drawn.machine

    class Broken(GivenTargets):
        def give_back(self, pfns):
            raise KeyboardInterrupt

    machine.buddy.take(column(8, 9))
    machine.mover.copy_contents = lambda sources, targets: 1 / 0
    with pytest.raises(KeyboardInterrupt):
        machine.mover.move_home(column(0, 1), Broken(column(8, 9)))
    machine.buddy.put_taken(column(8, 9))
    machine.check()


# Invariants.


def test_v1_put_of_a_frame_that_was_not_taken():
    drawn = Drawn("a.......")
    with pytest.raises(InvariantError, match="V1"):
        drawn.machine.mover.put(column(0))


def test_v2_a_reference_that_nobody_held():
    drawn = Drawn("a.......")
    with pytest.raises(InvariantError, match="V2"):
        drawn.machine.refs.put_page(5)


def test_v3_the_movers_own_reference():
    drawn = Drawn("#.......")
    drawn.machine.mover.take(column(0))
    drawn.machine.put_page(0)
    with pytest.raises(InvariantError, match="V3"):
        drawn.machine.put_page(0)


@pytest.mark.parametrize("many", [False, True])
def test_v3_the_movers_own_reference_also_while_it_is_frozen(many):
    drawn = Drawn("x.......", movable=True)
    mover, refs, pfn = drawn.machine.mover, drawn.machine.refs, column(0)
    mover.take(pfn)
    mover.freeze(pfn, column(1))
    with pytest.raises(InvariantError, match="V3"):
        _ = refs.put_many(pfn, 2) if many else refs.put_page(0, 2)
    assert mover.still_frozen(pfn, column(1)).tolist() == [True]


def test_v5_nobodys_references_are_not_carried_over():
    drawn = Drawn("x.......", movable=True)
    mover, pfn = drawn.machine.mover, column(0)
    mover.take(pfn)
    mover.freeze(pfn, column(1))
    drawn.machine.put_page(0)
    with pytest.raises(InvariantError, match="V5"):
        mover.refs.carry_over(pfn, targets_of(drawn, 4).take(1))
    assert drawn.machine.frames.state[4] == FrameState.TAKEN


@pytest.mark.parametrize("what", ["isolated", "frozen", "target", "alias"])
def test_v4_nothing_is_half_done_at_rest(what):
    drawn = Drawn("a.......")
    mover, frames = drawn.machine.mover, drawn.machine.frames
    if what == "isolated":
        frames.isolated[0] = True
    elif what == "frozen":
        frames.refcount[0] = -1
    elif what == "target":
        drawn.machine.buddy.take(column(4))
    else:
        drawn.machine.buddy.take(column(4))
        mover.copy(column(0), column(4))
        drawn.machine.buddy.put_taken(column(4))
    with pytest.raises(InvariantError, match="V4"):
        mover.check()


class Liar(OpaqueOwner):
    """Says that it migrated, and keeps a reference to the old frame."""

    frames = None

    def migrate_many(self, pfns, privates, targets):
        self.frames.refcount[pfns] -= 1  # frozen counts are negative: one reference more


def test_a_frame_that_an_owner_lied_about_is_out_of_circulation():
    drawn = Drawn("#a......", "........", movable=True)
    liar = Liar("liar", movable=True, registry=drawn.machine.registry)
    liar.frames = drawn.machine.frames
    liar.adopt(column(0))
    reasons, _ = migrate(drawn, [0, 1], [8, 9])
    assert reasons == ["OWNER_FAULTY", "MOVED"]
    frames = drawn.machine.frames
    assert frames.state[0] == FrameState.QUARANTINED
    assert (frames.refcount[0], frames.flags[0], frames.isolated[0]) == (0, 0, False)
    drawn.machine.pcp.drain_all()
    everything = drawn.machine.buddy.alloc_many(99, 1).tolist()
    assert 0 not in everything
    assert len(everything) == 13


def test_unmovable_moves_and_releases_nothing_but_answers():
    design, targets = Unmovable(), GivenTargets(column(4))
    report = design.move(column(0), targets, Mode.SYNC)
    assert report.counts() == {Reason.NO_OWNER: 1}
    assert design.release(column(0), Mode.SYNC).tolist() == [Reason.NO_OWNER]
    assert targets.remaining.tolist() == [4]
