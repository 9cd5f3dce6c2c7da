"""A schedule that breaks something, as numbered sentences."""

from typing import Any

from pinlab.races.race import Race
from pinpage.testing.explore import Slice, Violation

__all__ = ["as_story", "sentence", "story_as_json"]

_STEPS = {
    "look up": "marks the frames and looks up who pins them",
    "take": "takes the frames: a reference and the exclusive mark",
    "isolate": "asks an owner to hold still",
    "release": "asks an owner to give its page up",
    "target": "finds a place to go for each frame",
    "freeze": "counts the references and freezes them",
    "copy": "copies the contents",
    "migrate": "tells an owner the new place",
    "rekey": "hands pins and references over to the new place",
    "free": "frees the old frame",
    "putback": "tells an owner that its page stays",
    "resolves": "looks the page up",
    "references": "takes a reference",
    "registers": "pins it",
    "unregisters": "unpins it",
    "faults in": "faults the page in",
    "None": "does a part of its work and lets others in",
    "ends": "is done",
    "breaks": "goes on, and that is too much",
}
"""What steps are called in schedules -> what somebody has just done."""


def as_story(race: Race, found: Violation) -> str:
    """Who acts, what is wrong with the library, who did what in turn, and what came of it.

    Args:
        race: whose bug was planted.
        found: the schedule that broke something.
    """
    width = max(len(name) for name in race.actors)
    lines = [f"{race.name}: {race.title}", ""]
    lines += [f"  {name:<{width}}  {what}" for name, what in race.actors.items()]
    lines += ["", f"The bug: {race.broken.what}", f"  ({race.broken.where})", ""]
    for number, piece in enumerate(found.slices, start=1):
        lines.append(f"{number:3}. {piece.actor:<{width}}  {sentence(piece)}")
    nr = found.nr_preemptions
    turns = "nobody was interrupted" if not nr else f"interrupted {nr} time{'s' * (nr > 1)}"
    what = str(found.error).partition("\n")[0]
    return "\n".join([*lines, "", f"So ({turns}): {what}"])


def story_as_json(race: Race, found: Violation) -> dict[str, Any]:
    """The same as plain values.

    Args:
        race: whose bug was planted.
        found: the schedule that broke something.
    """
    return {
        "race": race.name,
        "title": race.title,
        "actors": race.actors,
        "bug": race.broken.what,
        "where": race.broken.where,
        "story": [{"actor": piece.actor, "does": sentence(piece)} for piece in found.slices],
        "nr_preemptions": found.nr_preemptions,
        "error": str(found.error).partition("\n")[0],
    }


def sentence(piece: Slice) -> str:
    """What somebody did, in words."""
    if piece.did.startswith("comes to "):
        return f"is about to call {piece.did.removeprefix('comes to ')}"
    return _STEPS.get(piece.did, piece.did)
