"""R-2 and R-11 for a balloon: it deflates and inflates while its pages move.

Actors: a mover of two balloon pages; a guest that deflates or inflates; a second mover.
Bad:    a page that a mover has goes back to the guest, or the host keeps a page it was told
        to return; a page deflated under the mover leaks.
Rule:   deflate skips isolated pages, and every page is the host's exactly while it is on the
        list.
"""

import pytest

from owners.balloon import Balloon
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import explore
from tests.kit.owners.driver_world import DriverWorld


def balloon_world(guest, nr_movers=1, mode=Mode.SYNC):
    def make():
        world = DriverWorld(16)
        balloon = Balloon(world.machine, registry=world.registry)
        balloon.inflate(3)
        pages = sorted(balloon.host)[:2]
        movers = {
            f"mover {n}": world.steps(*pages, name=f"mover {n}", mode=mode)
            for n in range(nr_movers)
        }

        def finish():
            assert balloon.nr_pages + world.nr_free == 16, "a page leaked"
            moved = [r for reasons in world.reasons.values() for r in reasons]
            assert set(moved) <= {
                Reason.MOVED, Reason.FREED, Reason.NO_OWNER, Reason.RACED_FREE,
                Reason.OWNER_BUSY, Reason.ALREADY_ISOLATED, Reason.UNACCOUNTED,
            }  # fmt: skip

        return world.scenario(balloon, finish, **movers, guest=guest(world, balloon))

    return make


def deflating(world, balloon):
    for _ in range(3):
        balloon.deflate(1)
        yield f"deflates; {balloon.nr_pages} left"


def deflating_all_and_inflating(world, balloon):
    nr_back = balloon.deflate(3)
    yield f"deflates {nr_back}"
    balloon.inflate(2)
    yield "inflates 2"


@pytest.mark.parametrize("guest", [deflating, deflating_all_and_inflating])
def test_one_mover_and_a_guest(guest):
    explore(balloon_world(guest)).require_none()


def test_two_movers_and_a_guest():
    explore(balloon_world(deflating, nr_movers=2), max_preemptions=2).require_none()


def test_what_a_mover_has_is_not_deflated_and_comes_back():
    """At any step of the move: what deflate leaves is what the mover has isolated."""
    world = DriverWorld(16)
    balloon = Balloon(world.machine, registry=world.registry)
    balloon.inflate(2)
    mover = world.steps(*sorted(balloon.host))
    while next(mover).name != "ISOLATE":
        pass
    assert balloon.deflate(2) == 0
    for _ in mover:
        pass
    assert balloon.deflate(2) == 2
    assert world.reasons == {"mover": [Reason.MOVED, Reason.MOVED]}
