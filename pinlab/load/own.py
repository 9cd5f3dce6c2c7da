"""An owner of one's own in the mixed load, between everybody else's pages.

It is given things to keep, reads and writes them, lets some go, and has its `tick` called; what
it holds is what the registry says, so a page that it keeps without a pin is noticed as leaked.

Ignores: what it does with its pages.
Kernel counterpart: none.
Cost: of the owner's hooks.
"""

import functools
from collections.abc import Hashable, Iterator

import numpy as np

from pinlab.lab.machine import MachineLab
from pinlab.lab.own import OwnOwner, OwnSubject
from pinlab.load.mixed import WorkloadShare
from pinlab.load.workload import Action, Holding, LoadedMachine, Workload
from pinpage.registry import PinRegistry
from pinpage.testing.conformance.lab import DATA_NR_BYTES
from pinpage.topology import Topology

__all__ = ["OwnWorkload", "share_of"]

_LAST_TRIES = 16


def share_of(
    own: OwnOwner, *, name: str = "own", share: int = 10, per_second: int = 200
) -> WorkloadShare:
    """A row for `pinlab.load.mixed.run(also=...)`.

    Args:
        own: the owner.
        name: unique in the load.
        share: things that it keeps, in thousandths of the machine's pages.
        per_second: actions per simulated second, on average.
    """
    return WorkloadShare(name, share, per_second, functools.partial(OwnWorkload, own=own))


class OwnWorkload(Workload):
    """Somebody's owner, by the factory that `pinpage check` tries."""

    def __init__(
        self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int, own: OwnOwner
    ) -> None:
        """At most `nr_slots` things at a time.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
            own: the owner.

        Raises:
            PinpageError: the factory fails, or makes no subject.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        nobody = PinRegistry(Topology.uniform(nr_frames=world.nr_pages))
        self.registry = nobody if world.registry is None else world.registry
        lab = MachineLab(world.machine, self.registry)
        self.own = OwnSubject(own.name, own.factory, lab)
        self._things: list[tuple[Hashable, bytes] | None] = [None] * nr_slots

    def start(self) -> None:
        """Half full."""
        for slot in range(len(self._things) // 2):
            self._hold(slot)

    def actions(self) -> Iterator[Action]:
        """Keep, read, write and let go; time passes for its devices before each."""
        while True:
            which, slot = self.below(10), self.below(len(self._things))
            self.own.tick()
            if self._things[slot] is None:
                yield self.act("hold", done=self._hold(slot))
            elif which == 0:
                yield self.act("let_go", done=self._let_go(slot))
            elif which < 4:
                yield self.act("write", done=self._write(slot))
            else:
                yield self.act("read", done=self._read(slot))

    def _data(self) -> bytes:
        self.pages.nr_stored += 1
        return self.rng.bytes(DATA_NR_BYTES)

    def _hold(self, slot: int) -> bool:
        data = self._data()
        key = self.own.hold(data)
        if key is not None:
            self._things[slot] = (key, data)
        return key is not None

    def _write(self, slot: int) -> bool:
        key, _ = self._thing(slot)
        data = self._data()
        done = self.own.write(key, data)
        if done:
            self._things[slot] = (key, data)
        return done

    def _read(self, slot: int) -> bool:
        """Between two actions nothing moves, so "not now" is no answer but for who may forget."""
        key, data = self._thing(slot)
        kept = self.own.read(key)
        if kept is None and self.own.can_forget:
            self._things[slot] = None
            return False
        return self.pages.compare_with(data, kept)

    def _let_go(self, slot: int) -> bool:
        key, _ = self._thing(slot)
        done = self.own.let_go(key)
        if done:
            self._things[slot] = None
        return done

    def _thing(self, slot: int) -> tuple[Hashable, bytes]:
        thing = self._things[slot]
        assert thing is not None
        return thing

    def read_back(self) -> None:
        """Everything that it keeps."""
        for slot, thing in enumerate(self._things):
            if thing is not None:
                self._read(slot)

    def holdings(self) -> Iterator[Holding]:
        """What its pins account for."""
        for owner in self.own.owners:
            pins = [p for p in self.registry.iter_pins(0, self.world.nr_pages) if p.owner is owner]
            pfns = np.array([pin.pfn for pin in pins], dtype=np.int64)
            yield Holding(pfns, owner.references(pfns, [pin.private for pin in pins]))

    def let_go(self) -> None:
        """Everything; what is in use now is asked for again after a tick."""
        for _ in range(_LAST_TRIES):
            for slot, thing in enumerate(self._things):
                if thing is not None:
                    self._let_go(slot)
            self.own.tick()
