"""The slots of one area, their users, and frontswap before the disk."""

import pytest

from mm.state.errno import Errno
from mm.swap.swap_area import SwapArea
from mm.swap.swapops import (
    COUNT_CONTINUED,
    SWAP_HAS_CACHE,
    SWAP_MAP_BAD,
    SWAP_MAP_MAX,
    SWAP_MAP_SHMEM,
    swap_count,
    swp_entry,
    swp_offset,
    swp_type,
)
from pinpage.errors import InvariantError, PinpageError
from tests.kit.mm.swap_world import DictFrontSwap

# Entries and slots.


def test_the_byte_of_a_slot_is_the_kernels() -> None:
    """As include/linux/swap.h of v6.1 defines SWAP_MAP_MAX and its neighbours."""
    assert SWAP_MAP_MAX == 0x3E
    assert SWAP_MAP_BAD == 0x3F
    assert SWAP_HAS_CACHE == 0x40
    assert COUNT_CONTINUED == 0x80
    assert SWAP_MAP_SHMEM == 0xBF


def test_the_count_fits_the_byte_up_to_62_users() -> None:
    area = SwapArea(0, 4)
    offset = area.alloc_slot(usage=1)
    for _ in range(61):
        assert area.duplicate(offset) is Errno.OK
    assert (area.map_byte(offset), area.count(offset)) == (62, 62)
    assert area.duplicate(offset) is Errno.OK
    assert (area.map_byte(offset), area.count(offset)) == (62 | 0x80, 63)


def test_an_entry_is_type_and_offset() -> None:
    entry = swp_entry(3, 0x1234)
    assert (entry, swp_type(entry), swp_offset(entry)) == ((3 << 40) | 0x1234, 3, 0x1234)


def test_slots_go_round_and_the_header_is_never_handed_out() -> None:
    area = SwapArea(0, 4)
    assert area.map_byte(0) == SWAP_MAP_BAD
    assert [area.alloc_slot() for _ in range(4)] == [1, 2, 3, -1]
    area.free_one(2, SWAP_HAS_CACHE)
    assert area.alloc_slot(usage=1) == 2
    assert area.map_byte(2) == 1
    assert area.inuse_pages == 3


def test_a_batch_of_slots_skips_what_is_taken() -> None:
    area = SwapArea(0, 8)
    area.alloc_slot()
    area.alloc_slot()
    area.free_one(1, SWAP_HAS_CACHE)
    assert area.alloc_many(3).tolist() == [1, 3, 4]
    assert area.alloc_many(9).tolist() == [5, 6, 7]
    assert area.inuse_pages == 7


def test_without_writeok_no_slot_is_handed_out() -> None:
    area = SwapArea(0, 4)
    area.writeok = False
    assert area.alloc_slot() == -1
    assert len(area.alloc_many(2)) == 0
    assert not area.get_device()


def test_counts_go_on_beyond_what_the_byte_holds() -> None:
    area = SwapArea(0, 4)
    area.alloc_slot(usage=1)
    area.add_user(1, 0, 0)
    for vpn in range(1, 200):
        assert area.duplicate(1) == Errno.OK
        area.add_user(1, 0, vpn)
    assert area.count(1) == 200
    assert area.map_byte(1) == 0x80 | SWAP_MAP_MAX
    assert area.duplicate(1, SWAP_HAS_CACHE) == Errno.OK  # the flag is independent of it
    area.check()
    for vpn in range(199, 0, -1):
        area.drop_user(1, 0, vpn)
        assert swap_count(area.free_one(1)) != 0
        assert area.count(1) == vpn
    assert area.map_byte(1) == SWAP_HAS_CACHE | 1
    area.drop_user(1, 0, 0)
    assert area.free_one(1) == SWAP_HAS_CACHE
    assert area.free_one(1, SWAP_HAS_CACHE) == 0
    assert area.inuse_pages == 0
    area.check()


@pytest.mark.parametrize(
    ("byte", "usage", "answer"),
    [
        (0, 1, Errno.ENOENT),
        (0, SWAP_HAS_CACHE, Errno.ENOENT),
        (1, SWAP_HAS_CACHE, Errno.OK),
        (SWAP_HAS_CACHE, 1, Errno.OK),
        (SWAP_HAS_CACHE, SWAP_HAS_CACHE, Errno.EEXIST),
        (SWAP_HAS_CACHE, SWAP_MAP_SHMEM, Errno.OK),
        (1, SWAP_MAP_SHMEM, Errno.EINVAL),
        (SWAP_MAP_SHMEM, 1, Errno.EINVAL),
        (SWAP_MAP_SHMEM, SWAP_HAS_CACHE, Errno.OK),
        (SWAP_MAP_BAD, 1, Errno.EINVAL),
        (SWAP_MAP_BAD, SWAP_HAS_CACHE, Errno.EINVAL),
    ],
)
def test_who_may_have_a_slot(byte: int, usage: int, answer: Errno) -> None:
    area = SwapArea(0, 4)
    area.swap_map[1] = byte
    assert area.duplicate(1, usage) == answer
    if answer != Errno.OK:
        assert area.map_byte(1) == byte


