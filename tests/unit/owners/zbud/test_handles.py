"""Both forms of handle: arithmetic as v3.11 has it, and names that a move leaves alone."""

import numpy as np
import pytest

from owners.zbud.handles import AddressHandles, IndirectHandles, decode_address, encode_address
from owners.zbud.layout import FIRST, LAST, nr_chunks, nr_free_chunks
from owners.zbud.pages import ZbudPages
from pinpage.errors import PinpageError
from pinpage.testing.world import column


def test_t1_sizes_in_chunks():
    assert [nr_chunks(n) for n in (1, 64, 65, 3968)] == [1, 1, 2, 62]
    assert nr_free_chunks(20, 0) == 43
    assert nr_free_chunks(1, 62) == 0


def test_t1_handles_of_the_page_at_0x1000():
    assert encode_address(1, FIRST, 20) == 0x1040
    assert [encode_address(1, LAST, c) for c in (1, 62)] == [0x2000 - 64, 0x1080]
    assert decode_address(0x1040) == (1, FIRST)
    for chunks in range(1, 63):
        assert decode_address(encode_address(1, LAST, chunks)) == (1, LAST)


@pytest.fixture(params=[AddressHandles, IndirectHandles])
def named(request):
    """A form over three pages at pfns 5, 6 and 9, all with two objects."""
    pages = ZbudPages(16)
    ids = pages.add_many(column(5, 6, 9))
    pages.chunks[ids] = [[1, 2], [3, 4], [31, 32]]
    return request.param(pages), pages, ids


def test_handles_lead_back_and_the_batch_is_the_loop(named):
    form, _, ids = named
    ids, slots = np.repeat(ids, 2), np.tile([FIRST, LAST], 3)
    handles = form.encode_many(ids, slots)
    pairs = list(zip(ids.tolist(), slots.tolist(), strict=True))
    assert handles.tolist() == [form.encode(*pair) for pair in pairs]
    assert [form.decode(handle) for handle in handles.tolist()] == pairs
    decoded = form.decode_many(handles)
    assert list(zip(*(part.tolist() for part in decoded), strict=True)) == pairs
    assert len(set(handles.tolist())) == 6
    assert 0 not in handles


def test_a_handle_without_an_object_is_refused_alone_and_in_a_batch(named):
    form, pages, _ = named
    good, gone = form.encode(0, FIRST), form.encode(1, LAST)
    pages.chunks[1, LAST] = 0
    for bad in (gone, 0, 1 << 50, (1 << 33) | (999 << 1)):
        with pytest.raises(PinpageError, match=f"{bad:#x}"):
            form.decode(bad)
    for bad in (gone, (1 << 33) | (999 << 1)) if form.movable else (gone, 0x7777):
        with pytest.raises(PinpageError, match=f"{bad:#x}"):
            form.decode_many(np.array([good, bad]))


def test_an_address_inside_an_object_is_no_handle():
    pages = ZbudPages(16)
    pages.chunks[pages.add(5), LAST] = 2
    form = AddressHandles(pages)
    with pytest.raises(PinpageError, match="names no object"):
        form.decode(form.encode(0, LAST) + 64)


def test_a_move_changes_addresses_and_no_indirect_handle(named):
    form, pages, ids = named
    before = form.encode_many(ids, np.zeros(3, np.int64))
    pages.repoint(ids, column(6, 9, 11))
    after = form.encode_many(ids, np.zeros(3, np.int64))
    assert (before == after).all() == form.movable


def test_an_indirect_handle_does_not_name_the_next_object_in_its_slot():
    pages = ZbudPages(16)
    page = pages.add(5)
    form = IndirectHandles(pages)
    pages.chunks[page, FIRST] = 3
    old = form.encode(page, FIRST)
    pages.generation[page, FIRST] += 1
    with pytest.raises(PinpageError):
        form.decode(old)
    with pytest.raises(PinpageError):
        form.decode_many(np.array([old]))
