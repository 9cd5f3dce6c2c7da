"""Eight threads in one registry at once: what they hold is there, and the registry is whole.

Two pin and unpin single pages, two ranges, one columns; one moves pins to other frames, one
scans and looks up, one registers owners, pins by them and lets them leave.
"""

from functools import partial

import numpy as np
import pytest

from pinpage.errors import AlreadyPinnedError
from pinpage.owner import PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from tests.kit.together import run_together

NR_FRAMES = 4096
SLICE = NR_FRAMES // 8


class Stress:
    """Each thread has frames of its own to hold pins on, and a model of what it holds."""

    def __init__(self, seed):
        self.registry = PinRegistry(
            Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2), batch_nr_pins=(0, 7, 1023)[seed % 3]
        )
        self.owners = [PinOwner() for _ in range(8)]
        for owner in self.owners:
            self.registry.register(owner)
        self.held = [set() for _ in range(8)]
        self.nr_steps, self.seed = [0] * 8, seed

    def single(self, n, rng):
        pfn, key = n * SLICE + rng.randrange(SLICE), rng.choice([None, 1, "object"])
        if (pfn, key) in self.held[n]:
            self.registry.unpin(pfn, self.owners[n], key)
            self.held[n].discard((pfn, key))
        elif self.registry.pin(pfn, self.owners[n], key) is Verdict.YES:
            self.held[n].add((pfn, key))

    def ranges(self, n, rng):
        start = n * SLICE + rng.randrange(0, SLICE - 32, 32)
        stop = start + 32
        if (start, n) in self.held[n]:
            self.registry.unpin_range(start, stop, self.owners[n], n)
            self.held[n] -= {(pfn, n) for pfn in range(start, stop)}
        elif self.registry.pin_range(start, stop, self.owners[n], n) is Verdict.YES:
            self.held[n] |= {(pfn, n) for pfn in range(start, stop)}

    def columns(self, n, rng):
        pfns = n * SLICE + np.array(sorted(rng.sample(range(SLICE), 20)))
        free = np.array([pfn for pfn in pfns.tolist() if (pfn, pfn) not in self.held[n]])
        gone = np.setdiff1d(pfns, free)
        if len(free) and self.registry.pin_many(free, self.owners[n], free) is Verdict.YES:
            self.held[n] |= {(pfn, pfn) for pfn in free.tolist()}
        if len(gone):
            self.registry.unpin_many(gone, self.owners[n], gone)
            self.held[n] -= {(pfn, pfn) for pfn in gone.tolist()}

    def moves(self, n, rng):
        """Pins of its own that change their frame; the other threads' must not suffer."""
        source, target = (n * SLICE + at for at in rng.sample(range(SLICE), 2))
        if (target, n) in self.held[n]:
            return
        if (source, n) not in self.held[n]:
            assert self.registry.pin(source, self.owners[n], n) is Verdict.YES
        marks, both = self.registry.marks, np.array([source, target])
        assert marks.begin_move(both).all()
        assert self.registry.pin(source, self.owners[n], "late", wait=False) is Verdict.AGAIN
        marks.rekey_many(both[:1], both[1:])
        marks.end_move(both)
        self.held[n].discard((source, n))
        self.held[n].add((target, n))

    def looks(self, n, rng):
        with self.registry.scanning():
            start = rng.randrange(NR_FRAMES - 64)
            mask = self.registry.pinned_mask(start, start + 64)
            assert len(mask) == 64
        for pin in self.registry.pins(rng.randrange(NR_FRAMES)):
            assert pin.owner is not None

    def comes_and_goes(self, n, rng):
        guest = PinOwner()
        self.registry.register(guest)
        for pfn in rng.sample(range(NR_FRAMES), 5):
            self.registry.pin(pfn, guest, n)
        pfn = rng.randrange(SLICE)  # whose pins nobody moves
        self.registry.pin(pfn, guest, "own")
        with pytest.raises(AlreadyPinnedError):
            self.registry.pin(pfn, guest, "own")
        self.registry.unregister(guest, force=True)

    def run(self, seconds):
        steps = [self.single] * 2 + [self.ranges] * 2
        steps += [self.columns, self.moves, self.looks, self.comes_and_goes]
        self.nr_steps = run_together(
            [partial(step, n) for n, step in enumerate(steps)],
            [self.seed * 8 + n for n in range(8)],
            seconds,
            switch_interval_s=1e-5,
        )

    def finish(self):
        self.registry.check()
        assert len(self.registry) == sum(map(len, self.held))
        for n, held in enumerate(self.held):
            pins = {
                (pin.pfn, pin.private)
                for pin in self.registry.iter_pins()
                if pin.owner is self.owners[n]
            }
            assert pins == held


def test_eight_threads_for_a_moment():
    stress = Stress(1)
    stress.run(0.5)
    stress.finish()
    assert min(stress.nr_steps) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eight_threads_for_ten_seconds(seed):
    stress = Stress(seed)
    stress.run(10.0)
    stress.finish()
    assert min(stress.nr_steps) > 10  # (locks are not fair where threads run in parallel)
