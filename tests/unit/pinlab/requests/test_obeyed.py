"""Consumers x strategies x designs x options: each is obeyed, or refused in a sentence."""

import numpy as np
import pytest

from mm.state.frames import PageFlag
from pinlab.described.synthetic import describe_machine
from pinlab.replay.designs import DESIGNS
from pinlab.requests.obeyed import OPTIONS, given, refusal, require_obeyed
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, prepare, run_request
from pinlab.snapshot.classes import FrameClass
from pinpage.errors import PinpageError
from pinpage.owner import Mode

MEMORY = "scenario:48MiB,anon=35%,file=15%,slab=3%,cma=8MiB,nodes=2,scatter=0.1%"
USUAL = {
    "huge1g": {"nr_pages": 1024},
    "offline": {"block_nr_pages": 2048, "timeout_ns": 30_000_000},
    "power": {"region_nr_pages": 1024},
}
"""What fits into so small a machine."""
BESIDE = {"pause_ns": {"nr_retries": 1}, "together": {"count": 4}}
"""What an option needs beside it to say anything."""
CHANGED = {
    "mode": Mode.ASYNC, "count": 1, "together": False, "nr_pages": 2048, "align_order": 10,
    "area": "elsewhere",
    "block": 1, "block_nr_pages": 4096, "region_nr_pages": 2048, "nr_interleaved": 2,
    "expected_idle_ns": 1, "node": 1, "nr_tries": 1, "timeout_ns": 1, "nr_retries": 2,
    "pause_ns": 5_000_000,
}  # fmt: skip
OF_ONE = {("power", "nr_tries"): {"nr_tries": 3}}
"""Where that is the usual value."""


LONG, _LONG = {("huge1g", "scan"), ("cma", "scan")}, pytest.mark.slow


@pytest.fixture(scope="module")
def memory():
    return describe_machine(MEMORY, seed=1)


def served(memory, consumer, **what):
    """The answer on a machine where some pages are being written, and then in somebody's hands."""
    options = RequestOptions(**what)
    machine = prepare(memory, options, contents="none").machine
    busy = np.flatnonzero(memory.klass == FrameClass.ANON)[::5]
    machine.frames.set_flag(busy, PageFlag.WRITEBACK)

    def written_and_held(pfn, flag):
        machine.frames.clear_flag(np.array([pfn]), flag)
        machine.refs.get_page(pfn)

    machine.mover.wait_on_page = written_and_held
    return SERVERS[consumer](machine, options).as_json()


def test_every_option_has_a_value_that_is_not_the_usual_one():
    usual = RequestOptions()
    assert CHANGED.keys() == set(OPTIONS)
    assert all(getattr(usual, name) != value for name, value in CHANGED.items())
    assert given(RequestOptions(**{**CHANGED, "count": None})) == [
        name for name in OPTIONS if name != "count"
    ]


@pytest.mark.parametrize(
    ("consumer", "strategy"),
    [
        pytest.param(consumer, strategy, marks=_LONG if (consumer, strategy) in LONG else ())
        for consumer in SERVERS
        for strategy in ("scan", "plan")
    ],
)
def test_an_option_is_obeyed_or_refused_on_every_path(memory, consumer, strategy):
    try_every_option(memory, consumer, strategy, "registry")


@pytest.mark.slow
@pytest.mark.parametrize("design", sorted(DESIGNS.keys() - {"registry"}))
@pytest.mark.parametrize("strategy", ["scan", "plan"])
@pytest.mark.parametrize("consumer", SERVERS)
def test_nor_is_one_swallowed_under_another_design(memory, consumer, strategy, design):
    try_every_option(memory, consumer, strategy, design)


