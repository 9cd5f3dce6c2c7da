"""The patch of 2013 as posted: what its functions return, by the traces worked out by hand."""

import pytest

from pinpage.errors import InvariantError, PinpageError
from pinpage.rfc2013 import PinPageOwner, Rfc2013, SoftLockupError, hash_long
from pinpage.rfc2013_defects import AS_POSTED, NOTHING_WRONG, WITH_A_FLAG, Defect


def owner(name, calls, code=0):
    def migrate(pfn, private):
        calls.append((name, pfn, private))
        return code

    return PinPageOwner(name, migrate)


def test_t8_as_posted_the_flag_is_clear_and_1_comes_back():
    table, calls = Rfc2013(), []
    assert table.set_pinned_page(owner("X", calls), 5, 9) == 0
    assert not table.pinned_page(5)
    assert table.migrate_pinned_page(5) == 1
    assert not calls
    assert table.unset_pinned_page(owner("X", calls), 5, 9) == -38


def test_t8_an_owner_that_says_yes_and_stays_is_asked_without_end():
    table, calls = Rfc2013(WITH_A_FLAG), []
    table.set_pinned_page(owner("X", calls), 5, 9)
    with pytest.raises(SoftLockupError, match="0x5"):
        table.migrate_pinned_page(5)
    assert set(calls) == {("X", 5, 9)}


def test_t8_an_owner_that_refuses_ends_the_loop_and_looks_like_success():
    table, calls = Rfc2013(WITH_A_FLAG), []
    table.set_pinned_page(owner("X", calls, code=1), 5)
    assert table.migrate_pinned_page(5) == 0
    assert len(calls) == 1


def test_a_flag_without_a_record_is_0():
    table = Rfc2013(WITH_A_FLAG - {Defect.NO_UNREGISTER, Defect.FLAG_AFTER_RECORD})
    x = owner("X", [])
    table.set_pinned_page(x, 5)
    assert table.unset_pinned_page(x, 5) == 0
    assert table.unset_pinned_page(x, 5) == -2
    assert table.migrate_pinned_page(5) == 1  # the flag went with the record


def test_t8_a_flag_whose_record_went_meanwhile_is_0():
    """The flag was seen, then the record went: nobody is asked, and it looks like success."""
    table, calls = Rfc2013(WITH_A_FLAG - {Defect.NO_UNREGISTER}), []
    x = owner("X", calls)
    table.set_pinned_page(x, 5)
    looks_at = table.pinned_page

    def seen(pfn):
        found = looks_at(pfn)
        table.unset_pinned_page(x, pfn)
        return found

    table.pinned_page = seen
    assert table.migrate_pinned_page(5) == 0
    assert not calls


def test_t9_the_newest_is_asked_first_and_a_bucket_may_hold_other_pages():
    table, calls = Rfc2013(WITH_A_FLAG), []
    x, y = owner("X", calls, code=1), owner("Y", calls, code=1)
    table.set_pinned_page(x, 5)
    table.set_pinned_page(y, 5)
    bucket = hash_long([5], 10)[0]
    other = next(pfn for pfn in range(6, 10_000) if hash_long([pfn], 10)[0] == bucket)
    table.set_pinned_page(x, other)
    assert table.get_pin_page_info(5).owner is y
    assert table.get_pin_page_info(other).pfn == other
    table.migrate_pinned_page(5)
    assert [name for name, _, _ in calls] == ["Y"]


def test_t10_the_second_refuses_and_the_first_stays_moved():
    defects = WITH_A_FLAG - {Defect.SAME_RECORD_AGAIN}
    table, calls = Rfc2013(defects), []
    table.set_pinned_page(owner("X", calls, code=1), 5)
    table.set_pinned_page(owner("Y", calls), 5)
    assert table.migrate_pinned_page(5) == 0
    assert [name for name, _, _ in calls] == ["Y", "X"]


def test_with_nothing_wrong_a_refusal_is_ebusy_and_a_table_grows():
    table, calls = Rfc2013(NOTHING_WRONG), []
    x = owner("X", calls, code=1)
    for pfn in range(2000):
        assert table.set_pinned_page(x, pfn) == 0
    assert table.set_pinned_page(x, 7) == -17
    assert table.migrate_pinned_page(7) == -16
    assert len(table.chain_lengths()) == 2048
    assert table.unload(x) == -16
    table.check()
    assert not table.heap.reports


def test_no_memory_is_enomem_where_somebody_looks():
    table = Rfc2013(NOTHING_WRONG, nr_objects=1)
    x = owner("X", [])
    assert [table.set_pinned_page(x, pfn) for pfn in (1, 2)] == [0, -12]
    with pytest.raises(PinpageError, match="nr_objects=-1"):
        Rfc2013(AS_POSTED, nr_objects=-1)


def test_a_table_that_lost_a_record_says_so(monkeypatch):
    table = Rfc2013(WITH_A_FLAG)
    table.set_pinned_page(owner("X", []), 5)
    table.check()
    monkeypatch.setattr(table, "chain_lengths", lambda: hash_long([], 10))
    with pytest.raises(InvariantError, match="RF1"):
        table.check()


def test_each_registration_holds_the_page_until_it_is_taken_back():
    table, calls = Rfc2013(NOTHING_WRONG), []
    first, second = owner("X", calls), owner("Y", calls)
    assert table.set_pinned_page(first, 5) == table.set_pinned_page(second, 5) == 0
    assert not table.free_page(5)
    assert table.unset_pinned_page(first, 5) == 0
    assert not table.free_page(5), "the other one holds it"
    assert table.unset_pinned_page(second, 5) == 0
    assert table.free_page(5)
