"""The small world that an owner under test lives in, and the hooks by which a suite drives it.

An owner comes to the kit as a *factory*: a callable that gets a `Lab` and returns a
`Subject`, the owner with a handful of hooks.  `WorldLab` is the lab that the kit brings: 16
frames of 8 bytes that one can look at.  An owner that needs more of a machine brings a lab
of its own (the factory's attribute `make_lab`), such as `pinlab.lab.machine.MachineLab`.

An owner that is content with a `PageLab` runs in each of them, and in a recorded machine.
"""

from collections.abc import Callable, Collection, Hashable, MutableMapping
from typing import Protocol

from pinpage.move.steps import Memory, TargetSource
from pinpage.owner import PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import World, WorldTargets
from pinpage.topology import Topology

__all__ = [
    "DATA_NR_BYTES",
    "Factory",
    "Lab",
    "Observer",
    "PageLab",
    "PageSubject",
    "Subject",
    "WorldLab",
]

DATA_NR_BYTES = 8
"""Bytes that a suite gives an owner to keep, every time."""

_NR_FRAMES = 16
_CELL = 16  # bytes of one frame's int, room for the sign of the poison

Observer = Callable[[int, str], None]
"""Called with the pfn and "reads", "writes" or "references" before an owner does that to a
frame, and with "allocates" when it has got one."""


class Lab(Protocol):
    """Memory with contents and reference counts, a registry, and a place to watch from.

    Attributes:
        registry: where the owner registers and pins.
        observer: to be called at every access that an owner makes through the lab; what is
            not told cannot be judged (a lab that is silent about allocations never finds C18).
    """

    observer: Observer

    @property
    def registry(self) -> PinRegistry:
        """Where the owner registers and pins."""

    @property
    def memory(self) -> Memory:
        """The VM's side of a move."""

    def targets(self, limit: int | None = None) -> TargetSource:
        """Destinations: at most `limit` of them."""

    def get(self, pfn: int) -> bool:
        """One reference more, unless the frame is free or frozen."""

    def put(self, pfn: int) -> None:
        """One reference less; the last one frees the frame."""

    def sneak(self, pfn: int) -> None:
        """A reference behind everybody's back, frozen or not: what a liar keeps."""

    def references(self, pfn: int) -> int:
        """References that page tables do not account for; 0 for a free frame."""

    def snapshot(self, pfn: int) -> bytes:
        """Everything in the frame, without the observer."""

    def check(self) -> None:
        """Raise an `InvariantError` if the memory contradicts itself."""


class PageLab(Lab, Protocol):
    """A lab that gives out single pages of which the first 8 bytes count, small or a machine."""

    def alloc(self, data: bytes = bytes(DATA_NR_BYTES)) -> int:
        """A frame with one reference that holds `data`; -1 when there is none."""

    def read(self, pfn: int) -> bytes:
        """The first 8 bytes of a frame."""

    def write(self, pfn: int, data: bytes) -> None:
        """Store 8 bytes.

        Args:
            pfn: a frame in use.
            data: 8 bytes.
        """


class Subject(Protocol):
    """An owner under test, and how to make it live.  Inherit, so that defaults are there.

    `None` and False mean "not now": in use, no memory, quiesced.  Hooks are called between
    any two steps of a move and from inside other owners' callbacks.
    """

    owner: PinOwner

    def hold(self, data: bytes) -> Hashable | None:
        """Keep `data` (8 bytes) in a frame; a key for it."""

    def read(self, key: Hashable) -> bytes | None:
        """What is kept under `key`, at least its first 8 bytes."""

    def write(self, key: Hashable, data: bytes) -> bool:
        """Keep `data` instead; False for never, too.

        Args:
            key: that `store` gave.
            data: of DATA_NR_BYTES bytes.
        """
        return False

    def let_go(self, key: Hashable) -> bool:
        """Forget it: unpin the frame and drop its reference, if nothing else is in it."""

    def tick(self) -> None:
        """Let happen what happens by itself: a device completes, a worker runs."""


Factory = Callable[..., Subject]
"""Gets the lab; may have an attribute `make_lab` that makes one."""


