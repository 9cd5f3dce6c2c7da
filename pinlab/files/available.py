"""How much memory this machine has left, as far as it says.

Owns: the question.
Ignores: what the memory is for; `pinlab.replay.host_memory` and `pinlab.files.npz` know that.
Kernel counterpart: MemAvailable of /proc/meminfo, and RLIMIT_AS of the process.
Cost: about 50 us.
"""

import re
import resource
from pathlib import Path
from typing import Final

__all__ = ["MEMINFO", "nr_bytes_available"]

MEMINFO: Final = Path("/proc/meminfo")
"""Where the kernel says it."""

_STATM: Final = Path("/proc/self/statm")
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d{1,15}) kB$", re.MULTILINE)


def nr_bytes_available(meminfo: Path = MEMINFO) -> int | None:
    """Bytes that can still be used without anything being swapped or killed; None: not said.

    The smaller of what the machine has and what the limit of this process's address space
    leaves.

    Args:
        meminfo: a file in the form of /proc/meminfo.
    """
    limits = [n for n in (_of_machine(meminfo), _of_process()) if n is not None]
    return min(limits, default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        said = _AVAILABLE.search(meminfo.read_text())
    except OSError:
        return None
    return None if said is None else int(said[1]) << 10


def _of_process() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        nr_pages_mapped = int(_STATM.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return limit
    return max(limit - nr_pages_mapped * resource.getpagesize(), 0)
