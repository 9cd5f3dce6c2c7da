"""R-26: an owner says that its page has moved, and it has not.

Actors: a mover; a liar that keeps a reference of the source; an honest partner; a user that
        writes through the honest partner.
Bad:    the source is freed and given to somebody else while the liar still uses it.
Rule:   after migrate the references must be exactly those of the pins; a liar is faulty, its
        source is quarantined, and the honest partner keeps its data.
"""

import pytest

from pinpage.owner import Reason
from pinpage.testing.explore import Until, explore
from pinpage.testing.world import FrameIs
from tests.races.bench import Bench


def a_liar_and_an_honest_partner(order):
    def make():
        bench = Bench()
        owners = {
            name: bench.owner(name, **({"migrate": ["lie"]} if name == "liar" else {}))
            for name in order
        }
        honest, liar = owners["honest"], owners["liar"]
        source = honest.keep("h", contents=7)
        liar.share("l", source)
        bench.owners.remove(liar)  # what it believes is its own affair

        def user():
            while "h" in honest.quiet:
                yield Until(lambda: "h" not in honest.quiet, "the mover lets go")
            honest.write("h", 8)
            yield "writes"

        def finish():
            assert bench.reasons["mover"] == [Reason.OWNER_FAULTY]
            assert bench.registry.is_faulty(liar)
            assert not bench.registry.is_faulty(honest)
            assert bench.world.state[source] is FrameIs.QUARANTINED
            assert bench.world.alloc_page() != source
            assert honest.place["h"] != source
            assert honest.read("h") == 8

        bench.at_rest = lambda: None  # the liar's pin is not where it says
        return bench.scenario(finish, mover=bench.mover(source), user=user())

    return make


@pytest.mark.parametrize("order", [("honest", "liar"), ("liar", "honest")], ids=" then ".join)
def test_the_liar_is_found_and_its_frame_never_reused(order):
    explore(a_liar_and_an_honest_partner(order), max_preemptions=3).require_none()


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
