"""`require` is an assertion that stays."""

import subprocess
import sys

import pytest

from pinpage import InvariantError, PinpageError
from pinpage.errors import require


def test_require_shows_ints_in_hex_and_the_rest_as_is():
    with pytest.raises(InvariantError, match=r"^I1 broken \(pfn=0x10, name='x', is_free=True\)$"):
        require(condition=False, message="I1 broken", pfn=16, name="x", is_free=True)


def test_require_survives_optimised_python():
    code = "from pinpage.errors import require; require(0, 'I1')"
    assert subprocess.run(
        [sys.executable, "-O", "-c", code], capture_output=True, check=False
    ).returncode


def test_a_broken_invariant_is_no_mistake_of_the_caller():
    assert not issubclass(InvariantError, PinpageError)
