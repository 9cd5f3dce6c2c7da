"""Bugs planted under the mixed load, and in what would notice them."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

WORKLOADS, SCENARIO = "pinlab/load/workload.py", "pinlab/load/run.py"
UNIT_WORKLOADS = "tests/unit/pinlab/load/test_workload.py"
UNIT_SCENARIO = "tests/unit/pinlab/load/test_run.py"
LOAD = "tests/property/test_mixed_load.py"
ALONE = f"{UNIT_WORKLOADS}::test_each_workload_alone_loses_nothing"
EVERYTHING = f"{LOAD}::test_two_seconds_of_everything[registry]"

MUTANTS: list[Mutant] = [
    Mutant(
        name="load-copy-loses-a-byte",
        guards="bytes lost",
        file="mm/state/contents.py",
        old="            self.pages[targets[some]] = self.pages[sources[some]]\n",
        new="            self.pages[targets[some], :-1] = self.pages[sources[some], :-1]\n",
        tests=(EVERYTHING,),
    ),
    Mutant(
        name="load-pool-leaks-a-frame",
        guards="frames leaked",
        file="pinlab/load/io.py",
        old="        while self._posted:\n",
        new="        while len(self._posted) > 1:\n",
        tests=(f"{ALONE}[ring]",),
    ),
    Mutant(
        name="load-gup-drops-the-pin-first",
        guards="LR2",
        file="owners/gup/gup.py",
        old="            self.counters.nr_foll_pin_acquired += 1\n",
        new="            self.counters.nr_foll_pin_acquired += 1\n"
        "            pinner.unregister(pin_id)\n",
        tests=(f"{ALONE}[ring]",),
    ),
    Mutant(
        name="streams-all-alike",
        guards="a stream of its own",
        file=WORKLOADS,
        old="        return np.random.default_rng([self.seed, *name.encode()])\n",
        new="        return np.random.default_rng([self.seed])\n",
        tests=(UNIT_WORKLOADS,),
    ),
    Mutant(
        name="stream-by-turn",
        guards="a stream of its own",
        file=WORKLOADS,
        old="        return np.random.default_rng([self.seed, *name.encode()])\n",
        new="        return np.random.default_rng([self.seed, len(self._taken)])\n",
        tests=(UNIT_WORKLOADS,),
    ),
    Mutant(
        name="stream-shared-by-two",
        guards="a stream of its own",
        file=WORKLOADS,
        old="        if name in self._taken:\n",
        new="        if name in ():\n",
        tests=(UNIT_WORKLOADS,),
    ),
    Mutant(
        name="stored-pages-share-serials",
        guards="serials of its own",
        file=WORKLOADS,
        old="        self._next = series << _SERIES_SHIFT\n",
        new="        self._next = 1 << _SERIES_SHIFT\n",
        tests=(UNIT_WORKLOADS,),
    ),
    Mutant(
        name="comparing-believes-everything",
        guards="bytes lost",
        file=WORKLOADS,
        old="        same = data == expected\n",
        new="        same = data is not None\n",
        tests=(UNIT_WORKLOADS,),
    ),
    Mutant(
        name="comparing-forgets-frames-that-differ",
        guards="bytes lost",
        file=WORKLOADS,
        old="ReadBack(nr_same * PAGE_SIZE, (len(slots) - nr_same) * PAGE_SIZE)",
        new="ReadBack(nr_same * PAGE_SIZE, 0)",
        tests=(UNIT_WORKLOADS,),
    ),
    Mutant(
        name="scenario-asks-nobody-for-references",
        guards="LR1",
        file=SCENARIO,
        old="        wrong = np.flatnonzero(np.where(used, frames.refcount, 0) != expected)\n",
        new="        wrong = np.flatnonzero(np.where(used, 0, 0) < 0)\n",
        tests=(UNIT_SCENARIO,),
    ),
    Mutant(
        name="scenario-forgets-missing-references",
        guards="LR1",
        file=SCENARIO,
        old="        wrong = np.flatnonzero(np.where(used, frames.refcount, 0) != expected)\n",
        new="        wrong = np.flatnonzero(np.where(used, frames.refcount, 0) > expected)\n",
        tests=(UNIT_SCENARIO,),
    ),
    Mutant(
        name="scenario-forgets-pins",
        guards="LR2",
        file=SCENARIO,
        old="            np.add.at(pinned, where, owner.references(where, privates))\n",
        new="            np.add.at(pinned, where, self._held(registered_only=True)[where])\n"
        "        pinned = self._held(registered_only=True)\n",
        tests=(UNIT_SCENARIO,),
    ),
    Mutant(
        name="scenario-leaves-pins",
        guards="LR2",
        file=SCENARIO,
        old="                len(registry) == 0,",
        new="                len(registry) >= 0,",
        tests=(UNIT_SCENARIO,),
    ),
    Mutant(
        name="scenario-counts-no-leak",
        guards="frames leaked",
        file=SCENARIO,
        old="        return int(np.count_nonzero(machine.frames.state != FrameState.FREE))\n",
        new="        return 0\n",
        tests=(UNIT_SCENARIO,),
    ),
    Mutant(
        name="scenario-thins-the-load-out",
        guards="open load",
        file=SCENARIO,
        old="            self._plan(due_ns + action.rest_ns,",
        new="            self._plan(self.world.machine.clock.now_ns + action.rest_ns,",
        tests=(UNIT_SCENARIO,),
    ),
    Mutant(
        name="scenario-forgets-devices",
        guards="interrupts come first",
        file="mm/state/due.py",
        old="        return min((heap[0] for heap in heaps if heap), default=None)\n",
        new="        return next((heap[0] for heap in reversed(heaps) if heap), None)\n",
        tests=(UNIT_SCENARIO,),
    ),
]
