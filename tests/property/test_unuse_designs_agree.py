"""The generic design contains the specific one: with zbud's unuse as its only callback, the
registry does to every frame what the 2013 series does, and moving loses nothing either.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mm.machine import Machine
from mm.paging.memory import ProcessMemory
from mm.paging.paging import Paging
from mm.paging.swap_core import SwapCore
from mm.paging.vmscan import shrink_inactive
from mm.state.frames import MAPCOUNT_ZBUD, FrameState, PageFlag
from mm.state.gfp import Gfp
from owners.compress import compressor
from owners.zbud.reclaim import ZbudReclaim
from owners.zswap.zswap import Zswap
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, Reason

NR_TEXTS = 12


class Swapped:
    """A machine with one process, all of whose pages are in zswap."""

    def __init__(self, coverage, seed):
        self.machine = Machine.build(nr_pages=512)
        registry = self.machine.use_registry()
        machine = self.machine
        paging = Paging(machine, machine.refs, machine.rmap, machine.lru, machine.swap)
        self.memory = ProcessMemory(paging)
        self.zswap = Zswap(
            machine,
            compressor("zlib"),
            host=SwapCore(paging),
            registry=registry,
            coverage=coverage,
            max_pool_percent=90,
        )
        machine.swap.swapon(64, self.zswap)
        self.pool = self.zswap.init(0)
        self.space = self.memory.mmap("p", NR_TEXTS)
        rng = np.random.default_rng(seed)
        self.texts = [rng.bytes(int(rng.integers(1, 1500))) for _ in range(NR_TEXTS)]
        for vpn, text in enumerate(self.texts):
            self.memory.write(self.space, vpn, text)
        pages = self.space.pte[:NR_TEXTS] - 1  # nobody looked at them lately, so all go
        machine.lru.del_many(pages)
        machine.frames.clear_flag(pages, PageFlag.REFERENCED)
        machine.frames.clear_flag(pages, PageFlag.ACTIVE)
        machine.lru.add_many(pages)
        shrink_inactive(paging, NR_TEXTS)
        assert self.zswap.counters.stored_pages == NR_TEXTS

    def zbud_pfns(self):
        return np.flatnonzero(self.machine.frames.mapcount == MAPCOUNT_ZBUD)

    def columns(self):
        """What the designs must agree on: free is free, on a per-CPU list or in the buddy."""
        frames = self.machine.frames
        return [frames.state == FrameState.USED, frames.refcount, frames.mapcount, self.space.pte]

    def check(self):
        self.machine.check()
        self.zswap.check()

    def check_texts(self):
        for vpn, text in enumerate(self.texts):
            page = self.memory.read(self.space, vpn)
            assert page is not None
            assert page[: len(text)] == text


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), data=st.data())
def test_registry_with_unuse_is_zbud_reclaim_frame_by_frame(seed, data):
    registry, series = Swapped("unuse", seed), Swapped("none", seed)
    reclaim = ZbudReclaim(series.machine, series.zswap.pools)
    pfns = registry.zbud_pfns()
    assert pfns.tolist() == series.zbud_pfns().tolist()
    for pfn in data.draw(st.permutations(pfns.tolist())):
        one = np.array([pfn])
        answers, _ = registry.machine.design.ask(one, Mode.SYNC)
        assert answers.tolist() == reclaim.ask(one, Mode.SYNC)[0].tolist()
        reasons = registry.machine.design.release(one, Mode.SYNC)
        assert reasons.tolist() == reclaim.release(one, Mode.SYNC).tolist() == [Reason.RELEASED]
        for ours, theirs in zip(registry.columns(), series.columns(), strict=True):
            assert (ours == theirs).all()
        assert registry.zswap.counters == series.zswap.counters
        registry.check()
        series.check()
    registry.check_texts()
    series.check_texts()


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), data=st.data())
def test_moved_pages_hold_what_they_held(seed, data):
    made = Swapped("migrate", seed)
    pfns = made.zbud_pfns()
    chosen = np.array(sorted(data.draw(st.sets(st.sampled_from(pfns.tolist()), min_size=1))))
    held = made.pool.map(made.pool.handles.encode(0, 0)) and made.pool.pages.pfn.item(0)
    targets = made.machine.buddy.alloc_many(len(chosen), 0)
    made.machine.frames.state[targets] = FrameState.TAKEN
    before = made.pool.lists.lru.copy(), len(made.machine.registry)
    report = made.machine.design.move(chosen, GivenTargets(targets), Mode.SYNC)
    busy = chosen == held
    assert (report.reasons[busy] == Reason.OWNER_AGAIN).all()
    assert (report.reasons[~busy] == Reason.MOVED).all()
    assert (made.pool.lists.lru, len(made.machine.registry)) == before
    made.pool.unmap(made.pool.handles.encode(0, 0))
    made.machine.buddy.free_many(targets[made.machine.frames.state[targets] == FrameState.TAKEN])
    made.check()
    made.check_texts()
    assert made.pool.pages_nr == 0 or made.zswap.counters.stored_pages


@pytest.mark.parametrize("gfp", [Gfp.ZSWAP, Gfp.ZSWAP | Gfp.RECLAIMABLE])
def test_the_pool_s_gfp_decides_where_its_pages_lie(gfp):
    machine = Machine.build(nr_pages=1024)
    zswap = Zswap(machine, compressor("zlib"), gfp=gfp)
    pool = zswap.init(0)
    zswap.store(0, 1, b"x" * 4096)
    block = int(pool.pages.pfn[0]) // 512
    assert machine.pageblocks.migratetype[block] == (2 if gfp & Gfp.RECLAIMABLE else 0)
