"""Mappings in both directions, their references, and the vectorised move."""

import numpy as np
import pytest

from mm.state.address_space import AddressSpace
from mm.state.frames import MAPCOUNT_ZBUD, Frames, FrameState, PageFlag
from mm.state.rmap import Rmap
from pinpage.errors import InvariantError, PinpageError
from pinpage.testing.world import column


@pytest.fixture
def rmap() -> Rmap:
    """16 frames, 0..9 of them just allocated."""
    frames = Frames(16)
    frames.state[:] = FrameState.FREE
    frames.state[:10] = FrameState.USED
    frames.refcount[:10] = 1
    return Rmap(frames)


def named(rmap: Rmap, pfn: int) -> list[tuple[str, int]]:
    return [(space.name, vpn) for space, vpn in rmap.mappers(pfn)]


def shared(rmap: Rmap) -> tuple[AddressSpace, AddressSpace]:
    """a maps 3, 1, 2 at 0, 5, 6; b maps 1 as well, at 7."""
    a, b = rmap.create("a", 8), rmap.create("b", 8)
    rmap.map_many(a, column(0, 5, 6), column(3, 1, 2))
    rmap.map_many(b, column(7), column(1))
    return a, b


def move(rmap: Rmap, sources: np.ndarray, targets: np.ndarray) -> None:
    """What a mover does around move_many."""
    frames = rmap.frames
    for name in ("state", "refcount", "mapcount"):
        values = getattr(frames, name)
        values[targets] = values[sources]
    frames.state[sources], frames.refcount[sources], frames.mapcount[sources] = (
        FrameState.FREE,
        0,
        -1,
    )
    rmap.move_many(sources, targets)


def test_the_first_mapping_takes_over_the_allocations_reference(rmap: Rmap) -> None:
    shared(rmap)
    assert rmap.frames.refcount[[1, 2, 3]].tolist() == [2, 1, 1]
    assert rmap.frames.mapcount[[1, 2, 3]].tolist() == [1, 0, 0]
    assert rmap.home_references(column(1, 2, 4)).tolist() == [2, 1, 0]
    assert named(rmap, 1) == [("a", 5), ("b", 7)]
    rmap.check()


def test_a_single_page_maps_as_a_batch_does(rmap: Rmap) -> None:
    a, b = rmap.create("a", 8), rmap.create("b", 8)
    for space, vpn, pfn in ((a, 0, 3), (a, 5, 1), (a, 6, 2), (b, 7, 1)):
        rmap.map_page(space, vpn, pfn)
    assert rmap.frames.refcount[[1, 2, 3]].tolist() == [2, 1, 1]
    assert named(rmap, 1) == [("a", 5), ("b", 7)]
    rmap.check()


def test_unmap_many_hands_back_one_reference_per_frame(rmap: Rmap) -> None:
    a, b = shared(rmap)
    assert rmap.unmap_many(column(2, 1, 4)).tolist() == [1, 2, 0]
    assert rmap.frames.refcount[[1, 2, 3, 4]].tolist() == [1, 1, 1, 1]
    assert rmap.frames.mapcount[[1, 2, 3]].tolist() == [-1, -1, 0]
    assert a.present().tolist() == [0]
    assert b.present().tolist() == []
    rmap.check()


def test_unmap_many_leaves_what_it_is_told_in_every_pte(rmap: Rmap) -> None:
    a, b = shared(rmap)
    rmap.unmap_many(column(1, 3), column(-8, -9))
    assert (a.pte[5], b.pte[7], a.pte[0]) == (-8, -8, -9)


@pytest.mark.parametrize("first", ["a", "b"])
def test_unmap_page_keeps_the_others_mapping(rmap: Rmap, first: str) -> None:
    a, b = shared(rmap)
    order = [(a, 5), (b, 7)] if first == "a" else [(b, 7), (a, 5)]
    assert rmap.unmap_page(*order[0]) == (1, False)
    assert named(rmap, 1) == [(order[1][0].name, order[1][1])]
    assert rmap.frames.refcount[1] == 1
    rmap.check()
    assert rmap.unmap_page(*order[1]) == (1, True)
    assert rmap.frames.refcount[1] == 1  # the caller's now
    assert named(rmap, 1) == []
    rmap.check()


@pytest.mark.parametrize("middle", ["b", "c"])
def test_of_three_mappings_the_right_one_goes(rmap: Rmap, middle: str) -> None:
    _, b = shared(rmap)
    c = rmap.create("c", 8)
    rmap.map_page(c, 3, 1)
    assert rmap.unmap_page(*((b, 7) if middle == "b" else (c, 3))) == (1, False)
    assert named(rmap, 1) == [("a", 5), ("c", 3) if middle == "b" else ("b", 7)]
    rmap.check()


def test_a_move_rewrites_every_pte(rmap: Rmap) -> None:
    a, b = shared(rmap)
    c = rmap.create("c", 2)
    rmap.map_many(c, column(1), column(4))
    move(rmap, column(1, 4, 5, 3), column(11, 12, 13, 14))  # 5 is mapped nowhere
    assert (a.pte[5], b.pte[7], c.pte[1], a.pte[0], a.pte[6]) == (12, 12, 13, 15, 3)
    assert named(rmap, 11) == [("a", 5), ("b", 7)]
    assert named(rmap, 1) == named(rmap, 13) == []
    rmap.check()


