"""Whether the contents of a replayed machine fit into this one, asked before they are written.

A replay touches a page here for every frame in use there.  Without asking, a recording of a
large machine would end in the hands of the OOM killer.
"""

import re
from pathlib import Path

import numpy as np

from mm.frames import FrameState
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE

__all__ = ["require_room"]

_MEMINFO = Path("/proc/meminfo")
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_RUN_SHARE = 0.5
"""What each run under way writes anew, as a share of the contents that it started from."""


def require_room(snapshot: Snapshot, nr_jobs: int, meminfo: Path = _MEMINFO) -> None:
    """Refuse contents that this machine has no memory for; where it does not say, try.

    Raises:
        PinpageError: names what is needed and what there is.
    """
    try:
        said = _AVAILABLE.search(meminfo.read_text())
    except OSError:
        return
    nr_used = int(np.count_nonzero(snapshot.state == FrameState.USED))
    needed = nr_used * PAGE_SIZE * (1 + _RUN_SHARE * nr_jobs)
    if said is not None and needed > int(said[1]) << 10:
        raise PinpageError(
            f"{snapshot.name}: its contents need {needed / 2**30:.1f} GiB here and "
            f"{int(said[1]) / 2**20:.1f} GiB are available: use a larger machine"
            + (", or --jobs 1" if nr_jobs > 1 else "")
        )
