"""Open whatever memory one is given: a recording, the bundled one, or a description."""

from pathlib import Path

from pinlab.files import npz
from pinlab.files.output import path_of
from pinlab.snapshot import image, linux61
from pinlab.snapshot.bundled import BUNDLED_NAME, bundled
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.synthetic import describe_machine, is_description

__all__ = ["open_snapshot"]


def open_snapshot(path_or_name: Path | str | None = None, *, seed: int = 0) -> Snapshot:
    """A snapshot by path, by the bundled recording's name, or (None) the bundled one.

    What begins with `scenario:` or ends in .toml describes memory, and is made.

    A file is told apart by the arrays in it, never by its name.  A file of the bundled
    recording's name in the current directory goes before the bundled one only when it is
    spelled as a path ("./name").

    Args:
        path_or_name: of the recording, or a description.
        seed: of a description's layout; a recording has none.

    Raises:
        PinpageError: it is neither a path nor a name, or a description that is wrong.
        SnapshotError: no such file, or none of the forms that we read.
    """
    if path_or_name is None or str(path_or_name) == BUNDLED_NAME:
        return bundled()
    path = path_of(path_or_name, "recording")
    if is_description(str(path_or_name)):
        return describe_machine(str(path_or_name), seed=seed)
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
