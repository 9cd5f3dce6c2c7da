"""Owners that lie in every way, beside honest ones."""

import pytest

from tests.fuzz.seeds import for_a_while
from tests.kit.pinpage.liar_lab import LiarLab

pytestmark = pytest.mark.fuzz


def lie(seed):
    lab = LiarLab(seed)
    interrupt = lab.run()
    assert interrupt is None or "interrupted" in lab.lie, f"{lab.lie}: {interrupt!r}"
    try:
        lab.check()
    except AssertionError as error:
        raise AssertionError(f"{lab.lie}: {error}") from error


def test_the_honest_lose_nothing():
    for_a_while(lie)
