"""The explorer runs every schedule once, the simplest first, and shows what broke."""

import itertools
from math import comb

import pytest

from pinpage.errors import PinpageError
from pinpage.testing.explore import Scenario, Until, explore


def counter(nr_actors, nr_yields):
    """Actors that count yields; `traces` collects every schedule that ran."""
    traces = []

    def make():
        trace = []

        def actor(name):
            for step in range(nr_yields):
                trace.append(name)
                yield f"step {step}"
            trace.append(name)

        return Scenario(
            {str(n): actor(str(n)) for n in range(nr_actors)},
            finish=lambda: traces.append(tuple(trace)),
        )

    return make, traces


def lost_update():
    """Two actors add one each, reading and writing in separate steps."""
    total = [0]

    def adder():
        seen = total[0]
        yield f"read {seen}"
        total[0] = seen + 1

    def finish():
        assert total[0] == 2, f"lost an update: {total[0]}"

    return Scenario({"anna": adder(), "bert": adder()}, finish=finish)


def test_every_interleaving_runs_exactly_once():
    make, traces = counter(nr_actors=2, nr_yields=2)
    found = explore(make)
    assert (found.nr_schedules, found.is_exhausted) == (comb(6, 3), True)
    assert set(traces) == set(itertools.permutations("000111"))
    assert len(traces) == len(set(traces))


def test_three_actors():
    make, traces = counter(nr_actors=3, nr_yields=1)
    assert explore(make).nr_schedules == 90
    assert set(traces) == set(itertools.permutations("001122"))


@pytest.mark.parametrize(("bound", "count"), [(0, 2), (1, 6)])
def test_a_bound_on_preemptions_leaves_out_only_schedules_above_it(bound, count):
    make, traces = counter(nr_actors=2, nr_yields=2)
    found = explore(make, max_preemptions=bound)
    assert (found.nr_schedules, found.is_exhausted) == (count, True)
    assert len(set(traces)) == count


def test_schedules_come_in_the_order_of_preemptions():
    make, traces = counter(nr_actors=2, nr_yields=2)
    explore(make)
    switches = [sum(a != b for a, b in itertools.pairwise(trace)) for trace in traces]
    assert switches[:2] == [1, 1]
    assert max(switches[:6]) < switches[-1] == 5


def test_the_violation_has_the_fewest_preemptions_and_reads_well():
    violation = explore(lost_update).violation
    assert violation.nr_preemptions == 1
    assert str(violation).splitlines() == [
        "broken after 4 slices, 1 preemptions:",
        "  1. anna  read 0",
        "  2. bert  read 0",
        "  3. bert  ends",
        "  4. anna  ends",
        "  => AssertionError: lost an update: 1",
    ]


def test_a_violation_is_raised_with_its_schedule():
    with pytest.raises(AssertionError, match="bert  read 0"):
        explore(lost_update).require_none()


def test_a_space_that_was_not_exhausted_is_no_success():
    make, _ = counter(nr_actors=2, nr_yields=2)
    found = explore(make, max_schedules=3)
    assert (found.nr_schedules, found.is_exhausted) == (3, False)
    with pytest.raises(AssertionError, match="gave up after 3"):
        found.require_none()


def test_the_check_runs_after_every_step():
    state = []

    def make():
        state[:] = [0]

        def actor():
            state[0] = 1
            yield "dirty"
            state[0] = 0

        def check():
            assert state[0] == 0, "seen dirty"

        return Scenario({"one": actor()}, check=check)

    assert len(explore(make).violation.slices) == 1


def locks(first, second):
    """Two actors that take two locks, in the orders given."""

    def make():
        holder = {"a": None, "b": None}

        def actor(name, order):
            for lock in order:
                while holder[lock] is not None:
                    yield Until(lambda lock=lock: holder[lock] is None, f"{lock} is free")
                holder[lock] = name
                yield f"locks {lock}"
            for lock in order:
                holder[lock] = None

        return Scenario({"one": actor("one", first), "two": actor("two", second)})

    return make


def test_an_actor_that_waits_is_not_run_before_its_condition_holds():
    assert explore(locks("ab", "ab")).require_none().nr_schedules > 2


def test_when_everybody_waits_it_is_a_deadlock():
    violation = explore(locks("ab", "ba")).violation
    assert violation.nr_preemptions == 1
    assert "deadlock: one waits until b is free; two waits until a is free" in str(violation)


def test_an_actor_that_spins_is_a_livelock():
    def make():
        def spinner():
            while True:
                yield "spins"

        return Scenario({"one": spinner()})

    violation = explore(make, max_slices=20).violation
    assert len(violation.slices) == 20
    assert "livelock" in str(violation)


def test_a_scenario_that_differs_from_run_to_run_is_refused():
    runs = itertools.count()

    def make():
        def actor(steps):
            yield from ["step"] * steps

        return Scenario({"one": actor(3), f"two{next(runs)}": actor(1)})

    with pytest.raises(PinpageError, match="differs from run to run"):
        explore(make)


def test_actors_that_never_ran_are_closed():
    closed = []

    def make():
        def victim():
            try:
                yield "one"
                yield "two"
            finally:
                closed.append(True)

        def breaker():
            yield "one"
            raise RuntimeError("broken")

        return Scenario({"victim": victim(), "breaker": breaker()})

    assert isinstance(explore(make).violation.error, RuntimeError)
    assert closed
