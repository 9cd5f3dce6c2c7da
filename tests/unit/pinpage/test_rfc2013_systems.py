"""The second posting of 2013 by its worked trace (T11), and the same situations on the registry."""

import pytest

from pinpage.migrate import move_many
from pinpage.owner import Mode, Reason
from pinpage.registry import PinRegistry
from pinpage.rfc2013 import NOT_PINNED, KernelOopsError
from pinpage.rfc2013_systems import PinpageSubsystem, Rfc2013Subsystems
from pinpage.testing.scripted import ScriptedOwner
from pinpage.testing.world import World, WorldTargets, column
from pinpage.topology import Topology


def subsystems(*codes):
    """The list, its subsystems by age, and whom it called with what."""
    calls = []

    def calls_of(code):
        def migrate(system, pfn, target):
            calls.append((system.name, pfn, target))
            return code

        return migrate

    posted = Rfc2013Subsystems()
    made = [PinpageSubsystem("ABC"[at], calls_of(code)) for at, code in enumerate(codes)]
    for system in made:
        posted.create(system)
    return posted, made, calls


def scripted():
    """A world, its registry, and two owners of it."""
    world, registry = World(6), PinRegistry(Topology.uniform(nr_frames=6))
    owners = [ScriptedOwner(name, world, registry) for name in ("A", "B")]
    return world, registry, owners


def moved(world, registry, pfn):
    report = move_many(registry, world, column(pfn), WorldTargets(world), Mode.SYNC)
    return Reason(int(report.reasons[0]))


def test_t11_a_page_of_two_subsystems_is_an_assertion():
    posted, (first, second), calls = subsystems(0, 0)
    posted.add_page(first, 5)
    with pytest.raises(KernelOopsError, match="page 0x5 is a pinpage already"):
        posted.add_page(second, 5)
    posted.add_page(second, 6)
    assert posted.migrate_page(5, 9) == 0
    assert calls == [("A", 5, 9)]


def test_t11_on_the_registry_both_hold_it_and_both_are_asked():
    world, registry, (first, second) = scripted()
    pfn = first.keep("a", contents=7)
    second.share("b", pfn)
    assert moved(world, registry, pfn) is Reason.MOVED
    assert first.place["a"] == second.place["b"] != pfn
    assert first.read("a") == second.read("b") == 7


def test_t11_a_flagged_page_that_nobody_claims_counts_as_moved():
    posted, (first, _), calls = subsystems(0, 0)
    posted.add_page(first, 5)
    posted.destroy(first)
    assert posted.migrate_page(5, 9) == 0
    assert not calls


def test_t11_on_the_registry_a_page_that_nobody_claims_any_more_stays():
    world, registry, (first, _) = scripted()
    pfn = first.keep("a", contents=7)
    registry.unregister(first, force=True)
    assert moved(world, registry, pfn) is not Reason.MOVED
    assert world.read(pfn) == 7


def test_the_newest_subsystem_is_asked_first_and_each_in_turn():
    posted, (first, second, third), _ = subsystems(0, 0, 0)
    posted.add_page(first, 5)
    posted.add_page(third, 6)
    assert posted.find_system(6) is third
    assert posted.nr_probes == 1
    assert posted.find_system(5) is first
    assert posted.nr_probes == 4
    assert posted.find_system(7) is None
    assert not second.privates


def test_what_the_callback_says_comes_back_and_who_freed_a_page_is_not_called():
    posted, (owner,), calls = subsystems(-11)
    posted.add_page(owner, 5, private="key")
    assert posted.migrate_page(5, 9) == -11
    assert posted.migrate_page(5, 9, nr_references=1) == 0
    assert calls == [("A", 5, 9)]
    posted.del_page(owner, 5)
    assert posted.migrate_page(5, 9) == NOT_PINNED
    posted.add_page(owner, 5)
