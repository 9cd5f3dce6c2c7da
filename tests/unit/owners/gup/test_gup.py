"""get_user_pages: references, the two paths, fork, and what a move makes of each pinner."""

import numpy as np
import pytest

from mm.paging.shmem import shmem_create, shmem_getpage
from mm.state.errno import Errno
from mm.state.frames import GUP_PIN_COUNTING_BIAS, PageFlag
from owners.gup.flags import Foll, maybe_dma_pinned
from owners.gup.gup import Gup, GupStep
from owners.gup.pin_references import IgnoresMoves, Pinner
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Reason, Verdict
from tests.kit.owners.gup_world import GupWorld, Stubborn


@pytest.fixture
def world():
    made = GupWorld()
    yield made
    made.check()


def refcount(world, space, vpn=0):
    return int(world.machine.frames.refcount[world.pfn(space, vpn)])


@pytest.mark.parametrize(("flags", "nr"), [(Foll.GET, 1), (Foll.PIN, GUP_PIN_COUNTING_BIAS)])
def test_a_pin_takes_its_references_and_gives_them_back(world, flags, nr):
    space, driver = world.process(3), world.pinner()
    got = world.gup.get_user_pages(space, 0, 3, driver, flags)
    assert got.value == 3
    assert got.error is Errno.OK
    assert driver.pfns_of(got.pins).tolist() == [world.pfn(space, vpn) for vpn in range(3)]
    assert [refcount(world, space, vpn) for vpn in range(3)] == [1 + nr] * 3
    world.check()
    world.gup.put_user_pages(driver, got.pins)
    assert [refcount(world, space, vpn) for vpn in range(3)] == [1] * 3
    assert len(world.registry) == 0


def test_pins_show_in_vmstat_and_plain_references_do_not(world):
    space, driver = world.process(2), world.pinner()
    pins = world.gup.get_user_pages(space, 0, 2, driver, Foll.PIN).pins
    other = world.gup.get_user_pages(space, 0, 1, driver, Foll.GET).pins
    world.gup.put_user_pages(driver, pins + other)
    counters = world.gup.counters
    assert (counters.nr_foll_pin_acquired, counters.nr_foll_pin_released) == (2, 2)


def test_maybe_dma_pinned_has_false_positives_and_no_false_negatives(world):
    space, driver = world.process(3), world.pinner()
    pfns = np.array([world.pfn(space, vpn) for vpn in range(3)])
    world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN)
    for _ in range(GUP_PIN_COUNTING_BIAS - 1):
        world.gup.get_user_pages(space, 1, 1, driver, Foll.GET)
    world.gup.get_user_pages(space, 2, 1, driver, Foll.GET)
    assert maybe_dma_pinned(world.machine.frames, pfns).tolist() == [True, True, False]


def test_a_frozen_count_is_what_it_stands_for(world):
    space, driver = world.process(1), world.pinner()
    world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN)
    pfns = np.array([world.pfn(space)])
    world.machine.mover.take(pfns)
    assert world.machine.mover.freeze(pfns, GUP_PIN_COUNTING_BIAS).all()
    assert maybe_dma_pinned(world.machine.frames, pfns).all()
    world.machine.mover.unfreeze(pfns)
    world.machine.mover.put(pfns)


def test_fast_where_the_page_is_there_slow_where_it_must_be_faulted_in(world):
    space, driver = world.memory.mmap("p", 2), world.pinner()
    world.memory.write(space, 0, b"x")
    got = world.gup.get_user_pages(space, 0, 2, driver, Foll.PIN | Foll.WRITE)
    assert got.value == 2
    assert (world.gup.counters.nr_fast, world.gup.counters.nr_slow) == (1, 1)


def test_fast_only_stops_at_the_first_page_that_is_not_there(world):
    space, driver = world.memory.mmap("p", 2), world.pinner()
    world.memory.write(space, 0, b"x")
    flags = Foll.GET | Foll.FAST_ONLY
    assert world.gup.get_user_pages(space, 0, 2, driver, flags).value == 1
    assert world.gup.get_user_pages(space, 1, 1, driver, flags).value == Errno.EAGAIN
    assert space.pte[1] == 0


