"""Two threads in the registry, interleaved at random between any two bytecodes.

But not within `pinpage.store.at_once`, where CPython lets nobody in
(tests/unit/pinpage/store/test_at_once.py holds it to that).

Run as a script with the name of a scenario; exits with 1 and prints the interleaving that
breaks it.  `test_registry_threads.py` does.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from frontrun import explore_random
from frontrun._tracing import TraceFilter

import pinpage.store.at_once
from pinpage import AlreadyPinnedError, PinOwner, PinRegistry, Topology


def registry(**options):
    reg = PinRegistry(Topology.uniform(nr_frames=1024, nr_nodes=2), **options)
    owner = PinOwner()
    reg.register(owner)
    return reg, owner


class TwoPins:
    """Two threads pin the same thing."""

    def __init__(self) -> None:
        self.reg, self.owner = registry(batch_nr_pins=2)
        self.yes = 0

    def pin(self) -> None:
        try:
            self.reg.pin(3, self.owner, 1)
        except AlreadyPinnedError:
            return
        self.yes += 1


class PinAgainstMove:
    """One thread pins, another moves the frame and looks twice."""

    def __init__(self) -> None:
        self.reg, self.owner = registry(batch_nr_pins=4)
        self.views = []

    def pin(self) -> None:
        self.reg.pin(3, self.owner, 1, wait=False)

    def move(self) -> None:
        frames = np.array([3])
        self.reg.marks.begin_move(frames)
        self.views.append(int(self.reg.owner_counts(frames)[0]))
        self.reg.flush()
        self.views.append(int(self.reg.owner_counts(frames)[0]))
        self.reg.marks.end_move(frames)


class UnpinAgainstDrain:
    """One thread undoes its batched pin, another drains it."""

    def __init__(self) -> None:
        self.reg, self.owner = registry(batch_nr_pins=4)

    def come_and_go(self) -> None:
        self.reg.pin(3, self.owner, 1)
        self.reg.unpin(3, self.owner, 1)

    def drain(self) -> None:
        self.reg.flush()


def equal_pins_settled(state):
    state.reg.check()
    return state.yes == 1 and len(state.reg) == 1


def unpin_settled(state):
    state.reg.check()
    return len(state.reg) == 0


SCENARIOS = {
    "equal-pins": (TwoPins, [TwoPins.pin, TwoPins.pin], equal_pins_settled),
    "pin-against-move": (
        PinAgainstMove,
        [PinAgainstMove.pin, PinAgainstMove.move],
        lambda state: state.views[0] == state.views[1],
    ),
    "unpin-against-drain": (
        UnpinAgainstDrain,
        [UnpinAgainstDrain.come_and_go, UnpinAgainstDrain.drain],
        unpin_settled,
    ),
}

AT_ONCE = pinpage.store.at_once.__file__


def should_trace_file(self, filename, really=TraceFilter.should_trace_file):
    return filename != AT_ONCE and really(self, filename)


if __name__ == "__main__":
    TraceFilter.should_trace_file = should_trace_file
    setup, threads, invariant = SCENARIOS[sys.argv[1]]
    result = explore_random(
        setup,
        threads,
        invariant,
        max_attempts=60,
        max_ops=600,
        seed=7,
        reproduce_on_failure=0,
        trace_packages=["pinpage.*"],
    )
    print(result)
    sys.exit(0 if result.property_holds else 1)
