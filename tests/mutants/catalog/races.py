"""Bugs planted where the races of the catalogue would bite; each is caught by its own file."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

MIGRATE, BATCH = "pinpage/migrate.py", "pinpage/move/batch.py"
PINS, UNDOING = "pinpage/move/pins.py", "pinpage/move/undoing.py"
CATALOG = "tests/races/test_catalog.py"
SCHEDULES = "tests/property/test_registry_schedules.py"
CLOSED = "tests/closed_forms/test_closed_forms.py"
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
        file=PINS,
        old="        if not (thorough or self.may_be_stale):\n",
        new="        if not thorough:\n",
        tests=(R01,),
    ),
    Mutant(
        name="take-refusal-ignored",
        guards="R-1",
        file=BATCH,
        old="            self.reasons[going[~got]] = reasons[~got]\n",
        new="            pass\n",
        tests=(R01,),
    ),
    Mutant(
        name="unpin-by-the-new-name-unknown",
        guards="R-1",
        file=MIGRATE,
        old="    batch.registry.marks.forward_many(sources, targets)\n",
        new="",
        tests=(R01,),
    ),
    Mutant(
        name="owner-that-left-by-the-new-name-undone",
        guards="R-1",
        file=MIGRATE,
        old="batch.bad_source[going] | batch.pins.has(going, PinState.UNPINNED_AT_TARGET)",
        new="batch.bad_source[going]",
        tests=("tests/unit/pinpage/move/test_undoing.py",),
    ),
    Mutant(
        name="freed-under-us-reported-as-failure",
        guards="R-2",
        file=BATCH,
        old="        self.reasons[held[now_alone & ~pinned]] = Reason.FREED\n",
        new="",
        tests=(R02,),
    ),
    Mutant(
        name="copies-what-was-freed",
        guards="R-2",
        file=MIGRATE,
        old="        batch.reasons[unpinned[freed]] = Reason.FREED\n",
        new="        batch.reasons[unpinned[:0]] = Reason.FREED\n",
        tests=(R02,),
    ),
    Mutant(
        name="loser-of-the-mark-goes-on",
        guards="R-7",
        file=BATCH,
        old="        self.reasons[~self.marked] = Reason.ALREADY_ISOLATED\n",
        new="        self.marked[:] = True\n",
        tests=(R07,),
    ),
    Mutant(
        name="loser-of-the-taking-goes-on",
        guards="R-7",
        file=BATCH,
        old="            self.reasons[going[~got]] = reasons[~got]\n",
        new="            self.taken[going] = True\n",
        tests=(R07,),
    ),
    Mutant(
        name="unaccounted-reference-ignored",
        guards="R-8",
        file=MIGRATE,
        old="    batch.reasons[going[~batch.frozen[going]]] = Reason.UNACCOUNTED\n",
        new="",
        tests=(R08,),
    ),
    Mutant(
        name="callback-not-announced",
        guards="R-9",
        file="pinpage/move/callbacks.py",
        old="            with held:",
        new="            if held is not None:",
        tests=(R09,),
    ),
    Mutant(
        name="owner-that-left-is-called",
        guards="R-9",
        file=BATCH,
        old="rows[is_going & (self.pins.state[rows] < PinState.UNPINNED)]",
        new="rows[is_going]",
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
        file=MIGRATE,
        old="    if call.nr_returned:\n",
        new="    if call.nr_returned < 0:\n",
        tests=(R26,),
    ),
    Mutant(
        name="honest-partner-blamed",
        guards="R-26",
        file=MIGRATE,
        old=" & ~batch.bad_source[frames]\n",
        new="\n",
        tests=("tests/unit/pinpage/move/test_undoing.py",),
    ),
    Mutant(
        name="liars-frame-freed",
        guards="R-26",
        file=MIGRATE,
        old="frames[bad], batch.memory.quarantine, batch.sources)",
        new="frames[bad], batch.memory.free, batch.sources)",
        tests=(R26,),
    ),
    Mutant(
        name="undo-in-the-order-of-asking",
        guards="R-28",
        file=UNDOING,
        old="    for group in reversed(batch.pins.owners):\n",
        new="    for group in batch.pins.owners:\n",
        tests=(f"{R28}::test_the_undo_runs_in_reverse",),
    ),
    Mutant(
        name="writes-at-the-target-forgotten",
        guards="R-28",
        file=UNDOING,
        old="batch.do(batch.is_back, True, frames, batch.memory.copy, ",
        new="(lambda *_: None)(",
        tests=(f"{R28}::TestAllOrNone::test_nobody_is_left_behind",),
    ),
    Mutant(
        name="migrated-partner-not-brought-back",
        guards="R-28",
        file=UNDOING,
        old='    ("migrate", PinState.ISOLATED_AGAIN),\n',
        new="",
        tests=(f"{R28}::TestAllOrNone::test_nobody_is_left_behind",),
    ),
    Mutant(
        name="newcomer-ignored",
        guards="R-29",
        file=BATCH,
        old="self.reasons[self.pins.refresh(frames, thorough=thorough)] = Reason.OWNER_AGAIN\n",
        new="self.pins.refresh(frames, thorough=thorough)\n",
        tests=(R29,),
    ),
    Mutant(
        name="waiters-not-woken",
        guards="R-29",
        file=BATCH,
        old="            self.registry.marks.end_move(pfns[ours])\n",
        new="            pass\n",
        tests=(R29,),
    ),
    Mutant(
        name="page-on-its-way-to-the-disk-is-not-locked",
        guards="R-16",
        file="mm/paging/swap_core.py",
        old="        self._paging.lock_page(pfn)\n        return pfn\n",
        new="        return pfn\n",
        tests=(CATALOG,),
    ),
    Mutant(
        name="planted-bug-stays",
        guards="races",
        file="pinlab/races/broken.py",
        old="            function.__code__ = whole\n",
        new="            pass\n",
        tests=(CATALOG,),
    ),
    Mutant(
        name="survivor-counts-as-found",
        guards="races",
        file="pinlab/races/race.py",
        old="self.sound.is_exhausted and self.found is not None",
        new="self.sound.is_exhausted",
        tests=("tests/cli/test_races.py",),
    ),
    Mutant(
        name="stepped-lock-lets-everybody-in",
        guards="races",
        file="pinpage/testing/stepping.py",
        old="        while not (self._owner is None or (self._reentrant and self._owner == me)):\n",
        new="        while False:\n",
        tests=("tests/unit/pinpage/testing/test_stepping.py",),
    ),
    Mutant(
        name="unusable-free-counts-what-is-just-large-enough",
        guards="C13",
        file="mm/buddy/fragindex.py",
        old="for k, count in enumerate(blocks) if k >= order)",
        new="for k, count in enumerate(blocks) if k > order)",
        tests=(CLOSED,),
    ),
    Mutant(
        name="isolation-that-fails-keeps-what-it-has",
        guards="C9",
        file="mm/contig/page_isolation.py",
        old="            done.append(block)\n",
        new="            pass\n",
        tests=(CLOSED,),
    ),
    planted(
        "threads-batch-forgets-the-first-of-two-pins",
        "pins survive threads",
        "pinpage/store/at_once.py",
        "        return False\n    if seq & 1 or shard.seq != seq or pfn in batch:\n",
        "        return False\n    if seq & 1 or shard.seq != seq:\n",
        "tests/races/test_registry_stress.py",
    ),
    planted(
        "schedules-a-section-that-keeps-nobody-out",
        "pins survive threads",
        "pinpage/store/shard.py",
        """\
        with self.lock:
            thread.top = self.node + 1
            try:
                if self.seq & 1:
""",
        """\
        if self.lock:
            thread.top = self.node + 1
            try:
                if self.seq & 1:
""",
        f"{SCHEDULES}::test_who_waits_is_not_scheduled",
    ),
    planted(
        "schedules-a-record-that-is-gone-is-read",
        "a private is what was pinned",
        "pinpage/registry.py",
        "            if shard.seq == seq and pfn not in shard.batch:\n",
        "            if shard.seq >= seq and pfn not in shard.batch:\n",
        f"{SCHEDULES}::test_a_private_that_goes_while_it_is_read",
    ),
    planted(
        "schedules-one-of-two-pins-is-forgotten",
        "pins survive threads",
        "pinpage/store/at_once.py",
        "        return False\n    if seq & 1 or shard.seq != seq or pfn in batch:\n",
        "        return False\n    if seq & 1 or shard.seq != seq:\n",
        f"{SCHEDULES}::test_any_schedule_is_some_order",
    ),
]
