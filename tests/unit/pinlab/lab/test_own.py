"""One's own owner in somebody's machine: takes frames over, answers for them, is read back."""

import runpy
import sys

import numpy as np
import pytest

from mm.state.contents import TagContents
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.described.synthetic import describe_machine
from pinlab.lab.machine import MachineLab
from pinlab.lab.own import OwnOwner
from pinlab.load.mixed import run as run_mixed
from pinlab.load.own import share_of
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import prepare, run_request
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.labels import labelled
from pinpage.errors import PinpageError
from pinpage.migrate import move_many
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.testing.conformance.lab import PageSubject, Subject
from pinpage.units import Span
from tests.kit.command import ROOT

MEMORY = "scenario:32MiB,anon=25%,own=4%,slab=0%,scatter=60%"
RING = runpy.run_path(str(ROOT / "docs/tutorial/ring.py"))["Ring"]


def owner_of(kind, **more):
    """An `OwnOwner` that keeps one thing per page in a ring of that kind."""

    def factory(lab):
        ring = kind()
        return PageSubject(lab, ring, ring.pfn_of, ring.stopped)

    return OwnOwner(**{"name": "ring.py:ring", "label": None, "factory": factory} | more)


class Busy(RING):
    name = "busy-ring"

    def isolate(self, pin, mode):
        return Verdict.BUSY


class Stale(RING):
    name = "stale-ring"

    def migrate(self, pin, target):
        self.stopped.discard(pin.private)


def test_it_gives_what_a_callback_gives_and_every_byte_comes_back():
    memory = describe_machine(MEMORY, seed=3)
    declared, refused = compare(
        memory, [Run("registry", ("own",), "plan"), Run("registry", (), "plan")]
    ).rows
    runs = [Run("registry", (), "plan"), Run("registry", (), "scan"), Run("unmovable")]
    plan, scan, nobody = compare(memory, runs, own=owner_of(RING)).rows
    assert (plan.bound, plan.huge_pages) == (declared.bound, declared.huge_pages)
    assert plan.huge_pages > refused.huge_pages
    assert nobody.bound < plan.bound == scan.bound
    assert {row.bytes_lost for row in (plan, scan, nobody)} == {0}
    nr_frames = sum(span.nr_pages for span in memory.labels["own"])
    # Of a frame whose inside is not known a whole page is compared, of the owner's 8 bytes each.
    assert declared.bytes_verified - plan.bytes_verified == nr_frames * (4096 - 8)


def test_one_that_refuses_is_named_with_its_frames():
    memory = describe_machine(MEMORY, seed=3)
    options = RequestOptions(block_nr_pages=2048, nr_tries=2)
    report = run_request("offline", memory, options, own=owner_of(Busy))
    assert "owner_busy" in report.refused_by_owner["busy-ring"]
    assert any(row.owner == "busy-ring" for row in report.in_the_way)
    assert report.details["own_frames"] == report.details["own_things"] > 0
    assert report.bytes_lost == 0


def test_one_that_forgets_where_its_pages_went_loses_bytes():
    memory = describe_machine(MEMORY, seed=3)
    report = run_request("huge2m", memory, RequestOptions(strategy="plan"), own=owner_of(Stale))
    assert report.bytes_lost > 0
    assert report.bytes_lost % 8 == 0


def test_frames_alone_are_enough():
    memory = describe_machine(MEMORY, seed=3)
    real, frames = (
        run_request("huge2m", memory, RequestOptions(), contents=contents, own=owner_of(RING))
        for contents in ("bytes", "none")
    )
    assert (frames.obtained, frames.pages_moved) == (real.obtained, real.pages_moved)
    machine = prepare(memory, RequestOptions(), contents="none", own=owner_of(RING)).machine
    assert isinstance(machine.contents, TagContents)


def test_its_frames_are_those_of_the_label():
    memory = describe_machine(MEMORY, seed=3)
    replayed = prepare(memory, RequestOptions(), own=owner_of(RING))
    frames = [pfn for span in memory.labels["own"] for pfn in range(span.start, span.stop)]
    assert replayed.own.pfns().tolist() == frames
    assert replayed.own.read_back().bytes_verified == 8 * len(frames)
    assert "own" not in replayed.opaque


