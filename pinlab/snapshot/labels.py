"""Frames of a recording that are somebody's by name: a driver that knows which pages it has.

    mine=0x1200-0x13ff,5000      pfns and ranges of pfns, last one included
    mine=@pfns.txt               the same from a file, commas or lines between them

A label goes on frames of the kernel's or of unknown use; free memory and processes' pages are
nobody's to label.

Owns: the form of a label, and which frames it may name.
Ignores: who adopts them in a replay (`pinlab.replay.owners`).
Cost: a few passes over the frames.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from attrs import evolve

from mm.state.frames import FrameState
from pinlab.files.careful import read_bytes
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError, WrongCallError
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.label_rules import TAKEN_NAMES, is_label
from pinpage.errors import PinpageError
from pinpage.units import Pfns, Span

__all__ = ["first_and_last", "labelled", "labelled_as", "parse_label"]

_RANGE = re.compile(r"(0x[0-9a-fA-F]{1,13}|[0-9]{1,15})(?:-(0x[0-9a-fA-F]{1,13}|[0-9]{1,15}))?")
_MAY_BE_LABELLED: Final = (
    FrameClass.UNKNOWN, FrameClass.OTHER, FrameClass.SLAB, FrameClass.VMALLOC,
    FrameClass.KERNELSTACK, FrameClass.PAGETABLE, FrameClass.CMA,
)  # fmt: skip


def labelled_as(snapshot: Snapshot, texts: tuple[str, ...]) -> Snapshot:
    """A snapshot with labels as they are given on the command line.

    Args:
        snapshot: the recording.
        texts: each NAME=PFNS; see the head of this module.

    Raises:
        WrongCallError: see `parse_label` and `labelled`.
        SnapshotError: a file of pfns cannot be read.
    """
    try:
        for text in texts:
            name, spans = parse_label(text)
            snapshot = labelled(snapshot, name, spans)
    except SnapshotError:
        raise
    except PinpageError as error:
        raise WrongCallError(str(error)) from None
    return snapshot


def parse_label(text: str) -> tuple[str, tuple[Span, ...]]:
    """Name and frames of NAME=PFNS.

    >>> parse_label("mine=0x10-0x1f,8")
    ('mine', (Span(start=8, stop=9), Span(start=16, stop=32)))

    Raises:
        PinpageError: no such form, a file that cannot be read, a pfn named twice.
    """
    name, equals, frames = text.partition("=")
    if equals and name in TAKEN_NAMES:
        raise PinpageError(
            f"label {name!r}: is what pinpage calls frames itself: give NAME=PFNS with a name of "
            "one's own"
        )
    if not equals or not is_label(name):
        raise PinpageError(
            f"label {name[:40]!r}: give NAME=PFNS, a name of one's own in small letters"
        )
    where = name
    if frames.startswith("@"):
        where = f"{name}: {frames[1:]}"
        path = Path(frames[1:])
        try:
            frames = read_bytes(path).decode(errors="replace")
        except OSError as error:
            problem = f"label {name}: {error.strerror or error}"
            raise SnapshotError(path, "file", problem, "give a list of pfns") from None
        if not frames.strip():
            raise PinpageError(f"label {name}: {path}: is empty; give a pfn, or a range, per line")
    spans = sorted(_span_of(where, part) for part in re.split(r"[,\s]+", frames.strip()))
    for lower, upper in pairwise(spans):
        if upper.start < lower.stop:
            raise PinpageError(f"label {name}: names pfn {upper.start:#x} twice")
    return name, tuple(spans)


def first_and_last(text: str) -> tuple[int, int] | None:
    """Both ends of PFN or FIRST-LAST, in whichever order; None: it is neither.

    >>> first_and_last("0x10-0x1f"), first_and_last("8"), first_and_last("8-")
    ((16, 31), (8, 8), None)
    """
    found = _RANGE.fullmatch(text)
    return (int(found[1], 0), int(found[2] or found[1], 0)) if found else None


def _span_of(where: str, part: str) -> Span:
    first, last = first_and_last(part) or (0, -1)
    if last < first:
        raise PinpageError(f"label {where}: {part[:40]!r} is no pfn, nor a range such as 0x10-0x1f")
    return Span(first, last + 1)


def labelled(snapshot: Snapshot, name: str, spans: tuple[Span, ...]) -> Snapshot:
    """The same recording, with these frames in use by an owner of that name.

    Args:
        snapshot: the recording.
        name: of the owner.
        spans: its frames, ascending.

    Raises:
        PinpageError: the name is taken, or a frame cannot be anybody's: outside of memory, free,
            a process's, reserved, or labelled already; names the first and how many.
    """
    if not is_label(name) or name in snapshot.labels:
        raise PinpageError(f"label {name[:40]!r}: the name is taken, or not in small letters")
    if spans and spans[-1].stop > snapshot.nr_frames:
        last, nr_frames = spans[-1].stop - 1, snapshot.nr_frames
        raise PinpageError(f"label {name}: pfn {last:#x} is beyond the {nr_frames:,d} frames")
    pfns = _pfns_of(spans)
    wrong = pfns[~np.isin(snapshot.klass[pfns], _MAY_BE_LABELLED)]
    if len(wrong):
        klass = FrameClass(snapshot.klass[wrong[0]]).name.lower()
        raise PinpageError(
            f"label {name}: {len(wrong):,d} of {len(pfns):,d} frames are not the kernel's own, "
            f"first pfn {int(wrong[0]):#x} ({klass})"
        )
    klass_column, state = snapshot.klass.copy(), snapshot.state.copy()
    klass_column[pfns] = FrameClass.LABELLED
    state[pfns] = FrameState.USED
    return evolve(
        snapshot, klass=klass_column, state=state, labels={**snapshot.labels, name: spans}
    )


def _pfns_of(spans: tuple[Span, ...]) -> Pfns:
    pfns = [np.arange(span.start, span.stop, dtype=np.int64) for span in spans]
    return np.concatenate([np.empty(0, dtype=np.int64), *pfns])
