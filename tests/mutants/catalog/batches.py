"""Bugs planted in the batches of the registry: who claims a frame, who drains, who is told."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MACHINE = "tests/property/test_registry_machine.py"
BATCH = "tests/unit/pinpage/test_batch.py"
BATCHES = "tests/unit/pinpage/test_radix_batches.py"
RADIX_TEST = "tests/unit/pinpage/test_radix.py"
SWITCHES = "tests/property/test_registry_switches.py::test_every_line"
THREADS = "tests/property/test_registry_threads.py"

RADIX, REGISTRY, SHARD = "pinpage/radix.py", "pinpage/registry.py", "pinpage/shard.py"
PRIVATES, READSIDE, SCANS = "pinpage/privates.py", "pinpage/readside.py", "pinpage/scans.py"


def _mutant(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=name, guards=guards, file=file, old=old, new=new, tests=tests)


MUTANTS: list[Mutant] = [
    # What takes the lock, and what is told.
    _mutant(
        "count-stays-even-under-move",
        "H4",
        SHARD,
        "            moving.setdefault(pfn, thread)\n        self._watch_or_not()\n",
        "            moving.setdefault(pfn, thread)\n",
        MACHINE,
    ),
    _mutant(
        "count-stays-odd-after-a-move",
        "H4",
        SHARD,
        "            del self.moving[pfn]\n        self._watch_or_not()\n",
        "            del self.moving[pfn]\n",
        MACHINE,
    ),
    _mutant(
        "run-by-its-first-owner",
        "a drain keeps pfn, tag and value together",
        RADIX,
        "        if tags.count(tags[0]) < len(tags) or",
        "        if",
        BATCHES,
    ),
    _mutant(
        "long-batch-mixes-up-its-columns",
        "a drain keeps pfn, tag and value together",
        RADIX,
        "        tag_column = np.array(tags, dtype=np.int32)\n",
        "        tag_column = np.array(tags[::-1], dtype=np.int32)\n",
        BATCHES,
    ),
    # One table of claims, or one and a batch apart.
    _mutant(
        "annihilated-pin-stays-claimed",
        "H1",
        REGISTRY,
        "                shard.forget(pfn, entry)\n",
        "",
        BATCH,
    ),
    _mutant(
        "claim-of-another-thread-is-dropped",
        "H1",
        SHARD,
        "        if claims.get(pfn) is entry:  # and",
        "        if pfn in claims:  # and",
        BATCH,
    ),
    _mutant(
        "drained-pin-stays-claimed",
        "H2",
        SHARD,
        "        self.nr_refused += len(refused)\n        self._forget_all(pfns, entries)\n",
        "        self.nr_refused += len(refused)\n",
        BATCH,
        MACHINE,
    ),
    _mutant(
        "claims-outlive-their-batch",
        "H1",
        SHARD,
        "            self.nr_drained += len(pfns)\n            self._forget_all(pfns, entries)\n",
        "            self.nr_drained += len(pfns)\n",
        BATCH,
    ),
    _mutant(
        "second-thread-claims-in-the-first-one's-batch",
        "H1",
        SHARD,
        "            self.drain_all()\n            self.claims = {}\n",
        "            self.drain_all()\n",
        BATCH,
    ),
    _mutant(
        "second-thread-does-not-drain",
        "H1",
        SHARD,
        "            self.drain_all()\n            self.claims = {}\n",
        "            self.claims = {}\n",
        BATCH,
    ),
    _mutant(
        "second-thread-comes-unnoticed",
        "R-29: whoever is on the way in settles",
        SHARD,
        "            self.claims = {}\n            self.seq += self._step\n",
        "            self.claims = {}\n            self.seq &= ~1\n",
        BATCH,
    ),
    _mutant(
        "third-thread-shares-with-nobody",
        "H1",
        SHARD,
        "        if not self.batches and not self.claims:\n",
        "        if not self.claims:\n",
        BATCH,
        THREADS,
    ),
    _mutant(
        "alone-beside-a-thread-that-lives",
        "H1",
        SHARD,
        "            if len(self.batches) == 1:  # alone",
        "            if self.batches:  # alone",
        BATCH,
        THREADS,
    ),
    _mutant(
        "never-alone-again",
        "one table for one thread",
        SHARD,
        "            if len(self.batches) == 1:  # alone",
        "            if False:  # alone",
        BATCH,
    ),
    _mutant(
        "batch-writes-over-a-leaf's-owner",
        "a drain keeps pfn, tag and value together",
        RADIX,
        "                if type(values) is array and leaf.tags == tag and not",
        "                if type(values) is array and not",
        BATCHES,
        RADIX_TEST,
        MACHINE,
    ),
    _mutant(
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
    _mutant(
        "pin-reads-the-count-before-it-looks",
        "R-29: a refused entry is noticed",
        REGISTRY,
        "(is_held and (tag, value) in shard.radix.records_of(pfn)) or shard.seq != seq:\n",
        "shard.seq != seq or (is_held and (tag, value) in shard.radix.records_of(pfn)):\n",
        f"{SWITCHES}[two, stored-pin]",
    ),
    _mutant(
        "pins-resolved-when-they-may-be-gone",
        "a private is what was pinned",
        READSIDE,
        "            if shard.seq == seq:  # else a private",
        "            if True:  # else a private",
        f"{SWITCHES}[two, stored-ask]",
    ),
    _mutant(
        "columns-do-not-see-their-objects",
        "a private is what was pinned",
        SCANS,
        "            see(part[1], part[2])\n",
        "",
        MACHINE,
        "tests/unit/pinpage/test_registry.py",
    ),
    _mutant(
        "single-pins-do-not-see-their-objects",
        "a private is what was pinned",
        SCANS,
        "                see(tags[rows], values[rows])\n",
        "                pass\n",
        MACHINE,
        "tests/unit/pinpage/test_registry.py",
    ),
]