def test_a_move_within_one_space_equals_the_loop(rmap: Rmap) -> None:
    a = rmap.create("a", 16)
    rmap.map_many(a, column(9, 2, 4), column(0, 1, 2))
    move(rmap, column(2, 0), column(10, 11))
    assert (a.pte[4], a.pte[9], a.pte[2]) == (11, 12, 2)
    rmap.check()


@pytest.mark.parametrize(
    ("vpns", "pfns", "message"),
    [
        ((0,), (1,), "is present"),
        ((1, 1), (4, 5), "vpn is given twice"),
        ((1, 2), (4, 4), "pfn is given twice"),
        ((8,), (4,), "vpn is outside"),
        ((-1,), (4,), "vpn is outside"),
        ((1,), (16,), "pfn is outside"),
        ((1,), (12,), "not a used"),
        ((1,), (9,), "not a used"),
        ((1, 2), (4,), "2 vpns for 1 pfns"),
    ],
)
def test_a_wrong_mapping_changes_nothing(
    rmap: Rmap, vpns: tuple[int, ...], pfns: tuple[int, ...], message: str
) -> None:
    a, _ = shared(rmap)
    rmap.frames.mapcount[9] = MAPCOUNT_ZBUD
    before = a.pte.copy(), rmap.frames.refcount.copy(), rmap.first_mm.copy()
    with pytest.raises(PinpageError, match=message):
        rmap.map_many(a, column(*vpns), column(*pfns))
    assert all(map(np.array_equal, before, (a.pte, rmap.frames.refcount, rmap.first_mm)))
    rmap.check()


def test_a_space_goes_only_when_it_is_empty(rmap: Rmap) -> None:
    a, b = shared(rmap)
    with pytest.raises(PinpageError, match="not empty"):
        rmap.destroy(b)
    rmap.unmap_page(b, 7)
    rmap.destroy(b)
    assert rmap.spaces == (a,)
    with pytest.raises(PinpageError, match="no such address space"):
        rmap.space(b.mm_id)
    assert rmap.create("c", 1).mm_id == 2  # ids are never reused


def test_unmapping_nothing_is_a_mistake(rmap: Rmap) -> None:
    a, _ = shared(rmap)
    with pytest.raises(PinpageError, match="not present"):
        rmap.unmap_page(a, 1)


def _wrong_pte(rmap: Rmap, a: AddressSpace) -> None:
    a.pte[5] = 4 + 1


def _unused_frame(rmap: Rmap, a: AddressSpace) -> None:
    rmap.frames.state[2] = FrameState.FREE


def _lost_pte(rmap: Rmap, a: AddressSpace) -> None:
    a.pte[6] = 0


def _wrong_mapcount(rmap: Rmap, a: AddressSpace) -> None:
    rmap.frames.mapcount[2] = 1


def _lost_reference(rmap: Rmap, a: AddressSpace) -> None:
    rmap.frames.refcount[1] = 1


def _lost_first(rmap: Rmap, a: AddressSpace) -> None:
    rmap.first_mm[1] = -1
    a.pte[5] = 0


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (_wrong_pte, "A1"),
        (_unused_frame, "A1"),
        (_lost_pte, "A2"),
        (_wrong_mapcount, "A3"),
        (_lost_reference, "A4"),
        (_lost_first, "A5"),
    ],
)
def test_check_sees_the_damage(rmap: Rmap, damage: object, invariant: str) -> None:
    a, _ = shared(rmap)
    rmap.check()
    damage(rmap, a)  # type: ignore[operator]  # one of the functions above
    with pytest.raises(InvariantError, match=invariant):
        rmap.check()


ANON = (PageFlag.LRU, PageFlag.UPTODATE, PageFlag.ANON, PageFlag.SWAPBACKED)


@pytest.mark.parametrize(
    ("kind", "flags", "is_fine"),
    [
        ("process", ANON, True),
        ("process", ANON[:3], True),  # lazily freed
        ("process", (*ANON, PageFlag.SWAPCACHE), True),
        ("process", (PageFlag.LRU,), False),
        ("process", (PageFlag.LRU, PageFlag.UPTODATE, PageFlag.SWAPBACKED), False),
        ("process", (PageFlag.LRU, PageFlag.ANON, PageFlag.SWAPBACKED), False),
        ("process", (*ANON[:3], PageFlag.SWAPCACHE), False),
        ("file", (PageFlag.LRU,), True),  # being read
        ("file", (PageFlag.LRU, PageFlag.UPTODATE, PageFlag.SWAPBACKED), True),  # shmem
        ("process first", (PageFlag.LRU, PageFlag.UPTODATE, PageFlag.SWAPBACKED), True),
        (None, ANON, True),  # unmapped while somebody holds it
        (None, (PageFlag.LRU, PageFlag.UPTODATE), True),
        (None, (PageFlag.LRU,), False),
        (None, (), True),
    ],
)
def test_a6_a_page_on_the_lru_is_what_its_flags_say(
    rmap: Rmap, kind: str | None, flags: tuple[PageFlag, ...], is_fine: bool
) -> None:
    process, file = rmap.create("process", 4), rmap.create("file", 4, kind="file")
    for flag in flags:
        rmap.frames.set_flag(np.array([3]), flag)
    if kind == "process first":
        rmap.map_page(process, 0, 3)
    if kind is not None:
        rmap.map_page(process if kind == "process" else file, 0, 3)
    if is_fine:
        rmap.check()
        return
    with pytest.raises(InvariantError, match="A6"):
        rmap.check()