def test_partial_success_counts_and_an_error_shows_only_if_there_is_nothing_else(world):
    space, driver = world.process(2), world.pinner()
    got = world.gup.get_user_pages(space, 1, 4, driver, Foll.GET)
    assert (got.value, got.error) == (1, Errno.EFAULT)
    assert world.gup.get_user_pages(space, 2, 4, driver, Foll.GET).value == Errno.EFAULT


def test_out_of_memory_half_way(world):
    space, driver = world.memory.mmap("p", 80), world.pinner()
    got = world.gup.get_user_pages(space, 0, 80, driver, Foll.GET)
    assert got.error is Errno.ENOMEM
    assert got.value == 64
    world.gup.put_user_pages(driver, got.pins)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Foll.WRITE, "exactly one of Foll.GET and Foll.PIN"),
        (Foll.GET | Foll.PIN, "exactly one of Foll.GET and Foll.PIN"),
        (Foll.GET | Foll.LONGTERM, "goes with Foll.PIN"),
    ],
)
def test_flags_that_exclude_each_other(world, flags, message):
    space, driver = world.process(1), world.pinner()
    with pytest.raises(PinpageError, match=message):
        world.gup.get_user_pages(space, 0, 1, driver, flags)
    with pytest.raises(PinpageError, match="nr_pages=0"):
        world.gup.get_user_pages(space, 0, 0, driver, Foll.GET)


def test_a_pin_is_dropped_once(world):
    space, driver = world.process(1), world.pinner()
    pins = world.gup.get_user_pages(space, 0, 1, driver, Foll.GET).pins
    world.gup.put_user_pages(driver, pins)
    with pytest.raises(PinpageError, match="pin 0 is not held"):
        world.gup.put_user_pages(driver, pins)


def test_a_page_outlives_its_process_as_long_as_it_is_pinned(world):
    space, driver = world.process(1), world.pinner()
    free = world.machine.buddy.nr_free() + world.machine.pcp.nr_pages
    (pin,) = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins
    pfn = world.pfn(space)
    world.memory.exit(space)
    assert world.machine.contents.read(pfn) == b"\x01" * 4096
    world.machine.check()
    world.gup.put_user_pages(driver, [pin])
    assert world.machine.buddy.nr_free() + world.machine.pcp.nr_pages == free + 1


def test_dirty_marks_what_a_device_has_written(world):
    space, driver = world.process(1), world.pinner()
    pins = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN | Foll.WRITE).pins
    pfns = np.array([world.pfn(space)])
    world.machine.frames.clear_flag(pfns, PageFlag.DIRTY)
    world.gup.put_user_pages(driver, pins, dirty=True)
    assert world.machine.frames.has_flag(pfns, PageFlag.DIRTY).all()


# Shared pages and fork.


def test_a_write_pin_of_a_shared_page_breaks_the_sharing_first(world):
    parent, driver = world.process(1), world.pinner()
    child = world.memory.fork(parent, "child")
    (pin,) = world.gup.get_user_pages(child, 0, 1, driver, Foll.GET | Foll.WRITE).pins
    assert world.pfn(child) == driver.pfn_of(pin) != world.pfn(parent)


@pytest.mark.parametrize(("flags", "is_shared"), [(Foll.GET, True), (Foll.PIN, False)])
def test_a_read_pin_unshares_and_a_plain_reference_does_not(world, flags, is_shared):
    parent, driver = world.process(1), world.pinner()
    child = world.memory.fork(parent, "child")
    world.gup.get_user_pages(child, 0, 1, driver, flags)
    assert (world.pfn(child) == world.pfn(parent)) is is_shared


def device_writes_after_fork_and_store(world, flags, fork):
    """A driver pins, the process forks and stores, the device writes; what the parent reads."""
    parent, driver = world.process(1), world.pinner()
    (pin,) = world.gup.get_user_pages(parent, 0, 1, driver, flags).pins
    fork(parent, "child")
    world.memory.write(parent, 0, b"store")
    world.machine.contents.write(driver.pfn_of(pin), b"DMA!!", 8)
    return world.memory.read(parent, 0)[:13]


def test_fork_copies_a_pinned_page_early_so_that_the_parent_keeps_it(world):
    for fork in (world.gup.fork, world.memory.fork):  # the public way out of mm, and ours on it
        seen = device_writes_after_fork_and_store(world, Foll.PIN | Foll.WRITE, fork)
        assert seen == b"store\x01\x01\x01DMA!!"
    assert world.gup.counters.nr_copied_early == 1


