"""The buddy allocator against a set of free pfns: random calls, good and bad, on odd memory.

Pageblocks of 1 to 1024 frames, a last one cut short, holes, zones of unequal size, every
migratetype; after the calls every free block is aligned, whole, merged and counted.
"""

import itertools
import random

import numpy as np
import pytest

from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState
from mm.state.gfp import AllocFlags
from mm.state.nodes import Zone, place_frames
from mm.state.pageblock import USUAL_MAX_ORDER, MigrateType, Pageblocks
from pinpage.errors import PinpageError
from pinpage.units import Span
from tests.fuzz.budget import rounds

pytestmark = pytest.mark.fuzz

NR_CALLS = 600
"""Calls in one world; then comes the next."""
SIZES = (1, 2, 4, 8, 8, 16, 64, 512, 1024)
ABSENT = (FrameState.HOLE, FrameState.RESERVED, FrameState.UNKNOWN)
FLAGS = (
    AllocFlags.DEFAULT, AllocFlags.NONE, AllocFlags.CMA | AllocFlags.HARDER, AllocFlags.HARDER,
)  # fmt: skip
ORDINARY = {0, 1, 2}


class World:
    """An allocator, and which frames are free, used (head -> order) and taken."""

    def __init__(self, draw):
        self.draw = draw
        self.size = draw.choice(SIZES)
        self.nr_blocks = draw.choice([1, 2, 3, 5, 9, 17])
        cut = draw.randrange(self.size) if draw.random() < 0.5 else 0
        self.nr_frames = self.size * self.nr_blocks - cut
        frames = self.frames = Frames(self.nr_frames)
        frames.state[:] = FrameState.FREE
        absent = self._make_absent()
        self.pageblocks = Pageblocks(self.nr_frames, self.size)
        for block in range(self.nr_blocks):
            self.pageblocks.migratetype[block] = draw.choice([1] * 4 + [0, 2, 3, 4])
        self.zones = self._zones()
        place_frames(frames, self.zones)
        self.buddy = Buddy(frames, self.pageblocks, self.zones)
        self.buddy.build()
        self.free = set(range(self.nr_frames)) - absent
        self.used, self.taken = {}, set()

    def _make_absent(self):
        absent = set()
        for _ in range(self.draw.randrange(4)):
            start = self.draw.randrange(self.nr_frames)
            stop = min(self.nr_frames, start + self.draw.randrange(1, self.size * 2 + 1))
            if stop - start < self.nr_frames:
                self.frames.state[start:stop] = self.draw.choice(ABSENT)
                absent |= set(range(start, stop))
        return absent

    def _zones(self):
        inner = range(1, self.nr_blocks)
        nr_cuts = min(self.nr_blocks - 1, self.draw.randrange(3))
        cuts = [0, *sorted(self.draw.sample(inner, nr_cuts))]
        borders = [*(cut * self.size for cut in cuts), self.nr_frames]
        return [
            Zone(at, self.draw.choice(["DMA32", "Normal", "Movable"]), at % 2, Span(start, stop))
            for at, (start, stop) in enumerate(itertools.pairwise(borders))
        ]

    def zone_of(self, pfn):
        return next(zone.index for zone in self.zones if pfn in zone.span)

    def type_of(self, pfn):
        return int(self.pageblocks.migratetype[pfn // self.size])

    def some(self, pfns):
        """A few of them, as a column."""
        pfns = sorted(pfns)
        chosen = self.draw.sample(pfns, self.draw.randrange(len(pfns) + 1))
        return np.array(chosen, dtype=np.int64)

    # Calls.

    def alloc(self):
        draw = self.draw
        order = draw.choice([0, 0, 0, 1, 2, 3, draw.randrange(USUAL_MAX_ORDER + 1)])
        kind, zone, flags = draw.randrange(3), draw.randrange(len(self.zones)), draw.choice(FLAGS)
        before = self.blocks()
        pfn = self.buddy.alloc(order, kind, zone=zone, alloc_flags=flags)
        if pfn >= 0:
            got = set(range(pfn, pfn + (1 << order)))
            assert pfn % (1 << order) == 0
            assert got <= self.free
            assert all(self.zone_of(q) == zone for q in got)
            assert all(self.frames.refcount[q] == 1 for q in got)
            self.free -= got
            self.used[pfn] = order
            return
        allowed = set(ORDINARY)
        allowed |= {4} if kind == MigrateType.MOVABLE and flags & AllocFlags.CMA else set()
        fit = [
            p
            for p, o in before
            if o >= order and self.zone_of(p) == zone and self.type_of(p) in allowed
        ]
        assert not fit, f"refused, though a block is free at {fit[0]:#x}"

    def free_block(self):
        if not self.used:
            return
        pfn = self.draw.choice(list(self.used))
        order = self.used.pop(pfn)
        if self.draw.random() < 0.2 and order:
            for piece in range(pfn, pfn + (1 << order)):
                self.buddy.free(piece)
        else:
            self.buddy.free(pfn, order)
        self.free |= set(range(pfn, pfn + (1 << order)))

    def alloc_many(self):
        count, kind = self.draw.randrange(40), self.draw.randrange(3)
        zone = self.draw.randrange(len(self.zones))
        got = self.buddy.alloc_many(count, kind, zone=zone).tolist()
        assert len(set(got)) == len(got) <= count
        assert set(got) <= self.free
        assert all(self.zone_of(q) == zone for q in got)
        self.free -= set(got)
        allowed = ORDINARY | ({4} if kind == MigrateType.MOVABLE else set())
        left = [q for q in self.free if self.zone_of(q) == zone and self.type_of(q) in allowed]
        assert len(got) == count or not left
        self.used |= dict.fromkeys(got, 0)

    def free_many(self):
        chosen = self.some(pfn for pfn, order in self.used.items() if order == 0)
        self.buddy.free_many(chosen)
        self.free |= set(chosen.tolist())
        for pfn in chosen.tolist():
            del self.used[pfn]

    def take_free_in(self):
        block = self.draw.randrange(self.nr_blocks)
        limit = self.draw.choice([None, None, 0, 1, 3, self.size])
        expected = sorted(q for q in self.free if q // self.size == block)[:limit]
        assert self.buddy.take_free_in(block, limit=limit).tolist() == expected
        self.free -= set(expected)
        self.taken |= set(expected)

    def put_taken(self):
        chosen = self.some(self.taken)
        self.buddy.put_taken(chosen)
        self.taken -= set(chosen.tolist())
        self.free |= set(chosen.tolist())

    def taken_to_used(self):
        chosen = self.some(self.taken)
        self.buddy.taken_to_used(chosen)
        self.taken -= set(chosen.tolist())
        self.used |= dict.fromkeys(chosen.tolist(), 0)

    def take(self):
        chosen = self.some(self.free)[:20]
        self.buddy.take(chosen)
        self.free -= set(chosen.tolist())
        self.taken |= set(chosen.tolist())

    def claim_block(self):
        block = self.draw.randrange(self.nr_blocks)
        start = block * self.size
        rows = set(range(start, start + self.size))
        can = rows <= self.free and self.pageblocks.migratetype[block] != MigrateType.ISOLATE
        assert self.buddy.claim_block(block) == (start if can else -1)
        if can:
            self.free -= rows
            self.used[start] = self.size.bit_length() - 1

    def set_migratetype(self):
        kind = self.draw.choice(list(MigrateType))
        self.buddy.set_migratetype(self.draw.randrange(self.nr_blocks), kind)

    def mistake(self):
        """One that must be refused."""
        buddy, free, used = self.buddy, sorted(self.free), list(self.used)
        mistakes = [
            lambda: buddy.free(self.nr_frames),
            lambda: buddy.free(0, -1),
            lambda: buddy.alloc(USUAL_MAX_ORDER + 1, 0),
            lambda: buddy.alloc(0, 3),
            lambda: buddy.alloc(0, 0, zone=-1),
            lambda: buddy.alloc_many(-1, 0),
            lambda: buddy.take_free_in(self.nr_blocks),
            lambda: buddy.claim_block(-1),
        ]
        if free:
            mistakes += [lambda: buddy.free(free[0]), lambda: buddy.put_taken(np.array(free[:1]))]
        if used:
            mistakes += [
                lambda: buddy.free_many(np.array([used[0], used[0]])),
                lambda: buddy.take(np.array(used[:1])),
            ]
        with pytest.raises(PinpageError):
            self.draw.choice(mistakes)()

    CALLS = (
        (alloc, 35), (free_block, 25), (alloc_many, 6), (free_many, 6), (take_free_in, 6),
        (put_taken, 5), (taken_to_used, 3), (take, 3), (claim_block, 3), (set_migratetype, 5),
        (mistake, 3),
    )  # fmt: skip

    # What must hold.

    def blocks(self):
        """(head, order) of every free block."""
        order = self.frames.order
        return [(int(pfn), int(order[pfn])) for pfn in np.flatnonzero(order >= 0)]

    def check(self):
        self.buddy.check()
        self.frames.check()
        blocks = self.blocks()
        covered = [q for pfn, order in blocks for q in range(pfn, pfn + (1 << order))]
        assert all(pfn % (1 << order) == 0 for pfn, order in blocks), "misaligned"
        assert len(covered) == len(set(covered)), "overlap"
        assert set(covered) == self.free
        self._check_merged(dict(blocks))
        isolated = sum(self.type_of(pfn) == MigrateType.ISOLATE for pfn in self.free)
        assert self.buddy.nr_free() == len(self.free) - isolated

    def _check_merged(self, blocks):
        for pfn, order in blocks.items():
            other = pfn ^ (1 << order)
            if order >= self.buddy.max_order or blocks.get(other) != order:
                continue
            if self.zone_of(pfn) == self.zone_of(other):
                types = {self.type_of(pfn), self.type_of(other)}
                assert len(types) > 1, f"{pfn:#x} and {other:#x} are not merged"
                assert not types <= ORDINARY, f"{pfn:#x} and {other:#x} are not merged"


def test_every_call_does_what_a_set_of_free_frames_says():
    calls, weights = zip(*World.CALLS, strict=True)
    for seed in rounds():
        draw = random.Random(seed)
        world, made = World(draw), []
        try:
            world.check()
            for count in range(NR_CALLS):
                call = draw.choices(calls, weights)[0]
                made.append(call.__name__)
                call(world)
                if world.nr_frames < 200 or count % 7 == 0:
                    world.check()
            world.check()
        except BaseException:
            print(f"PINPAGE_FUZZ_SEED={seed.partition(':')[0]} round {seed}: {made[-5:]}")
            raise
