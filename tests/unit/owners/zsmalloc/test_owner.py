"""A zsmalloc pool as an owner: what it answers, and what a real move makes of it."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mm.state.errno import Errno
from owners.pool.wait import read_when_still, write_when_still
from owners.zsmalloc.mapping import MapMode
from pinpage.errors import ContextError
from pinpage.move.steps import Step
from pinpage.owner import Mode, Pin, PinOwner, Reason, Verdict
from pinpage.testing.world import column
from tests.kit.owners.pool_world import noise
from tests.kit.owners.zs_world import ZsWorld

STRADDLING = 2400


def world_of(count=5, nr_bytes=STRADDLING, **kwargs):
    """A world with `count` objects, and what they hold."""
    world = ZsWorld(**kwargs)
    model = {world.new(data): data for data in (noise(n, nr_bytes) for n in range(count))}
    return world, model


def assert_intact(world, model):
    for handle, data in model.items():
        assert world.pool.read(handle, len(data)) == data


def pins_of(world, pfns):
    return [world.registry.pins(pfn)[0] for pfn in pfns.tolist()]


def test_pages_move_and_handles_do_not_change():
    world, model = world_of()
    before = world.pfns_of(*model)
    assert world.move(before) == [Reason.MOVED] * 3
    assert not set(world.pfns_of(*model)) & set(before)
    assert_intact(world, model)
    world.check()


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1), (1, 2), (2, 0), (2, 1, 0)])
def test_some_pages_of_one_zspage_move_in_one_batch(which):
    world, model = world_of()
    before = world.pfns_of(*model)
    assert set(world.move(before[list(which)])) == {Reason.MOVED}
    after = world.pfns_of(*model)
    assert [bool(a != b) for a, b in zip(before, after, strict=True)] == [
        k in which for k in range(3)
    ]
    assert_intact(world, model)
    world.check()


def test_each_page_has_one_reference_however_many_objects():
    world, model = world_of(count=4)
    pfns = world.pfns_of(*model)
    privates = np.array([pin.private for pin in pins_of(world, pfns)])
    assert world.pool.owner.references(pfns, privates).tolist() == [1, 1, 1]
    assert world.machine.frames.refcount[pfns].tolist() == [1, 1, 1]
    for handle in model:
        world.pool.free(handle)
    assert world.pool.owner.references(pfns, privates).tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", list(Mode))
def test_no_page_moves_while_any_object_of_its_zspage_is_mapped(mode):
    world, model = world_of(count=10)
    first = next(iter(model))
    mapping = world.pool.map(first, MapMode.RO)
    pfns = world.pfns_of(*model)
    assert world.move(pfns, mode) == [Reason.OWNER_AGAIN] * 3 + [Reason.MOVED] * 3
    assert world.pfns_of(first).tolist() == pfns[:3].tolist()
    world.pool.unmap(mapping)
    assert world.move(world.pfns_of(first), mode) == [Reason.MOVED] * 3
    assert_intact(world, model)
    world.check()


def test_a_view_over_a_refused_move_writes_where_it_says():
    world, model = world_of()
    for handle in model:
        mapping = world.pool.map(handle)
        world.move(world.pfns_of(handle))
        mapping.view[:5] = np.frombuffer(b"after", dtype=np.uint8)
        world.pool.unmap(mapping)
        model[handle] = b"after" + model[handle][5:]
    world.move(world.pfns_of(*model))
    assert_intact(world, model)


def test_objects_of_a_zspage_under_move_cannot_be_seen_and_others_can():
    world, model = world_of(count=10)
    first, *_, last = model
    seen = {}
    for step in world.steps(world.pfns_of(first)[1:2]):
        seen[step] = world.pool.map(first), world.pool.read(first, 1), world.pool.write(first, b"")
        other = world.pool.map(last)
        world.pool.unmap(other)
        if not isinstance(seen[step][0], Errno):
            world.pool.unmap(seen[step][0])
            seen[step] = "in place"
    refused = (Errno.EAGAIN,) * 3
    assert seen == {
        Step.LOOKUP: "in place", Step.TAKE: "in place", Step.ISOLATE: refused,
        Step.TARGET: refused, Step.FREEZE: refused, Step.COPY: refused, Step.MIGRATE: refused,
        Step.REKEY: "in place", Step.FREE: "in place",
    }  # fmt: skip
    assert_intact(world, model)
    world.check()


def test_new_objects_are_not_placed_on_pages_under_move():
    world, model = world_of(count=3)
    steps = world.steps(world.pfns_of(*model))
    while next(steps) is not Step.ISOLATE:
        pass
    new = world.new(noise(77, STRADDLING))
    assert world.zspage_of(new) != world.zspage_of(next(iter(model)))
    for _ in steps:
        pass
    model[new] = noise(77, STRADDLING)
    assert_intact(world, model)
    world.check()


STEPS = (Step.LOOKUP, Step.TAKE, Step.ISOLATE, Step.TARGET, Step.FREEZE, Step.COPY, Step.MIGRATE)


@pytest.mark.parametrize("at", [*STEPS, Step.REKEY, Step.FREE])
@pytest.mark.parametrize("which", [(0, 1, 2), (1,)])
def test_a_zspage_emptied_under_the_move_is_gone_when_it_ends(at, which):
    """The leak of 2019: freed between isolate and migrate, kept for ever."""
    world, model = world_of()
    bystander = world.new(noise(50, 4096))
    pfns = np.append(world.pfns_of(*model)[list(which)], world.pfns_of(bystander))
    steps, reached = world.steps(pfns), False
    for step in steps:
        if step is at:
            reached = True
            for handle in model:
                world.pool.free(handle)
    assert reached
    assert world.pool.pages_nr == 1
    assert world.pool.read(bystander, 4096) == noise(50, 4096)
    world.check()


@pytest.mark.parametrize("at", STEPS)
def test_a_zspage_emptied_before_the_move_is_called_off_is_gone_too(at):
    world, model = world_of()
    steps = world.steps(world.pfns_of(*model))
    while next(steps) is not at:
        pass
    for handle in model:
        world.pool.free(handle)
    steps.close()
    assert world.pool.pages_nr == 0
    world.check()


@pytest.mark.parametrize("at", STEPS)
def test_a_move_that_is_called_off_leaves_everything_as_it_was(at):
    world, model = world_of()
    before = world.pfns_of(*model)
    steps = world.steps(before)
    while next(steps) is not at:
        pass
    steps.close()
    assert world.pfns_of(*model).tolist() == before.tolist()
    assert_intact(world, model)
    world.check()
    assert world.move(before) == [Reason.MOVED] * 3


class Partner(PinOwner):
    """Shares frames with the pool, and says no, or breaks down."""

    def __init__(self, answer):
        self.answer = answer

    def references(self, pfns, privates):
        return np.zeros(len(pfns), dtype=np.int64)

    def isolate(self, pin, mode):
        return self.answer if isinstance(self.answer, Verdict) else Verdict.YES

    def migrate(self, pin, target):
        raise RuntimeError(self.answer)


@pytest.mark.parametrize("answer", [Verdict.AGAIN, Verdict.BUSY, "raises in migrate"])
def test_a_partner_that_does_not_go_along_keeps_the_page_where_it_is(answer):
    world, model = world_of()
    before = world.pfns_of(*model)
    partner = Partner(answer)
    world.registry.register(partner)
    world.registry.pin(int(before[1]), partner)
    reasons = world.move(before)
    assert [reason is Reason.MOVED for reason in reasons] == [True, False, True]
    assert world.pfns_of(*model)[1] == before[1]
    assert_intact(world, model)
    world.registry.unpin(int(before[1]), partner)
    if isinstance(answer, Verdict):
        world.check()
    world.pool.check()


def test_no_target_is_put_back():
    world, model = world_of()
    pfns = world.pfns_of(*model)
    reasons = world.move(pfns, limit=1)
    assert sorted(reasons) == [Reason.MOVED, Reason.NO_TARGET, Reason.NO_TARGET]
    assert_intact(world, model)
    world.check()
    assert not world.pool.zspages.moving.any()


def test_without_coverage_the_pages_are_known_and_stay():
    world, model = world_of(coverage="none")
    assert not world.pool.owner.can_migrate
    assert world.move(world.pfns_of(*model)) == [Reason.NO_CALLBACK] * 3
    pins = pins_of(world, world.pfns_of(*model))
    assert world.pool.owner.isolate(pins[0], Mode.SYNC) is Verdict.BUSY
    world.check()


def test_a_pin_that_outlived_its_page_is_not_mistaken_for_the_next():
    world, model = world_of()
    stale = pins_of(world, world.pfns_of(*model))
    for handle in model:
        world.pool.free(handle)
    new = world.new(noise(8, STRADDLING))
    assert world.zspage_of(new) == 0  # the id is in use again
    before = world.pfns_of(new)
    for pin in stale:
        assert world.pool.owner.isolate(pin, Mode.SYNC) is Verdict.AGAIN
        world.pool.owner.migrate(pin, 31)
        world.pool.owner.putback(pin)
    assert world.pfns_of(new).tolist() == before.tolist()
    world.check()


def test_the_batch_is_the_loop():
    one, model = world_of(count=15)
    many, _ = world_of(count=15)
    one.pool.map(next(iter(model)))
    many.pool.map(next(iter(model)))
    pfns = one.pfns_of(*model)
    pins = pins_of(one, pfns)
    privates = np.array([pin.private for pin in pins])
    verdicts = [one.pool.owner.isolate(pin, Mode.SYNC) for pin in pins]
    assert verdicts == many.pool.owner.isolate_many(pfns, privates, Mode.SYNC).tolist()
    assert verdicts == [Verdict.AGAIN] * 3 + [Verdict.YES] * 6
    targets = np.arange(100, 109)
    for pin in pins[:6]:
        one.pool.owner.putback(pin)
    many.pool.owner.putback_many(pfns[:6], privates[:6])
    for pin, target in zip(pins[6:], targets[6:].tolist(), strict=True):
        one.pool.owner.migrate(pin, target)
    many.pool.owner.migrate_many(pfns[6:], privates[6:], targets[6:])
    for world in (one, many):
        assert world.pool.zspages.pfns(2) == [106, 107, 108]
        assert not world.pool.zspages.moving.any()
    assert (one.pool.zspages.pfn == many.pool.zspages.pfn).all()


def under_move(world, handle):
    """A move of the object's pages that has copied them and stands still."""
    steps = world.steps(world.pfns_of(handle))
    while next(steps) is not Step.COPY:
        pass
    return steps


