"""Compaction by plan: what is moved, what is not even touched, and what a refusal costs."""

import numpy as np
import pytest

from mm.move.design import Answer
from mm.planning.blocks import Outcome
from mm.planning.execute import NR_PLAN_ROUNDS
from mm.state.pageblock import MigrateType
from owners.opaque import OpaqueOwner
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn, ScriptedDesign


def compact(drawn, **options):
    machine = drawn.machine
    report, made = machine.planned.compact(machine.design, **options)
    machine.check()
    drawn.check_contents()
    return report, made


class Picky(OpaqueOwner):
    """Promises to move and refuses the objects in `stays`."""

    stays = frozenset()

    def isolate_many(self, pfns, privates, mode):
        self.asked = [*getattr(self, "asked", []), *np.asarray(privates).tolist()]
        said = [Verdict.BUSY if p in self.stays else Verdict.YES for p in np.asarray(privates)]
        return np.array(said, dtype=np.uint8)


def picky(drawn, pfns, stays):
    owner = Picky("picky", movable=True, registry=drawn.machine.registry)
    owner.adopt(column(*pfns))
    owner.stays = frozenset(stays)
    return owner


def test_nothing_is_moved_out_of_a_block_that_stays():
    drawn = Drawn("aa#aaa..", "a.......", "a.......", "#.......")
    report, made = compact(drawn)
    assert drawn.picture() == ["aa#aaaaa", "........", "........", "#......."]
    assert (report.pages_moved, report.pageblocks_emptied) == (2, 2)
    assert made.outcome_of(0) is Outcome.STUCK
    assert made.in_the_way(0) == {"unknown": 1}
    assert report.refused == {Reason.NO_OWNER: 2}
    assert report.pages_scanned_migrate == drawn.machine.counters.pages_scanned == 32


def test_blocks_of_any_type_are_filled_unless_restricted():
    types = [MigrateType.MOVABLE, MigrateType.UNMOVABLE, MigrateType.MOVABLE]
    picture = ("aaa.....", "#.......", "#aaaaaa.")
    drawn = Drawn(*picture, types=types)
    assert compact(drawn)[0].pages_moved == 3
    drawn = Drawn(*picture, types=types)
    assert compact(drawn, targets="movable")[0].pages_moved == 0
    assert drawn.picture() == list(picture)


def test_only_as_many_blocks_as_wanted():
    drawn = Drawn("a.......", "aa......", "#.......", "#.......")
    report, made = compact(drawn, want=1)
    assert (report.pages_moved, report.pageblocks_emptied) == (1, 1)
    assert made.outcome_of(1) is Outcome.NOT_WANTED


def test_no_watermark_is_asked():
    drawn = Drawn("a.......", "#.......", marks=(100, 100, 100))
    assert compact(drawn)[0].pageblocks_emptied == 1


def test_a_released_frame_is_no_promise_but_counts_for_the_bound():
    drawn = Drawn("#.......", "a.......", "#.......")
    drawn.machine.design = ScriptedDesign(Answer.RELEASE, claimed=[0])
    report, made = compact(drawn)
    assert (report.pages_moved, report.pages_released) == (1, 0)
    assert made.bound == 1
    assert drawn.machine.bound() == 2
    assert "release" not in [call[0] for call in drawn.machine.design.calls]


def test_a_refusal_is_planned_around():
    """The emptiest block refuses when its turn comes: the next one is emptied instead."""
    drawn = Drawn("#.......", "##aaaa..", "aa......", "######..", movable=True)
    owner = picky(drawn, [0], stays=[0])
    report, made = compact(drawn)
    assert made.nr_wholly_free == made.bound == 2
    assert owner.asked == [0]
    assert drawn.picture()[2] == "........"
    assert (report.refused[Reason.OWNER_BUSY], report.pageblocks_emptied) == (1, 1)


def test_a_frame_that_refused_is_not_asked_again_in_later_rounds():
    drawn = Drawn(*["#......."] * 6, movable=True)
    owner = picky(drawn, [0, 8, 16, 24, 32, 40], stays=range(6))
    report, _ = compact(drawn)
    assert sorted(owner.asked) == sorted(set(owner.asked))
    assert report.refused[Reason.OWNER_BUSY] == len(owner.asked)
    assert report.pages_moved == 0


def test_rounds_are_limited():
    drawn = Drawn(*["#......."] * 12, movable=True)
    owner = picky(drawn, range(0, 96, 8), stays=())
    calls = []
    owner.isolate_many = lambda pfns, privates, mode: (
        calls.append(pfns.tolist()) or np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
    )
    made_of = drawn.machine.planned._execute
    rounds = []

    def counted(*args):
        rounds.append(1)
        return made_of(*args)

    drawn.machine.planned._execute = counted
    compact(drawn, want=1)
    assert len(rounds) == NR_PLAN_ROUNDS
    assert len(calls) == NR_PLAN_ROUNDS  # one block wanted, one new candidate in each round


@pytest.mark.parametrize("mode", Mode)
def test_the_mode_reaches_the_owners(mode):
    drawn = Drawn("x.......", "#.......", movable=True)
    modes = []
    drawn.owner.isolate_many = lambda pfns, privates, mode: (
        modes.append(mode) or np.full(len(pfns), Verdict.YES, dtype=np.uint8)
    )
    compact(drawn, mode=mode)
    assert modes == [mode]


def test_the_census_names_holders_and_changes_nothing():
    drawn = Drawn("xa#.....", movable=False)
    before = drawn.machine.digest()
    census, report = drawn.machine.planned.census(drawn.machine.design)
    assert census.owner_names == ("unknown", "opaque")
    assert census.owner[:3].tolist() == [1, 0, 0]
    assert census.movable[:4].tolist() == [False, True, False, False]
    assert report.refused == {Reason.NO_CALLBACK: 1, Reason.NO_OWNER: 1}
    assert drawn.machine.digest() == before


def test_a_machine_without_used_frames_has_nothing_to_do():
    drawn = Drawn("........", "........")
    report, made = compact(drawn)
    assert (report.pages_moved, made.bound) == (0, 2)


def test_owners_release_what_stands_in_the_emptiest_blocks():
    drawn = Drawn("##aaaaaa", "#.......", "##......", "aaaaaa..")

    class Gives(ScriptedDesign):
        def release(self, pfns, mode):
            self.calls.append(pfns.tolist())
            drawn.machine.refs.put_many(pfns)
            return np.full(len(pfns), Reason.RELEASED, dtype=np.uint8)

    design = Gives(answer=Answer.RELEASE)
    done = drawn.machine.planned.make_space(design, Mode.SYNC, 1, [0])
    drawn.machine.check()
    assert (done.pages_released, done.pages_dropped) == (0, 0), "block 3 can be emptied as it is"
    done = drawn.machine.planned.make_space(design, Mode.SYNC, 2, [0])
    assert (done.pages_released, design.calls[-1]) == (1, [8])