def try_every_option(memory, consumer, strategy, design):
    before = {}
    for option in OPTIONS:
        base = {"strategy": strategy, "design": design} | USUAL.get(consumer, {})
        change = {option: CHANGED[option]} | OF_ONE.get((consumer, option), {})
        if refusal(consumer, strategy, option):
            with pytest.raises(PinpageError, match=rf"^{option}= .*: leave it out$"):
                served(memory, consumer, **base | change)
            continue
        if option == "area":  # of an area that is not there nothing is obtained
            with pytest.raises(PinpageError, match="area='elsewhere' is not there"):
                served(memory, consumer, **base | change)
            continue
        base |= BESIDE.get(option, {})
        key = tuple(base.items())
        if key not in before:
            before[key] = served(memory, consumer, **base)
        after = served(memory, consumer, **base | change)
        assert after != before[key], f"{option} changes nothing and says nothing ({design})"


@pytest.mark.parametrize("first", ["compact", "drop-caches"])
@pytest.mark.parametrize("consumer", SERVERS)
def test_what_is_done_first_is_done_for_everybody(memory, consumer, first):
    what = USUAL.get(consumer, {})
    plain = run_request(consumer, memory, RequestOptions(**what), contents="none")
    begun = run_request(consumer, memory, RequestOptions(**what, first=(first,)), contents="none")
    assert len(begun.attempts) > 1
    assert begun.attempts[0].name == {"compact": "compact all memory"}.get(first, "drop caches")
    assert begun.pages_moved + begun.pages_dropped > 0
    assert begun.digest != plain.digest
    with pytest.raises(PinpageError, match="first= is for run_request"):
        require_obeyed(consumer, RequestOptions(first=(first,)))


@pytest.mark.parametrize(
    ("consumer", "strategy", "option", "why"),
    [
        ("power", "scan", "nr_retries", "which nr_tries= makes several"),
        ("power", "plan", "pause_ns", "there is no retry"),
        ("huge2m", "plan", "nr_retries", "a plan is made once"),
        ("huge2m", "scan", "nr_tries", "the allocator decides itself"),
        ("huge2m", "plan", "timeout_ns", "the allocator decides itself"),
        ("huge2m", "scan", "nr_pages", "of one pageblock"),
    ],
)
def test_the_sentence_says_why(consumer, strategy, option, why):
    assert why in refusal(consumer, strategy, option)


def test_what_would_give_up_or_wait_is_refused_with_a_reason_by_whoever_has_not_got_it():
    """How long, how often and how large mean something to everybody: who refuses says why."""
    for option in ("mode", "nr_tries", "timeout_ns", "nr_retries", "pause_ns"):
        for consumer in SERVERS:
            for strategy in ("scan", "plan"):
                sentence = refusal(consumer, strategy, option)
                assert sentence is None or sentence.count(": ") >= 2, sentence


def test_nothing_is_replayed_for_an_option_that_is_refused(memory, monkeypatch):
    monkeypatch.setattr("pinlab.requests.run.prepare", None)
    with pytest.raises(PinpageError, match="nr_tries= is for huge1g and cma"):
        run_request("huge2m", memory, RequestOptions(nr_tries=1))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"block": 1, "count": 1}, "count= beside block="),
        ({"block": 1, "together": True}, "together= beside block="),
        ({"pause_ns": 5}, "give nr_retries="),
    ],
)
def test_two_options_of_which_one_says_nothing(what, words):
    with pytest.raises(PinpageError, match=words):
        require_obeyed("offline", RequestOptions(**what))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"mode": "sync"}, "mode='sync'"),
        ({"movable": "slab"}, "movable='slab': give names"),
        ({"movable": 7}, "movable=7"),
        ({"design": None}, "design=None"),
        ({"strategy": 3}, "strategy=3"),
        ({"first": "compact"}, "first='compact'"),
        ({"first": ("defragment",)}, "first='defragment'"),
        ({"together": "yes"}, "together='yes'"),
        ({"seed": "1"}, "seed='1'"),
        ({"pause_ns": 1.5}, "pause_ns=1.5"),
    ],
)
def test_a_value_of_a_wrong_type_is_the_named_error(what, words):
    with pytest.raises(PinpageError, match=words.replace("(", r"\(")):
        RequestOptions(**what)
