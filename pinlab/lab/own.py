"""One's own owner in somebody's machine: it takes over frames and answers for them.

The factory is the one that `pinpage check` tries: it gets a lab and returns a subject.  Here the
lab is over the machine, and the first pages that it gives out are the frames to be taken over,
in order of pfn.  The subject is given things to keep until it has them all; from then on the
lab's pages are the machine's own.  In the end everything is read back through the subject.

    holds     things of 8 bytes, each another one
    ticks     every ms of simulated time, if the subject has a `tick`
    loses     what it does not read back, or reads otherwise; one that can release may forget

Under a design that asks nobody the owner has a registry of its own, in which nobody looks.

Ignores: which frames (`pinlab.snapshot.labels`), and who asks (the design).
Kernel counterpart: none.
Cost: about 20 us per frame taken over.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np
from attrs import field, frozen

from mm.machine import Machine
from mm.state.gfp import Gfp
from pinlab.lab.find import load_factory
from pinlab.lab.machine import MachineLab, WatchedPages
from pinlab.replay.read_back import ReadBack
from pinpage.errors import PinpageError
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.testing.conformance.escape import is_users, what_it_says
from pinpage.testing.conformance.lab import DATA_NR_BYTES, Factory, Subject
from pinpage.topology import Topology
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["TICK_NS", "OwnOwner", "OwnSubject", "TakenOver"]

_T = TypeVar("_T")
TICK_NS = 1_000_000
"""Between two ticks."""
_MOST_THINGS_PER_PAGE = PAGE_SIZE // DATA_NR_BYTES
_RANK = 1 << 20
"""A turn behind everybody else's."""


@frozen
class OwnOwner:
    """An owner of one's own, and the frames that it is to have.

    Attributes:
        name: as it was named, for messages: MODULE:OWNER.
        label: whose frames it takes over; None: those of the only label.
        factory: makes it.
    """

    name: str
    label: str | None = field()
    factory: Factory = field(repr=False)

    @classmethod
    def named(cls, text: str) -> "OwnOwner":
        """From MODULE:OWNER, or LABEL=MODULE:OWNER where there are several labels.

        Raises:
            PinpageError: see `load_factory`.
        """
        label, equals, target = text.partition("=")
        target = target if equals else text
        return cls(target, label if equals else None, load_factory(target))

    def take_over(
        self, machine: Machine, registry: PinRegistry | None, pfns: Pfns, seed: int
    ) -> "TakenOver":
        """Make the owner and give it these frames.

        Args:
            machine: as recorded.
            registry: the one that the design asks; None where it asks nobody.
            pfns: used frames with one reference each, ascending.
            seed: of the things that it is to keep.

        Raises:
            PinpageError: it is no owner, fails, or does not take them all; names the hook.
        """
        lab = _GivingLab(machine, registry, pfns)
        own = OwnSubject(self.name, self.factory, lab)
        taken = TakenOver(own, np.random.default_rng([seed, *b"own"]))
        taken.fill(lab)
        own.tick_on(machine)
        return taken


