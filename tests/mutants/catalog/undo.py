"""Bugs planted in how a move is undone, interrupted, and gives back what it had."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

ASKING, BALLOT, INTERRUPTS = (
    "pinpage/move/callbacks.py",
    "pinpage/move/ballot.py",
    "pinpage/move/interrupts.py",
)
LIFETIMES, MARKS, MOVING = (
    "pinpage/store/owner_table.py",
    "pinpage/store/marks.py",
    "pinpage/move/batch.py",
)
TAKING, UNDOING, MIGRATE = "pinpage/move/taking.py", "pinpage/move/undoing.py", "pinpage/migrate.py"
MOVE, REFS, STEPPING = "mm/move/move.py", "mm/state/refs.py", "pinpage/testing/stepping.py"

UNIT = "tests/unit/pinpage"
T_ASKING, T_BALLOT = f"{UNIT}/move/test_callbacks.py", f"{UNIT}/move/test_ballot.py"
T_INTERRUPTS, T_LIFETIMES = f"{UNIT}/move/test_interrupts.py", f"{UNIT}/store/test_owner_table.py"
T_UNDOING, T_MOVE = f"{UNIT}/move/test_undoing.py", "tests/unit/mm/move/test_move.py"
GIVEN = "tests/races/test_what_a_move_gives_back.py"
STRUCK = "tests/faults/test_move_interrupts.py"
LIARS = "tests/faults/test_move_liars.py"
MIDWAY = "tests/races/test_r28_failure_midway.py"

_INTERRUPTED = [
    ("answer-parted-from-its-note", INTERRUPTS,
     "        self._answers += map(call, *[(argument,) for argument in arguments])\n",
     "        self._answers.append(call(*arguments))\n", STRUCK),
    ("interrupted-call-not-noted", TAKING, "        self.receipt.settle()\n", "", STRUCK),
    ("interrupted-callback-not-noted", TAKING,
     "        self.receipt.settle()\n        self._settle_asked()\n",
     "        self.receipt.settle()\n", STRUCK),
    ("second-interrupt-ends-the-undo", INTERRUPTS,
     "            error = another\n    raise error\n", "            raise\n    raise error\n",
     T_UNDOING),
    ("interrupt-between-two-tries-gets-through", MIGRATE,
     ("            except BaseException as another:  # noqa: BLE001 - struck between two tries\n"
     "                last = another\n"),
     "            except GeneratorExit as another:\n                last = another\n", STRUCK),
    ("marks-that-nobody-heard-of-stay", TAKING,
     "        self._marked = ~self.registry.marks.marked_by(self.sources, self.thread)\n",
     "", STRUCK),
    ("mark-dropped-twice", TAKING,
     ("            ours = frames[self.registry.marks.marked_by("
      "self.sources[frames], self.thread)]\n"),
     "            pass\n", STRUCK),
    ("targets-in-hand-forgotten", UNDOING, "        self._return_loose()\n        lost",
     "        lost", STRUCK),
    ("told-again-for-ever", UNDOING, "self._nr_told[row] > _NR_TRIES_PER_PIN",
     "self._nr_told[row] > 300", T_UNDOING),
    ("owner-interrupted-over-one-pin-forgets-the-others", UNDOING,
     "        if len(rows) > 1 and not self._is_interrupted:\n",
     "        if len(rows) > 1:\n", T_UNDOING),
    ("what-fails-is-tried-for-ever", INTERRUPTS,
     "            if nr_failures == _NR_FAILURES:\n", "            if not nr_tries:\n",
     T_INTERRUPTS),
    ("interrupt-replaced-by-an-error", INTERRUPTS,
     "            if type(error) is GeneratorExit:", "            if error:", T_INTERRUPTS),
    ("owner-half-registered", LIFETIMES,
     ("            self.number_of[key] = number\n            self.tag_of[key] = number << 1\n"
     "            return number\n"),
     ("            self.number_of[key] = number\n            self.tag_of[id(owner)] = number << 1\n"
     "            return number\n"), T_LIFETIMES),
    ("child-waits-for-the-parents-threads", LIFETIMES, " if key[1] == me}", "}", T_LIFETIMES),
    ("calls-in-flight-are-kept-for-ever", LIFETIMES,
     "                self._in_flight.pop(key, None)\n", "                pass\n", T_LIFETIMES),
]  # fmt: skip

_GIVEN_BACK = [
    ("frame-put-before-its-mark", TAKING,
     "        self.finish(held)\n        self._forget(self.memory.put, held[~lied])\n",
     "        self._forget(self.memory.put, held[~lied])\n        self.finish(held)\n", GIVEN),
    ("source-freed-before-its-mark", MOVING,
     ("        self.finish(np.flatnonzero(self._rekeyed))\n"
     "        self._forget(self.memory.free, frames[~lied])\n"),
     ("        self._forget(self.memory.free, frames[~lied])\n"
     "        self.finish(np.flatnonzero(self._rekeyed))\n"), GIVEN),
    ("unused-target-stays-under-move", UNDOING,
     "        self.unmark_targets(frames)\n        suspect", "        suspect", GIVEN),
    ("target-of-another-mover-used", MOVING,
     "        mine, others = found[ours], found[~ours]\n",
     "        mine, others = found, found[:0]\n", GIVEN),
    ("name-outlives-its-mark", MARKS,
     ("        self._forget(pfns)  # before the mark: the next move may give it another name\n"
      "        for shard, rows in self._nodes.parts(ascending):\n"
      "            self._nodes.run([shard], shard.end_move, ascending[rows].tolist())\n"),
     ("        for shard, rows in self._nodes.parts(ascending):\n"
      "            self._nodes.run([shard], shard.end_move, ascending[rows].tolist())\n"
      "        self._forget(pfns)\n"), GIVEN),
    ("undo-calls-whoever-has-gone", UNDOING,
     ("            self.ballot.refresh(np.unique(self.ballot.frame[rows]), thorough=True)\n"
     "        return rows\n"), "            pass\n        return rows\n", GIVEN, MIDWAY),
    ("owed-reference-lost", UNDOING,
     ("        self._hand_over(np.flatnonzero(lost & self._frozen & ~self._lied"
     " & (self._where >= 0)))\n"), "", T_UNDOING, MIDWAY),
    ("rekeys-what-was-dropped-at-this-moment", MOVING,
     ("        self.fail(going[~self._rekeyed[going]], Reason.UNACCOUNTED)"
     "  # dropped at this moment\n"), "", GIVEN),
    ("stepping-never-stops", STEPPING, "            self._baton.stop_before(name)\n",
     "            pass\n", f"{UNIT}/testing/test_stepping.py"),
]  # fmt: skip

_IN_MM = [
    ("owed-reference-stays-with-the-source", REFS,
     "        frames.add_references(sources, -owed)\n", "", T_MOVE),
    ("handed-over-target-still-stands-for-its-source", REFS,
     ("            self._source_of.pop(target, None)\n"
     "            self._target_of.pop("), "            self._target_of.pop(", T_MOVE),
    ("nobody-goes-to-the-target", MOVE,
     "done = ~self.only_ours(sources)\n", "done = sources >= 0\n", T_MOVE),
]  # fmt: skip

_GUILTY = [
    ("lie-hidden-by-a-dead-pin", MOVING, " | (held > self._held[odd])) &", ") &", T_UNDOING),
    ("dropped-reference-with-a-pin-kept-unseen", MOVING, "((held < live) | ", "(", T_UNDOING),
    ("emptied-source-not-looked-at", MOVING,
     "kept = self.memory.references(self.sources[frames]) != 0",
     "kept = self.memory.references(self.sources[frames]) < 0", T_UNDOING),
    ("unused-target-not-looked-at", UNDOING,
     "suspect = self._tainted[frames] | self._is_kept(frames)", "suspect = self._tainted[frames]",
     T_UNDOING),
    ("keeper-of-a-target-not-blamed", UNDOING,
     "        self._suspect(owner, np.unique(ballot.frame[rows]), is_sure=True)\n", "", T_UNDOING),
    ("somebody-blamed-for-a-target", UNDOING,
     "self.blame(owner if is_sure else self.only_one_told(frame), frame, why)",
     "self.blame(owner, frame, why)", T_UNDOING),
    ("references-beyond-any-count", ASKING, " | (column > _MOST_REFERENCES)", "", T_UNDOING),
    ("batch-answers-taken-for-single-ones", ASKING,
     "            return self._nr_pins if self._answers else 0\n",
     "            return len(self._answers)\n", T_ASKING),
    ("end-of-iteration-swallowed", ASKING,
     "        if self.nr_told < self._nr_pins:\n", "        if self.nr_told < 0:\n", T_ASKING),
]  # fmt: skip

_OWNERS_LEAVE = [
    ("owner-that-leaves-is-an-error", BALLOT,
     "rank.get(id(group.owner), len(rank))", "rank[id(group.owner)]", T_BALLOT),
    ("rows-of-nobody", BALLOT, "                self.nr_live[rows] = 0\n",
     "                pass\n", T_BALLOT),
    ("owner-that-leaves-is-faulty", ASKING,
     "    if held is None:\n        return Reason.OWNER_AGAIN\n",
     "    if held is None:\n        return Reason.OWNER_FAULTY\n", T_UNDOING),
    ("owner-gone-at-the-door-is-called", ASKING,
     "            if _announce(registry, owner) is not held:", "            if held is None:",
     T_ASKING),
]  # fmt: skip

_PINS = [
    ("pins-told-apart-by-hash", BALLOT, "else id(private)", "else hash(private)", T_BALLOT),
    ("every-look-goes-through-all-rows", BALLOT,
     "        if self._by_frame is None:\n            order",
     ("        if len(frames) == 1:\n            return np.flatnonzero(self.frame == frames[0])\n"
     "        if self._by_frame is None:\n            order"), T_BALLOT),
    ("owners-of-rows-worked-out-each-time", BALLOT, "        if not self._owners:\n",
     "        if self.groups:\n", T_BALLOT),
]  # fmt: skip

MUTANTS: list[Mutant] = [
    planted(name, guards, file, old, new, *tests)
    for guards, bugs in (
        ("M6 on every path: interrupts", _INTERRUPTED),
        ("M5, M7: what is given back is whole", _GIVEN_BACK),
        ("M5: references go where their holders are", _IN_MM),
        ("R-26: only the guilty are faulty", _GUILTY),
        ("R-9: owners that leave are values", _OWNERS_LEAVE),
        ("one notion of equality, linear cost", _PINS),
    )
    for name, file, old, new, *tests in bugs
]
