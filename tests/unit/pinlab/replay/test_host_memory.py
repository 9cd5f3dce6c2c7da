"""A recording that does not fit is refused before a byte of it is written."""

import pytest

from mm.state.contents import ArenaContents
from mm.state.frames import FrameState
from pinlab.described.synthetic import describe_machine, nr_bytes_described
from pinlab.replay.host_memory import require_host_memory, require_memory_described
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


@pytest.mark.parametrize(
    "text",
    [
        "scenario:64MiB,anon=20%,file=5%,slab=2%,zbud=3%,gup=1%,own=2%,reserved=7%,cma=8MiB",
        "scenario:256MiB,page_size=16KiB,anon=40%,zsmalloc=4%,shape=clusters",
    ],
)
def test_what_is_described_holds_as_much_as_it_will(text):
    memory = describe_machine(text)
    nr_used = int((memory.state == FrameState.USED).sum())
    assert nr_bytes_described(text) == nr_used * memory.geometry.page_nr_bytes


def test_what_is_described_is_refused_before_it_is_laid_out(tmp_path, monkeypatch):
    monkeypatch.setattr("pinlab.described.synthetic._Layout.snapshot", None)
    path = tmp_path / "large.toml"
    path.write_text('size = "1TiB"\nanon = "50%"\n')
    for text in ("scenario:1TiB,anon=50%", str(path)):
        with pytest.raises(PinpageError, match=r"anon=50%|large.toml") as refused:
            require_memory_described(text, 2, meminfo(tmp_path, 14 << 20))
        assert "need 1024.0 GiB here and 14.0 GiB are available" in str(refused.value)
        require_memory_described(text, 2, meminfo(tmp_path, 2 << 30))