class OwnSubject:
    """A subject of somebody's making, and the registry's view of what its owners hold.

    Attributes:
        subject: the hooks.
        registry: where it has registered.
        owners: those that it has registered.
    """

    def __init__(self, name: str, factory: Factory, lab: MachineLab) -> None:
        """Make it.

        Args:
            name: for messages.
            factory: gets the lab.
            lab: where it lives.

        Raises:
            PinpageError: the factory fails, or returns no subject.
        """
        self._name = name
        before = set(lab.registry.owners)
        self.subject: Subject = self._called("factory", lambda: factory(lab))
        if not isinstance(getattr(self.subject, "owner", None), PinOwner):
            raise PinpageError(f"{name} makes no Subject: it must have an `owner`, a PinOwner")
        self.registry = lab.registry
        self.owners = tuple(owner for owner in self.registry.owners if owner not in before)

    @property
    def can_forget(self) -> bool:
        """Whether what it keeps may be gone: it can release."""
        return any(owner.can_release for owner in self.owners)

    def hold(self, data: bytes) -> Hashable | None:
        """Have it keep `data`; None: not now."""
        return self._called("hold", lambda: self.subject.hold(data))

    def read(self, key: Hashable) -> bytes | None:
        """What it has under `key`."""
        data: bytes | None = self._called("read", lambda: self.subject.read(key))
        return None if data is None else bytes(data[:DATA_NR_BYTES])

    def write(self, key: Hashable, data: bytes) -> bool:
        """Have it keep `data` instead.

        Args:
            key: that `hold` gave.
            data: 8 bytes.
        """
        return bool(self._called("write", lambda: self.subject.write(key, data)))

    def let_go(self, key: Hashable) -> bool:
        """Have it forget."""
        return bool(self._called("let_go", lambda: self.subject.let_go(key)))

    def tick(self) -> None:
        """Let happen what happens by itself."""
        self._called("tick", self.subject.tick)

    def tick_on(self, machine: Machine) -> None:
        """Tick every ms of that machine's time, if it has anything to do then."""
        if type(self.subject).tick is Subject.tick:
            return
        clock = machine.clock

        def turn() -> None:
            self.tick()
            clock.plan(clock.now_ns + TICK_NS, turn, _RANK)

        clock.plan(clock.now_ns + TICK_NS, turn, _RANK)

    def pfns(self) -> Pfns:
        """Frames on which its owners have pins, ascending, each once."""
        mine = set(map(id, self.owners))
        pins = self.registry.iter_pins(0, self.registry.topology.nr_frames)
        return np.unique(np.array([p.pfn for p in pins if id(p.owner) in mine], dtype=np.int64))

    def _called(self, hook: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except BaseException as error:  # an exit of theirs is no exit of ours
            if is_users(error):
                raise
            raise PinpageError(f"{self._name}: {hook}: {what_it_says(error)}") from error


class TakenOver:
    """An owner that has taken frames over, and what it was given to keep in them.

    Attributes:
        own: the subject.
        nr_frames: that it took over.
        nr_things: kept in them.
    """

    def __init__(self, own: OwnSubject, rng: np.random.Generator) -> None:
        """Nothing is kept yet.

        Args:
            own: the subject.
            rng: draws the things.
        """
        self.own = own
        self.nr_frames = 0
        self._rng = rng
        self._data: dict[Hashable, bytes] = {}

    @property
    def nr_things(self) -> int:
        """How many it was given."""
        return len(self._data)

    def fill(self, lab: "_GivingLab") -> None:
        """Give it things until no frame is left to be taken over.

        Raises:
            PinpageError: it takes no more, or keeps things and takes no page.
        """
        wanted, nr_idle = lab.nr_left, 0
        while lab.nr_left and nr_idle <= _MOST_THINGS_PER_PAGE:
            before, data = lab.nr_left, self._rng.bytes(DATA_NR_BYTES)
            key = self.own.hold(data)
            if key is None:
                break
            self._data[key] = data
            nr_idle = nr_idle + 1 if lab.nr_left == before else 0
        self.nr_frames = wanted - lab.nr_left
        if lab.nr_left:
            raise PinpageError(
                f"own: the owner took {self.nr_frames:,d} of {wanted:,d} frames and no more: "
                "label fewer, or let hold() allocate a page of the lab for what it keeps"
            )

    def read_back(self) -> ReadBack:
        """Everything, through the owner."""
        found, may_forget = ReadBack(), self.own.can_forget
        for key, data in self._data.items():
            kept = self.own.read(key)
            if kept is None and may_forget:
                continue
            same = kept == data
            found += ReadBack(DATA_NR_BYTES * same, DATA_NR_BYTES * (not same))
        return found

    def pfns(self) -> Pfns:
        """The owner's frames, as the registry has them."""
        return self.own.pfns()


class _GivingLab(MachineLab):
    """A lab that gives out certain frames first."""

    def __init__(self, machine: Machine, registry: PinRegistry | None, pfns: Pfns) -> None:
        nowhere = PinRegistry(Topology.uniform(nr_frames=machine.frames.nr_frames))
        super().__init__(machine, nowhere if registry is None else registry)
        self._left: list[int] = pfns[::-1].tolist()
        self.pages = _GivingPages(self)

    @property
    def nr_left(self) -> int:
        """Frames that nobody has asked for yet."""
        return len(self._left)

    def next_given(self) -> int:
        """The next of them."""
        return self._left.pop()


class _GivingPages(WatchedPages):
    def __init__(self, lab: _GivingLab) -> None:
        super().__init__(lab)
        self._giving = lab

    def alloc_pages(self, order: int, gfp: Gfp) -> int:
        if not self._giving.nr_left:
            return super().alloc_pages(order, gfp)
        return -1 if order else self._giving.next_given()
