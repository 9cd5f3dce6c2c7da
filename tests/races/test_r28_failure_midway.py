"""R-28: with several owners on one frame, one fails when others have said yes or have moved.

Actors: a mover; owners of which one refuses or raises; users that write; a partner that lets go.
Bad:    one owner on the new frame and one on the old one, and what was written is lost.
Rule:   all or none: isolate all first; if one raises later, the others are migrated back,
        in reverse, with what they have written meanwhile.
"""

from functools import partial

import pytest

from pinlab.races.sharing import several_owners
from pinpage.owner import Reason
from pinpage.testing.explore import explore
from tests.races.bench import Bench


@pytest.mark.parametrize(
    "script",
    [{"isolate": ["busy"]}, {"isolate": ["raise"]}, {"migrate": ["raise"]}, {}],
    ids=["refuses", "raises in isolate", "raises in migrate", "agrees"],
)
class TestAllOrNone:
    """Every outcome of the second owner, under every schedule."""

    def test_nobody_is_left_behind(self, script):
        explore(partial(several_owners, script), max_preemptions=2).require_none()

    def test_nor_when_a_partner_lets_go_meanwhile(self, script):
        explore(partial(several_owners, script, leaver=2), max_preemptions=2).require_none()

    def test_nor_when_the_first_lets_go_at_either_name(self, script):
        """It is told of its new place, unpins there, and drops its reference when all is undone."""
        explore(the_first_lets_go(script), max_preemptions=2).require_none()


def the_first_lets_go(script):
    def make():
        bench = Bench()
        owners = [bench.owner(f"o{n}", **(script if n == 1 else {})) for n in range(2)]
        source = owners[0].keep(0, contents=1)
        owners[1].share(1, source)

        def finish():
            assert owners[1].read(1) == 1
            assert len(bench.world.free_pfns()) == bench.world.nr_frames - 1

        leaver = bench.letting_go(owners[0], 0)
        return bench.scenario(finish, mover=bench.mover(source), leaver=leaver)

    return make


def test_the_undo_runs_in_reverse():
    bench = Bench()
    order = []
    owners = [
        bench.owner(f"o{n}", putback=[lambda pin: order.append(pin.owner.name)]) for n in range(3)
    ]
    refuser = bench.owner("refuser", isolate=["again"])
    source = owners[0].keep(0)
    for n, owner in enumerate([*owners[1:], refuser], start=1):
        owner.share(n, source)
    for _ in bench.mover(source):
        pass
    assert order == ["o2", "o1", "o0"]
    assert bench.reasons["mover"] == [Reason.PARTNER_REFUSED]