class WorldLab:
    """The kit's own lab: a `World`, seen by owners as frames of 8 bytes.

    >>> lab = WorldLab()
    >>> pfn = lab.alloc(b"a page 0")
    >>> lab.read(pfn), lab.references(pfn)
    (b'a page 0', 1)
    """

    def __init__(self, nr_frames: int = _NR_FRAMES) -> None:
        """All frames free, nobody registered."""
        self.world = _ObservedWorld(nr_frames, lambda pfn: self.observer(pfn, "allocates"))
        self.registry = PinRegistry(Topology.uniform(nr_frames=nr_frames))
        self.observer: Observer = lambda _pfn, _does: None

    @property
    def memory(self) -> Memory:
        """The world."""
        return self.world

    # What an owner may do.

    def alloc(self, data: bytes = bytes(DATA_NR_BYTES)) -> int:
        """A frame with one reference that holds `data`; -1 when there is none."""
        return self.world.alloc_page(int.from_bytes(data[:DATA_NR_BYTES], "little"))

    def get(self, pfn: int) -> bool:
        """One reference more, unless the frame is free or frozen."""
        self.observer(pfn, "references")
        return self.world.get_page(pfn)

    def put(self, pfn: int) -> None:
        """One reference less; the last one frees the frame."""
        self.world.put_page(pfn)

    def read(self, pfn: int) -> bytes:
        """The 8 bytes of a frame."""
        self.observer(pfn, "reads")
        return self.snapshot(pfn)[:DATA_NR_BYTES]

    def write(self, pfn: int, data: bytes) -> None:
        """Store 8 bytes.

        Args:
            pfn: a frame in use.
            data: 8 bytes.
        """
        self.observer(pfn, "writes")
        self.world.write(pfn, int.from_bytes(data[:DATA_NR_BYTES], "little"))

    # What a suite asks.

    def targets(self, limit: int | None = None) -> TargetSource:
        """Free frames, the highest first."""
        return WorldTargets(self.world, limit)

    def sneak(self, pfn: int) -> None:
        """A reference that nobody granted."""
        self.world.sneak_reference(pfn)

    def references(self, pfn: int) -> int:
        """References that page tables do not account for."""
        return self.world.refcount[pfn] - self.world.home[pfn]

    def snapshot(self, pfn: int) -> bytes:
        """Everything in the frame, unobserved."""
        return self.world.read(pfn).to_bytes(_CELL, "little", signed=True)

    def check(self) -> None:
        """Run the world's invariants and the registry's."""
        self.world.check()
        self.registry.check()


class _ObservedWorld(World):
    """Tells of every page that is allocated, by whichever name."""

    def __init__(self, nr_frames: int, tell: Callable[[int], None]) -> None:
        super().__init__(nr_frames)
        self._tell = tell

    def alloc_page(self, contents: int = 0, pfn: int | None = None) -> int:
        got = super().alloc_page(contents, pfn)
        if got >= 0:
            self._tell(got)
        return got


class PageSubject(Subject):
    """The adapter for owners that keep one thing per page: a table, and who is quiesced.

    It allocates, pins and uses pages in the owner's name, as the owner's subsystem would:
    it looks the frame up in `pfn_of` at every use, and leaves things in `quiet` alone.
    """

    def __init__(
        self,
        lab: PageLab,
        owner: PinOwner,
        pfn_of: MutableMapping[int, int],
        quiet: Collection[int] = (),
    ) -> None:
        """Register `owner` with the lab.

        Args:
            lab: the world.
            owner: under test.
            pfn_of: the owner's table, private -> pfn; the adapter adds and removes.
            quiet: privates that the owner has said Yes about (read only).
        """
        self.owner = owner
        self._lab = lab
        self._pfn_of = pfn_of
        self._quiet = quiet
        self._next = 1
        lab.registry.register(owner)

    def hold(self, data: bytes) -> int | None:
        """Allocate a page, enter it into the table, pin it."""
        pfn = self._lab.alloc(data)
        if pfn < 0:
            return None
        private, self._next = self._next, self._next + 1
        self._pfn_of[private] = pfn
        if self._lab.registry.pin(pfn, self.owner, private) is Verdict.YES:
            return private
        del self._pfn_of[private]  # the frame is still under the move that freed it
        self._lab.put(pfn)
        return None

    def read(self, key: Hashable) -> bytes | None:
        """Load through the table."""
        assert isinstance(key, int)
        if key in self._quiet or key not in self._pfn_of:
            return None
        return self._lab.read(self._pfn_of[key])

    def write(self, key: Hashable, data: bytes) -> bool:
        """Store through the table.

        Args:
            key: that `store` gave.
            data: of DATA_NR_BYTES bytes.
        """
        assert isinstance(key, int)
        if key in self._quiet or key not in self._pfn_of:
            return False
        self._lab.write(self._pfn_of[key], data)
        return True

    def let_go(self, key: Hashable) -> bool:
        """Unpin, then drop the reference: the order that the contract asks for."""
        assert isinstance(key, int)
        pfn = self._pfn_of.pop(key, None)
        if pfn is not None:
            self._lab.registry.unpin(pfn, self.owner, key)
            self._lab.put(pfn)
        return True