def test_time_passes_for_it():
    ticks = []

    class Ticking(PageSubject):
        def tick(self):
            ticks.append(clock[0].now_ns)

    def factory(lab):
        clock.append(lab.machine.clock)
        ring = RING()
        return Ticking(lab, ring, ring.pfn_of, ring.stopped)

    clock = []
    own = owner_of(RING, factory=factory)
    machine = prepare(describe_machine(MEMORY, seed=3), RequestOptions(), own=own).machine
    machine.clock.run_until(machine.clock.now_ns + 3_500_000)
    assert len(ticks) == 3


@pytest.mark.parametrize(
    ("label", "movable", "says"),
    [
        (None, (), "LABEL=MODULE:OWNER, of own, theirs"),
        ("mine", (), "the labels are own, theirs"),
        ("own", ("own",), "says itself what it can"),
    ],
)
def test_which_frames_must_be_clear(label, movable, says):
    memory = describe_machine("scenario:16MiB,own=4%,kernel=4%,scatter=0%", seed=3)
    kernel = int((memory.klass == FrameClass.OTHER).argmax())
    memory = labelled(memory, "theirs", (Span(kernel, kernel + 1),))
    options = RequestOptions(movable=movable)
    with pytest.raises(PinpageError, match=says):
        run_request("huge2m", memory, options, own=owner_of(RING, label=label))
    with pytest.raises(PinpageError, match=says):
        compare(memory, [Run("registry", movable)], own=owner_of(RING, label=label))


def test_memory_without_such_frames_is_refused():
    with pytest.raises(PinpageError, match="no labelled frames"):
        run_request(
            "huge2m", describe_machine("scenario:16MiB"), RequestOptions(), own=owner_of(RING)
        )


class Full(Subject):
    def __init__(self, _lab):
        self.owner = PinOwner()

    def hold(self, data):
        return None


class Idle(Full):
    nr_held = 0

    def hold(self, data):
        self.nr_held += 1
        return self.nr_held


class Raising(Full):
    def hold(self, data):
        return {}[data[:0]]


class Exiting(Full):
    def hold(self, data):
        sys.exit(0)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (Full, "took 0 of .* frames and no more"),
        (Idle, "took 0 of .* frames and no more"),
        (Raising, "ring.py:ring: hold: KeyError"),
        (Exiting, "ring.py:ring: hold: SystemExit"),
        (lambda lab: None, "makes no Subject"),
        (lambda lab: 1 // 0, "ring.py:ring: factory: ZeroDivisionError"),
    ],
)
def test_one_that_does_not_take_them_is_refused(factory, says):
    memory = describe_machine("scenario:16MiB,own=1%")
    with pytest.raises(PinpageError, match=says):
        prepare(memory, RequestOptions(), own=owner_of(RING, factory=factory))


@pytest.mark.parametrize("design", ["registry", "unmovable"])
def test_it_lives_in_the_mixed_load(design):
    also = [share_of(owner_of(RING), per_second=1000)]
    done = run_mixed(nr_pages=1024, seconds=0.2, design=design, only=["ring"], also=also)
    assert done.actions["own"].keys() == {"hold", "read", "write", "let_go"}
    assert (done.bytes_lost, done.frames_leaked) == (0, 0)


class Deaf(PageSubject):
    def write(self, key, data):
        return True


def test_in_the_mixed_load_one_that_forgets_is_found_out():
    def factory(lab):
        ring = RING()
        return Deaf(lab, ring, ring.pfn_of, ring.stopped)

    also = [share_of(owner_of(RING, factory=factory), per_second=1000)]
    done = run_mixed(nr_pages=1024, seconds=0.2, only=["ring"], also=also)
    assert done.bytes_lost > 0


def test_the_machine_lab_speaks_the_small_labs_language():
    lab, ring = MachineLab(), RING()
    subject = PageSubject(lab, ring, ring.pfn_of, ring.stopped)
    keys = [subject.hold(bytes([n]) * 8) for n in range(1, 6)]
    before = np.array(sorted(ring.pfn_of.values()))
    moved = move_many(lab.registry, lab.memory, before, lab.targets(), Mode.SYNC)
    assert sorted(ring.pfn_of.values()) == sorted(moved.targets.tolist())
    assert not set(before.tolist()) & set(ring.pfn_of.values())
    assert [subject.read(key) for key in keys] == [bytes([n]) * 8 for n in range(1, 6)]
    assert all(subject.let_go(key) for key in keys)
    lab.check()
    assert not lab.machine.frames.refcount.any()
