"""The offline request: blocks in order, back again, what is counted; and as Linux 6.1 did it."""

import pytest

from mm.hotplug.memory_block import BlockState
from mm.state.nodes import ZoneKind, setup_watermarks
from pinlab.described.synthetic import describe_machine
from pinlab.requests.fidelity import options_of_kernel
from pinlab.requests.offline import USUAL_TIMEOUT_NS, serve
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import prepare, run_request
from pinlab.requests.show import as_text
from pinpage.errors import PinpageError
from tests.kit.mm.machines import SIZE, Drawn
from tests.kit.mm.whole_machines import Layout
from tests.kit.pinlab.recordings import BESIDE, opened

BLOCK = 2 * SIZE
FREE = "." * SIZE


def options(**what):
    return RequestOptions(block_nr_pages=BLOCK, **what)


def outcome(report):
    return [(attempt.name, attempt.errno) for attempt in report.attempts]


def test_each_block_goes_and_is_back_before_the_next():
    world = Drawn("a.......", FREE, "..#.....", FREE, ".a......", "a......a")
    report = serve(world.machine, options())
    assert outcome(report) == [("block 0", "OK"), ("block 1", "EBUSY"), ("block 2", "OK")]
    assert (report.wanted, report.obtained, report.bound) == (3, 2, 2)
    assert report.unit == "memory block"
    assert [(a.start, a.stop) for a in report.attempts] == [(0, 16), (16, 32), (32, 48)]
    assert report.refused_by_owner == {"unknown": {"no_owner": 1}}
    assert report.details == {"rounds": 2}
    assert sum(a.pages_moved for a in report.attempts) == report.pages_moved >= 4
    blocks = world.machine.hotplug.blocks
    assert [blocks.state(b) for b in range(3)] == [BlockState.ONLINE] * 3
    assert sum(report.steps_ns.values()) == report.modelled_ns > 0
    world.check_contents()


def test_one_block_alone_and_as_many_as_are_wanted():
    world = Drawn(FREE, FREE, FREE, FREE, FREE, FREE)
    assert outcome(serve(world.machine, options(block=1))) == [("block 1", "OK")]
    assert len(serve(world.machine, options(count=2)).attempts) == 2
    with pytest.raises(PinpageError, match="block=9 is not there"):
        serve(world.machine, options(block=9))
    with pytest.raises(PinpageError, match="their size stays"):
        serve(world.machine, RequestOptions(block_nr_pages=SIZE))


@pytest.mark.parametrize(("strategy", "tried"), [("scan", [0, 1, 2]), ("plan", [2, 1])])
def test_where_two_are_enough_plan_takes_the_cheapest(strategy, tried):
    world = Drawn(
        "aaa...aa", "#.......", "a..aa...", FREE, "a.......", FREE, "aa.....a", "aaa....."
    )
    report = serve(world.machine, options(strategy=strategy, count=2))
    assert [attempt.name for attempt in report.attempts] == [f"block {at}" for at in tried]
    assert (report.wanted, report.obtained) == (2, 2)


