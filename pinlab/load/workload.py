"""What loads a machine: actors that do one thing, say what it was, and rest.

A workload is a generator of `Action` values.  Whoever runs it (`pinlab.load.run`) resumes it
when its rest is over in simulated time; between two resumptions anything may happen to
memory.  It works on one owner, through that owner's own calls, and keeps a `StoredPages` of what it
stored there, so that it can read all of it back:

    start      set up, before time begins
    actions    the load itself, without end
    read_back  everything stored, through its holder, compared to the last byte
    holdings   references on frames that are neither page tables' nor the swap cache's
    let_go     give everything up; afterwards no frame is in use on its behalf

Randomness comes from named streams of one seed.  A workload never draws less or more because
of another one, so adding a workload does not change what the others do.

Cost: of the owner's calls; comparing adds about 5 us per page stored or compared.
"""

import abc
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.machine import Machine
from mm.state.contents import Contents
from mm.state.frames import FrameState
from owners.compress import Compressor
from owners.gup.gup import Gup
from owners.odirect.events import EventQueue
from owners.zbud.pool import ZbudPool
from pinlab.replay.contents import holds
from pinlab.replay.corpus import Corpus
from pinlab.replay.read_back import ReadBack
from pinpage.errors import PinpageError
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE, Mask, Pfns

__all__ = [
    "NOTHING",
    "Action",
    "Holding",
    "LoadedMachine",
    "StoredPages",
    "Streams",
    "Workload",
    "pool_holding",
]  # fmt: skip

NOTHING = -1
"""The serial of a slot in which nothing is stored."""

_SERIALS_AT_ONCE = 256
_SERIES_SHIFT = 32


@frozen
class Action:
    """What an actor has just done, and how long it rests now.

    Attributes:
        kind: a short name; runs count actions by it.
        rest_ns: simulated time until it goes on.
        is_refused: the owner said no (no memory, busy); nothing was stored or lost.
    """

    kind: str
    rest_ns: int
    is_refused: bool = False


class Streams:
    """Random streams of one seed, by name; each is given out once.

    >>> streams = Streams(0)
    >>> bool(streams.take("zram").integers(100) == streams.take("disk").integers(100))
    False
    """

    def __init__(self, seed: int) -> None:
        """No stream is in use yet."""
        self.seed = seed
        self._taken: dict[str, int] = {}

    def take(self, name: str) -> np.random.Generator:
        """The stream of that name; it does not depend on which others are taken, or when.

        Raises:
            PinpageError: somebody has it: two that share a stream disturb each other.
        """
        if name in self._taken:
            raise PinpageError(f"stream {name!r} is in use: give each workload its own name")
        self._taken[name] = len(self._taken)
        return np.random.default_rng([self.seed, *name.encode()])


@define(eq=False)
class LoadedMachine:
    """A machine and what all workloads on it share.

    Attributes:
        machine: under the design of the run.
        registry: where owners register, under a design that asks it; else None.
        gup: get_user_pages of the machine.
        interrupts: what devices are going to do, on the machine's clock.
        streams: of the run's seed.
        corpus: the pages that are stored.
        compressor: of every owner that compresses.
        zbud_pools: pools that the design `zbud-reclaim` knows; workloads add theirs.
    """

    machine: Machine
    registry: PinRegistry | None
    gup: Gup
    interrupts: EventQueue
    streams: Streams
    corpus: Corpus
    compressor: Compressor
    zbud_pools: list[ZbudPool] = field(factory=list)
    _nr_series: int = field(default=0, init=False)

    def stored_pages(self, name: str, nr_slots: int) -> "StoredPages":
        """Nothing stored yet, with a stream and with serials of its own.

        Args:
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
        """
        self._nr_series += 1
        return StoredPages(
            self.corpus, self.streams.take(f"{name}/pages"), nr_slots, self._nr_series
        )

    @property
    def nr_pages(self) -> int:
        """Size of the machine."""
        return self.machine.frames.nr_frames


