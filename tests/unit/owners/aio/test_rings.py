"""Completion rings: real bytes in real pages, which move while events come in."""

import pytest

from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.aio.ring_format import IoEvent, RingHeader, event_place, nr_ring_events, nr_ring_pages
from owners.aio.rings import AioRings
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Pin, Reason, Verdict
from tests.kit.owners.driver_world import DriverWorld


@pytest.fixture
def world():
    return DriverWorld()


@pytest.fixture
def rings(world):
    return AioRings(world.machine, registry=world.registry)


def event(number):
    return IoEvent(data=number, obj=0xFFFF_8880_0000_0000 + number, res=-number, res2=number * 3)


def pin_of(world, rings, ctx_id, index):
    return world.registry.pins(rings.pages_of(ctx_id)[index])[0]


def test_the_ring_lies_in_its_pages_as_the_abi_says(world, rings):
    ctx_id = rings.setup(200)
    pages = rings.pages_of(ctx_id)
    assert len(pages) == 2
    for number in range(130):
        assert rings.complete(ctx_id, event(number)) == Errno.OK
    header = RingHeader.unpack(world.contents.read(pages[0], 0, 32))
    assert header == (ctx_id, 255, 0, 130, 0xA10A10A1, 1, 0, 32)
    assert IoEvent.unpack(world.contents.read(pages[0], 4064, 32)) == event(126)
    assert IoEvent.unpack(world.contents.read(pages[1], 64, 32)) == event(129)


def test_events_are_read_in_order_and_the_ring_goes_round(rings):
    ctx_id = rings.setup(100)
    done = 0
    for number in range(0, 400, 80):
        for n in range(number, number + 80):
            assert rings.complete(ctx_id, event(n)) == Errno.OK
        while events := rings.get_events(ctx_id, 33):
            assert events == [event(n) for n in range(done, done + len(events))]
            done += len(events)
        rings.check()
    assert done == 400


def test_a_full_ring_says_again_and_loses_nothing(rings):
    ctx_id = rings.setup(1)
    verdicts = [rings.complete(ctx_id, event(n)) for n in range(128)]
    assert verdicts == [Errno.OK] * 126 + [Errno.EAGAIN] * 2
    assert rings.get_events(ctx_id, 999) == [event(n) for n in range(126)]


def test_deferred_events_count_as_room_taken(world, rings):
    ctx_id = rings.setup(1)
    for n in range(120):
        rings.complete(ctx_id, event(n))
    rings.get_events(ctx_id, 10)
    pin = pin_of(world, rings, ctx_id, 0)
    rings.isolate(pin, Mode.SYNC)
    verdicts = [rings.complete(ctx_id, event(n)) for n in range(120, 138)]
    assert verdicts == [Errno.OK] * 16 + [Errno.EAGAIN] * 2
    rings.putback(pin)
    assert rings.get_events(ctx_id, 999) == [event(n) for n in range(10, 136)]


def test_a_completion_while_isolated_touches_no_page_and_is_not_lost(world, rings):
    ctx_id = rings.setup(200)
    rings.complete(ctx_id, event(0))
    first, second = rings.pages_of(ctx_id)
    pin = pin_of(world, rings, ctx_id, 0)
    assert rings.isolate(pin, Mode.ASYNC) is Verdict.YES
    before = world.contents.read(first), world.contents.read(second)
    for n in range(1, 200):
        assert rings.complete(ctx_id, event(n)) == Errno.OK
    assert (world.contents.read(first), world.contents.read(second)) == before
    assert rings.get_events(ctx_id, 5) == Errno.EAGAIN
    rings.putback(pin)
    assert rings.get_events(ctx_id, 999) == [event(n) for n in range(200)]
    rings.check()


def test_only_a_completion_that_needs_the_page_is_deferred(world, rings):
    ctx_id = rings.setup(200)
    pin = pin_of(world, rings, ctx_id, 1)
    rings.isolate(pin, Mode.SYNC)
    for n in range(130):
        rings.complete(ctx_id, event(n))
    header = RingHeader.unpack(world.contents.read(rings.pages_of(ctx_id)[0], 0, 32))
    assert header.tail == 127
    rings.putback(pin)
    assert rings.get_events(ctx_id, 999) == [event(n) for n in range(130)]


def test_an_event_for_another_page_waits_for_the_tail_word(world, rings):
    ctx_id = rings.setup(200)
    for n in range(130):
        rings.complete(ctx_id, event(n))
    pin = pin_of(world, rings, ctx_id, 0)
    rings.isolate(pin, Mode.SYNC)
    before = [world.contents.read(pfn) for pfn in rings.pages_of(ctx_id)]
    rings.complete(ctx_id, event(130))
    assert [world.contents.read(pfn) for pfn in rings.pages_of(ctx_id)] == before
    rings.migrate(pin, pin.pfn)
    assert rings.get_events(ctx_id, 999) == [event(n) for n in range(131)]


def test_pages_move_with_events_unread(world, rings):
    ctx_id = rings.setup(300)
    for n in range(300):
        rings.complete(ctx_id, event(n))
    old = rings.pages_of(ctx_id)
    assert world.move(*old) == [Reason.MOVED] * 3
    assert not set(old) & set(rings.pages_of(ctx_id))
    assert rings.get_events(ctx_id, 999) == [event(n) for n in range(300)]
    rings.check()
    world.check()


