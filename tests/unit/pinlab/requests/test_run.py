"""One request: what it is put to, what is refused before anything is replayed, and repeats."""

import pytest
from attrs import evolve

from pinlab.replay.replay import Replayed
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import DEFAULT_MEMORY, open_memory, prepare, run_request
from pinpage.errors import PinpageError
from tests.kit.pinlab.consumers import moves_a_block
from tests.kit.pinlab.small import small_recording

SERVERS = {"huge2m": moves_a_block}
OPTIONS = RequestOptions(design="registry", movable=("slab", "zbud"))


@pytest.fixture(scope="module")
def small():
    return small_recording()


def test_the_same_seed_gives_the_same_report(small):
    first = run_request("huge2m", small, OPTIONS, servers=SERVERS)
    again = run_request("huge2m", small, OPTIONS, servers=SERVERS)
    assert first == again
    assert (first.recording, first.seed) == (small.name, 0)
    assert first.bytes_verified > 0 == first.bytes_lost
    other = run_request("huge2m", small, evolve(OPTIONS, seed=1), servers=SERVERS)
    assert other.seed == 1
    assert other.digest != first.digest


def test_without_bytes_the_layout_is_served_and_nothing_is_read_back(small):
    whole = run_request("huge2m", small, OPTIONS, servers=SERVERS)
    bare = run_request("huge2m", small, OPTIONS, servers=SERVERS, contents="none")
    assert bare.bytes_verified == bare.bytes_lost == 0
    assert evolve(bare, bytes_verified=whole.bytes_verified, digest=whole.digest) == whole


def test_a_consumer_gets_the_replayed_machine_under_its_design(small):
    subjects = []

    def serve(subject, options):
        subjects.append(subject)
        return moves_a_block(subject, options)

    run_request("huge2m", small, OPTIONS, servers={"huge2m": serve})
    run_request("huge2m", small, OPTIONS, servers={"huge2m": serve}, contents="none")
    assert all(isinstance(subject, Replayed) for subject in subjects)
    assert [subject.machine.design.name for subject in subjects] == ["registry"] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RequestOptions(design="rfc9"), "'rfc9' is unknown"),
        (RequestOptions(design="registry", movable=("gpu",)), "'gpu' holds nothing"),
        (RequestOptions(design="unmovable", movable=("slab",)), "asks no owner"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_replayed(small, options, words):
    with pytest.raises(PinpageError, match=words):
        prepare(small, options)


def test_an_unknown_request_is_refused(small):
    with pytest.raises(PinpageError, match="'huge4m' is unknown"):
        run_request("huge4m", small, OPTIONS)


def test_each_request_has_memory_to_be_put_to():
    assert open_memory("offline", None).name == "zbudfr-cmphuge-seed3"
    area = open_memory("cma", None)
    assert area.zones[0].cma == 32_768
    assert open_memory("huge2m", "scenario:8MiB,anon=10%", seed=4).provenance.seed == 4
    assert set(DEFAULT_MEMORY) == {"huge2m", "huge1g", "cma", "offline", "power"}


def test_memory_without_an_area_is_refused_before_it_is_replayed(small, monkeypatch):
    monkeypatch.setattr("pinlab.requests.run.prepare", lambda *_, **__: pytest.fail("replayed"))
    with pytest.raises(PinpageError, match="no contiguous area"):
        run_request("cma", small, RequestOptions())