def test_a_wait_for_oneself_ends_at_once_with_a_sentence(monkeypatch):
    monkeypatch.setattr("owners.pool.wait.time.sleep", lambda _: pytest.fail("it waits"))
    world, model = world_of()
    handle = next(iter(model))
    steps = under_move(world, handle)
    with pytest.raises(ContextError, match="from within a move"):
        read_when_still(world.pool, handle, 10)
    with pytest.raises(ContextError, match="from within a move"):
        write_when_still(world.pool, handle, b"late")
    steps.close()
    assert read_when_still(world.pool, handle, 10) == model[handle][:10]


def test_a_wait_for_another_thread_ends_with_its_move():
    """Also where this thread has moved the same zspage before."""
    world, model = world_of()
    handle = next(iter(model))
    with ThreadPoolExecutor(1) as other, ThreadPoolExecutor(1) as reader:
        reader.submit(under_move, world, handle).result().close()
        steps = other.submit(under_move, world, handle).result()
        waiting = reader.submit(read_when_still, world.pool, handle, 10)
        time.sleep(0.01)
        assert not waiting.done()
        other.submit(steps.close).result()
        assert waiting.result(timeout=10) == model[handle][:10]


def test_a_pool_grown_from_within_a_move_leaves_the_marked_frame_alone():
    """A frame can be free, and still under the mark of the move that we are called from."""
    world, model = world_of(count=1, nr_bytes=4096)
    pfns = world.pfns_of(*model)
    world.registry.marks.begin_move(column(7))
    while (world.machine.frames.state[7] != 6) and world.pool.alloc(4096) > 0:
        pass
    world.registry.marks.end_move(column(7))
    assert not world.pool.holds(column(7))[0]
    assert world.pool.holds(pfns).all()
    world.check()


@pytest.mark.benchmark
def test_a_batch_of_512_costs_little_per_page():
    world, _ = world_of(count=300, nr_bytes=1700, nr_blocks=128)
    page_ids = world.pool.zspages.all_page_ids()[:512]
    pfns, privates = world.pool.zspages.pfns_of(page_ids), world.pool.zspages.privates(page_ids)
    owner = world.pool.owner
    start = time.perf_counter()
    for _ in range(20):
        owner.isolate_many(pfns, privates, Mode.SYNC)
        owner.migrate_many(pfns, privates, pfns)
    assert (time.perf_counter() - start) / 20 / len(pfns) < 3e-6


def test_pins_carry_the_key_of_their_page():
    world, model = world_of()
    pfns = world.pfns_of(*model)
    keys = world.pool.zspages.privates(world.pool.zspages.page_ids(0)).tolist()
    expected = [
        [Pin(pfn, world.pool.owner, key)] for pfn, key in zip(pfns.tolist(), keys, strict=True)
    ]
    assert [world.registry.pins(pfn) for pfn in pfns.tolist()] == expected
