"""Every view of a recording and every question to it, as the command asks them."""

import contextlib
import json
import random
from collections.abc import Callable

from pinlab.diagnose.diagnosis import diagnose
from pinlab.diagnose.show import as_text as diagnosed
from pinlab.report import blocks, fragmentation, frames, taint, trust
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import NO_FRAMES
from pinlab.whatif import show
from pinlab.whatif.answer import what_if
from pinlab.whatif.page import facts_of
from pinpage.errors import PinpageError
from pinpage.units import Span

__all__ = ["look"]

_WIDTH = 80
"""Columns of a terminal, and of a mail."""
_NR_VIEWS = 3


def look(rng: random.Random, snapshot: Snapshot) -> None:
    """Three of the views and questions; each is answered, or refused in one line."""
    if NO_FRAMES in snapshot.unknown_fields:
        fragmentation.as_text(fragmentation.fragmentation_of(snapshot)).encode()
        return
    first = rng.randrange(snapshot.nr_frames)
    span = Span(first, min(snapshot.nr_frames, first + rng.choice([1, 60, 4000])))
    order, size = rng.choice([3, 8, 9, 10, 18]), snapshot.geometry.page_nr_bytes
    later = rng.choice([None, snapshot])
    views: list[Callable[[], str]] = [
        lambda: blocks.as_text(blocks.blocks_of(snapshot, rng.choice([None, 9, 13]))),
        lambda: taint.show_owners(taint.owners_of(snapshot)),
        lambda: taint.show_taint(taint.taint_of(snapshot)),
        lambda: taint.show_pins(taint.pins_of(snapshot)),
        lambda: fragmentation.as_text(fragmentation.fragmentation_of(snapshot)),
        lambda: frames.as_text(frames.frames_of(snapshot, span)),
        lambda: trust.as_text(trust.trust_of(snapshot)),
        lambda: show.as_text(what_if(snapshot, order=max(order, 9), want=rng.choice([None, 2]))),
        lambda: diagnosed(diagnose(snapshot, order=order, again=later), size),
        lambda: diagnosed(diagnose(snapshot, area=""), size),
        lambda: diagnosed(diagnose(snapshot, block=rng.choice([0, 1])), size),
        lambda: json.dumps(facts_of(snapshot)),
    ]
    for view in rng.sample(views, _NR_VIEWS):
        with contextlib.suppress(PinpageError):
            shown = view()
            shown.encode()
            widest = max(shown.split("\n"), key=len)
            assert len(widest) < _WIDTH or shown.startswith("{"), widest
