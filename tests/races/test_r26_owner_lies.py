"""R-26: an owner says that its page has moved, and it has not.

Actors: a mover; a liar that keeps a reference of the source; an honest partner; a user that
        writes through the honest partner.
Bad:    the source is freed and given to somebody else while the liar still uses it.
Rule:   after migrate the references must be exactly those of the pins; a liar is faulty, its
        source is quarantined, and the honest partner keeps its data.
"""

from functools import partial

import pytest

from pinlab.races.sharing import a_liar_and_an_honest_partner
from pinpage.owner import Reason
from pinpage.testing.explore import explore
from tests.races.bench import Bench


@pytest.mark.parametrize("order", [("honest", "liar"), ("liar", "honest")], ids=" then ".join)
def test_the_liar_is_found_and_its_frame_never_reused(order):
    make = partial(a_liar_and_an_honest_partner, order)
    explore(make, max_preemptions=3).require_none()


def test_a_liar_is_not_asked_again_and_its_other_frames_stay():
    bench = Bench()
    liar = bench.owner("liar", migrate=["lie"])
    source, other = liar.keep("l"), liar.keep("o")
    for _ in bench.mover(source):
        pass
    nr_calls = len(liar.log)
    for _ in bench.mover(other, name="again"):
        pass
    assert bench.reasons["again"] == [Reason.OWNER_FAULTY]
    assert len(liar.log) == nr_calls
