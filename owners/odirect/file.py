"""A file opened for direct I/O, and whole requests to it.

What one system call does of a request is not all of it: no more than IOV_MAX pages at a
time, and as few bytes as the kernel likes.  A request goes on behind what was done, until
all of it is, or the kernel says why not.

Kernel counterpart: none; this is the user's side of preadv(2) and pwritev(2).
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from owners.odirect.device import Op
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE

__all__ = ["IOV_MAX", "DirectFile"]

IOV_MAX = os.sysconf("SC_IOV_MAX")
"""Pages that one system call takes; 1024 on Linux."""


class DirectFile:
    """One open file of whole pages.

    Attributes:
        fd: its descriptor; -1 once it is closed.
        nr_blocks: its size in pages when it was opened.
    """

    def __init__(self, name: str, path: Path) -> None:
        """Open for reading and writing.

        Args:
            name: of the device, for messages.
            path: of the file.

        Raises:
            PinpageError: it cannot be opened so, or is no multiple of a page.
        """
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        except (OSError, TypeError, ValueError) as error:  # the last two: no path at all
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise PinpageError(
                f"odirect {name!r}: {path} cannot be opened for direct I/O ({why}): "
                "give a file on ext4, xfs or btrfs"
            ) from error
        self._is_open = [True]
        nr_bytes = os.fstat(self.fd).st_size
        if nr_bytes < PAGE_SIZE or nr_bytes % PAGE_SIZE:
            self.close()
            raise PinpageError(
                f"odirect {name!r}: {path} has {nr_bytes} bytes: give it a multiple of {PAGE_SIZE}"
            )
        self.nr_blocks = nr_bytes // PAGE_SIZE

    def transfer(self, op: Op, pages: Sequence[memoryview], block: int) -> int:
        """Read or write all of `pages`, from `block` on.

        Args:
            op: which way the data go.
            pages: buffers of a page each.
            block: first block of the file, one to a page.

        Returns:
            0; or a negative errno, and some of it may have been done.  EIO where the file
            ends before the request does.
        """
        move = os.preadv if op is Op.READ else os.pwritev
        start, done, nr_bytes = block * PAGE_SIZE, 0, len(pages) * PAGE_SIZE
        while done < nr_bytes:
            page, offset = divmod(done, PAGE_SIZE)
            views = list(pages[page : page + IOV_MAX])
            views[0] = views[0][offset:]
            try:
                nr = move(self.fd, views, start + done)
            except OSError as error:
                return -_true_errno(error, is_aligned=not offset)
            if not nr or (nr % PAGE_SIZE and op is Op.READ):
                return -errno.EIO  # the file ends here, perhaps within a page
            done += nr
        return 0

    def close(self) -> None:
        """Close it, whatever became of its descriptor; only the first call of any thread does."""
        with contextlib.suppress(IndexError, OSError):
            self._is_open.pop()
            fd, self.fd = self.fd, -1
            os.close(fd)


def _true_errno(error: OSError, *, is_aligned: bool) -> int:
    """Behind part of a page direct I/O may be refused for where it starts: then it was short."""
    if error.errno == errno.EINVAL and not is_aligned:
        return errno.EIO
    return error.errno or errno.EIO
