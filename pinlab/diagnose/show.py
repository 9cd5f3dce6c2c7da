"""A diagnosis on one page of text, fewer than 80 columns, with the sentence to hand on."""

import textwrap
from typing import Final

from pinlab.diagnose.again import Again
from pinlab.diagnose.diagnosis import Diagnosis, NearPlace
from pinlab.report.sizes import counted, listed, size_name
from pinlab.report.tables import lay_out

__all__ = ["as_text", "sentence"]

_WIDTH: Final = 79
_LABEL: Final = 18
_MOSTLY: Final = 0.5
_FOR_GOOD: Final = frozenset({"hole", "reserved", "unmanaged"})
_OWNERS_WIDTH: Final = 25
_PFNS_WIDTH: Final = 20


def as_text(diagnosis: Diagnosis, page_nr_bytes: int) -> str:
    """The page.

    Args:
        diagnosis: what is told.
        page_nr_bytes: bytes of a frame.
    """
    size = size_name(diagnosis.nr_pages * page_nr_bytes)
    parts = [
        _filled(f"{diagnosis.recording}: {diagnosis.request} ({size})"),
        "\n".join(
            (
                _line("now", _now(diagnosis)),
                _line("after compaction", _compacted(diagnosis)),
                _line("after callbacks", _callbacks(diagnosis)),
                *_unknown(diagnosis),
                _line("places", _places(diagnosis)),
            )
        ),
    ]
    if diagnosis.nearest:
        parts.append(_nearest(diagnosis.nearest))
    parts.append(_again(diagnosis.again))
    parts.append(_filled(sentence(diagnosis, page_nr_bytes)))
    return "\n\n".join(parts)


def sentence(diagnosis: Diagnosis, page_nr_bytes: int) -> str:
    """All of it in a sentence or two, to paste into a mail.

    Args:
        diagnosis: what is told.
        page_nr_bytes: bytes of a frame.
    """
    size = size_name(diagnosis.nr_pages * page_nr_bytes)
    what = f"{diagnosis.recording}: {diagnosis.request} ({size})"
    moving = counted(diagnosis.nr_moves or 0, "frame")
    said = {
        "now": f"{what} can be had now.",
        "after compaction": f"{what} can be had after moving {moving}.",
        "after callbacks": f"{what} cannot be had by moving what Linux moves.",
        "never": f"{what} cannot be had, whoever moves.",
    }[diagnosis.verdict]
    if diagnosis.verdict == "never" and any(map(_may_be_had, diagnosis.nearest)):
        said = f"{what} cannot be had, whoever moves, unless frames of unknown use do."
    nr_stuck = diagnosis.nr_candidates - diagnosis.nr_clear
    said += f" Something is stuck in {nr_stuck:,d} of {counted(diagnosis.nr_candidates, 'place')}"
    if diagnosis.choice is not None and diagnosis.choice.owners:
        owners = listed(diagnosis.choice.owners)
        said += f"; if {owners} could move, {diagnosis.choice.obtained:,d} could be had"
    return said + "."


def _may_be_had(place: NearPlace) -> bool:
    """Whether nothing but frames of unknown use keeps a place from being emptied for good."""
    return "unknown" in place.owners and not _FOR_GOOD & {*place.owners}


def _line(label: str, text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=f"{label:{_LABEL}}", subsequent_indent=" " * _LABEL
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ")


def _now(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.nr_free:,d} wholly free" if diagnosis.nr_free else "none is wholly free"


def _compacted(diagnosis: Diagnosis) -> str:
    if not diagnosis.bound:
        why = "something is stuck in each place"
        if diagnosis.nr_clear:
            why = "there is no room elsewhere for what would have to move"
        return f"none: {why}"
    text = f"{diagnosis.bound:,d} at most"
    if diagnosis.nr_moves is not None:
        text += f"; the cheapest to empty moves {counted(diagnosis.nr_moves, 'frame')}"
    if diagnosis.by_scanners is not None:
        text += f"; the kernel's own compaction leaves about {diagnosis.by_scanners:,d} to be had"
    return text


def _callbacks(diagnosis: Diagnosis) -> str:
    choice = diagnosis.choice
    if choice is None:
        return "no more" if diagnosis.bound else "none: what is in the way is nobody's to move"
    how = "" if choice.is_exact else " (a set found, perhaps not the cheapest)"
    return f"{choice.obtained:,d} if {'+'.join(choice.owners)} can move{how}"


def _unknown(diagnosis: Diagnosis) -> list[str]:
    known = diagnosis.bound_if_known
    if known is None or known <= diagnosis.bound:
        return []
    return [_line("unknown frames", f"stay in all of this; if they moved, {known:,d} at most")]


def _places(diagnosis: Diagnosis) -> str:
    nr_stuck = diagnosis.nr_candidates - diagnosis.nr_clear
    text = f"{diagnosis.nr_candidates:,d}: {diagnosis.nr_clear:,d} clear, {nr_stuck:,d} not"
    if diagnosis.nr_short:
        text += f"; for {diagnosis.nr_short:,d} of the clear ones there is no room elsewhere"
    return text


def _nearest(candidates: tuple[NearPlace, ...]) -> str:
    header = ("nearest, pfn", "in the way", "at", "stuck", "to move")
    lines = []
    for candidate in candidates:
        owners = " ".join(f"{name}:{count}" for name, count in candidate.owners.items())
        pfns = " ".join(f"{pfn:#x}" for pfn in candidate.pfns)
        lines.append(
            [
                f"{candidate.pfn:#x}",
                _cut(owners, _OWNERS_WIDTH),
                _cut(pfns, _PFNS_WIDTH),
                f"{candidate.nr_stuck:,d}",
                f"{candidate.nr_moves:,d}",
            ]
        )
    return lay_out(header, lines, None, nr_names=3)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 2].rstrip() + ".."


def _again(again: Again | None) -> str:
    if again is None:
        return _filled(
            "Whether asking again helps, one recording cannot tell: a second one, taken later, "
            "shows who lets go."
        )
    lines = [
        _filled(
            f"Asking again: of {counted(again.nr_stuck, 'place')} that something was stuck in, "
            f"{again.nr_clear:,d} are clear in the later recording ({again.recording})."
        )
    ]
    for owner in again.owners:
        kind = "for long" if owner.held_share > _MOSTLY else "for a moment"
        lines.append(
            f"  {owner.owner:12} held {owner.nr_held:>9,d} of {owner.nr_pages:>9,d} still "
            f"({owner.held_share:4.0%}): {kind}"
        )
    helps = again.nr_clear > 0
    lines.append("Asking again helps." if helps else "Asking again does not help.")
    return "\n".join(lines)
