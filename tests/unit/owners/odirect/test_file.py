"""Whole requests to a file: larger than one call, given or taken in pieces, refused half way."""

import errno
import mmap
import os
import resource
import signal

import pytest

from owners.odirect.device import Op
from owners.odirect.file import IOV_MAX, DirectFile
from pinpage.errors import PinpageError

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "disk"
    made.write_bytes(b"".join(bytes([block + 1]) * PAGE for block in range(8)))
    return made


@pytest.fixture
def file(path):
    try:
        made = DirectFile("disk", path)
    except PinpageError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def pages(count, aligned):
    """Page frames of one mapping, as a machine lends them."""
    return [memoryview(aligned)[at * PAGE : (at + 1) * PAGE] for at in range(count)]


@pytest.fixture
def frames():
    return mmap.mmap(-1, 1200 * PAGE)


class Kernel:
    """preadv and pwritev that do as told: a number of bytes at most, or an errno."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.calls = list(answers), []
        self.reads, self.writes = os.preadv, os.pwritev
        monkeypatch.setattr(os, "preadv", lambda *args: self.answer(self.reads, *args))
        monkeypatch.setattr(os, "pwritev", lambda *args: self.answer(self.writes, *args))

    def answer(self, really, fd, views, at):
        self.calls.append((at, sum(map(len, views))))
        most = self.answers.pop(0) if self.answers else None
        if isinstance(most, OSError):
            raise most
        if most is None:
            return really(fd, views, at)
        some, left = [], most
        for view in views:
            some.append(view[: min(left, len(view))])
            left -= len(some[-1])
        # What lies within a page is nothing that direct I/O does: through a descriptor of its own.
        return self.plainly(really, fd, [view for view in some if len(view)], at)

    def plainly(self, really, fd, views, at):
        plain = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        try:
            return really(plain, views, at) if views else 0
        finally:
            os.close(plain)


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize("count", [IOV_MAX - 1, IOV_MAX, IOV_MAX + 1, IOV_MAX + 150])
def test_a_request_may_be_larger_than_one_call(tmp_path, frames, op, count):
    path = tmp_path / "large"
    on_disk = b"".join(block.to_bytes(8, "little") * 512 for block in range(count))
    path.write_bytes(on_disk if op is Op.READ else bytes(len(on_disk)))
    try:
        file = DirectFile("large", path)
    except PinpageError as error:
        pytest.skip(str(error))
    if op is Op.WRITE:
        frames[: len(on_disk)] = on_disk
    views = pages(count, frames)
    assert file.transfer(op, views, 0) == 0
    file.close()
    assert frames[: len(on_disk)] == path.read_bytes() == on_disk


@pytest.mark.parametrize("op", list(Op))
def test_a_request_goes_on_behind_what_was_done(file, path, frames, monkeypatch, op):
    for page in range(4):
        frames[page * PAGE : (page + 1) * PAGE] = bytes([0xA0 + page]) * PAGE
    written = frames[: 4 * PAGE]
    kernel = Kernel(monkeypatch, PAGE, 2 * PAGE)
    assert file.transfer(op, pages(4, frames), 2) == 0
    assert kernel.calls == [
        (2 * PAGE, 4 * PAGE), (3 * PAGE, 3 * PAGE), (5 * PAGE, PAGE),
    ]  # fmt: skip
    assert frames[: 4 * PAGE] == path.read_bytes()[2 * PAGE : 6 * PAGE]
    assert (frames[: 4 * PAGE] == written) is (op is Op.WRITE)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((PAGE + 100, OSError(errno.ENOSPC, "")), -errno.ENOSPC),
        ((100, OSError(errno.EFBIG, "")), -errno.EFBIG),
        ((100, OSError(errno.EINVAL, "")), -errno.EIO),  # may not start there: it was short
        ((PAGE, OSError(errno.EINVAL, "")), -errno.EINVAL),
        ((0,), -errno.EIO),
        ((OSError(errno.EBADF, ""),), -errno.EBADF),
        ((OSError("no errno"),), -errno.EIO),
    ],
)
def test_a_write_that_stops_says_why(file, frames, monkeypatch, answers, expected):
    Kernel(monkeypatch, *answers)
    assert file.transfer(Op.WRITE, pages(3, frames), 1) == expected


@pytest.mark.parametrize(("size", "block", "count"), [(10, 0, 1), (PAGE, 1, 1), (PAGE + 10, 0, 2)])
def test_a_file_that_shrank_has_no_more(file, path, frames, size, block, count):
    os.truncate(path, size)
    assert file.transfer(Op.READ, pages(count, frames), block) == -errno.EIO


def test_a_limit_of_the_host_is_its_errno(file, path, frames):
    """RLIMIT_FSIZE, within the second page: the write is cut short there, and then refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.truncate(path, PAGE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, hard))
        errors = [file.transfer(Op.WRITE, pages(n, frames), b) for n, b in ((1, 0), (1, 1), (2, 0))]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, was)
    assert errors == [0, -errno.EFBIG, -errno.EFBIG]


def test_a_closed_file_is_an_errno_and_closing_twice_closes_once(path, frames):
    try:
        file = DirectFile("disk", path)
    except PinpageError as error:
        pytest.skip(str(error))
    fd = file.fd
    file.close()
    again = os.open(path, os.O_RDONLY)  # the number is somebody else's now
    assert again == fd
    file.close()
    os.fstat(again)
    os.close(again)
    assert file.transfer(Op.READ, pages(1, frames), 0) == -errno.EBADF


def test_a_descriptor_that_was_closed_underneath_does_not_keep_it_from_closing(path):
    try:
        file = DirectFile("disk", path)
    except PinpageError as error:
        pytest.skip(str(error))
    os.close(file.fd)
    file.close()
    assert file.fd == -1
