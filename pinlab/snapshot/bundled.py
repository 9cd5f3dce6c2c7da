"""The recording that travels with the package, so that the first run needs nothing else.

`zbudfr-cmphuge-seed3`: 1 GiB under Linux 6.1, first fragmented and then filled with zbud
pages.  Of its memory 423 MiB (41 %) are free, and the kernel found 12 huge pages in it.
"""

from importlib.resources import as_file, files
from typing import Final

from pinlab.snapshot import image
from pinlab.snapshot.image import Snapshot

__all__ = ["BUNDLED_NAME", "bundled"]

BUNDLED_NAME: Final = "zbudfr-cmphuge-seed3"
"""What the command line calls it."""


def bundled() -> Snapshot:
    """The bundled recording, read and checked anew each time (about 0.1 s)."""
    with as_file(files("pinlab") / "data" / f"{BUNDLED_NAME}.npz") as path:
        return image.load(path)
