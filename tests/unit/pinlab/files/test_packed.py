"""Packed files: told by their first bytes, bounded, and cut ones say so."""

import errno
import gzip
import io
import lzma
import tracemalloc

import pytest

from pinlab.files.packed import lines_of, read_unpacked, start_of

TEXT = b"".join(b"line %d\n" % nr for nr in range(50_000))
FORMS = {
    "plain": lambda text: text,
    "gzip": gzip.compress,
    "two gzips": lambda text: gzip.compress(text[:7]) + gzip.compress(text[7:]),
    "xz": lzma.compress,
}


@pytest.fixture(params=FORMS)
def path(request, tmp_path):
    path = tmp_path / "no ending says what it is"
    path.write_bytes(FORMS[request.param](TEXT))
    return path


def test_every_form_is_the_same_text(path):
    assert read_unpacked(path, len(TEXT)) == TEXT
    assert list(lines_of(path, len(TEXT))) == TEXT.split(b"\n")[:-1]
    assert start_of(path, 20) == TEXT[:20]
    assert start_of(path, 1 << 30) == TEXT


def test_more_than_may_be_read_is_refused(path):
    with pytest.raises(OSError, match="larger than the 9,999 bytes"):
        read_unpacked(path, 9_999)
    with pytest.raises(EOFError, match="more than 9,999 bytes"):
        list(lines_of(path, 9_999))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_file_that_is_cut_gives_the_lines_before(tmp_path, pack):
    path = tmp_path / "a"
    path.write_bytes(pack(TEXT)[:-40])
    lines = []
    with pytest.raises(EOFError):
        lines.extend(lines_of(path, 1 << 30))
    assert 1000 < len(lines) < 50_000
    assert lines == TEXT.split(b"\n")[: len(lines)]
    with pytest.raises(OSError, match="cut short or damaged"):
        read_unpacked(path, 1 << 30)
    assert start_of(path, 7) == TEXT[:7]


def test_a_line_without_end_costs_no_memory(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b"x" * (1 << 24) + b"\nshort\n"))
    tracemalloc.start()
    assert [len(line) for line in lines_of(path, 1 << 30)] == [4096, 5]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_xz_that_asks_for_gigabytes_is_damaged(tmp_path):
    path = tmp_path / "a"
    dictionary = {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}
    path.write_bytes(lzma.compress(TEXT[:5000], filters=[dictionary]))
    with pytest.raises(OSError, match="Memory usage limit"):
        read_unpacked(path, 1 << 20)


class _OfWords(io.FileIO):
    """As kpageflags: whole words, or nothing."""

    def read(self, size=-1, /):
        if size % 8:
            raise OSError(errno.EINVAL, "Invalid argument")
        return super().read(size)


class _OfRecords(io.FileIO):
    """As page_owner: whole records, of which a short buffer has no place for one."""

    def read(self, size=-1, /):
        if size < 700:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return super().read(700)


@pytest.mark.parametrize("kind", [_OfWords, _OfRecords])
def test_files_of_the_kernel_that_are_not_read_byte_by_byte(tmp_path, monkeypatch, kind):
    path = tmp_path / "a"
    path.write_bytes(TEXT[: 8 << 10])
    monkeypatch.setattr(type(path), "open", lambda self, mode, buffering: kind(self, "rb"))
    assert read_unpacked(path, 1 << 20) == TEXT[: 8 << 10]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError):
        start_of(tmp_path, 1)
