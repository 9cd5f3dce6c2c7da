"""Whole machines small enough to draw: one string per pageblock of eight frames.

.  free
a  anonymous, mapped once by `Drawn.space` at the vpn of its first pfn
#  some kernel user's: used, nobody registered it
x  the same, but pinned by `Drawn.owner`
r  reserved
p  free, on a per-CPU list
"""

import numpy as np

from mm.compaction.compact_control import CompactControl
from mm.machine import Machine
from mm.move.design import Answer, RegistryDesign
from mm.state.contents import ArenaContents, TagContents
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState, PageFlag
from mm.state.nodes import place_frames, zones_for
from mm.state.pageblock import Pageblocks
from owners.opaque import OpaqueOwner
from pinpage.move.report import MoveReport
from pinpage.owner import Reason
from pinpage.registry import PinRegistry
from pinpage.testing.world import column
from pinpage.topology import Topology
from pinpage.units import Span

__all__ = ["SIZE", "Drawn", "ScriptedDesign", "small_machine"]

SIZE = 8
_ANON = PageFlag.ANON.mask | PageFlag.SWAPBACKED.mask | PageFlag.UPTODATE.mask


def small_machine(
    nr_blocks,
    *,
    nr_nodes=1,
    arena=False,
    marks=(0, 0, 0),
    size=SIZE,
    zones=None,
    holes=(),
    max_order=None,
):
    """All free but holes; every zone with the same watermarks (min, low, high), none by default."""
    nr_frames = nr_blocks * size
    frames = Frames(nr_frames)
    frames.state[:] = FrameState.FREE
    frames.state[list(holes)] = FrameState.HOLE
    zones = zones or zones_for(nr_frames, nr_nodes, nr_pages_per_block=size)
    for zone in zones:
        zone.min, zone.low, zone.high = marks
    place_frames(frames, zones)
    contents = ArenaContents(nr_frames) if arena else TagContents(nr_frames)
    return Machine(frames, Pageblocks(nr_frames, size, max_order), zones, contents)


def registry_of(machine):
    """The registry design in force; nodes as small as these share one partition of the registry."""
    if len({zone.node for zone in machine.zones}) == 1:
        return machine.use_registry()
    machine.registry = PinRegistry(Topology((Span(0, machine.frames.nr_frames),)))
    machine.design = RegistryDesign(machine.registry, machine.mover)
    return machine.registry


class Drawn:
    """A machine from a picture; every used frame starts with the tag 1000 + its pfn.

    Args:
        blocks: one string per pageblock.
        movable: None for a machine without a registry; else whether `owner` lets frames move.
        types: migratetypes of the pageblocks, all MOVABLE by default.
        build: see `small_machine`.
    """

    def __init__(self, *blocks, movable=None, types=None, **build):
        self.machine = machine = small_machine(len(blocks), **build)
        for block, migratetype in enumerate(types or ()):
            machine.buddy.set_migratetype(block, migratetype)
        self.owner = None
        if movable is not None:
            self.owner = OpaqueOwner("opaque", movable=movable, registry=registry_of(machine))
        signs = np.array(list("".join(blocks)))
        used = np.flatnonzero(signs != ".")
        machine.buddy.take(used)
        machine.buddy.taken_to_used(used)
        machine.contents.set_tags(used, 1000 + used.astype(np.uint64))
        machine.frames.state[signs == "r"] = FrameState.RESERVED
        machine.pcp.adopt(np.flatnonzero(signs == "p"))
        self.space = machine.rmap.create("anon", len(signs))
        self.map_anon(np.flatnonzero(signs == "a"))
        if self.owner is not None:
            self.owner.adopt(np.flatnonzero(signs == "x"))
        machine.check()

    def map_anon(self, pfns):
        """Used frames become pages of `space`, the oldest first."""
        frames = self.machine.frames
        frames.flags[pfns] = _ANON
        self.machine.rmap.map_many(self.space, pfns, pfns)
        self.machine.lru.add_many(pfns)

    def compact(self, **control):
        """One zone; SYNC and whole unless said otherwise.  Checks the machine afterwards."""
        machine = self.machine
        zone = machine.zones[control.pop("zone", 0)]
        report = machine.compaction.compact_zone(CompactControl(zone, **control), machine.design)
        machine.check()
        self.check_contents()
        return report

    def check_contents(self):
        """Every page of `space` still has the tag that it was born with."""
        vpns = self.space.present()
        tags = self.machine.contents.tags(self.space.pte[vpns] - 1)
        assert tags.tolist() == [1000 + vpn for vpn in vpns.tolist()]

    def picture(self):
        """As drawn; frames that another mover has, or in quarantine, show as "?"."""
        frames = self.machine.frames
        signs = np.full(frames.nr_frames, "?")
        signs[frames.state == FrameState.FREE] = "."
        signs[frames.state == FrameState.PCP] = "p"
        signs[frames.state == FrameState.RESERVED] = "r"
        used = frames.state == FrameState.USED
        signs[used] = "#"
        signs[used & (frames.mapcount > MAPCOUNT_NONE)] = "a"
        if self.owner is not None:
            ids = np.arange(self.owner.nr_objects)
            signs[self.owner.pfn_of(ids)] = "x"
        return ["".join(signs[at : at + SIZE]) for at in range(0, len(signs), SIZE)]

    def free_of(self, *pfns):
        """Let a process drop these pages, so that their frames are free and merged."""
        self.machine.memory.dontneed(self.space, column(*pfns))
        self.machine.pcp.drain_all()


class ScriptedDesign:
    """A design that answers `answer` about everything and refuses with `reasons` in turn."""

    name = "scripted"
    lock_acquisitions = 0
    nr_callbacks = 0

    def __init__(self, answer=Answer.MOVE, reasons=(), claimed=()):
        self.answer = answer
        self.reasons = list(reasons)
        self.claimed = set(claimed)
        self.calls = []

    def claims(self, start, stop):
        return np.array([pfn in self.claimed for pfn in range(start, stop)], dtype=bool)

    def ask(self, pfns, mode):
        self.calls.append(("ask", pfns.tolist(), mode))
        answers = np.full(len(pfns), self.answer, dtype=np.uint8)
        return answers, np.full(len(pfns), Reason.NO_CALLBACK, dtype=np.uint8)

    def holders(self, nr_frames, within=None):
        return np.zeros(nr_frames, dtype=np.uint8), ("unknown",)

    def move(self, pfns, targets, mode):
        self.calls.append(("move", pfns.tolist(), mode))
        reason = self.reasons.pop(0) if self.reasons else Reason.NO_CALLBACK
        return MoveReport(
            reasons=np.full(len(pfns), reason, dtype=np.uint8),
            targets=np.full(len(pfns), -1, dtype=np.int64),
        )

    def release(self, pfns, mode):
        self.calls.append(("release", pfns.tolist(), mode))
        reason = self.reasons.pop(0) if self.reasons else Reason.OWNER_BUSY
        return np.full(len(pfns), reason, dtype=np.uint8)
