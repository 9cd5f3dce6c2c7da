"""Rmap agrees with a plain dict of mappings, whatever is mapped, unmapped and moved."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mm.state.frames import Frames, FrameState
from mm.state.rmap import Rmap
from pinpage.testing.world import column

NR_FRAMES, NR_SPACES, NR_VPNS = 5, 3, 4  # small on purpose: sharing must be common


class RmapAgainstModel(RuleBasedStateMachine):
    """Every frame is allocated and has one holder besides its mappings."""

    @initialize()
    def start(self) -> None:
        frames = Frames(NR_FRAMES)
        frames.state[:] = FrameState.USED
        frames.refcount[:] = 1
        self.rmap = Rmap(frames)
        self.spaces = [self.rmap.create(str(i), NR_VPNS) for i in range(NR_SPACES)]
        self.model: dict[tuple[int, int], int] = {}  # (space, vpn) -> pfn

    def mapped(self) -> list[int]:
        return sorted(set(self.model.values()))

    def hold(self, pfns: list[int]) -> None:
        """The holder's own reference, so that frames outlive their mappings."""
        self.rmap.frames.refcount[pfns] += 1

    @rule(data=st.data(), single=st.booleans())
    def map_pages(self, data: st.DataObject, single: bool) -> None:
        space = data.draw(st.integers(0, NR_SPACES - 1))
        free = [vpn for vpn in range(NR_VPNS) if (space, vpn) not in self.model]
        vpns = data.draw(st.lists(st.sampled_from(free), unique=True)) if free else []
        pfns = data.draw(st.permutations(range(NR_FRAMES)))[: len(vpns)]
        fresh = [pfn for pfn in pfns if pfn not in self.mapped()]
        self.hold(fresh)  # what the first mapping takes over
        if single:
            for vpn, pfn in zip(vpns, pfns, strict=True):
                self.rmap.map_page(self.spaces[space], vpn, pfn)
        else:
            self.rmap.map_many(self.spaces[space], column(*vpns), column(*pfns))
        self.model.update({(space, vpn): pfn for vpn, pfn in zip(vpns, pfns, strict=True)})

    @precondition(lambda self: 0 < len(self.model) < NR_SPACES * NR_VPNS)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        """One more mapping of a frame that has some."""
        pfn = data.draw(st.sampled_from(self.mapped()))
        places = [(space, vpn) for space in range(NR_SPACES) for vpn in range(NR_VPNS)]
        place = data.draw(st.sampled_from([p for p in places if p not in self.model]))
        self.rmap.map_page(self.spaces[place[0]], place[1], pfn)
        self.model[place] = pfn

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def unmap_page(self, data: st.DataObject) -> None:
        where = data.draw(st.sampled_from(sorted(self.model)))
        expected = self.model.pop(where)
        pfn, was_last = self.rmap.unmap_page(self.spaces[where[0]], where[1])
        assert (pfn, was_last) == (expected, expected not in self.model.values())
        if was_last:
            self.rmap.frames.refcount[pfn] -= 1

    @rule(pfns=st.lists(st.integers(0, NR_FRAMES - 1), unique=True))
    def unmap_frames(self, pfns: list[int]) -> None:
        counts = [list(self.model.values()).count(pfn) for pfn in pfns]
        assert self.rmap.unmap_many(column(*pfns)).tolist() == counts
        handed_over = [pfn for pfn, count in zip(pfns, counts, strict=True) if count]
        self.rmap.frames.refcount[handed_over] -= 1
        self.model = {where: pfn for where, pfn in self.model.items() if pfn not in pfns}

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        targets = [pfn for pfn in range(NR_FRAMES) if pfn not in self.mapped()]
        order = data.draw(st.permutations([p for p in range(NR_FRAMES) if p not in targets]))
        sources = order[: min(len(targets), len(order))]
        pairs = dict(zip(sources, targets, strict=False))
        sources, targets = column(*list(pairs)), column(*list(pairs.values()))
        frames = self.rmap.frames
        for values in (frames.refcount, frames.mapcount):
            values[sources], values[targets] = values[targets], values[sources]
        self.rmap.move_many(sources, targets)
        self.model = {where: pairs.get(pfn, pfn) for where, pfn in self.model.items()}

    @invariant()
    def agrees(self) -> None:
        self.rmap.check()
        for space, mine in enumerate(self.spaces):
            seen = {(space, vpn): int(mine.pte[vpn]) - 1 for vpn in mine.present().tolist()}
            assert seen == {w: pfn for w, pfn in self.model.items() if w[0] == space}
        for pfn in range(NR_FRAMES):
            expected = sorted(where for where, mapped in self.model.items() if mapped == pfn)
            assert sorted((s.mm_id, vpn) for s, vpn in self.rmap.mappers(pfn)) == expected
            assert self.rmap.frames.refcount[pfn] == 1 + len(expected)
            assert self.rmap.frames.mapcount[pfn] == len(expected) - 1


TestRmap = RmapAgainstModel.TestCase
TestRmap.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
