"""A registry over a memory of a few frames, with owners that follow a script.

The registry and the move are the library's own.  The memory is `pinpage.testing.world.World`:
strict where a real one would only pay later.
"""

import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

from pinpage.errors import require
from pinpage.migrate import move_steps
from pinpage.owner import Mode, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.explore import Actor, Scenario, Until
from pinpage.testing.scripted import Entry, ScriptedOwner
from pinpage.testing.stepping import in_steps, stop_here
from pinpage.testing.world import World, WorldTargets, column
from pinpage.topology import Topology

__all__ = ["NR_FRAMES", "Bench", "Finish"]

NR_FRAMES = 5

Finish = Callable[[], object]
"""Looks at the end whether all is well; raises if not."""


def _nothing() -> None:
    return None


class Bench:
    """A world of five frames, fresh for each schedule.

    Attributes:
        world: the memory.
        registry: over it.
        owners: whose pins have to be where they believe, in the end.
        reasons: name of a mover -> what became of its frames.
    """

    def __init__(self, nr_frames: int = NR_FRAMES) -> None:
        """All frames free."""
        self.world = World(nr_frames)
        self.registry = PinRegistry(Topology.uniform(nr_frames=nr_frames))
        self.owners: list[ScriptedOwner] = []
        self.reasons: dict[str, list[Reason]] = {}
        self._thread = threading.get_ident()

    def owner(self, name: str, *, strict: bool = True, **script: list[Entry]) -> ScriptedOwner:
        """One that follows a script (`pinpage.testing.scripted`).

        Args:
            name: of the owner.
            strict: it complains of calls about pages that it has let go.
            script: callback -> what each call of it does.
        """
        return self.scripted(name, script, strict=strict)

    def scripted(
        self, name: str, script: Mapping[str, list[Entry]], *, strict: bool = True
    ) -> ScriptedOwner:
        """`owner`, with the script as one value; arguments alike.

        Args:
            name, script, strict: see there.
        """
        owner = ScriptedOwner(name, self.world, self.registry, strict=strict, **script)
        self.owners.append(owner)
        return owner

    def scenario(self, finish: Finish = _nothing, **actors: Actor) -> Scenario:
        """For the explorer: memory is checked after every step, everything at the end.

        Args:
            finish: what else has to be true in the end.
            actors: by name.
        """

        def at_the_end() -> None:
            self.at_rest()
            finish()

        return Scenario(actors, check=self.world.check, finish=at_the_end)

    def at_rest(self) -> None:
        """What must hold when everybody is done, whatever the schedule."""
        require(not self.world.taken, "a frame was left taken (M6)")
        require(not self.world.in_flight, "a target was left in flight")
        for owner in self.owners:
            require(not owner.quiet, "an owner was left quiet", owner=owner.name)
            for private, pfn in owner.place.items():
                pins = [(pin.owner, pin.private) for pin in self.registry.pins(pfn)]
                is_there = (owner, private) in pins
                require(is_there, "a pin is not where its owner is", owner=owner.name, pfn=pfn)
        nr_pins = sum(len(owner.place) for owner in self.owners)
        require(len(self.registry) == nr_pins, "a pin is left that nobody has")
        self.registry.check()

    # Actors.

    def mover(self, *sources: int, name: str = "mover") -> Actor:
        """Moves frames; what became of them is in `reasons[name]`.

        Args:
            sources: the frames.
            name: of the mover.
        """
        targets = WorldTargets(self.world)
        report = yield from move_steps(
            self.registry, self.world, column(*sources), targets, Mode.SYNC
        )
        self.reasons[name] = [Reason(int(reason)) for reason in report.reasons]

    def letting_go(self, owner: ScriptedOwner, private: Any) -> Generator[str, None, None]:
        """Unpins, then drops its reference.

        Args:
            owner: who.
            private: its name for the page.
        """
        owner.unpin(private)
        yield f"unpins {private}"
        owner.drop(private)

    def joining(self, owner: ScriptedOwner, private: Any, pfn: int) -> Actor:
        """Takes a reference of a page, then pins it: waits for a move of it to end.

        Args:
            owner: who.
            private: its name for the page.
            pfn: where the page was when it was looked up.
        """

        def join() -> None:
            if not self.world.get_page(pfn):
                return  # the page has gone elsewhere: the newcomer looks it up again
            owner.place[private] = pfn
            stop_here("takes a reference")
            while self.registry.pin(pfn, owner, private) is Verdict.AGAIN:
                stop_here("is told Again")
            is_marked = self.registry.marks.marked_by(column(pfn), self._thread)
            require(not is_marked.any(), "a pin joined a frame under move", pfn=pfn)

        return in_steps(join)

    def writing(self, owner: ScriptedOwner, private: Any, contents: int) -> Actor:
        """Writes through an owner as soon as no mover has the page.

        Args:
            owner: whose page.
            private: its name for the page.
            contents: what it holds then.
        """
        while private in owner.quiet:
            yield Until(lambda: private not in owner.quiet, "the mover lets go")
        owner.write(private, contents)
        yield "writes"