@pytest.mark.parametrize("flags", [Foll.GET, Foll.PIN])
def test_without_the_early_copy_the_parent_loses_what_the_device_writes(world, flags):
    """The bug that FOLL_PIN was made for, and why GET still has it."""

    def fork(parent, name):
        parent.has_pinned = False
        world.memory.fork(parent, name)

    seen = device_writes_after_fork_and_store(world, flags | Foll.WRITE, fork)
    assert seen == b"store" + b"\x01" * 8


def test_fork_leaves_pages_shared_that_nobody_pinned(world):
    parent, driver = world.process(3), world.pinner()
    world.gup.get_user_pages(parent, 1, 1, driver, Foll.PIN)
    child = world.gup.fork(parent, "child")
    assert [world.pfn(parent, v) == world.pfn(child, v) for v in range(3)] == [True, False, True]
    assert world.memory.read(child, 1) == b"\x02" * 4096


def test_fork_of_a_process_that_never_pinned_takes_no_notice_of_false_positives(world):
    parent = world.process(1)
    world.machine.refs.get_page(world.pfn(parent), GUP_PIN_COUNTING_BIAS)
    child = world.gup.fork(parent, "child")
    assert world.pfn(child) == world.pfn(parent)
    world.machine.refs.put_page(world.pfn(parent), GUP_PIN_COUNTING_BIAS)


def test_fork_without_memory_for_the_copies_undoes_itself(world):
    parent, driver = world.process(3), world.pinner()
    world.gup.get_user_pages(parent, 0, 3, driver, Foll.PIN)
    hog = world.memory.mmap("hog", 64)
    vpn = 0
    while world.memory.touch(hog, vpn) >= 0:
        vpn += 1
    world.memory.dontneed(hog, np.array([0]))
    assert world.gup.fork(parent, "child") is None
    assert world.memory.fork(parent, "child") is None
    assert [space.name for space in world.machine.rmap.spaces] == ["p", "hog"]
    assert world.gup.get_user_pages(parent, 0, 1, driver, Foll.PIN | Foll.FAST_ONLY).value == 1


def test_shared_memory_is_pinned_in_place():
    world = GupWorld()
    paging = world.machine.paging
    world.gup = Gup(world.machine, file_page=lambda f, i: shmem_getpage(paging, f, i))
    file, driver = shmem_create(paging, "shm", 2), world.pinner(handler=IgnoresMoves())
    got = world.gup.get_user_pages(file, 0, 2, driver, Foll.PIN | Foll.WRITE)
    assert got.value == 2
    before = world.pfn(file)
    assert world.move(before).reasons.tolist() == [Reason.MOVED]
    assert driver.pfn_of(got.pins[0]) == world.pfn(file) != before
    world.check()


def test_without_a_way_to_fault_files_in_there_is_no_such_address(world):
    file = shmem_create(world.machine.paging, "shm", 2)
    got = world.gup.get_user_pages(file, 0, 2, world.pinner(), Foll.GET)
    assert got.value == Errno.EFAULT


# What a move makes of each kind of pinner.


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unregistered", Reason.UNACCOUNTED),
        ("registered", Reason.NO_CALLBACK),
        ("callback", Reason.MOVED),
    ],
)
def test_compaction_and_the_three_kinds_of_pinner(world, kind, reason):
    space, hog = world.process(2), world.process(20)
    world.memory.dontneed(hog, np.arange(19))  # a block that is used in part: room for others
    handler = IgnoresMoves() if kind == "callback" else None
    driver = world.pinner(handler=handler, registered=kind != "unregistered")
    (pin,) = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins
    before = world.pfn(space)
    found = world.machine.mover.classify(
        np.array([before]), world.machine.design, Mode.SYNC
    ).reasons.tolist()
    assert found == [reason]
    world.machine.compact()
    assert (world.pfn(space) == before) is (reason is not Reason.MOVED)
    assert driver.pfn_of(pin) == world.pfn(space)
    assert world.memory.read(space, 0) == b"\x01" * 4096


