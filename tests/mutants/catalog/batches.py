"""Bugs planted in the batches of the registry: what is one step, what is stored, who is told."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

UNIT = "tests/unit/pinpage"
SHARD_TEST = f"{UNIT}/store/test_shard.py"
AT_ONCE_TEST = f"{UNIT}/store/test_at_once.py"
PARALLEL = f"{UNIT}/store/test_in_parallel.py"
MACHINE = "tests/property/test_registry_machine.py"
SWITCHES = "tests/property/test_registry_switches.py::test_every_line"
SWITCHES_REST = f"{SWITCHES}_of_the_rest"
AT_ALL_TIMES = (
    "tests/property/test_registry_switches.py::"
    "test_a_frame_that_is_pinned_at_all_times_is_seen_to_be"
)

AT_ONCE, READS = "pinpage/store/at_once.py", "pinpage/store/reads.py"
REGISTRY, SHARD = "pinpage/registry.py", "pinpage/store/shard.py"

_BATCHES = [
    # What takes the lock, and what is told.
    ("count-stays-even-under-move", "H3", SHARD,
     "        self._step = 2\n        marked", "        marked", SHARD_TEST),
    ("count-stays-odd-after-a-move", "H3", SHARD,
     "        self._watch_or_not()\n        self._wake()\n", "        self._wake()\n",
     SHARD_TEST),
    # What is stored of a batch, and when.
    ("batch-stored-by-the-owner-of-its-first-pin", "a drain keeps pfn, tag and value together",
     SHARD, "self.radix.blocks.add_many(pins)\n",
     ("self.radix.blocks.add_many(\n"
      "                    PinRows(pins.pfns, pins.tags * 0 + pins.tags[0], pins.values)\n"
      "                )\n"), SHARD_TEST),
    ("stored-batch-stays", "H1", SHARD,
     "                self.batch = {}\n", "", SHARD_TEST),
    ("full-batch-stays", "a batch has a bound", SHARD,
     "        if len(self.batch) >= self.batch_nr_pins:\n            self.drain()\n", "",
     SHARD_TEST),
    ("batch-without-a-bound", "a batch has a bound", AT_ONCE,
     "    if len(batch) >= shard.batch_nr_pins:\n        return False\n", "", AT_ONCE_TEST),
    ("stored-pin-stays-in-the-batch", "H1", SHARD,
     "            del self.batch[pfn]\n", "", SHARD_TEST),
    ("pin-in-a-batch-is-pinned-twice", "H1", SHARD,
     ("        self._store_from_batch(pfn)\n        records = self.radix.records_of(pfn)\n"
     "        if (tag, value) in records:\n"),
     "        records = self.radix.records_of(pfn)\n        if (tag, value) in records:\n",
     SHARD_TEST),
    ("unpin-under-the-lock-overlooks-the-batch", "R-20", SHARD,
     ("        self._store_from_batch(pfn)\n        records = self.radix.records_of(pfn)\n"
     "        if (tag, value) not in records:\n"),
     "        records = self.radix.records_of(pfn)\n        if (tag, value) not in records:\n",
     SHARD_TEST),
    # One step, without the lock.
    ("batched-over-a-pin", "H1", AT_ONCE,
     "if (words[at] == key and words[at + 1] == value) or pfn in", "if pfn in", AT_ONCE_TEST),
    ("batched-over-any-pin-of-the-owner", "an owner may pin a frame twice", AT_ONCE,
     "(words[at] == key and words[at + 1] == value)", "words[at] == key",
     AT_ONCE_TEST),
    ("batched-beside-several", "H1", AT_ONCE,
     " or pfn in blocks.crowded:\n", ":\n", AT_ONCE_TEST),
    ("batched-beside-a-first-unsaid", "H1", AT_ONCE,
     "        shard.has_further = True\n", "", AT_ONCE_TEST),
    ("second-pins-stored-as-firsts", "a drain loses no pin", SHARD,
     "        if self.has_further or len(batch)", "        if len(batch)", SHARD_TEST),
    ("second-pins-for-ever", "a batch of firsts is stored as a column", SHARD,
     "                self.has_further = False\n", "", SHARD_TEST),
    ("first-forgotten-with-a-second-that-is-cut-off", "wholly or not at all", SHARD,
     "self.change = pfn, self.radix.records_of(pfn)", "self.change = pfn, []", SHARD_TEST),
    ("second-pin-seen-twice-while-it-is-stored", "a pin is there once", SHARD,
     "if batched is not None and batched not in records:", "if batched is not None:", SHARD_TEST),
    ("second-pin-in-the-batch-unseen", "R-20", SHARD,
     " and batched not in records:", " and not records:", SHARD_TEST),
    ("batched-beside-a-pin", "H1", AT_ONCE,
     "        return False\n    if seq & 1 or shard.seq != seq or pfn in batch:\n",
     "        return False\n    if seq & 1 or shard.seq != seq:\n", AT_ONCE_TEST),
    ("batched-while-somebody-writes", "R-29", AT_ONCE,
     "        return False\n    if seq & 1 or shard.seq != seq or pfn in batch:\n",
     "        return False\n    if shard.seq != seq or pfn in batch:\n", AT_ONCE_TEST),
    ("batched-after-somebody-was-there", "R-29", AT_ONCE,
     "        return False\n    if seq & 1 or shard.seq != seq or pfn in batch:\n",
     "        return False\n    if seq & 1 or pfn in batch:\n", AT_ONCE_TEST),
    ("batched-by-a-call-after-the-second-look", "R-29: one step", AT_ONCE,
     "    batch[pfn] = record\n", "    batch.update({pfn: record})\n", AT_ONCE_TEST),
    ("batched-by-a-tuple-after-the-second-look", "R-29: one step", AT_ONCE,
     "    batch[pfn] = record\n", "    batch[pfn] = tag, value\n", AT_ONCE_TEST),
    ("taken-by-a-tuple-after-the-second-look", "R-2: one step", AT_ONCE,
     " or batch[pfn] != record:", " or batch[pfn] != (tag, value):", AT_ONCE_TEST),
    ("second-look-before-the-first", "R-29: one step", AT_ONCE,
     ("    if len(batch) >= shard.batch_nr_pins:\n"
     "        return False\n"
     "    if seq & 1 or shard.seq != seq or pfn in batch:\n"),
     ("    if seq & 1 or shard.seq != seq or pfn in batch:\n        return False\n"
     "    if len(batch) >= shard.batch_nr_pins:\n"),
     AT_ONCE_TEST, f"{SWITCHES}"),
    ("taken-while-somebody-writes", "R-2", AT_ONCE,
     "    if seq & 1 or shard.seq != seq or pfn not in batch or", ("    if shard.seq != seq or"
     " pfn not in batch or"), AT_ONCE_TEST),
    ("taken-after-somebody-was-there", "R-2", AT_ONCE,
     "    if seq & 1 or shard.seq != seq or pfn not in batch or",
     "    if seq & 1 or pfn not in batch or", AT_ONCE_TEST),
    ("another-pin-is-taken", "unpin takes the pin that is meant", AT_ONCE,
     " or batch[pfn] != record:", ":", AT_ONCE_TEST),
    ("taken-and-not-counted", "statistics", AT_ONCE,
     "    shard.nr_annihilated = nr_annihilated\n", "", AT_ONCE_TEST),
    # Where threads run in parallel.
    ("parallel-without-the-lock", "nobody comes between", SHARD,
     "self._step_unwatched = 2 if RUNS_IN_PARALLEL else 1", "self._step_unwatched = 1", PARALLEL),
    ("parallel-until-somebody-has-watched", "nobody comes between", SHARD,
     "2 if is_watched else self._step_unwatched", "2 if is_watched else 1", PARALLEL),
    # What one thread sees of another.
    ("pins-resolved-when-they-may-be-gone", "a private is what was pinned", REGISTRY,
     "            if shard.seq == seq and pfn not in shard.batch:\n",
     "            if pfn not in shard.batch:\n", f"{SWITCHES_REST}[two, stored-ask]"),
    ("pins-in-a-batch-resolved-when-they-may-be-gone", "a private is what was pinned", REGISTRY,
     ("            found = self._reads.as_pins(pfn, shard.radix.records_of(pfn))\n"
      "            # Else a private may be gone, or a pin be in the batch that came meanwhile.\n"
      "            if shard.seq == seq and pfn not in shard.batch:\n"),
     ("            found = self._reads.as_pins(pfn, shard.records_of(pfn))\n"
      "            if shard.seq == seq:\n"),
     f"{SWITCHES_REST}[alone, in its batch-ask]"),
    ("batch-before-what-is-stored", "a frame that is pinned at all times is seen to be", REGISTRY,
     "found = shard.radix.holds(pfn) or pfn in shard.batch",
     "found = pfn in shard.batch or shard.radix.holds(pfn)", f"{AT_ALL_TIMES}[few-look]"),
    ("pins-behind-a-look-at-the-batch", "a frame that is pinned at all times is seen to be",
     REGISTRY, "            if shard.seq == seq and pfn not in shard.batch:\n",
     "            if shard.seq == seq:\n", f"{AT_ALL_TIMES}[few-ask]"),
    ("mask-behind-a-look-at-the-batch", "a frame that is pinned at all times is seen to be",
     REGISTRY, "shard.seq == seq and not shard.batch:", "shard.seq == seq:",
     f"{AT_ALL_TIMES}[dense-mask]"),
    ("columns-do-not-see-their-objects", "a private is what was pinned", READS,
     "        see(pins.tags, pins.values)\n", "        pass\n", MACHINE),
    ("single-pins-do-not-see-their-objects", "a private is what was pinned", READS,
     "        see(tags, values)\n", "        pass\n", MACHINE),
]  # fmt: skip

MUTANTS: list[Mutant] = [planted(*row) for row in _BATCHES]
