"""Bugs planted in memory power management, its map, its account and its request."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

POWER, MAP, ENERGY, REQUEST = (
    "mm/power/power.py",
    "mm/power/regions.py",
    "mm/power/energy.py",
    "pinlab/requests/power.py",
)
UNIT = "tests/unit/mm/power/test_power.py"
SHOW = "tests/unit/pinlab/requests/test_power.py"

MUTANTS: list[Mutant] = [
    Mutant(
        name="power-region-of-part-of-a-pageblock",
        guards="a region is whole pageblocks",
        file=POWER,
        old="PowerMap(nr_frames, pageblocks.nr_blocks * pageblocks.nr_pages_per_block)",
        new="PowerMap(nr_frames, nr_frames)",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-off-though-not-empty",
        guards="PW1",
        file=POWER,
        old="            elif first_not_isolated(self._parts.buddy, span) < 0:\n",
        new="            elif errno is Errno.OK:\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-failed-region-stays-isolated",
        guards="a region that resists is usable again",
        file=POWER,
        old="        finally:\n            self._open_unless_off(span)\n",
        new="        finally:\n            pass\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-throw-leaves-regions-isolated",
        guards="nothing stays isolated that is not off",
        file=POWER,
        old="            for span in isolated:\n                self._open_unless_off(span)\n",
        new="            pass\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-reserve-forgotten",
        guards="free memory is kept on",
        file=POWER,
        old="            reserve=now.reserve,\n",
        new="",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-rule-ignored",
        guards="cost and benefit",
        file=POWER,
        old="        return saved > self.energy.moving_pj(nr_moves * size, moving_ns)\n",
        new="        return saved >= 0\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-wakes-everything",
        guards="only as much is switched on as is needed",
        file=POWER,
        old="            if gained >= nr_pages:\n                break\n",
        new="",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-never-wakes",
        guards="memory that is off is no out-of-memory",
        file=POWER,
        old="            gained += self.power_on(group)\n",
        new="            break\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-time-off-forgotten",
        guards="the energy account",
        file=POWER,
        old="        self._add_time_off(self._account, group)\n",
        new="",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-interleaved-as-if-plain",
        guards="an interleaved map gains nothing",
        file=MAP,
        old="        return self.region_nr_pages * self.nr_interleaved\n",
        new="        return self.region_nr_pages\n",
        tests=(UNIT, SHOW),
    ),
    Mutant(
        name="power-bound-in-groups",
        guards="the bound counts regions",
        file=POWER,
        old="most * self._map.nr_interleaved",
        new="most",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-moves-for-nothing",
        guards="energy: what moving costs",
        file=ENERGY,
        old=" * self.dram_pj_per_byte + self.core_mw * elapsed_ns\n",
        new=" * self.dram_pj_per_byte\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-relieves-while-consolidating",
        guards="what is emptied is not given out meanwhile",
        file=POWER,
        old="        for group in [] if self._is_consolidating else np",
        new="        for group in np",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-request-forgets-the-idle-time",
        guards="energy figures are for the idle time told",
        file=REQUEST,
        old="    now, idle_ns = power.account(), options.expected_idle_ns or IDLE_NS\n",
        new="    now, idle_ns = power.account(), IDLE_NS\n",
        tests=(SHOW,),
    ),
    Mutant(
        name="power-plans-once",
        guards="what resists is planned around",
        file=POWER,
        old="            if not stays_on or now.retry.signal_pending():\n",
        new="            if True:\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-plans-again-for-more-than-wanted",
        guards="as many regions as are wanted",
        file=POWER,
        old="worth[: now.want - nr_off]",
        new="worth[: now.want]",
        tests=(UNIT,),
    ),
    Mutant(
        name="power-plans-what-resisted-again",
        guards="a region that resists stays on",
        file=POWER,
        old="np.setdiff1d(candidates, [*stays_on, *passed_over])",
        new="np.setdiff1d(candidates, passed_over)",
        tests=(UNIT,),
    ),
]
