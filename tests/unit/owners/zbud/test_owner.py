"""What a zbud pool answers when the VM asks about its pages."""

import numpy as np
import pytest

from mm.state.errno import Errno
from owners.zbud.pool import ZbudOps, ZbudPool
from pinpage.owner import Mode, Pin, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import column
from pinpage.topology import Topology
from tests.kit.owners.few_frames import FewFrames, fill

SIZE = 20 * 64


def made(coverage=None, **kwargs):
    """A pool with a registry and three pages of two objects; pool, pfns, privates."""
    source = FewFrames(32)
    registry = PinRegistry(Topology.uniform(nr_frames=32))
    pool = ZbudPool(source, registry=registry, coverage=coverage, **kwargs)
    for _ in range(6):
        pool.alloc(31 * 64)
    ids = pool.pages.in_use()
    return pool, registry, pool.pages.pfn[ids], pool.pages.privates(ids)


def test_each_page_is_pinned_once_while_it_lives():
    pool, registry, pfns, privates = made()
    assert len(registry) == 3
    assert [registry.pins(pfn) for pfn in pfns.tolist()] == [
        [Pin(pfn, pool.owner, private)]
        for pfn, private in zip(pfns.tolist(), privates.tolist(), strict=True)
    ]
    handle = pool.handles.encode(0, 0)
    pool.free(handle)
    assert len(registry) == 3
    pool.free(pool.handles.encode(0, 1))
    assert (len(registry), registry.is_pinned(int(pfns[0]))) == (2, False)
    pool.check()


def test_references_are_objects_and_reclaims():
    pool, _, pfns, privates = made()
    steps = pool.reclaim_steps(1, lambda _pool, _handle: 0)
    next(steps)
    pool.free(pool.handles.encode(2, 0))
    assert pool.owner.references(pfns, privates).tolist() == [2, 3, 1]
    assert pool.source.frames.refcount[pfns].tolist() == [2, 3, 1]


def test_a_page_that_is_mapped_or_under_reclaim_says_again():
    pool, _, pfns, privates = made()
    pool.map(pool.handles.encode(0, 1))
    steps = pool.reclaim_steps(1, lambda _pool, _handle: 0)
    next(steps)
    verdicts = pool.owner.isolate_many(pfns, privates, Mode.SYNC).tolist()
    assert verdicts == [Verdict.AGAIN, Verdict.AGAIN, Verdict.YES]
    assert pool.pages.moving[:3].tolist() == [False, False, True]
    pool.check()


def test_a_pin_of_a_page_that_is_gone_is_not_mistaken_for_the_next_page():
    pool, _, pfns, privates = made()
    pool.free(pool.handles.encode(0, 0))
    pool.free(pool.handles.encode(0, 1))
    handle = pool.alloc(31 * 64)
    assert pool.handles.decode(handle)[0] == 0  # the id is in use again
    old = Pin(int(pfns[0]), pool.owner, int(privates[0]))
    assert pool.owner.isolate(old, Mode.SYNC) is Verdict.AGAIN
    pool.owner.migrate(old, 31)
    pool.owner.putback(old)
    assert pool.pages.pfn[0] != 31
    assert pool.owner.references(pfns[:1], privates[:1]).tolist() == [0]
    pool.check()


def test_the_batch_is_the_loop():
    one, _, pfns, privates = made()
    many, _, _, _ = made()
    targets = column(20, 21, 22)
    pins = [Pin(p, one.owner, k) for p, k in zip(pfns.tolist(), privates.tolist(), strict=True)]
    verdicts = [one.owner.isolate(pin, Mode.SYNC) for pin in pins]
    assert verdicts == many.owner.isolate_many(pfns, privates, Mode.SYNC).tolist()
    one.owner.putback(pins[0])
    many.owner.putback_many(pfns[:1], privates[:1])
    assert one.pages.moving.tolist() == many.pages.moving.tolist()
    for pin, target in zip(pins[1:], targets[1:].tolist(), strict=True):
        one.owner.migrate(pin, target)
    many.owner.migrate_many(pfns[1:], privates[1:], targets[1:])
    assert one.pages.pfn.tolist() == many.pages.pfn.tolist()
    assert not many.pages.moving.any()


def test_a_migration_undone_leaves_everything_as_it_was():
    pool, _, pfns, privates = made()
    pool.owner.isolate_many(pfns, privates, Mode.SYNC)
    pool.owner.migrate_many(pfns, privates, column(20, 21, 22))
    pool.owner.migrate_many(column(20, 21, 22), privates, pfns)
    pool.check()


@pytest.mark.parametrize("coverage", ["migrate", "unuse", "none"])
def test_coverage_decides_what_is_offered(coverage):
    pool, _, pfns, privates = made(coverage)
    owner = pool.owner
    assert (owner.can_migrate, owner.can_release) == (coverage == "migrate", coverage == "unuse")
    isolated = owner.isolate_many(pfns, privates, Mode.SYNC)
    assert (isolated == Verdict.YES).all() == (coverage == "migrate")
    if coverage != "unuse":
        assert (owner.release_many(pfns, privates, Mode.SYNC) == Verdict.BUSY).all()


def test_release_unuses_both_objects_and_says_whether_the_page_went():
    pool, registry, pfns, privates = made("unuse")
    asked = []

    def unuse(pool, handle):
        asked.append(pool.handles.decode(handle))
        if pool.handles.decode(handle) == (1, 1):
            return Errno.ENOMEM
        pool.free(handle)
        return 0

    pool.ops = ZbudOps(unuse=unuse)
    verdicts = pool.owner.release_many(pfns, privates, Mode.SYNC).tolist()
    assert asked == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert verdicts == [Verdict.YES, Verdict.BUSY, Verdict.YES]
    assert len(registry) == 1
    again = Pin(int(pfns[0]), pool.owner, int(privates[0]))
    assert pool.owner.release(again, Mode.SYNC) is Verdict.YES
    pool.check()


def test_release_without_unuse_is_busy():
    pool, _, pfns, privates = made("unuse")
    assert (pool.owner.release_many(pfns, privates, Mode.SYNC) == Verdict.BUSY).all()


def test_address_handles_default_to_no_coverage():
    assert ZbudPool(FewFrames(4), handles="address").owner.coverage == "none"
    assert ZbudPool(FewFrames(4)).owner.coverage == "migrate"


def test_adopted_pages_are_pinned():
    source = FewFrames(32)
    registry = PinRegistry(Topology.uniform(nr_frames=32))
    pool = ZbudPool(source, registry=registry)
    pfns = np.array([source.alloc_page() for _ in range(5)])
    sizes = np.full(5, SIZE, np.int32)
    first, _ = pool.adopt(pfns, sizes, sizes)
    fill(pool, int(first[2]), b"third")
    assert len(registry) == 5
    pool.check()