class StoredPages:
    """Which page is stored in which slot.

    A slot is the workload's own key: a virtual page, a disk block, an object's number.  A
    page is named by its serial in the corpus and made again for each comparison; nothing is
    remembered from the frames.

    Attributes:
        serials: int64 (nr_slots,), NOTHING where nothing is stored.
        nr_stored: pages stored so far, overwritten ones included.
        found: what comparisons have found so far.
    """

    def __init__(
        self, corpus: Corpus, rng: np.random.Generator, nr_slots: int, series: int
    ) -> None:
        """All slots empty; two with different `series` numbers never share a serial.

        Args:
            corpus: where pages come from.
            rng: draws everything.
            nr_slots: how much it works with, in its own units.
            series: a number of its own: no two share a serial.
        """
        self.serials: NDArray[np.int64] = np.full(nr_slots, NOTHING, dtype=np.int64)
        self.nr_stored = 0
        self.found = ReadBack()
        self._corpus = corpus
        self._rng = rng
        self._next = series << _SERIES_SHIFT
        self._ready: list[int] = []

    def draw(self) -> int:
        """A serial that nobody has had; not stored anywhere yet."""
        if not self._ready:
            self._ready = self.draw_many(_SERIALS_AT_ONCE).tolist()
            self._ready.reverse()
        return self._ready.pop()

    def draw_many(self, count: int) -> NDArray[np.int64]:
        """`count` such serials, shape (count,)."""
        first, self._next = self._next, self._next + count
        return self._corpus.draw(self._rng, count, first=first)

    def page(self, serial: int) -> bytes:
        """The 4096 bytes of a serial."""
        return self._corpus.page(serial)

    def store(self, slot: int, serial: int) -> None:
        """The slot holds that page from now on.

        Args:
            slot: the workload's own key.
            serial: of the page.
        """
        self.serials[slot] = serial
        self.nr_stored += 1

    def drop(self, slot: int, count: int = 1) -> None:
        """Slots hold nothing from now on.

        Args:
            slot: the workload's own key.
            count: slots in a row.
        """
        self.serials[slot : slot + count] = NOTHING

    def stored(self) -> NDArray[np.int64]:
        """Slots that hold something, ascending."""
        return np.flatnonzero(self.serials != NOTHING)

    def compare(self, slot: int, data: bytes | None) -> bool:
        """Compare what came back for a slot that holds a page; counts it either way.

        Args:
            slot: the workload's own key.
            data: what came back; None: nothing.
        """
        return self.compare_with(self.page(self.serials.item(slot)), data)

    def compare_with(self, expected: bytes, data: bytes | None) -> bool:
        """Compare any bytes; None came back means that all of them are lost.

        Args:
            expected: what was stored.
            data: what came back; None: nothing.
        """
        same = data == expected
        self.found += ReadBack(len(expected) * same, len(expected) * (not same))
        return same

    def compare_frames(self, contents: Contents, slots: NDArray[np.int64], pfns: Pfns) -> None:
        """Compare whole frames with the pages of their slots; about 1 us each.

        Args:
            contents: what the frames hold.
            slots: int64 (n,), the keys.
            pfns: int64 (n,), the frames.
        """
        nr_same = int(np.count_nonzero(holds(contents, self._corpus, pfns, self.serials[slots])))
        self.found += ReadBack(nr_same * PAGE_SIZE, (len(slots) - nr_same) * PAGE_SIZE)


@frozen(eq=False)
class Holding:
    """References that a workload's owner has on frames.

    Attributes:
        pfns: int64 (n,); a frame may occur several times.
        nr_references: on each of them.
        is_registered: whether a registry, if there is one, knows them.
    """

    pfns: Pfns = field(repr=False)
    nr_references: int | NDArray[np.int64] = 1
    is_registered: bool = True


class _Pool(Protocol):
    """Anything that says which frames are its own."""

    def holds(self, pfns: Pfns) -> Mask: ...


def pool_holding(world: LoadedMachine, pool: _Pool) -> Holding:
    """The pages of a pool: one reference each; a zbud page has one more per object.

    Args:
        world: the machine, and what all workloads on it share.
        pool: says which frames are its own.
    """
    used = np.flatnonzero(world.machine.frames.state == FrameState.USED)
    pfns = used[pool.holds(used)]
    if isinstance(pool, ZbudPool):
        return Holding(pfns, pool.pages.nr_own_references(pool.pages.ids_at(pfns)))
    return Holding(pfns)


class Workload(abc.ABC):
    """One actor.

    Attributes:
        name: unique within a run; names its random stream.
        world: what it works on.
        rng: its stream.
        pace_ns: mean rest between two actions, in simulated time.
        pages: what it stored.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """Nothing is set up yet; see `start`.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.

        Raises:
            PinpageError: nothing to work with, or no rest: time would stand still.
        """
        if nr_slots < 1 or pace_ns < 1:
            raise PinpageError(
                f"workload {name!r}: nr_slots={nr_slots}, pace_ns={pace_ns}: both at least 1"
            )
        self.name = name
        self.world = world
        self.rng = world.streams.take(name)
        self.pace_ns = pace_ns
        self.pages = world.stored_pages(name, nr_slots)

    def rest_ns(self) -> int:
        """Simulated time until the next action: exponential, at least 1 ns."""
        return 1 + int(self.rng.exponential(self.pace_ns))

    def below(self, limit: int) -> int:
        """A number in [0, limit), all alike."""
        return int(self.rng.integers(limit))

    def any_slot(self) -> tuple[int, int]:
        """A slot, all alike, and the serial of a page that it may get."""
        return self.below(len(self.pages.serials)), self.pages.draw()

    def skewed(self, limit: int) -> int:
        """A number in [0, limit), small ones more often: a third of all in the first 4 %."""
        return int(limit * self.rng.random() ** 3)

    def act(self, kind: str, *, done: bool = True) -> Action:
        """Say what was done, and draw the rest that follows.

        Args:
            kind: a short name; runs count actions by it.
            done: whether it was done, or refused.
        """
        return Action(kind, self.rest_ns(), is_refused=not done)

    def start(self) -> None:  # noqa: B027 - some have nothing to set up
        """Set up; before time begins."""

    @abc.abstractmethod
    def actions(self) -> Iterator[Action]:
        """The load; never ends by itself."""

    @abc.abstractmethod
    def read_back(self) -> None:
        """Read everything stored through its holder; what was found is counted."""

    @abc.abstractmethod
    def let_go(self) -> None:
        """Give everything up."""

    def holdings(self) -> Iterator[Holding]:
        """References that page tables and the swap cache do not account for."""
        yield from ()

    def check(self) -> None:  # noqa: B027 - page tables are checked by the machine
        """Run the owner's own invariants; raises InvariantError."""
