"""`pinpage report VIEW`: what is in a recording, counted; no machine is made.

Each view prints a table of fewer than 80 columns, or JSON; some draw a picture beside it.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pinlab.cli import options
from pinlab.cli.errors import failures, open_recording, usage_errors

if TYPE_CHECKING:
    from pinlab.report.taint import PinsReport, TaintReport
    from pinlab.snapshot.image import Snapshot

__all__ = ["blocks", "fragmentation", "frames", "owners", "pins_per_block", "taint"]

_Found = TypeVar("_Found")
_Order = Annotated[
    int | None,
    typer.Option(metavar="N", help="List the blocks of 2^N frames one by one, too: 9 to 18."),
]


def _print(plain: Callable[[], dict[str, Any]], text: Callable[[], str], as_json: bool) -> None:
    typer.echo(json.dumps(plain(), indent=2) if as_json else text())


def _counted(
    count: "Callable[[Snapshot], _Found]", memory: str | None, label: list[str] | None
) -> _Found:
    """What a view counts in the memory that is named."""
    snapshot = open_recording(memory, label)
    with usage_errors():
        return count(snapshot)


def _drawn(draw: Callable[[_Found, str], None], found: _Found, path: str | None) -> None:
    """Draw what was found, if that was asked for."""
    if path is not None:
        with failures():
            draw(found, path)


def blocks(
    memory: options.Recording = None,
    order: _Order = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """Blocks of 2 MiB to 1 GiB: free, clearable, tainted, and by which owner."""
    snapshot = open_recording(memory, label)
    with usage_errors():
        from pinlab.report import blocks as view

        found = view.blocks_of(snapshot, order)
    _print(lambda: view.as_json(found), lambda: view.as_text(found), as_json)


def owners(
    memory: options.Recording = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """Owners: their frames, the blocks they taint, how dense and how clustered they lie."""
    from pinlab.report import taint as view

    found = _counted(view.owners_of, memory, label)
    _print(lambda: view.plain(found), lambda: view.show_owners(found), as_json)


def taint(
    memory: options.Recording = None,
    png: options.Picture = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """The share of blocks that frames which cannot move taint, by order of the block."""
    from pinlab.report import taint as view

    found = _counted(view.taint_of, memory, label)
    _drawn(_draw_taint, found, png)
    _print(lambda: view.plain(found), lambda: view.show_taint(found), as_json)


def _draw_taint(found: "TaintReport", path: str) -> None:
    from pinlab.report.charts import Words, curves

    names = list(found.of_owner)
    shown = [*names[:-1][:4], names[-1]]
    lines = {name: [100 * share for share in found.of_owner[name]] for name in shown}
    lines["as many, scattered evenly"] = [100 * share for share in found.evenly]
    curves(
        range(len(found.sizes)),
        lines,
        path,
        Words(
            title=f"{found.recording}: how much of memory cannot be emptied",
            across="block (order)",
            up="blocks with a frame that cannot move, %",
            caption=f"{found.nr_blocks[0]:,d} frames. Cannot move: on Linux 6.1; reserved and "
            "unknown frames are not counted.",
        ),
        ticks=[f"{size} ({order})" for order, size in enumerate(found.sizes)],
    )


def pins_per_block(
    memory: options.Recording = None,
    png: options.Picture = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """How many frames that cannot move a tainted block has: one, or is it full of them?"""
    from pinlab.report import taint as view

    found = _counted(view.pins_of, memory, label)
    _drawn(_draw_pins, found, png)
    _print(lambda: view.plain(found), lambda: view.show_pins(found), as_json)


def _draw_pins(found: "PinsReport", path: str) -> None:
    from pinlab.report.charts import Words, curves

    nr_blocks = max(len(found.counts), 1)
    curves(
        [100 * count / found.nr_pages_per_block for count in found.counts],
        {"tainted blocks": [100 * (i + 1) / nr_blocks for i in range(len(found.counts))]},
        path,
        Words(
            title=f"{found.recording}: frames that cannot move, per tainted block",
            across="share of the block that cannot move, %",
            up="tainted blocks with at most that, %",
            caption=f"{len(found.counts):,d} of {found.nr_blocks:,d} blocks of "
            f"{found.nr_pages_per_block} frames are tainted.",
        ),
        steps=True,
    )


def fragmentation(memory: options.Recording = None, as_json: options.Json = False) -> None:
    """Free memory by order, with the two indices that debugfs shows, zone by zone.

    The only view that buddyinfo or pagetypeinfo alone are enough for.
    """
    snapshot = open_recording(memory, needs_frames=False)
    from pinlab.report import fragmentation as view

    with usage_errors():
        found = view.fragmentation_of(snapshot, memory)
    _print(lambda: view.as_json(found), lambda: view.as_text(found), as_json)


def frames(
    which: Annotated[
        str,
        typer.Argument(metavar="PFN|RANGE", help="Such as 0x1200, or 0x1200-0x13ff."),
    ],
    memory: options.Recording = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """Everything known about a frame, or a range of frames: whose, flags, references."""
    from pinlab.report import frames as view

    with usage_errors():
        view.read_range(which)  # before a large file is read
    snapshot = open_recording(memory, label)
    with usage_errors():
        span = view.parse_range(which, snapshot.nr_frames)
        found = view.frames_of(snapshot, span)
    _print(lambda: view.as_json(found), lambda: view.as_text(found), as_json)
