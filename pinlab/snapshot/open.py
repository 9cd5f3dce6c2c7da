"""Open whatever memory one is given: a recording, the bundled one, a description, or a source.

A source is what people have of a machine beside recordings: a folder of copies of /proc, a text
of page_owner, what page-types printed, a crash dump (`pinlab.sources`).
"""

from pathlib import Path

from pinlab.described.synthetic import describe_machine, is_description
from pinlab.files import npz
from pinlab.files.output import path_of
from pinlab.procfs import linux61
from pinlab.procfs.capture import Progress
from pinlab.snapshot import image
from pinlab.snapshot.bundled import BUNDLED_NAME, bundled
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.image import Snapshot
from pinlab.sources.source import is_source, open_source, require_known

__all__ = ["open_snapshot"]


def open_snapshot(
    path_or_name: Path | str | None = None,
    *,
    seed: int = 0,
    owners_table: Path | str | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """A snapshot by path, by the bundled recording's name, or (None) the bundled one.

    What begins with `scenario:` or ends in .toml describes memory, and is made.

    A file is told apart by the arrays in it, never by its name.  A file of the bundled
    recording's name in the current directory goes before the bundled one only when it is
    spelled as a path ("./name").

    Args:
        path_or_name: of the recording, or a description.
        seed: of a description's layout; a recording has none.
        owners_table: a table of one's own, of which functions in a stack are whose.
        progress: told what is being read of a source, and how far.

    Raises:
        PinpageError: it is neither a path nor a name, or a description that is wrong.
        SnapshotError: no such file, or none of the forms that we read.
    """
    if path_or_name is None or str(path_or_name) == BUNDLED_NAME:
        return bundled()
    path = path_of(path_or_name, "recording")
    if is_description(str(path_or_name)):
        return describe_machine(str(path_or_name), seed=seed)
    if is_source(path):
        table = None if owners_table is None else path_of(owners_table, "owners_table")
        return open_source(path, owners_table=table, progress=progress)
    require_known(path)
    with npz.opened(path) as archive:
        names = archive.names
    if "header" in names:
        return image.load(path)
    if "meta_json" in names:
        return linux61.load_recording(path)
    raise SnapshotError(
        path,
        "file",
        "is neither a snapshot nor a recording that pinpage can import",
        "make one with `pinpage record`",
    )
