"""Files from somebody else are read when they are files, and no further than they may be."""

import errno
import os
import signal
import threading

import pytest

from pinlab.files.careful import read_bytes


@pytest.fixture
def pipe(tmp_path):
    """One that nobody writes to: whoever waits for a writer is told so."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for a writer"))
    signal.alarm(20)
    os.mkfifo(tmp_path / "pipe")
    yield tmp_path / "pipe"
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_pipe_is_not_waited_for(pipe):
    with pytest.raises(OSError, match="is not a regular file") as caught:
        read_bytes(pipe)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(pipe))


def test_a_pipe_is_waited_for_by_who_wants_to(pipe):
    writer = threading.Thread(target=pipe.write_bytes, args=(b"slab = 3\n",))
    writer.start()
    assert read_bytes(pipe, pipes=True) == b"slab = 3\n"
    writer.join()


def test_a_directory_is_none(tmp_path):
    with pytest.raises(OSError, match="is not a regular file") as caught:
        read_bytes(tmp_path)
    assert caught.value.errno == errno.EISDIR


def test_a_file_is_read_up_to_its_bound(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_bytes(tmp_path / "a", 10) == b"x" * 10
    with pytest.raises(OSError, match="larger than the 9 bytes") as caught:
        read_bytes(tmp_path / "a", 9)
    assert caught.value.errno == errno.EFBIG
