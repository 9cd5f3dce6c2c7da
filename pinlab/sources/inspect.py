"""What a source says, what it does not, and how far it can be trusted.

Owns: the answer of `pinpage validate`.
Ignores: how sources are read.
Cost: reading the source, and a few passes over the frames.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen

from pinlab.report import trust
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import NO_FRAMES
from pinlab.sources.counts import FIRST_UNREAD, MEANINGS, UNREAD
from pinlab.sources.words import in_words

__all__ = ["Inspection", "as_json", "as_text", "inspect"]

_WIDTH: Final = 79
_MARGIN: Final = 11


@frozen
class Inspection:
    """What is in a source.

    Attributes:
        source: its path, or name.
        kind: what it is, in words.
        kernel: its release; empty if not said.
        nr_frames: frames with memory; 0 where no frame is named.
        nr_unknown: those of unknown use.
        unknown: these in words, with those of them that a count says are free.
        nr_guessed: those of which something was worked out.
        nr_zones: zones.
        nr_allocations: records of who asked when.
        missing: fields that the source does not say.
        guessed: fields that were worked out, at least in part.
        reading: what was met while it was read.
        trust: its frames beside the kernel's own totals; None where no frame is named.
    """

    source: str
    kind: str
    kernel: str
    nr_frames: int
    nr_unknown: int
    unknown: str
    nr_guessed: int
    nr_zones: int
    nr_allocations: int
    missing: tuple[str, ...]
    guessed: tuple[str, ...]
    reading: Mapping[str, int]
    trust: trust.Trust | None


def inspect(snapshot: Snapshot, source: Path | str, kind: str) -> Inspection:
    """Look at a snapshot as a source.

    Args:
        snapshot: what the source made.
        source: where it came from.
        kind: what that is, in words.
    """
    has_frames = NO_FRAMES not in snapshot.unknown_fields
    allocations = snapshot.allocations
    nr_holes = snapshot.nr_frames_of(FrameClass.HOLE)
    return Inspection(
        source=str(source),
        kind=kind,
        kernel=snapshot.provenance.kernel_release,
        nr_frames=snapshot.nr_frames - nr_holes if has_frames else 0,
        nr_unknown=snapshot.nr_frames_of(FrameClass.UNKNOWN) if has_frames else 0,
        unknown=trust.unknown_in_words(snapshot) if has_frames else "",
        nr_guessed=int(np.count_nonzero(snapshot.guessed)),
        nr_zones=len(snapshot.zones),
        nr_allocations=0 if allocations is None else len(allocations),
        missing=snapshot.unknown_fields,
        guessed=snapshot.guessed_fields,
        reading=dict(snapshot.reading),
        trust=trust.trust_of(snapshot) if has_frames else None,
    )


def as_json(found: Inspection) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    return {
        "source": found.source,
        "kind": found.kind,
        "kernel": found.kernel,
        "nr_frames": found.nr_frames,
        "nr_unknown": found.nr_unknown,
        "nr_guessed": found.nr_guessed,
        "nr_zones": found.nr_zones,
        "nr_allocations": found.nr_allocations,
        "missing": list(found.missing),
        "guessed": list(found.guessed),
        "reading": dict(found.reading),
        "trust": None if found.trust is None else trust.as_json(found.trust),
    }


def as_text(found: Inspection) -> str:
    """A line per answer, and the table of trust."""
    memory = "counted, and no frame is named"
    if found.nr_frames:
        memory = f"{found.nr_frames:,d} frames, {found.unknown}"
    if found.nr_allocations:
        memory += f", {found.nr_allocations:,d} allocations with their stacks"
    read = (_read(found.reading, name) for name in sorted(found.reading))
    rows = {
        "source": f"{found.source}: {found.kind}",
        "kernel": found.kernel or "not said",
        "memory": f"{memory}; zones: {found.nr_zones}",
        "read": ", ".join(filter(None, read)),
        "guessed": ", ".join(map(in_words, found.guessed)),
        "not said": ", ".join(map(in_words, found.missing)),
    }
    lines = [line for name, text in rows.items() if text for line in _wrapped(name, text)]
    if found.trust is not None:
        lines += ["", trust.as_text(found.trust)]
    return "\n".join(lines)


def _read(reading: Mapping[str, int], name: str) -> str:
    """A count in words; empty for what the words of another one say."""
    if name.startswith(FIRST_UNREAD):
        return ""
    first = reading.get(FIRST_UNREAD + name.removeprefix(UNREAD)) if UNREAD in name else None
    where = "" if first is None else f" (the first is line {first:,d})"
    return f"{reading[name]:,d} {MEANINGS.get(name, name)}{where}"


def _wrapped(name: str, text: str) -> list[str]:
    lines, line = [], f"{name:{_MARGIN}}"
    for word in text.split(" "):
        if len(line) + len(word) > _WIDTH and line.strip() not in {"", name}:
            lines.append(line.rstrip())
            line = " " * _MARGIN
        line += word + " "
    return [*lines, line.rstrip()]
