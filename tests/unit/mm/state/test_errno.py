"""The error numbers are those of the host, negative."""

import errno

import pytest

from mm.state.errno import Errno


@pytest.mark.parametrize("code", [code for code in Errno if code is not Errno.OK])
def test_codes_are_those_of_linux(code):
    assert -code == getattr(errno, code.name)
