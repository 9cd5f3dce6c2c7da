"""What the race tests share: a small world, its owners, and actors for the explorer."""

from pinpage.migrate import move_steps
from pinpage.owner import Mode, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.explore import Scenario, Until
from pinpage.testing.scripted import ScriptedOwner
from pinpage.testing.world import World, WorldTargets, column
from pinpage.topology import Topology
from tests.kit import inside

NR_FRAMES = 5


class Bench:
    """A world of five frames, fresh for each schedule."""

    def __init__(self, nr_frames=NR_FRAMES):
        self.world = World(nr_frames)
        self.registry = PinRegistry(Topology.uniform(nr_frames=nr_frames))
        self.owners = []
        self.reasons = {}
        self.nr_moves_running = 0

    def owner(self, name, **script):
        owner = ScriptedOwner(name, self.world, self.registry, **script)
        self.owners.append(owner)
        return owner

    def scenario(self, finish=lambda: None, **actors):
        return Scenario(actors, check=self.world.check, finish=lambda: (self.at_rest(), finish()))

    def at_rest(self):
        """What must hold when everybody is done, whatever the schedule."""
        assert not self.world.taken, "a frame was left taken (M6)"
        assert not self.world.in_flight, "a target was left in flight"
        for owner in self.owners:
            assert not owner.quiet, f"{owner.name} was left quiet"
            for private, pfn in owner.place.items():
                pins = [(pin.owner, pin.private) for pin in self.registry.pins(pfn)]
                assert (owner, private) in pins, f"the pin of {owner.name} is not where it is"
        nr_pins = sum(len(owner.place) for owner in self.owners)
        assert len(self.registry) == nr_pins, "a pin is left that nobody has"
        self.registry.check()

    def until_unmarked(self, pfn):
        """For an actor that was told to pin again later."""
        shard = inside.nodes(self.registry).shard_of(pfn)
        return Until(lambda: pfn not in shard.moving, f"{pfn} is not under move")

    # Actors.

    def mover(self, *sources, name="mover"):
        """Moves frames; what became of them is in `reasons[name]`."""
        targets = WorldTargets(self.world)
        report = yield from move_steps(
            self.registry, self.world, column(*sources), targets, Mode.SYNC
        )
        self.reasons[name] = [Reason(int(reason)) for reason in report.reasons]

    def letting_go(self, owner, private):
        """Unpins, then drops its reference."""
        owner.unpin(private)
        yield f"unpins {private}"
        owner.drop(private)

    def pinning(self, owner, private, pfn):
        """Takes a reference, then pins: both as soon as the frame lets it."""
        while not self.world.get_page(pfn):
            yield Until(lambda: self.world.refcount[pfn] and pfn not in self.world.frozen, "thawed")
        yield f"references {pfn}"
        while self.registry.pin(pfn, owner, private, wait=False) is Verdict.AGAIN:
            yield self.until_unmarked(pfn)
        owner.place[private] = pfn
        yield f"pins {pfn}"