def test_an_unregistered_pin_that_appears_late_costs_ten_passes(world):
    """Somebody takes a reference between the look and the move."""
    space, driver = world.process(1), world.pinner(registered=False)
    pfns, mover = np.array([world.pfn(space)]), world.machine.mover
    found = mover.classify(pfns, world.machine.design, Mode.SYNC)
    assert found.alone.all()
    world.gup.get_user_pages(space, 0, 1, driver, Foll.GET)
    before = world.machine.counters.pages_isolated
    late = mover.migrate(pfns, found.alone, NoTargets(), world.machine.design, Mode.SYNC)
    assert late.reasons.tolist() == [Reason.UNACCOUNTED]
    assert world.machine.counters.pages_isolated - before == 10


class NoTargets:
    """No target at all; never asked, for nothing gets that far."""

    def take(self, count):
        return np.empty(0, dtype=np.int64)

    def give_back(self, pfns):
        pass


def test_every_pinner_is_asked_and_each_is_told(world):
    space = world.process(1)
    first, second = Stubborn(), Stubborn()
    a, b = world.pinner("a", first), world.pinner("b", second)
    (pin_a,) = world.gup.get_user_pages(space, 0, 1, a, Foll.PIN).pins
    pins_b = [world.gup.get_user_pages(space, 0, 1, b, Foll.GET).pins[0] for _ in range(2)]
    assert world.move(world.pfn(space)).nr_moved == 1
    assert first.log == [("quiesce", pin_a), ("resume", pin_a)]
    assert sorted(second.log) == sorted((w, p) for w in ("quiesce", "resume") for p in pins_b)
    assert {a.pfn_of(pin_a), *map(b.pfn_of, pins_b)} == {world.pfn(space)}


def test_one_no_keeps_everybody_where_he_was(world):
    space = world.process(1)
    willing = Stubborn()
    a, b = world.pinner("a", willing), world.pinner("b", Stubborn(Verdict.BUSY))
    (pin_a,) = world.gup.get_user_pages(space, 0, 1, a, Foll.PIN).pins
    world.gup.get_user_pages(space, 0, 1, b, Foll.PIN)
    before = world.pfn(space)
    assert world.move(before).reasons.tolist() == [Reason.PARTNER_REFUSED]
    assert world.pfn(space) == a.pfn_of(pin_a) == before
    assert willing.log == [("quiesce", pin_a), ("resume", pin_a)]


def test_again_is_asked_again_within_ten_passes(world):
    space = world.process(1)
    slow = Stubborn(*[Verdict.AGAIN] * 9, Verdict.YES)
    driver = world.pinner("a", slow)
    world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN)
    assert world.move(world.pfn(space)).nr_moved == 1


def test_again_for_ever_is_given_up_after_ten_passes(world):
    space = world.process(1)
    never = Stubborn(Verdict.AGAIN)
    world.gup.get_user_pages(space, 0, 1, world.pinner("a", never), Foll.PIN)
    assert world.move(world.pfn(space)).reasons.tolist() == [Reason.OWNER_AGAIN]
    assert len(never.log) == 10


def test_a_handler_without_a_registry_is_a_mistake():
    with pytest.raises(PinpageError, match="needs a registry"):
        Pinner("driver", handler=IgnoresMoves())


def test_check_finds_a_pin_that_is_elsewhere(world):
    space, driver = world.process(1), world.pinner()
    (pin,) = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins
    real = driver._pfn[pin]
    driver._pfn[pin] = real ^ 1
    with pytest.raises(InvariantError, match="G1"):
        driver.check()
    driver._pfn[pin] = real
    driver._quiet.add(pin)
    with pytest.raises(InvariantError, match="G2"):
        driver.check()
    driver._quiet.clear()
    driver._nr_references[pin] = 2000
    with pytest.raises(InvariantError, match="G3"):
        world.gup.check([driver])
    driver._nr_references[pin] = GUP_PIN_COUNTING_BIAS


def test_while_a_move_has_the_frame_a_new_pin_waits_and_then_gives_up(world):
    space, driver = world.process(1), world.pinner()
    pfns = np.array([world.pfn(space)])
    world.registry.marks.begin_move(pfns)
    outcome = []

    def pinning():
        outcome.append((yield from world.gup.pin_steps(space, 0, driver, Foll.PIN)))

    names = list(pinning())
    assert outcome == [Errno.EAGAIN]
    assert names.count(GupStep.WAIT) == 10
    world.registry.marks.end_move(pfns)
    assert refcount(world, space) == 1
    assert world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).value == 1
