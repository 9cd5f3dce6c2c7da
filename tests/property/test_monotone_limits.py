"""Where one callback more does cost something, one counterexample for each reason.

Under `scan`, recorded and drawn; under `plan`, what its promise leaves out: requests of
several sizes, owners that can only release, and owners that say yes and then no.
"""

import numpy as np
import pytest

from mm.paging.paging import ANON_BITS
from mm.planning.execute import NR_PLAN_ROUNDS
from mm.state.gfp import Gfp
from owners.opaque import OpaqueOwner
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.differential.requests import REQUESTS
from pinpage.owner import PinOwner, Verdict
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, Drawn
from tests.kit.pinlab.recordings import opened
from tests.property.monotone import CONSUMERS, Case, World

# Under scan.


def test_scan_spends_its_targets_on_a_block_that_stays():
    """Block 0 keeps its kernel page whatever happens; with x movable it takes the only targets."""
    case = Case(("#xxx....", "aaaa....", "#aaa...."), 0, frozenset(), "x")
    assert case.obtained("huge2m", "scan") == (1, 0)
    assert case.obtained("huge2m", "plan") == (1, 1)


@pytest.mark.slow
def test_scan_on_the_recording_where_zbud_alone_can_move():
    snapshot = opened("zbud-cmphuge-seed1")
    runs = [
        Run("registry", movable, how) for how in ("scan", "plan") for movable in ((), ("zbud",))
    ]
    scan, scan_zbud, plan, plan_zbud = compare(snapshot, runs).rows
    assert scan_zbud.huge_pages < scan.huge_pages - 10
    assert scan_zbud.pages_moved > scan.pages_moved
    assert plan_zbud.huge_pages >= plan.huge_pages > scan.huge_pages
    assert [row.bytes_lost for row in (scan, scan_zbud, plan, plan_zbud)] == [0] * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zbud-cmphuge-seed2"])
def test_scan_on_recordings_beside_the_checkout(name):
    snapshot = opened(name)
    if snapshot is None:
        pytest.skip(f"recording {name} is not here")
    runs = [
        Run("registry", movable, how) for how in ("scan", "plan") for movable in ((), ("zbud",))
    ]
    scan, scan_zbud, plan, plan_zbud = compare(snapshot, runs).rows
    assert scan_zbud.huge_pages < scan.huge_pages
    assert plan_zbud.huge_pages >= plan.huge_pages


# Under plan, outside its promise.


def test_ranges_of_several_sizes_within_a_pageblock():
    """Best fit first: with x movable as much is obtained, though block 0 is kept for later."""
    blocks = ("a.ax.xa.", "#a#aa...", "a####aa.")
    obtained = []
    for movable in ((), ("x",)):
        world = World(blocks, movable, cma_blocks=2)
        area = world.machine.cma.create(Span(0, 2 * SIZE))
        sizes = ((4, 2), (8, 3), (2, 1), (8, 3))
        got = [world.machine.cma.request(*size, area=area, strategy="plan").pfn for size in sizes]
        obtained.append(sum(n for (n, _), pfn in zip(sizes, got, strict=True) if pfn >= 0))
        world.check()
    assert obtained == [6, 6]


class Expander(PinOwner):
    """Gives a frame up by bringing two pages back, as a compressed cache does."""

    name = "expander"

    def __init__(self, drawn, pfns):
        self._machine, self._space, self._nr_vpns = drawn.machine, drawn.space, 0
        self._back = drawn.machine.rmap.create("back", 4 * SIZE)
        drawn.machine.registry.register(self)
        drawn.machine.registry.pin_many(pfns, self)

    def release(self, pin, mode):
        fresh = [self._machine.alloc_page(Gfp.HIGHUSER_MOVABLE) for _ in range(2)]
        if min(fresh) < 0:
            for pfn in fresh:
                if pfn >= 0:
                    self._machine.free_page(pfn)
            return Verdict.BUSY
        vpns = np.arange(self._nr_vpns, self._nr_vpns + 2)
        self._nr_vpns += 2
        self._machine.frames.flags[fresh] = ANON_BITS
        self._machine.rmap.map_many(self._back, vpns, column(*fresh))
        self._machine.lru.add_many(np.sort(column(*fresh)))
        self._machine.registry.unpin(pin.pfn, self, pin.private)
        self._machine.put_page(pin.pfn)
        return Verdict.YES


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_an_owner_that_can_only_release(consumer):
    """A release may take more memory than it gives: hot-remove, which may ask for one, pays.

    Every other consumer leaves such frames where they are under `plan`.
    """
    picture = ("########", "########", "........", "........", "........", "........")
    obtained = []
    for has_callback in (False, True):
        drawn = Drawn(*picture, movable=False)
        pfns = np.arange(2 * SIZE)
        if has_callback:
            Expander(drawn, pfns)
        else:
            drawn.owner.adopt(pfns)
        obtained.append(REQUESTS[consumer](drawn.machine, "plan"))
        drawn.machine.check()
    if consumer == "offline":
        assert obtained[1] < obtained[0]
    else:
        assert obtained[0] == obtained[1]


class Liar(OpaqueOwner):
    """Has a callback, and never moves."""

    def isolate_many(self, pfns, privates, mode):
        return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)


PAIRS = (*["xaaaaaaa", "aaaaaa.."] * NR_PLAN_ROUNDS, *["aaaaaaaa"] * 2, "#....###", "####....")
SINGLES = (*["xaaaaaa."] * NR_PLAN_ROUNDS, "aaaaaaaa", "#.....##")


@pytest.mark.parametrize(
    ("consumer", "blocks", "obtained"),
    [
        ("huge2m", SINGLES, (1, 0)),
        ("cma", (SINGLES[0], *SINGLES), (1, 1)),  # each range that is clear is tried in the end
        ("power", PAIRS, (1, 1)),
        ("huge1g", PAIRS, (1, 1)),  # planned again until no range is left
        ("offline", PAIRS, (1, 1)),  # each block is asked for
    ],
)
def test_an_owner_that_says_yes_and_then_no(consumer, blocks, obtained):
    """Each round believes it about one range more; then, for most, the rounds are over."""
    for movable, expected in zip(((), ("x",)), obtained, strict=True):
        cma_blocks = len(blocks) - 1 if consumer == "cma" else 0
        world = World(blocks, movable, cma_blocks=cma_blocks, owner=Liar)
        assert REQUESTS[consumer](world.machine, "plan") == expected
        world.check()
