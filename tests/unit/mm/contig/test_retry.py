"""RetryPolicy: what is refused, and which one ends."""

import pytest

from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.state.errno import Errno
from pinpage.errors import PinpageError


def nothing():
    return None


@pytest.mark.parametrize("wrong", [{"nr_tries": 0}, {"timeout_ns": 0}, {"timeout_ns": -1}])
def test_no_tries_and_no_time_are_refused(wrong):
    with pytest.raises(PinpageError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    ("retry", "ends"),
    [
        (RetryPolicy(), True),
        (RetryPolicy(None), False),
        (RetryPolicy(None, timeout_ns=1), True),
        (RetryPolicy(None, signal_pending=lambda: False), True),
        (RetryPolicy(None, between_tries=nothing), True),
    ],
)
def test_for_ever_ends_only_if_somebody_ends_it(retry, ends):
    assert retry.can_end == ends


def test_nobody_acts_between_two_tries_unless_told():
    assert RetryPolicy().is_alone
    assert RetryPolicy(signal_pending=lambda: False).is_alone
    assert not RetryPolicy(between_tries=nothing).is_alone


def test_reports_add_up_and_the_last_one_says_how_it_ended():
    total = EvacuationReport(pages_moved=1, pages_freed=2, pages_released=3, pages_dropped=4)
    total.add(
        EvacuationReport(Errno.EBUSY, 10, 20, 30, 40, nr_tries=5, elapsed_ns=7, timed_out=True)
    )
    assert (total.pages_moved, total.pages_freed) == (11, 22)
    assert (total.pages_released, total.pages_dropped) == (33, 44)
    assert (total.nr_tries, total.elapsed_ns) == (5, 7)
    assert (total.errno, total.timed_out) == (Errno.EBUSY, True)
