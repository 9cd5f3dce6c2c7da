"""Bugs planted in the batches of the registry: who claims a frame, who drains, who is told."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

MACHINE = "tests/property/test_registry_machine.py"
BATCH = "tests/unit/pinpage/test_batch.py"
BATCHES = "tests/unit/pinpage/test_radix_batches.py"
RADIX_TEST = "tests/unit/pinpage/test_radix.py"
SWITCHES = "tests/property/test_registry_switches.py::test_every_line"
THREADS = "tests/property/test_registry_threads.py"

RADIX, REGISTRY, SHARD = "pinpage/radix.py", "pinpage/registry.py", "pinpage/shard.py"
PRIVATES, READSIDE, SCANS = "pinpage/privates.py", "pinpage/readside.py", "pinpage/scans.py"

MUTANTS: list[Mutant] = [
    # What takes the lock, and what is told.
    planted(
        "count-stays-even-under-move",
        "H4",
        SHARD,
        "            moving.setdefault(pfn, thread)\n        self._watch_or_not()\n",
        "            moving.setdefault(pfn, thread)\n",
        MACHINE,
    ),
    planted(
        "count-stays-odd-after-a-move",
        "H4",
        SHARD,
        "            del self.moving[pfn]\n        self._watch_or_not()\n",
        "            del self.moving[pfn]\n",
        MACHINE,
    ),
    planted(
        "run-by-its-first-owner",
        "a drain keeps pfn, tag and value together",
        RADIX,
        "        if tags.count(tags[0]) < len(tags) or",
        "        if",
        BATCHES,
    ),
    planted(
        "long-batch-mixes-up-its-columns",
        "a drain keeps pfn, tag and value together",
        RADIX,
        "        tag_column = np.array(tags, dtype=np.int32)\n",
        "        tag_column = np.array(tags[::-1], dtype=np.int32)\n",
        BATCHES,
    ),
    # One table of claims, or one and a batch apart.
    planted(
        "annihilated-pin-stays-claimed",
        "H1",
        REGISTRY,
        "                shard.forget(pfn, entry)\n",
        "",
        BATCH,
    ),
    planted(
        "claim-of-another-thread-is-dropped",
        "H1",
        SHARD,
        "        if claims.get(pfn) is entry:  # and",
        "        if pfn in claims:  # and",
        BATCH,
    ),
    planted(
        "drained-pin-stays-claimed",
        "H2",
        SHARD,
        "            for pfn, entry in zip(pfns, entries, strict=True):\n"
        "                self.forget(pfn, entry)\n",
        "            pass\n",
        BATCH,
        MACHINE,
    ),
    planted(
        "second-thread-claims-in-the-first-one's-batch",
        "H1",
        SHARD,
        "            self.drain_all()\n            self.claims = {}\n",
        "            self.drain_all()\n",
        BATCH,
    ),
    planted(
        "second-thread-does-not-drain",
        "H1",
        SHARD,
        "            self.drain_all()\n            self.claims = {}\n",
        "            self.claims = {}\n",
        BATCH,
    ),
    planted(
        "second-thread-comes-unnoticed",
        "R-29: whoever is on the way in settles",
        SHARD,
        "            self.claims = {}\n            self.seq += self._step\n",
        "            self.claims = {}\n            self.seq &= ~1\n",
        BATCH,
    ),
    planted(
        "third-thread-shares-with-nobody",
        "H1",
        SHARD,
        "        if not self.batches and not self.claims:\n",
        "        if not self.claims:\n",
        BATCH,
        THREADS,
    ),
    planted(
        "alone-beside-a-thread-that-lives",
        "H1",
        SHARD,
        "            if len(self.batches) == 1:  # alone",
        "            if self.batches:  # alone",
        BATCH,
        THREADS,
    ),
    planted(
        "never-alone-again",
        "one table for one thread",
        SHARD,
        "            if len(self.batches) == 1:  # alone",
        "            if False:  # alone",
        BATCH,
    ),
    planted(
        "batch-writes-over-a-leaf's-owner",
        "a drain keeps pfn, tag and value together",
        RADIX,
        "                if type(values) is array and leaf.tags == tag and not",
        "                if type(values) is array and not",
        BATCHES,
        RADIX_TEST,
        MACHINE,
    ),
    planted(
        "batch-writes-over-a-pin",
        "X3",
        RADIX,
        "leaf.tags == tag and not leaf.present[offset]:",
        "leaf.tags == tag:",
        BATCHES,
        RADIX_TEST,
        MACHINE,
    ),
    # What one thread sees of another.
    planted(
        "pin-reads-the-count-before-it-looks",
        "R-29: a refused entry is noticed",
        REGISTRY,
        "(is_held and (tag, value) in shard.radix.records_of(pfn)) or shard.seq != seq:\n",
        "shard.seq != seq or (is_held and (tag, value) in shard.radix.records_of(pfn)):\n",
        f"{SWITCHES}[two, stored-pin]",
    ),
    planted(
        "pins-resolved-when-they-may-be-gone",
        "a private is what was pinned",
        READSIDE,
        "            if shard.seq == seq:  # else a private",
        "            if True:  # else a private",
        f"{SWITCHES}[two, stored-ask]",
    ),
    planted(
        "columns-do-not-see-their-objects",
        "a private is what was pinned",
        SCANS,
        "            see(part[1], part[2])\n",
        "",
        MACHINE,
        "tests/unit/pinpage/test_registry.py",
    ),
    planted(
        "single-pins-do-not-see-their-objects",
        "a private is what was pinned",
        SCANS,
        "                see(tags[rows], values[rows])\n",
        "                pass\n",
        MACHINE,
        "tests/unit/pinpage/test_registry.py",
    ),
    planted(
        "drain-joins-frames-under-move-in-bulk",
        "R-29",
        SHARD,
        "        if self.moving:\n            return False\n",
        "",
        BATCH,
    ),
    planted(
        "drain-stores-for-an-owner-that-left",
        "R-9",
        SHARD,
        "        return not self.closed or self.closed.isdisjoint(",
        "        return True or self.closed.isdisjoint(",
        BATCH,
    ),
]
