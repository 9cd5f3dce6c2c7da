"""Owners that can only give pages up: asked by every consumer, by scan and by plan."""

import numpy as np
import pytest
from attrs import evolve

from mm.state.frames import FrameState
from owners.opaque import GIVEN_UP, OpaqueOwner
from pinlab.compare.compare import compare, with_release
from pinlab.compare.results import Run
from pinlab.described.synthetic import describe_machine
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, prepare, run_request
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.labels import labelled
from pinpage.errors import PinpageError
from pinpage.owner import Mode, Pin, Verdict
from pinpage.units import Span
from tests.kit.mm.machines import small_machine

USUAL = {
    "huge1g": {"nr_pages": 1024},
    "offline": {"block_nr_pages": 2048, "nr_tries": 3},
    "power": {"region_nr_pages": 1024},
    "cma": {"nr_pages": 2048, "count": 1},
}


@pytest.fixture(scope="module")
def memory():
    """A driver's cache everywhere, in the contiguous area too; most of memory is full."""
    made = describe_machine("scenario:48MiB,anon=60%,slab=4%,scatter=60%,cma=8MiB", seed=4)
    pfns = np.flatnonzero(made.klass == FrameClass.ANON)[3::40]
    klass, flags, mapcount = made.klass.copy(), made.flags.copy(), made.mapcount.copy()
    klass[pfns], flags[pfns], mapcount[pfns] = FrameClass.OTHER, 0, 0
    made = evolve(made, klass=klass, flags=flags, mapcount=mapcount)
    return labelled(made, "cache", tuple(Span(pfn, pfn + 1) for pfn in pfns.tolist()))


@pytest.mark.parametrize("consumer", SERVERS)
def test_what_is_given_up_is_obtained(memory, consumer):
    by_scan = None
    for strategy in ("scan", "plan"):
        usual = RequestOptions(strategy=strategy, **USUAL.get(consumer, {}))
        contents = "bytes" if (consumer, strategy) == ("huge2m", "plan") else "none"
        nothing = run_request(consumer, memory, usual, contents="none")
        releasing = evolve(usual, release=("cache", "slab"))
        given = run_request(consumer, memory, releasing, contents=contents)
        assert nothing.obtained < given.obtained <= given.bound
        assert given.bytes_lost == 0
        assert given.as_json()["release"] == ["cache", "slab"]
        if by_scan is not None:
            assert given.obtained >= by_scan
        by_scan = given.obtained


def test_a_plan_gives_up_no_less_than_it_needs_and_a_bound_counts_it_as_free():
    full = describe_machine("scenario:32MiB,anon=64%,slab=30%,scatter=20%", seed=1)
    runs = [Run("registry", ("slab",), "plan"), Run("registry", (), "scan", ("slab",))]
    runs.append(Run("registry", (), "plan", ("slab",)))
    moved, scan, plan = compare(full, runs).rows
    assert plan.huge_pages == plan.bound > moved.bound
    assert plan.bound == scan.bound
    assert scan.huge_pages <= plan.huge_pages
    assert plan.pages_released > 0
    assert plan.bytes_verified < moved.bytes_verified  # what was given up is gone, not lost
    assert plan.pages_grown == -plan.pages_released
    assert {row.bytes_lost for row in (moved, scan, plan)} == {0}


def test_a_plan_gives_up_only_what_stands_in_its_way():
    memory = describe_machine("scenario:32MiB,anon=20%,slab=6%,kernel=1%,scatter=30%", seed=1)
    (plan,) = compare(memory, [Run("registry", (), "plan", ("slab",))]).rows
    nr_slab = memory.nr_frames_of(FrameClass.SLAB)
    assert 0 < plan.pages_released < nr_slab
    assert plan.huge_pages == plan.bound


def test_zbud_is_unused(memory):
    zbud = describe_machine("scenario:32MiB,anon=20%,zbud=8%", seed=1)
    (row,) = compare(zbud, [Run("registry", (), "plan", ("zbud",))]).rows
    assert row.pages_unused > 0
    assert row.pages_released > 0
    assert row.bytes_lost == 0


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"release": ("anon",)}, "could be given up: it is one of cache, slab"),
        ({"release": ("slab",), "movable": ("slab",)}, "release=slab: it is movable too"),
        ({"release": ("slab",), "design": "unmovable"}, "leave release= out"),
        ({"release": "slab"}, "release='slab': give names of owners"),
    ],
)
def test_what_cannot_be_given_up_is_refused(memory, how, says):
    with pytest.raises(PinpageError, match=says):
        prepare(memory, RequestOptions(**how), contents="none")


def test_runs_get_it_where_owners_are_asked():
    runs = with_release([Run("unmovable"), Run("registry", ("slab",)), Run("registry")], ("slab",))
    assert [run.release for run in runs] == [(), (), ("slab",)]


def test_an_object_that_was_given_up_is_nowhere():
    machine = small_machine(2)
    registry = machine.use_registry()
    pfns = np.array([3, 4])
    machine.buddy.take(pfns)
    machine.buddy.taken_to_used(pfns)
    put_page = machine.refs.put_page
    owner = OpaqueOwner("cache", movable=False, registry=registry, put_page=put_page)
    owner.adopt(pfns)
    assert (owner.can_release, owner.can_migrate) == (True, False)
    assert machine.design.release(pfns[:1], Mode.SYNC).tolist() == [2]
    assert owner.pfn_of(np.array([0, 1])).tolist() == [GIVEN_UP, 4]
    assert machine.frames.state[3] in (FrameState.FREE, FrameState.PCP)
    machine.check()
    stays = OpaqueOwner("kernel", movable=False, registry=registry)
    assert not stays.can_release
    assert stays.release(Pin(4, stays, 0), Mode.SYNC) is Verdict.BUSY
