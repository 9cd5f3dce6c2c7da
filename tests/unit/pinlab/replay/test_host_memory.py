"""A recording that does not fit is refused before a byte of it is written."""

import pytest

from mm.state.contents import ArenaContents
from pinlab.replay.host_memory import require_host_memory
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import small_recording


def meminfo(tmp_path, nr_kib):
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {nr_kib} kB\n")
    return path


def test_what_fits_is_let_through(tmp_path):
    require_host_memory(small_recording(), 1, meminfo(tmp_path, 14_000))


def test_what_does_not_fit_is_refused_with_what_is_needed(tmp_path):
    with pytest.raises(PinpageError, match=r"GiB are available: use a larger machine$"):
        require_host_memory(small_recording(), 1, meminfo(tmp_path, 2_000))
    with pytest.raises(PinpageError, match=r"or nr_jobs=1$"):
        require_host_memory(small_recording(), 200, meminfo(tmp_path, 14_000))


def test_a_system_that_does_not_say_is_given_a_try(tmp_path):
    require_host_memory(small_recording(), 1, tmp_path / "nowhere")
    (tmp_path / "old").write_text("MemTotal: 1 kB\n")
    require_host_memory(small_recording(), 1, tmp_path / "old")


def test_address_space_for_a_large_machine_costs_nothing():
    contents = ArenaContents((256 << 30) >> 12)
    contents.write(len(contents.pages) - 1, b"the last page of 256 GiB")
    assert contents.read(len(contents.pages) - 1, 0, 8) == b"the last"
