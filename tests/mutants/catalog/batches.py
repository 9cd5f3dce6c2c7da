"""Bugs planted in the batches of the registry: who claims a frame, who drains, who is told."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

UNIT = "tests/unit/pinpage"
BATCH, SHARD_TEST = f"{UNIT}/store/test_batch.py", f"{UNIT}/store/test_shard.py"
MACHINE = "tests/property/test_registry_machine.py"
SWITCHES = "tests/property/test_registry_switches.py::test_every_line"
THREADS = "tests/property/test_registry_threads.py"

NODES, READS = "pinpage/store/nodes.py", "pinpage/store/reads.py"
REGISTRY, SHARD = "pinpage/registry.py", "pinpage/store/shard.py"

_BATCHES = [
    # What takes the lock, and what is told.
    ("count-stays-even-under-move", "H4", SHARD,
     "        self._step = 2\n        marked", "        marked", SHARD_TEST),
    ("count-stays-odd-after-a-move", "H4", SHARD,
     "        self._watch_or_not()\n        self._wake()\n", "        self._wake()\n",
     SHARD_TEST),
    # What a drain stores.
    ("long-batch-by-its-first-owner", "a drain keeps pfn, tag and value together", SHARD,
     "                np.array(tags, dtype=np.int32),\n",
     "                np.full(len(tags), tags[0], dtype=np.int32),\n", SHARD_TEST),
    ("long-batch-mixes-up-its-columns", "a drain keeps pfn, tag and value together", SHARD,
     "                np.array(values, dtype=np.int64),\n",
     "                np.array(values[::-1], dtype=np.int64),\n", SHARD_TEST),
    ("long-batch-over-a-pin", "a drain loses no pin", SHARD,
     "            plain = self.radix.blocks.find_many(columns.pfns)[0] == NO_TAG\n",
     "            plain = columns.tags != NO_TAG\n", SHARD_TEST),
    ("drain-stores-what-is-stored", "H2", SHARD,
     "            or entry[:2] in self.radix.records_of(pfn)\n", "", SHARD_TEST, BATCH),
    ("drain-joins-a-frame-under-move", "R-29", SHARD,
     "            or pfn in self.moving\n            or entry", "            or entry", SHARD_TEST),
    ("drain-joins-frames-under-move-in-bulk", "R-29", SHARD,
     " >= _MIN_COLUMN_NR_PINS and not self.moving:", " >= _MIN_COLUMN_NR_PINS:", SHARD_TEST),
    ("drain-stores-for-an-owner-that-left", "R-9", SHARD,
     "            if entry[0] >> 1 not in self.welcome\n            or pfn",
     "            if pfn", SHARD_TEST),
    ("drain-stores-in-bulk-for-an-owner-that-left", "R-9", SHARD,
     "                    plain &= columns.tags != tag\n", "                    pass\n",
     SHARD_TEST),
    ("refused-entry-is-lost", "R-29: who lost a race is told", SHARD,
     "                    entry[2].refused += [entry]\n", "                    pass\n",
     SHARD_TEST, BATCH),
    ("refused-entry-is-not-looked-for", "R-29: who lost a race is told", SHARD,
     "            if refused is entry:\n", "            if refused is None:\n", SHARD_TEST),
    ("refused-entry-stays", "R-29: who lost a race is told once", SHARD,
     "                del batch.refused[at]\n", "", SHARD_TEST),
    ("refused-pins-count-as-drained", "statistics", SHARD,
     "        self.nr_drained += len(entries) - len(refused)\n",
     "        self.nr_drained += len(entries)\n", SHARD_TEST),
    # One table of claims, or one and a batch apart.
    ("annihilated-pin-stays-claimed", "H1", REGISTRY,
     ("                if pfn in claims and claims[pfn] is entry:\n"
      "                    del claims[pfn]\n                is_out = True\n"),
     "                is_out = True\n", BATCH),
    ("claim-of-another-thread-is-dropped", "H1", SHARD,
     "        if pfn in claims and claims[pfn] is entry:  # not so",
     "        if pfn in claims:  # not so", BATCH),
    ("drained-pin-stays-claimed", "H2", SHARD,
     ("                if pfn in self.claims and self.claims[pfn] is entry:\n"
      "                    del self.claims[pfn]\n"), "", BATCH),
    ("drain-clears-what-was-not-in-it", "H1", SHARD,
     "if self.claims is pending and drained == pending and not refused:",
     "if self.claims is pending and not refused:", SHARD_TEST),
    ("drain-clears-what-it-refused", "R-29: who lost a race is told", SHARD,
     "if self.claims is pending and drained == pending and not refused:",
     "if self.claims is pending and drained == pending:", SHARD_TEST, BATCH),
    ("withdrawn-pin-stays-claimed", "H1", SHARD,
     ("        if pfn in claims and claims[pfn] is entry:  # not so if its thread was alone"
      " just now\n            del claims[pfn]\n"), "", BATCH),
    ("second-thread-claims-in-the-first-one's-batch", "H1", SHARD,
     "            self.drain_all()\n            self.claims = {}\n",
     "            self.drain_all()\n", BATCH),
    ("second-thread-does-not-drain", "H1", SHARD,
     "            self.drain_all()\n            self.claims = {}\n",
     "            self.claims = {}\n", BATCH),
    ("second-thread-comes-unnoticed", "R-29: whoever is on the way in settles", NODES,
     "            shard.run(self.thread, shard.adopt, batch)\n",
     "            shard.adopt(batch)\n", SHARD_TEST, BATCH),
    ("third-thread-shares-with-nobody", "H1", SHARD,
     "        if not self.batches and not self.claims:\n",
     "        if not self.claims:\n", BATCH, THREADS),
    ("alone-beside-a-thread-that-lives", "H1", SHARD,
     "            if len(self.batches) == 1:  # alone", "            if self.batches:  # alone",
     BATCH, THREADS),
    ("never-alone-again", "one table for one thread", SHARD,
     "            if len(self.batches) == 1:  # alone", "            if False:  # alone", BATCH),
    ("pin-in-a-batch-is-pinned-twice", "H2", SHARD,
     "        self.drain_frame(pfn)\n", "", SHARD_TEST),
    ("another-pin-of-a-batched-frame-goes", "unpin takes the pin that is meant", SHARD,
     "                if entry[0] == tag and entry[1] == value:\n                    self._drop",
     "                if entry[0] == tag:\n                    self._drop", SHARD_TEST),
    ("another-pin-in-the-own-batch-goes", "unpin takes the pin that is meant", REGISTRY,
     "if entry is not None and entry[0] == tag and entry[1] == value and not shard.seq & 1:",
     "if entry is not None and entry[0] == tag and not shard.seq & 1:", SHARD_TEST),
    # What one thread sees of another.
    ("pin-reads-the-count-before-it-looks", "R-29: a refused entry is noticed", REGISTRY,
     ("            is_held = shard.radix.holds(pfn) and entry[:2] in shard.radix.records_of(pfn)\n"
      "            if is_held or shard.seq != seq:\n"),
     ("            is_late = shard.seq != seq\n"
      "            is_held = shard.radix.holds(pfn) and entry[:2] in shard.radix.records_of(pfn)\n"
      "            if is_held or is_late:\n"), f"{SWITCHES}[two, stored-pin]"),
    ("pins-resolved-when-they-may-be-gone", "a private is what was pinned", REGISTRY,
     "            if shard.seq == seq:  # else a private",
     "            if True:  # else a private", f"{SWITCHES}[two, stored-ask]"),
    ("columns-do-not-see-their-objects", "a private is what was pinned", READS,
     "        see(pins.tags, pins.values)\n", "        pass\n", MACHINE),
    ("single-pins-do-not-see-their-objects", "a private is what was pinned", READS,
     "        see(tags, values)\n", "        pass\n", MACHINE),
]  # fmt: skip

MUTANTS: list[Mutant] = [planted(*row) for row in _BATCHES]