def test_the_other_users_stay_when_the_first_one_goes() -> None:
    area = SwapArea(0, 4)
    area.alloc_slot(usage=3)
    for user in ((0, 7), (1, 5), (2, 6)):
        area.add_user(1, *user)
    area.check()
    area.drop_user(1, 0, 7)
    area.free_one(1)
    assert area.users(1) == [(1, 5), (2, 6)]
    area.drop_user(1, 2, 6)
    area.free_one(1)
    assert area.users(1) == [(1, 5)]
    area.check()


@pytest.mark.parametrize("offset", [0, -1, 4])
def test_a_slot_outside_the_area_is_refused(offset: int) -> None:
    assert SwapArea(0, 4).duplicate(offset) == Errno.EINVAL


def test_freeing_what_nobody_uses_is_a_bug() -> None:
    area = SwapArea(0, 4)
    with pytest.raises(InvariantError, match="SA1"):
        area.free_one(1)
    with pytest.raises(InvariantError, match="SA1"):
        area.free_one(1, SWAP_HAS_CACHE)
    with pytest.raises(InvariantError, match="SA1"):
        area.drop_user(1, 0, 0)


@pytest.mark.parametrize("nr_slots", [-1, 0, 1, (1 << 31) + 1])
def test_an_area_needs_a_slot(nr_slots: int) -> None:
    with pytest.raises(PinpageError, match="nr_slots"):
        SwapArea(0, nr_slots)


# Frontswap before the disk.


@pytest.fixture
def front() -> DictFrontSwap:
    return DictFrontSwap()


@pytest.fixture
def area(front: DictFrontSwap) -> SwapArea:
    """An area of type 2 with slot 1 in use."""
    area = SwapArea(2, 4, front)
    area.alloc_slot(usage=1)
    area.add_user(1, 0, 0)
    return area


def test_what_frontswap_takes_is_not_written(area: SwapArea, front: DictFrontSwap) -> None:
    assert area.write_page(1, b"page")
    assert area.disk == {}
    assert area.read_page(1) == b"page"
    assert front.calls == [("store", 1), ("load", 1)]


def test_what_frontswap_declines_goes_to_the_disk(area: SwapArea, front: DictFrontSwap) -> None:
    front.refuse = True
    assert not area.write_page(1, b"page")
    assert area.read_page(1) == b"page"
    assert front.calls == [("store", 1)]


def test_a_declined_store_invalidates_the_stale_copy(area: SwapArea, front: DictFrontSwap) -> None:
    area.write_page(1, b"old")
    front.refuse = True
    area.write_page(1, b"new")
    assert area.read_page(1) == b"new"
    assert front.pages == {}
    assert front.calls == [("store", 1), ("store", 1), ("invalidate", 1)]


def test_a_store_outdates_what_the_disk_has(area: SwapArea, front: DictFrontSwap) -> None:
    front.refuse = True
    area.write_page(1, b"old")
    front.refuse = False
    area.write_page(1, b"new")
    front.pages.clear()  # lost without a writeback
    with pytest.raises(InvariantError, match="lost"):
        area.read_page(1)


def test_what_frontswap_wrote_back_is_read_from_disk(area: SwapArea, front: DictFrontSwap) -> None:
    area.write_page(1, b"page")
    area.write_disk(1, front.pages.pop((2, 1)))
    assert area.read_page(1) == b"page"


def test_the_last_reference_invalidates(area: SwapArea, front: DictFrontSwap) -> None:
    area.write_page(1, b"page")
    area.duplicate(1, SWAP_HAS_CACHE)
    area.drop_user(1, 0, 0)
    area.free_one(1)
    assert ("invalidate", 1) not in front.calls
    area.free_one(1, SWAP_HAS_CACHE)
    assert front.calls[-1] == ("invalidate", 1)
    assert not area.frontswap_map[1]
    area.check()


def test_a_freed_slot_forgets_its_page_on_disk(area: SwapArea, front: DictFrontSwap) -> None:
    front.refuse = True
    area.write_page(1, b"page")
    area.drop_user(1, 0, 0)
    area.free_one(1)
    assert area.disk == {}
    area.check()


def _lost_user(area: SwapArea) -> None:
    area.user_mm[1] = -1


def _free_in_front(area: SwapArea) -> None:
    area.frontswap_map[2] = True


def _free_on_disk(area: SwapArea) -> None:
    area.disk[2] = b""


def _wrong_inuse(area: SwapArea) -> None:
    area.inuse_pages += 1


def _lost_excess(area: SwapArea) -> None:
    area.swap_map[1] = 0x80 | SWAP_MAP_MAX


def _further_alone(area: SwapArea) -> None:
    area._further[2] = [(0, 1)]


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (_lost_user, "SA1"),
        (_free_in_front, "SA2"),
        (_free_on_disk, "SA2"),
        (_wrong_inuse, "SA3"),
        (_lost_excess, "SA4"),
        (_further_alone, "SA5"),
    ],
)
def test_check_sees_the_damage(area: SwapArea, damage: object, invariant: str) -> None:
    area.check()
    damage(area)  # type: ignore[operator]  # one of the functions above
    with pytest.raises(InvariantError, match=invariant):
        area.check()
