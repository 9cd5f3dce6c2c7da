"""Bugs planted in the move, its reports, the explorer and the scripted owners."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MIGRATE, BATCH = "pinpage/migrate.py", "pinpage/move/batch.py"
CALLBACKS, STEPS = "pinpage/move/callbacks.py", "pinpage/move/steps.py"
UNDOING = "pinpage/move/undoing.py"
EXPLORE, SCRIPTED = "pinpage/testing/explore.py", "pinpage/testing/scripted.py"
UNIT = "tests/unit/pinpage/test_migrate.py"
UNIT_CALLBACK = "tests/unit/owners/test_callback_owner.py"
UNIT_EXPLORE = "tests/unit/pinpage/testing/test_explore.py"
UNIT_SCRIPTED = "tests/unit/pinpage/testing/test_scripted.py"
MODEL = "tests/property/test_move_against_model.py"

MUTANTS: list[Mutant] = [
    Mutant(
        name="unused-target-leaks",
        guards="M6",
        file=UNDOING,
        old=("    batch.do(batch.where, -1, frames[~bad], batch.targets.give_back, batch.where)\n"),
        new="",
        tests=(UNIT, MODEL),
    ),
    Mutant(
        name="frame-that-nobody-knows-goes-on",
        guards="M8",
        file=BATCH,
        old="            self.reasons[unpinned[~has_home]] = Reason.NO_OWNER\n",
        new="",
        tests=(UNIT, MODEL),
    ),
    Mutant(
        name="partner-reported-as-refuser",
        guards="PARTNER_REFUSED",
        file=BATCH,
        old="                self.reasons[frames[agreed]] = Reason.PARTNER_REFUSED\n",
        new="",
        tests=(UNIT, MODEL),
    ),
    Mutant(
        name="partial-refusal-moves-the-frame",
        guards="M3",
        file=BATCH,
        old="self.refuse(rows[answers == Verdict.AGAIN], call.owner, Reason.OWNER_AGAIN)\n",
        new="pass\n",
        tests=(UNIT, MODEL),
    ),
    Mutant(
        name="references-not-counted",
        guards="M4",
        file=MIGRATE,
        old="                batch.row_refs[rows] = counts\n",
        new="                batch.row_refs[rows] = 1\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="target-of-a-broken-owner-reused",
        guards="M5",
        file=UNDOING,
        old='        if what == "migrate" or state[row] == PinState.UNKNOWN:',
        new='        if what == "migrate":',
        tests=(UNIT,),
    ),
    Mutant(
        name="nonsense-taken-for-a-verdict",
        guards="M3",
        file=CALLBACKS,
        old="<= int(column.max()) <= most:",
        new="<= int(column.max()):",
        tests=(UNIT,),
    ),
    Mutant(
        name="given-twice-unnoticed",
        guards="M1",
        file=STEPS,
        old="    if twice.any():\n",
        new="    if twice.any() and len(twice) > 1:\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="abandoned-frames-stay-marked",
        guards="M6",
        file=MIGRATE,
        old="    batch.drop_untaken()\n    for _ in undo(batch):\n",
        new="    for _ in undo(batch):\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="release-liar-believed",
        guards="R-26",
        file="pinpage/move/release.py",
        old="    if call.failure is Reason.MOVED:\n",
        new="    if call.failure is None:\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="frame-goes-back-with-a-pin-on-it",
        guards="M5",
        file=BATCH,
        old="held[alone & now_alone & pinned]",
        new="held[:0]",
        tests=(UNIT, UNIT_CALLBACK),
    ),
    Mutant(
        name="pin-without-a-reference-goes-unblamed",
        guards="M5",
        file=BATCH,
        old='        self.blame_who_pins(bad, "let go of pfn {:#x} and kept its pin")\n',
        new="",
        tests=(UNIT,),
    ),
    Mutant(
        name="frame-of-an-honest-partner-set-aside",
        guards="M5",
        file=BATCH,
        old="held[alone & now_alone & pinned]",
        new="held[pinned]",
        tests=(UNIT,),
    ),
    Mutant(
        name="explorer-never-preempts",
        guards="explore",
        file=EXPLORE,
        old="for other in ready if other != default",
        new="for other in ready if other != default and not goes_on",
        tests=(UNIT_EXPLORE,),
    ),
    Mutant(
        name="explorer-forgets-what-a-switch-costs",
        guards="explore",
        file=EXPLORE,
        old="((*done, other), int(goes_on))",
        new="((*done, other), 0)",
        tests=(UNIT_EXPLORE,),
    ),
    Mutant(
        name="explorer-checks-only-at-the-end",
        guards="explore",
        file=EXPLORE,
        old="                self._scenario.check()\n",
        new="",
        tests=(UNIT_EXPLORE,),
    ),
    Mutant(
        name="scripted-owner-tolerates-a-stale-pin",
        guards="K1",
        file=SCRIPTED,
        old="            require(known, ",
        new="            require(True, ",
        tests=(UNIT_SCRIPTED,),
    ),
    Mutant(
        name="scripted-owner-tolerates-another-frame",
        guards="K2",
        file=SCRIPTED,
        old="            require(at == pin.pfn, ",
        new="            require(True, ",
        tests=(UNIT_SCRIPTED,),
    ),
]