@pytest.mark.parametrize("strategy", ["scan", "plan"])
@pytest.mark.parametrize(
    ("rows", "count", "at_once"),
    [
        (("aaaaaaaa", "aaaaaaaa", "aaaa....", FREE, "aaaaaaaa", "aaaaaa.."), 2, 0),
        (("aaaaaaaa", "aa......", "a.......", FREE, FREE, FREE), 3, 2),
        ((FREE, FREE, FREE, FREE, "a.......", "........"), 2, 2),
        (("#.......", FREE, FREE, FREE, "aaaaaaa.", FREE), 2, 2),
    ],
)
def test_n_means_n_together(strategy, rows, count, at_once):
    """Each of them could go by itself; what is left must hold what they held."""
    world = Drawn(*rows)
    report = serve(world.machine, options(strategy=strategy, count=count, timeout_ns=10**6))
    assert (report.counted, report.wanted) == ("together", count)
    blocks = world.machine.hotplug.blocks
    away = [b for b in range(len(rows) // 2) if blocks.state(b) is BlockState.OFFLINE]
    assert len(away) == report.obtained == min(at_once, count)
    assert report.obtained <= report.bound
    world.check_contents()


def test_one_by_one_is_what_each_could_do_alone():
    world = Drawn("aaaaaaaa", "aa......", "a.......", FREE, FREE, FREE)
    report = serve(world.machine, options(count=3, together=False))
    assert (report.counted, report.obtained, report.bound) == ("one by one", 3, 3)
    assert all(world.machine.hotplug.blocks.state(b) is BlockState.ONLINE for b in range(3))
    world = Drawn("aaaaaaaa", "aa......", "a.......", FREE, FREE, FREE)
    report = serve(world.machine, options(together=True, timeout_ns=10**6))
    assert (report.counted, report.obtained, report.wanted, report.bound) == ("together", 2, 3, 2)


_HUGE = ("HHHHHHHH", FREE, "HHHHHHHH", FREE, "FFFFFFFF", "P.......")
"""Two huge pages in use share a free one, and that stays."""
_CACHE = ("cccccccc", "cccccccc", "PPPPPPPP", "PPPPPPP.")


@pytest.mark.parametrize(
    ("blocks", "together", "bound", "certain"),
    [(_HUGE, True, 1, 1), (_HUGE, False, 2, 2), (_CACHE, True, 1, 0), (_CACHE, False, 1, 0)],
)
def test_what_is_certain_needs_no_reclaim_and_no_fresh_huge_page(blocks, together, bound, certain):
    machine = Layout(blocks, (0,) * len(blocks), (("Normal", 0),)).build().machine
    asked = options(strategy="plan", count=3, together=together, nr_tries=4)
    report = serve(machine, asked)
    assert (report.bound, report.certain, report.obtained) == (bound, certain, bound)
    most = f"; {bound} at most by any strategy"
    assert (most + f", {certain} for certain" in as_text(report)) == (bound != certain)
    assert report.to_json()["certain"] == certain


def test_a_block_may_go_after_another_that_does_not_go_before_it():
    """The reserve against ZONE_MOVABLE shrinks with it: a frame here, the one that is short."""
    blocks = ("PPPPPPP.",) * 3 + ("aaa.....", "FFFFFFFF")
    zones = (("Normal", 0), ("Movable", 0))
    for count in (None, 2):
        machine = Layout(blocks, (0, 1, 1, 1, 1), zones).build().machine
        asked = RequestOptions(block_nr_pages=SIZE, strategy="plan", count=count, nr_tries=4)
        report = serve(machine, asked)
        expected = (2, 1, 2) if count else (2, 1, 1)  # the fifth is back as eight free frames
        assert (report.bound, report.certain, report.obtained) == expected


@pytest.mark.parametrize(
    ("blocks", "zone_of", "marks", "bound"),
    [
        (("FFFFFFFF", "aaaaaaaa", "P......."), (0, 0, 0), 0, 2),
        (("HHHHHHHH", "aaaaaaaa", "FFFFFFFF", "P......."), (0, 0, 1, 1), 0, 3),
        (("........", "aaaaaaaa", "PPPPPPPP"), (0, 0, 1), 2, 2),
    ],
)
def test_a_block_that_is_back_is_free_memory(blocks, zone_of, marks, bound):
    """Its free huge pages have dissolved, its used ones are elsewhere, marks are shared anew."""
    zones = (("Normal", 0), ("Movable", 0))[: max(zone_of) + 1]
    machine = Layout(blocks, zone_of, zones, movable=False).build().machine
    setup_watermarks(machine.zones, min_nr_pages=marks)
    report = serve(machine, RequestOptions(block_nr_pages=SIZE, strategy="plan", nr_tries=4))
    assert (report.bound, report.obtained) == (bound, bound)


def test_watermarks_are_kept_for_all_that_go_together():
    """They shrink as memory goes, but not before."""
    memory = describe_machine("scenario:128MiB,anon=60%", seed=0)
    machine = prepare(memory, RequestOptions(), contents="none").machine
    report = serve(machine, RequestOptions(block_nr_pages=2048, strategy="plan", count=16))
    assert (report.certain, report.obtained, report.bound) == (5, 5, 5)


@pytest.mark.parametrize("nr_pages", [3 * SIZE, 6 * SIZE, 64 * SIZE])
def test_a_size_that_no_memory_block_has_is_refused(nr_pages):
    machine = Drawn(FREE, FREE, FREE, FREE, FREE, FREE).machine
    with pytest.raises(PinpageError, match=f"block_nr_pages={nr_pages}: give a power of two"):
        serve(machine, RequestOptions(block_nr_pages=nr_pages))
    assert machine.hotplug.blocks.nr_pages != nr_pages


def test_a_block_that_stayed_is_asked_for_again_after_a_pause():
    """The pin that is in its way goes meanwhile."""
    world = pinned()

    def begins(_name, nr_done, _of):
        if nr_done:
            world.machine.refs.put_page(0)

    asked = options(block=0, nr_tries=2, nr_retries=3, pause_ns=7_000_000, advance=begins)
    report = serve(world.machine, asked)
    assert outcome(report) == [("block 0", "EBUSY"), ("block 0", "OK")]
    assert report.steps_ns["wait"] >= 7_000_000
    assert sum(report.steps_ns.values()) == report.modelled_ns


def pinned():
    world = Drawn("aa......", FREE, FREE, FREE)
    world.machine.refs.get_page(0)
    return world


@pytest.mark.parametrize(
    ("retry", "errno", "nr_rounds"),
    [({}, "EINTR", None), ({"nr_tries": 7}, "EBUSY", 7), ({"timeout_ns": 10**6}, "EINTR", None)],
)
def test_a_pinned_page_ends_the_attempt_and_not_the_request(retry, errno, nr_rounds):
    report = serve(pinned().machine, options(**retry))
    assert outcome(report) == [("block 0", errno), ("block 1", "OK")]
    assert report.attempts[0].refused == {"unaccounted": 1}
    assert not report.partial
    if nr_rounds is None:
        limit = retry.get("timeout_ns", USUAL_TIMEOUT_NS)
        assert limit <= report.attempts[0].modelled_ns < limit * 1.1
    else:
        assert report.details["rounds"] == nr_rounds + 1


def test_whoever_interrupts_ends_the_request():
    world, nr_asked = pinned(), 0

    def interrupted():
        nonlocal nr_asked
        nr_asked += 1
        return nr_asked > 2

    report = serve(world.machine, options(interrupted=interrupted))
    assert report.partial
    assert outcome(report) == [("block 0", "EINTR")]
    world.machine.check()


def test_by_plan_nothing_moves_in_vain():
    report = serve(pinned().machine, options(strategy="plan"))
    assert outcome(report) == [("block 0", "EBUSY"), ("block 1", "OK")]
    assert report.attempts[0].pages_moved == 0
    assert report.refused == {"unaccounted": 1}
    assert (report.bound, report.obtained) == (1, 1)


def test_movable_memory_comes_back_as_movable():
    world = Drawn(FREE, FREE, FREE, FREE)
    machine = world.machine
    machine.hotplug.blocks.nr_pages = BLOCK
    machine.hotplug.offline(1, machine.design)
    machine.hotplug.online(1, kind="movable")
    assert serve(machine, options()).obtained == 2
    kinds = [machine.zones[machine.frames.zone[pfn]].kind for pfn in (0, BLOCK)]
    assert kinds == [ZoneKind.NORMAL, ZoneKind.MOVABLE]


# As recorded.

ERRNO = {0: "OK", -4: "EINTR", -16: "EBUSY", -22: "EINVAL"}
NAMES = [
    f"{name}-offline-seed{seed}"
    for name, seed in (
        ("anon", 1), ("anon-movable", 1), ("gup05", 1), ("gup2", 2), ("slab", 1), ("z3fold", 1),
        ("zbud", 2), ("zbud-movable", 1), ("zram", 1), ("zsmalloc", 2),
    )
]  # fmt: skip
"""One or two of each kind; `pinpage fidelity` takes all of them."""
OFF_BY_ONE = {"zram-offline-seed1": (6, 5)}
"""Block 4: by then the kernel had put the page_ext of a block that came back into it."""


def recorded(name):
    snapshot = opened(name)
    if snapshot is None:
        pytest.skip(f"{name}.npz is not in {BESIDE.parent.name}/{BESIDE.name} beside the checkout")
    return snapshot


@pytest.mark.parametrize("name", NAMES)
def test_the_same_blocks_go_as_in_linux(name):
    snapshot = recorded(name)
    report = run_request("offline", snapshot, options_of_kernel(snapshot), contents="none")
    steps = snapshot.measured.steps
    measured = [ERRNO[steps[f"offline{block}"]["rc"]] for block in range(8)]
    predicted = [attempt.errno for attempt in report.attempts]
    if name in OFF_BY_ONE:
        assert (report.obtained, measured.count("OK")) == OFF_BY_ONE[name]
        assert sum(p != m for p, m in zip(predicted, measured, strict=True)) == 1
        return
    assert predicted == measured
    assert report.obtained == measured.count("OK")


@pytest.mark.parametrize(
    ("name", "holder", "reason"),
    [("gup05-offline-seed1", "home", "unaccounted"), ("slab-offline-seed1", "unknown", "no_owner")],
)
def test_by_plan_the_verdict_needs_no_move_where_linux_moved_and_failed(name, holder, reason):
    snapshot = recorded(name)
    options = RequestOptions(design="unmovable", strategy="plan")
    report = run_request("offline", snapshot, options, contents="none")
    assert (report.obtained, report.pages_moved) == (0, 0)
    assert report.refused_by_owner[holder][reason] > 1000
    if name.startswith("gup"):
        assert snapshot.measured.pgmigrate_success > 100_000
