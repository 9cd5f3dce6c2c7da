"""Bugs planted where the races of the catalogue would bite; each is caught by its own file."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

BALLOT, TAKING, MOVING = "pinpage/move/ballot.py", "pinpage/move/taking.py", "pinpage/move/batch.py"
UNDOING = "pinpage/move/undoing.py"
R01 = "tests/races/test_r01_free_vs_isolate.py"
R02 = "tests/races/test_r02_free_after_isolate.py"
R07 = "tests/races/test_r07_two_migrators.py"
R08 = "tests/races/test_r08_register_vs_isolate.py"
R09 = "tests/races/test_r09_unregister_during_migrate.py"
R20 = "tests/races/test_r20_batch_not_drained.py"
R26 = "tests/races/test_r26_owner_lies.py"
R28 = "tests/races/test_r28_failure_midway.py"
R29 = "tests/races/test_r29_owner_joins.py"

MUTANTS: list[Mutant] = [
    Mutant(
        name="callback-without-a-fresh-look",
        guards="R-1",
        file=BALLOT,
        old="        if not (thorough or self.may_be_stale):\n",
        new="        if not thorough:\n",
        tests=(R01,),
    ),
    Mutant(
        name="take-refusal-ignored",
        guards="R-1",
        file=TAKING,
        old="            self.fail(wanted[reasons == reason], Reason(reason))\n",
        new="            pass\n",
        tests=(R01,),
    ),
    Mutant(
        name="unpin-by-the-new-name-unknown",
        guards="R-1",
        file=MOVING,
        old="            self.registry.marks.forward_many(self.pfns, targets)\n",
        new="",
        tests=(R01,),
    ),
    Mutant(
        name="owner-that-left-by-the-new-name-undone",
        guards="R-1",
        file=MOVING,
        old="self._lied[self.going] | self.ballot.has(PinState.LEFT, self.going)",
        new="self._lied[self.going]",
        tests=("tests/unit/pinpage/move/test_undoing.py",),
    ),
    Mutant(
        name="freed-under-us-reported-as-failure",
        guards="R-2",
        file=TAKING,
        old="        self.reasons[held[now_alone & ~pinned]] = Reason.FREED\n",
        new="",
        tests=(R02,),
    ),
    Mutant(
        name="copies-what-was-freed",
        guards="R-2",
        file=MOVING,
        old="            self.fail(deserted[freed], Reason.FREED)\n",
        new="            self.fail(deserted[:0], Reason.FREED)\n",
        tests=(R02,),
    ),
    Mutant(
        name="loser-of-the-mark-goes-on",
        guards="R-7",
        file=TAKING,
        old="        self.fail(np.flatnonzero(~self._marked), Reason.ALREADY_ISOLATED)\n",
        new="        self._marked[:] = True\n",
        tests=(R07,),
    ),
    Mutant(
        name="loser-of-the-taking-goes-on",
        guards="R-7",
        file=TAKING,
        old="            self.fail(wanted[reasons == reason], Reason(reason))\n",
        new="            self.taken[wanted[reasons == reason]] = True\n",
        tests=(R07,),
    ),
    Mutant(
        name="unaccounted-reference-ignored",
        guards="R-8",
        file=MOVING,
        old="            self.fail(going[~frozen], Reason.UNACCOUNTED)\n",
        new="            pass\n",
        tests=(R08,),
    ),
    Mutant(
        name="callback-not-announced",
        guards="R-9",
        file="pinpage/move/callbacks.py",
        old="        with held:",
        new="        if held is not None:",
        tests=(R09,),
    ),
    Mutant(
        name="owner-that-left-is-called",
        guards="R-9",
        file=TAKING,
        old="        if not self.ballot.any_dead:\n",
        new="        if len(rows):\n",
        tests=(R09,),
    ),
    Mutant(
        name="batches-not-drained",
        guards="R-20",
        file="pinpage/store/nodes.py",
        old="                shard.drain()\n",
        new="                pass\n",
        tests=(R20,),
    ),
    Mutant(
        name="liar-believed",
        guards="R-26",
        file=MOVING,
        old="        if told:\n            self._verify",
        new="        if told < 0:\n            self._verify",
        tests=(R26,),
    ),
    Mutant(
        name="honest-partner-blamed",
        guards="R-26",
        file=MOVING,
        old=" & ~self._lied[odd]\n",
        new="\n",
        tests=("tests/unit/pinpage/move/test_undoing.py",),
    ),
    Mutant(
        name="liars-frame-freed",
        guards="R-26",
        file=MOVING,
        old="        self._forget(self.memory.quarantine, frames[lied])\n",
        new="        self._forget(self.memory.free, frames[lied])\n",
        tests=(R26,),
    ),
    Mutant(
        name="undo-in-the-order-of-asking",
        guards="R-28",
        file=UNDOING,
        old="        for group in reversed(self.ballot.groups):\n",
        new="        for group in self.ballot.groups:\n",
        tests=(f"{R28}::test_the_undo_runs_in_reverse",),
    ),
    Mutant(
        name="writes-at-the-target-forgotten",
        guards="R-28",
        file=UNDOING,
        old="        self._bring_back(lost)\n",
        new="",
        tests=(f"{R28}::TestAllOrNone::test_nobody_is_left_behind",),
    ),
    Mutant(
        name="migrated-partner-not-brought-back",
        guards="R-28",
        file=UNDOING,
        old="        if len(migrated):\n",
        new="        if not len(ballot.frame):\n",
        tests=(f"{R28}::TestAllOrNone::test_nobody_is_left_behind",),
    ),
    Mutant(
        name="newcomer-ignored",
        guards="R-29",
        file=TAKING,
        old="        self.fail(joined, Reason.OWNER_AGAIN)\n",
        new="        self.fail(joined[:0], Reason.OWNER_AGAIN)\n",
        tests=(R29,),
    ),
    Mutant(
        name="waiters-not-woken",
        guards="R-29",
        file=TAKING,
        old="            self.registry.marks.end_move(self.sources[ours])\n",
        new="            pass\n",
        tests=(R29,),
    ),
]
