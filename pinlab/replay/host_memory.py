"""Whether the contents of a replayed machine fit into this one, asked before they are written.

A replay touches a page here for every frame in use there.  Without asking, a recording of a
large machine would end in the hands of the OOM killer.
"""

from pathlib import Path

import numpy as np

from mm.state.frames import FrameState
from pinlab.described.synthetic import nr_bytes_described
from pinlab.files.available import MEMINFO, nr_bytes_available
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError

__all__ = ["HostMemoryError", "require_host_memory", "require_memory_described"]

_RUN_SHARE = 0.5
"""What each run under way writes anew, as a share of the contents that it started from."""


class HostMemoryError(PinpageError):
    """What was asked for is fine, and this machine has not the memory for it."""


def require_host_memory(snapshot: Snapshot, nr_jobs: int, meminfo: Path = MEMINFO) -> None:
    """Refuse contents that this machine has no memory for; where it does not say, try.

    Args:
        snapshot: the recording.
        nr_jobs: replays at a time that start from the same contents.
        meminfo: where the machine says what it has.

    Raises:
        HostMemoryError: names what is needed and what there is.
    """
    nr_used = int(np.count_nonzero(snapshot.state == FrameState.USED))
    _require(snapshot.name, nr_used * snapshot.geometry.page_nr_bytes, nr_jobs, meminfo)


def require_memory_described(text: str, nr_jobs: int, meminfo: Path = MEMINFO) -> None:
    """`require_host_memory`, asked of a description before the memory is laid out.

    Args:
        text: the description, or its file's path.
        nr_jobs: replays at a time that start from the same contents.
        meminfo: where the machine says what it has.

    Raises:
        HostMemoryError: names what is needed and what there is.
        PinpageError: a description that is wrong.
    """
    _require(text, nr_bytes_described(text), nr_jobs, meminfo)


def _require(name: str, nr_bytes_used: int, nr_jobs: int, meminfo: Path) -> None:
    there = nr_bytes_available(meminfo)
    needed = nr_bytes_used * (1 + _RUN_SHARE * nr_jobs)
    if there is not None and needed > there:
        raise HostMemoryError(
            f"{name}: its contents need {needed / 2**30:.1f} GiB here and "
            f"{there / 2**30:.1f} GiB are available: use a larger machine"
            + (", or nr_jobs=1" if nr_jobs > 1 else "")
        )
