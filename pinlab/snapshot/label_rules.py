"""What labels a snapshot may carry: names of owners, each with frames of its own.

Owns: SN12 of `pinlab.snapshot.image.Snapshot`.
Ignores: how frames come to be labelled (`pinlab.snapshot.labels`).
Cost: one pass over the frames.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm.state.reasons import HOME
from pinlab.snapshot.classes import ALL, KERNEL, FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinpage.units import Span

__all__ = ["TAKEN_NAMES", "check_labels", "is_label"]

TAKEN_NAMES: Final = frozenset(
    {klass.name.lower() for klass in FrameClass} | {KERNEL, ALL, HOME} | {"none", "nobody"}
)
"""What tables and outcomes call a holder or a row anyhow, and what --movable means otherwise."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FIX: Final = "label it again"


def is_label(name: str) -> bool:
    """Whether an owner may be called so."""
    return _NAME.fullmatch(name) is not None and name not in TAKEN_NAMES


def check_labels(
    labels: Mapping[str, tuple[Span, ...]], klass: NDArray[np.uint8], path: Path | str
) -> None:
    """SN12: a frame is labelled exactly if one label names it.

    Args:
        labels: name -> frames.
        klass: uint8 (n,), a `FrameClass` each.
        path: the file, for messages.

    Raises:
        SnapshotError: names the label or the first pfn.
    """
    nr_names = np.zeros(len(klass), dtype=np.uint8)
    for name, spans in labels.items():
        if not is_label(name):
            problem = f"SN12 {name[:40]!r} is no name for an owner of one's own"
            raise SnapshotError(path, "header labels", problem, _FIX)
        for span in spans:
            if span.stop > len(klass) or nr_names[span.start : span.stop].any():
                problem = f"SN12 {name} has pfns outside of memory, or another label's"
                raise SnapshotError(path, "header labels", problem, _FIX)
            nr_names[span.start : span.stop] = 1
    broken = (nr_names > 0) != (klass == FrameClass.LABELLED)
    if broken.any():
        problem = f"SN12 is not what the labels say (first at row {int(broken.argmax()):#x})"
        raise SnapshotError(path, "column klass", problem, _FIX)
