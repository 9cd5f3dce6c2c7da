"""Workloads: streams and serials of their own, every row works, and what is lost is noticed."""

import zlib

import numpy as np
import pytest

from mm.state.frames import FrameState
from pinlab.load.mixed import WORKLOAD_SHARES, run
from pinlab.load.run import LoadRun, make_world
from pinlab.load.workload import NOTHING, Streams
from pinpage.errors import InvariantError, PinpageError

SMALL = 2048
STORES_NOTHING = {"balloon"}
HEADER = 32
"""Bytes of a completion ring that say where its events are."""


def scenario_of(*names, design="registry", seed=0, **kwargs):
    world = make_world(nr_pages=SMALL, design_name=design, seed=seed)
    workloads = [
        WORKLOAD_SHARES[name].make(
            world,
            name,
            nr_slots=WORKLOAD_SHARES[name].nr_slots(SMALL),
            pace_ns=WORKLOAD_SHARES[name].pace_ns,
        )
        for name in names
    ]
    return LoadRun(world, workloads, **kwargs)


def recorded(scenario, name):
    """The actions of one workload, as they come."""
    (workload,) = [w for w in scenario.workloads if w.name == name]
    actor = scenario._actors[name]
    seen = []

    def noting():
        for action in actor:
            seen.append(action)
            yield action

    scenario._actors[name] = noting()
    return workload, seen


# Streams and books.


def test_a_stream_is_given_out_once():
    streams = Streams(0)
    streams.take("zram")
    with pytest.raises(PinpageError, match="'zram' is in use"):
        streams.take("zram")


def test_streams_of_different_names_and_seeds_are_different():
    drawn = {
        (seed, name): tuple(Streams(seed).take(name).integers(1 << 62, size=4).tolist())
        for seed in (0, 1)
        for name in ("zram", "aio", "a", "b")
    }
    assert len(set(drawn.values())) == len(drawn)


def test_a_stream_does_not_depend_on_who_else_took_one():
    alone, crowded = Streams(3), Streams(3)
    crowded.take("other").integers(10, size=100)
    assert alone.take("zram").integers(1 << 62) == crowded.take("zram").integers(1 << 62)


def test_no_two_books_share_a_serial():
    world = make_world(nr_pages=512, design_name="unmovable", seed=0)
    books = [world.stored_pages(name, 8) for name in ("a", "b", "c")]
    drawn = np.concatenate([book.draw_many(1000) for book in books])
    assert len(np.unique(drawn)) == 3000
    assert drawn.min() > NOTHING


def test_comparing_counts_what_differs_and_what_is_missing():
    book = make_world(nr_pages=512, design_name="unmovable", seed=0).stored_pages("a", 3)
    for slot in range(3):
        book.store(slot, book.draw())
    page = bytearray(book.page(book.serials[0]))
    assert book.compare(0, bytes(page))
    page[4095] ^= 1
    assert not book.compare(0, bytes(page))
    assert not book.compare(1, None)
    assert (book.found.bytes_verified, book.found.bytes_lost) == (4096, 8192)


@pytest.mark.parametrize("name", ["zram", "xarray", "aio", "families"])
def test_another_workload_does_not_disturb_what_one_does(name):
    alone, together = scenario_of(name), scenario_of("balloon", name, "pagecache")
    workload, seen = recorded(alone, name)
    workload2, seen2 = recorded(together, name)
    alone.run(200_000_000)
    together.run(200_000_000)
    assert len(seen) > 5
    # The same actions with the same rests, and the same pages in the same places; a compaction
    # that takes longer may at most make the last one late.
    assert seen == seen2
    assert (workload.pages.serials % 2048 == workload2.pages.serials % 2048).all()


# Every row.


@pytest.mark.parametrize("name", WORKLOAD_SHARES)
def test_each_workload_alone_loses_nothing(name):
    result = run(nr_pages=SMALL, seconds=0.3, only=[name], compact_every_ns=20_000_000)
    assert (result.bytes_lost, result.frames_leaked) == (0, 0)
    assert sum(result.actions[name].values()) > 0
    assert result.bytes_verified > 0 or name in STORES_NOTHING


@pytest.mark.parametrize("name", [n for n in WORKLOAD_SHARES if n not in STORES_NOTHING])
def test_a_byte_changed_in_every_frame_is_noticed(name):
    scenario = scenario_of(name, strategies=())
    scenario.run(100_000_000)
    contents = scenario.world.machine.contents
    for pfn in np.flatnonzero(scenario.world.machine.frames.state == FrameState.USED).tolist():
        page = bytearray(contents.read(pfn))
        page[HEADER:] = bytes(byte ^ 0x55 for byte in page[HEADER:])
        contents.write(pfn, bytes(page))
    try:
        lost = scenario.read_back().bytes_lost
    except (zlib.error, InvariantError, PinpageError):
        return  # the owner noticed, before the book could
    assert lost > 0


@pytest.mark.parametrize("name", ["processes", "pagecache", "ring", "rdma", "families"])
@pytest.mark.parametrize("offset", [0, 4095])
def test_one_lost_byte_is_one_lost_page(name, offset):
    scenario = scenario_of(name, strategies=())
    scenario.run(50_000_000)
    (workload,) = scenario.workloads
    assert scenario.read_back().bytes_lost == 0
    space = getattr(workload, "space", None) or getattr(workload, "file", None)
    if space is None:
        space = (getattr(workload, "spaces", None) or workload.members)[0]
    stored = workload.pages.stored()
    vpn = int(next(v for v in stored if v < space.nr_vpns and space.pte[v] > 0))
    pfn = int(space.pte[vpn]) - 1
    contents, sharers = (
        scenario.world.machine.contents,
        1 + int(scenario.world.machine.frames.mapcount[pfn]),
    )
    contents.write(pfn, bytes([contents.read(pfn)[offset] ^ 1]), offset)
    before = workload.pages.found.bytes_lost
    workload.read_back()
    lost = workload.pages.found.bytes_lost - before
    assert lost == 4096 * sharers


@pytest.mark.parametrize(("slots", "pace"), [(0, 1), (1, 0)])
def test_a_workload_without_slots_or_rest_is_refused(slots, pace):
    world = make_world(nr_pages=512, design_name="unmovable", seed=0)
    with pytest.raises(PinpageError, match="both at least 1"):
        WORKLOAD_SHARES["zram"].make(world, "zram", nr_slots=slots, pace_ns=pace)
