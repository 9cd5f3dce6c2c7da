"""Bugs planted in how a move is undone, interrupted, and gives back what it had."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

CALLBACKS, PINS, INTERRUPTS = (
    "pinpage/move/callbacks.py",
    "pinpage/move/pins.py",
    "pinpage/move/interrupts.py",
)
LIFETIMES, MARKS = "pinpage/store/owner_table.py", "pinpage/store/marks.py"
BATCH, UNDOING, MIGRATE = "pinpage/move/batch.py", "pinpage/move/undoing.py", "pinpage/migrate.py"
MOVE, REFS, STEPPING = "mm/move/move.py", "mm/state/page_ref.py", "pinpage/testing/stepping.py"

UNIT = "tests/unit/pinpage"
T_CALLBACKS, T_PINS = f"{UNIT}/move/test_callbacks.py", f"{UNIT}/move/test_pins.py"
T_INTERRUPTS, T_LIFETIMES = f"{UNIT}/move/test_interrupts.py", f"{UNIT}/store/test_owner_table.py"
T_UNDOING, T_MOVE = f"{UNIT}/move/test_undoing.py", "tests/unit/mm/move/test_move.py"
GIVEN = "tests/races/test_what_a_move_gives_back.py"
STRUCK = "tests/faults/test_move_interrupts.py"
LIARS = "tests/faults/test_move_liars.py"
MIDWAY = "tests/races/test_r28_failure_midway.py"

_INTERRUPTED = [
    ("answer-parted-from-its-note", INTERRUPTS,
     "        answers += map(call, *[(argument,) for argument in arguments])\n",
     "        answers.append(call(*arguments))\n", STRUCK),
    ("interrupted-call-not-noted", BATCH, "        self.receipt.settle()\n", "", STRUCK),
    ("interrupted-callback-not-noted", INTERRUPTS,
     "        self._note = note\n        result = call(*arguments)\n",
     "        result = call(*arguments)\n        self._note = note\n", STRUCK),
    ("second-interrupt-ends-the-undo", INTERRUPTS,
     "            error = another\n    raise error\n", "            raise\n    raise error\n",
     T_UNDOING),
    ("interrupt-between-two-tries-gets-through", BATCH,
     ("            except BaseException as another:  # noqa: BLE001 - struck between two tries\n"
     "                last = another\n"),
     "            except GeneratorExit as another:\n                last = another\n", STRUCK),
    ("marks-that-nobody-heard-of-stay", BATCH,
     "        marked[frames] = ~self.registry.marks.marked_by(pfns[frames], self._thread)\n",
     "", STRUCK),
    ("mark-dropped-twice", BATCH,
     "            ours = frames[self.registry.marks.marked_by(pfns[frames], self._thread)]\n",
     "            pass\n", STRUCK),
    ("targets-in-hand-forgotten", MIGRATE,
     "    batch.receipt.do(note, batch.targets.take, len(going))\n",
     "    note(batch.targets.take(len(going)))\n", STRUCK),
    ("told-again-for-ever", UNDOING, "batch.nr_calls[what, row] <= _NR_CALLS_PER_PIN",
     "batch.nr_calls[what, row] <= 3000", T_UNDOING),
    ("target-of-an-owner-that-stays-there-reused", UNDOING,
     "        if what == \"migrate\" or state[row] == PinState.UNKNOWN:",
     "        if state[row] == PinState.UNKNOWN:", T_UNDOING),
    ("owner-interrupted-over-one-pin-forgets-the-others", UNDOING,
     " and not batch.is_interrupted:\n", ":\n", T_UNDOING),
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
    ("frame-put-before-its-mark", BATCH,
     ("        self.unmark(self.sources, self.marked, held)\n"
     "        self.do(self.taken, False, held[self.taken[held]], self.memory.put, self.sources)\n"),
     ("        self.do(self.taken, False, held[self.taken[held]], self.memory.put, self.sources)\n"
     "        self.unmark(self.sources, self.marked, held)\n"), GIVEN),
    ("source-freed-before-its-mark", MIGRATE,
     ("    batch.unmark(batch.sources, batch.marked, batch.rekeyed.nonzero()[0])\n"
     "    batch.do(batch.taken, False, frames[~bad], batch.memory.free, batch.sources)\n"),
     ("    batch.do(batch.taken, False, frames[~bad], batch.memory.free, batch.sources)\n"
     "    batch.unmark(batch.sources, batch.marked, batch.rekeyed.nonzero()[0])\n"), GIVEN),
    ("unused-target-stays-under-move", UNDOING,
     ("    batch.unmark(batch.where, batch.target_marked, frames)\n"
     "    batch.bad_target"), "    batch.bad_target", GIVEN),
    ("target-of-another-mover-used", MIGRATE,
     "    ours = batch.target_marked[going]\n", "    ours = batch.where[going] >= 0\n", GIVEN),
    ("name-outlives-its-mark", MARKS,
     ("        self._forget(pfns)  # before the mark: the next move may give it another name\n"
      "        for shard, rows in self._nodes.parts(ascending):\n"
      "            self._nodes.run([shard], shard.end_move, ascending[rows].tolist())\n"),
     ("        for shard, rows in self._nodes.parts(ascending):\n"
      "            self._nodes.run([shard], shard.end_move, ascending[rows].tolist())\n"
      "        self._forget(pfns)\n"), GIVEN),
    ("undo-calls-whoever-has-gone", UNDOING,
     "    batch.pins.refresh(batch.pins.frames_of(rows), thorough=True)\n", "", GIVEN, MIDWAY),
    ("owed-reference-lost", UNDOING,
     "    _hand_over(batch, lost[", "    _still_used(batch, lost[", T_UNDOING, MIDWAY),
    ("rekeys-what-was-dropped-at-this-moment", MIGRATE,
     "    batch.reasons[going[~batch.rekeyed[going]]] = Reason.UNACCOUNTED\n", "", GIVEN),
    ("stepping-never-stops", STEPPING, "            self._baton.stop_at(f\"comes to {name}\")\n",
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
    ("lie-hidden-by-a-dead-pin", MIGRATE,
     " | (held > batch.pin_refs[frames])) &", ") &", T_UNDOING),
    ("dropped-reference-with-a-pin-kept-unseen", MIGRATE, "((held < live) | ", "(", T_UNDOING),
    ("emptied-source-not-looked-at", MIGRATE,
     "batch.memory.references(batch.sources[frames]) != 0",
     "batch.memory.references(batch.sources[frames]) < 0", T_UNDOING),
    ("unused-target-not-looked-at", UNDOING,
     "    batch.bad_target[_still_used(batch, frames)] = True\n", "", T_UNDOING),
    ("keeper-of-a-target-not-blamed", UNDOING,
     "            if what == \"migrate\":\n", "            if not what:\n", T_UNDOING),
    ("somebody-blamed-for-a-target", UNDOING,
     "batch.pins.frames_of(rows), None)", "batch.pins.frames_of(rows), group.owner)", T_UNDOING),
    ("references-beyond-any-count", CALLBACKS,
     "_MOST_REFERENCES = 1 << 30", "_MOST_REFERENCES = 1 << 64", T_UNDOING),
    ("batch-answers-taken-for-single-ones", CALLBACKS,
     "            return self._nr_pins if self._answers else 0\n",
     "            return len(self._answers)\n", T_CALLBACKS),
    ("end-of-iteration-swallowed", CALLBACKS,
     "if self.nr_returned < self._nr_pins:\n", "if self.nr_returned < 0:\n", T_CALLBACKS),
]  # fmt: skip

_OWNERS_LEAVE = [
    ("owner-that-leaves-is-an-error", PINS,
     "rank.get(id(group.owner), len(rank))", "rank[id(group.owner)]", T_PINS),
    ("rows-of-nobody", PINS, "                self.state[rows] = PinState.UNPINNED\n",
     "                pass\n", T_PINS),
    ("owner-that-leaves-is-faulty", CALLBACKS,
     "        self.failure = Reason.OWNER_AGAIN\n", "        self.failure = Reason.OWNER_FAULTY\n",
     T_UNDOING),
    ("owner-gone-at-the-door-is-called", CALLBACKS,
     "                if _announce(registry, self.owner) is held:", "                if held:",
     T_CALLBACKS),
]  # fmt: skip

_PINS = [
    ("pins-told-apart-by-hash", PINS, "else id(private)", "else hash(private)", T_PINS),
    ("every-look-goes-through-all-rows", PINS,
     "        if self._by_frame is None:\n            order",
     ("        if len(frames) == 1:\n            return np.flatnonzero(self.frame == frames[0])\n"
     "        if self._by_frame is None:\n            order"), T_PINS),
    ("owners-of-rows-worked-out-each-time", PINS,
     "        return self._owner_of[int(self._key[row])]\n",
     ("        owners = {}\n        for owner, rows in self.owners:\n"
     "            for mine in rows.tolist():\n                owners[mine] = owner\n"
     "        return owners.get(row)\n"), T_PINS),
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
