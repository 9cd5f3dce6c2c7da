"""Bugs planted where time passes: what is due happens, to everybody, at a point that is safe."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

DUE, CLOCK, MACHINE = "mm/state/due.py", "mm/state/costs.py", "mm/machine.py"
EVACUATE, CMA, LOOP = "mm/contig/evacuate.py", "mm/contig/cma.py", "mm/hotplug/offline_loop.py"
DUE_T = "tests/unit/mm/state/test_due.py"
TIME_T = "tests/unit/mm/contig/test_time_passes.py"

MUTANTS: list[Mutant] = [
    planted(
        "turns-come-in-the-middle-of-a-move", "safe points", DUE,
        "(self._interrupts,) if interrupts_only else (self", "(self", DUE_T, TIME_T,
    ),
    planted(
        "a-device-is-waited-for-by-all", "safe points", "owners/odirect/simulated.py",
        "            clock.step(interrupts_only=True)\n", "            clock.step()\n", TIME_T,
    ),
    planted(
        "every-queue-has-a-clock-of-its-own", "one queue", "owners/odirect/events.py",
        "        self.clock = clock\n", "        self.clock = SimClock(clock.now_ns)\n", DUE_T,
    ),
    planted(
        "one-slow-process-holds-everybody-up", "catch_up ends", CLOCK,
        "        return self.run_until(self.now_ns)\n",
        "        return sum(iter(lambda: self.run_until(self.now_ns), 0))\n", DUE_T,
    ),
    planted(
        "devices-stand-still-between-tries", "time passes", EVACUATE,
        "        while len(batch):\n            walk.parts.meter.cond_resched()\n",
        "        while len(batch):\n", TIME_T,
    ),
    planted(
        "devices-stand-still-between-rounds", "time passes", EVACUATE,
        "        walk.parts.meter.cond_resched()\n        batch, position",
        "        batch, position", TIME_T,
    ),
    planted(
        "ranges-skipped-that-would-be-had", "skip up to what is due", CMA,
        "meter.nr_before_due(each, len(same) - 1)", "len(same) - 1", TIME_T,
    ),
    planted(
        "ranges-skipped-for-a-pin-that-has-gone", "skip up to what is due", CMA,
        "retry.is_alone and clock.nr_happened == nr_happened", "retry.is_alone", TIME_T,
    ),
    planted(
        "rounds-counted-past-what-is-due", "skip up to what is due", LOOP,
        "            limits.append((due_ns - clock.now_ns) // round_ns)\n",
        "            pass\n", TIME_T,
    ),
    planted(
        "a-compaction-holds-processes-up", "time passes", MACHINE,
        "control = CompactControl(zone, mode, stop=self._let_others_run)",
        "control = CompactControl(zone, mode)", TIME_T,
    ),
    planted(
        "a-planned-compaction-holds-processes-up", "time passes", "mm/planning/execute.py",
        "                    between_blocks()\n", "                    pass\n", TIME_T,
    ),
    planted(
        "others-work-is-the-callers", "counted as others'", MACHINE,
        "            self._beside.add(self.counted().since(before))\n",
        "            pass\n", TIME_T,
    ),
    planted(
        "nobody-ends-a-wait-for-io", "time passes in waits", MACHINE,
        "            happened = self.clock.step(interrupts_only=True)\n",
        "            happened = False\n", TIME_T,
    ),
    planted(
        "a-round-of-reclaim-holds-devices-up", "time passes", "mm/allocator/page_alloc.py",
        "                self.meter.cond_resched()\n", "                pass\n", TIME_T,
    ),
    planted(
        "passes-of-a-move-hold-devices-up", "time passes", "mm/move/move.py",
        "                between_passes()\n", "                pass\n", TIME_T,
    ),
    planted(
        "requests-begin-behind-the-time", "time passes", "pinlab/requests/account.py",
        "        self.machine.catch_up()\n", "", "tests/unit/pinlab/requests/test_account.py",
    ),
]  # fmt: skip
