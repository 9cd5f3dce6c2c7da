"""Under `plan`, one owner more with a callback never costs any consumer anything.

Why, and where it ends: docs/explanation/planner.md.
"""

import pytest
from hypothesis import given, settings

from tests.property.monotone import CONSUMERS, coverages


@pytest.mark.parametrize("consumer", CONSUMERS)
@settings(max_examples=60, deadline=None)
@given(case=coverages())
def test_one_callback_more_never_costs_anything(consumer, case):
    without, given_one = case.obtained(consumer, "plan")
    assert given_one >= without


@pytest.mark.parametrize("consumer", CONSUMERS)
@settings(max_examples=30, deadline=None)
@given(case=coverages())
def test_scan_changes_no_byte_either(consumer, case):
    case.obtained(consumer, "scan")
