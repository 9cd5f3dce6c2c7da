"""`pinpage record`: this machine's memory map, captured and saved."""

from pathlib import Path

from pinlab.snapshot import image, proc
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.proc import PROC, Progress

__all__ = ["record"]


def record(
    output: Path, progress: Progress | None = None, *, proc_directory: Path = PROC
) -> Snapshot:
    """Capture this machine (or a directory of copies of its /proc files) into a file.

    Args:
        output: the snapshot to write; replaced as a whole, or not touched at all.
        progress: called with (file being read, pfns done, pfns in all).
        proc_directory: where the files are.

    Raises:
        SnapshotError: not root, no /proc/kpageflags, short reads, or no place to write.
    """
    snapshot = proc.capture(proc_directory, progress)
    image.save(snapshot, output)
    return snapshot
