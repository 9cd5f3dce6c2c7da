"""A zram device as a file of bytes: what a file system, a database or an archive writes to.

Anything that works on a seekable file of fixed size works on this: `tarfile`, `shutil`, a
file system of one's own.  Wrap it in `io.BufferedRandom` where writes are small: each write
of less than a page reads the page first.
"""

import errno
import io
from typing import Any

from mm.state.errno import Errno
from owners.arguments import integer, octets
from owners.zram.zram import Zram
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SHIFT, PAGE_SIZE

__all__ = ["ZramDisk"]

_OFFSET_MASK = PAGE_SIZE - 1


class ZramDisk(io.RawIOBase):
    """The whole disk as one raw file of fixed size, with a position of its own.

    Attributes:
        zram: the device.
        nr_bytes: size of the disk.

    Context: two disks over one device may be used at once; a caller who writes parts of one page
    from two threads sees to that himself, as with a real disk.
    """

    def __init__(self, zram: Zram) -> None:
        """At the first byte."""
        super().__init__()
        self.zram = zram
        self.nr_bytes = zram.nr_pages << PAGE_SHIFT
        self._at = 0

    def pread(self, offset: int, nr_bytes: int) -> bytes:
        """Bytes from `offset` on, fewer at the end of the disk.

        Args:
            offset: first byte of the disk.
            nr_bytes: at most that many.

        Raises:
            PinpageError: a negative offset or number of bytes; or the disk is closed.
            OSError: the backing store failed.
        """
        self._require_open()
        offset = integer("zram disk", "offset", offset, least=0)
        nr_bytes = integer("zram disk", "nr_bytes", nr_bytes, least=0)
        stop, parts = min(offset + nr_bytes, self.nr_bytes), []
        while offset < stop:
            start = offset & _OFFSET_MASK
            here = min(PAGE_SIZE - start, stop - offset)
            parts.append(self.zram.read_page(offset >> PAGE_SHIFT)[start : start + here])
            offset += here
        return b"".join(parts)

    def pwrite(self, offset: int, data: bytes) -> int:
        """Write bytes at `offset`; how many: fewer at the end of the disk or of memory.

        Args:
            offset: first byte of the disk.
            data: the bytes.

        Raises:
            PinpageError: a negative offset, or no bytes; or the disk is closed.
            OSError: ENOSPC, not a byte could be written; or the backing store failed.
        """
        self._require_open()
        offset = integer("zram disk", "offset", offset, least=0)
        data = octets("zram disk", "data", data)
        nr_bytes, done = min(len(data), max(self.nr_bytes - offset, 0)), 0
        while done < nr_bytes:
            slot, start = (offset + done) >> PAGE_SHIFT, (offset + done) & _OFFSET_MASK
            part = data[done : min(done + PAGE_SIZE - start, nr_bytes)]
            if len(part) < PAGE_SIZE:
                whole = self.zram.read_page(slot)
                page = whole[:start] + part + whole[start + len(part) :]
            else:
                page = part
            if self.zram.write_page(slot, page) is not Errno.OK:
                break
            done += len(part)
        if data and not done:
            raise OSError(errno.ENOSPC, "zram disk: no space for another byte")
        return done

    def _require_open(self) -> None:
        if self.closed:
            raise PinpageError("zram disk: it is closed")

    # What io asks of a raw file.

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte; beyond the end is allowed, as in any file.

        Args:
            offset: in bytes, from where `whence` says.
            whence: SEEK_SET, SEEK_CUR or SEEK_END.

        Raises:
            PinpageError: before the first byte, or from no place; or the disk is closed.
        """
        self._require_open()
        offset = integer("zram disk", "offset", offset)
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise PinpageError(f"zram disk: whence={whence!r}: use one of io.SEEK_*")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.nr_bytes}[whence]
        if start + offset < 0:
            raise PinpageError(f"zram disk: seek to {start + offset}: give 0 or more")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer from here on; how many bytes."""
        view = memoryview(buffer).cast("B")
        data = self.pread(self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def write(self, data: Any, /) -> int:
        """Write from here on; how many bytes."""
        done = self.pwrite(self._at, bytes(memoryview(data).cast("B")))
        self._at += done
        return done