def test_a_reader_in_the_ring_is_again_in_every_mode(world, rings):
    ctx_id = rings.setup(10)
    rings.complete(ctx_id, event(1))
    reading = rings.read_steps(ctx_id, 10)
    next(reading)
    pin = pin_of(world, rings, ctx_id, 0)
    assert {rings.isolate(pin, mode) for mode in Mode} == {Verdict.AGAIN}
    assert rings.get_events(ctx_id, 10) == Errno.EAGAIN
    assert rings.destroy(ctx_id) == Errno.EAGAIN
    reading.close()  # a reader that is killed lets go of the mutex
    assert rings.isolate(pin, Mode.SYNC) is Verdict.YES


def test_a_context_that_is_gone_refuses_for_good(world, rings):
    ctx_id = rings.setup(10)
    pin = pin_of(world, rings, ctx_id, 0)
    assert rings.destroy(ctx_id) == Errno.OK
    assert rings.isolate(pin, Mode.SYNC) is Verdict.BUSY
    rings.migrate(pin, 9)
    rings.putback(pin)
    assert rings.destroy(ctx_id) == Errno.EINVAL
    assert rings.complete(ctx_id, event(1)) == Errno.EINVAL
    assert rings.get_events(ctx_id, 1) == Errno.EINVAL
    assert rings.pages_of(ctx_id) == ()
    assert world.nr_free == 64


def test_a_page_that_is_not_at_its_index_is_again(world, rings):
    ctx_id = rings.setup(200)
    pin = pin_of(world, rings, ctx_id, 1)
    elsewhere = Pin(rings.pages_of(ctx_id)[0], rings, pin.private)
    assert rings.isolate(elsewhere, Mode.SYNC) is Verdict.AGAIN
    assert rings.isolate(pin, Mode.SYNC) is Verdict.YES


def test_rings_of_several_contexts_do_not_mix(world, rings):
    a, b = rings.setup(10), rings.setup(10)
    rings.complete(a, event(1))
    rings.complete(b, event(2))
    world.move(*rings.pages_of(a))
    assert (rings.get_events(a, 9), rings.get_events(b, 9)) == ([event(1)], [event(2)])


def test_setup_that_runs_out_of_memory_gives_everything_back(world, rings):
    held = [world.machine.alloc_page(Gfp.KERNEL) for _ in range(63)]
    assert rings.setup(200) == Errno.ENOMEM
    assert (world.nr_free, len(world.registry)) == (1, 0)
    assert rings.setup(10) > 0
    assert len(held) == 63


def test_setup_refuses_what_makes_no_ring(rings):
    for nr_events in (0, -3, 1 << 40):
        with pytest.raises(PinpageError, match="nr_events"):
            rings.setup(nr_events)


def test_without_a_registry_nothing_is_pinned(world):
    rings = AioRings(world.machine)
    ctx_id = rings.setup(10)
    rings.complete(ctx_id, event(1))
    assert world.move(*rings.pages_of(ctx_id)) == [Reason.NO_OWNER]
    assert rings.get_events(ctx_id, 1) == [event(1)]
    assert rings.destroy(ctx_id) == Errno.OK
    assert world.nr_free == 64


@pytest.mark.parametrize(
    ("offset", "what"), [(0, "AR1"), (4, "AR1"), (12, "AR1"), (8, "AR2"), (16, "AR2")]
)
def test_a_header_that_was_scribbled_on_is_noticed(world, rings, offset, what):
    ctx_id = rings.setup(10)
    world.contents.write(rings.pages_of(ctx_id)[0], b"\xff\x77\x00\x00", offset)
    with pytest.raises(InvariantError, match=what):
        rings.check()


def test_events_left_beside_a_whole_ring_are_noticed(rings):
    ctx_id = rings.setup(10)
    rings._contexts[ctx_id].deferred.append(event(1))
    with pytest.raises(InvariantError, match="AR3"):
        rings.check()


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_compaction_gathers_the_rings_of_many_contexts(world, rings, strategy):
    made = []

    def one_more():
        ctx_id = rings.setup(4)
        if ctx_id > 0:
            made.append(ctx_id)
            rings.complete(ctx_id, event(ctx_id))
        return ctx_id > 0

    world.scatter(one_more)
    world.machine.compact(strategy)
    assert world.machine.buddy.wholly_free().sum() == 8 - -(-len(made) // 8)
    assert [rings.get_events(c, 9) for c in made] == [[event(c)] for c in made]
    rings.check()
    world.check()


def test_every_slot_has_a_place_of_its_own():
    for nr_pages in (1, 2, 3):
        places = {event_place(slot) for slot in range(nr_ring_events(nr_pages))}
        assert len(places) == nr_ring_events(nr_pages)
        assert max(places) == (nr_pages - 1, 4064)
        assert (0, 0) not in places
    for nr_events in range(1, 600):
        assert nr_ring_events(nr_ring_pages(nr_events)) - 1 >= nr_events
