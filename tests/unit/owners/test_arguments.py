"""What a caller gave: one notion of an integer, of a time and of bytes for every device."""

import numpy as np
import pytest

from owners.arguments import instance, integer, octets, seconds
from pinpage.errors import PinpageError


@pytest.mark.parametrize("value", [7, np.int32(7), np.uint64(7)])
def test_an_integer_is_an_int_whoever_made_it(value):
    got = integer("disk", "block", value)
    assert (got, type(got)) == (7, int)


@pytest.mark.parametrize(
    "value", [7.0, np.float64(7), True, np.bool_(True), "7", None, np.array([7]), np.arange(3)]
)
def test_what_merely_looks_like_one_is_none(value):
    with pytest.raises(PinpageError, match=r"disk: block=.*: give an integer"):
        integer("disk", "block", value)


def test_the_least_is_the_least():
    assert integer("disk", "block", 3, least=3) == 3
    with pytest.raises(PinpageError, match="block=2: give 3 or more"):
        integer("disk", "block", 2, least=3)


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), "1", None])
def test_a_time_to_wait_is_finite_and_not_negative(value):
    assert [seconds("disk", "bound", s) for s in (0, 2, 0.5)] == [0, 2, 0.5]
    with pytest.raises(PinpageError, match="give seconds, 0 or more"):
        seconds("disk", "bound", value)


@pytest.mark.parametrize("value", ["text", 4096, None, [1, 2]])
def test_bytes_are_bytes_or_a_buffer(value):
    for data in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert octets("disk", "data", data) == b"abc"
    with pytest.raises(PinpageError, match="data: give bytes, not"):
        octets("disk", "data", value)


def test_a_kind_is_asked_for_by_its_name():
    assert instance("disk", "data", b"x", bytes) == b"x"
    with pytest.raises(PinpageError, match="disk: data='x': give a bytes"):
        instance("disk", "data", "x", bytes)
