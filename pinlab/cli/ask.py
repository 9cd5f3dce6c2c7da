"""`pinpage what-if` and `pinpage diagnose`: answers from a recording alone; no machine is made."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pinlab.cli import options
from pinlab.cli.errors import end, failures, open_recording, usage_errors

__all__ = ["diagnose", "what_if"]

_Owners = list[str] | None
_Movable = Annotated[
    _Owners,
    typer.Option(
        metavar="OWNER[,OWNER...]",
        help="Who could move, such as slab,zbud; kernel for all of its own. If nobody is "
        "named: everybody whom Linux does not move. Repeatable.",
    ),
]
_Release = Annotated[
    _Owners,
    typer.Option(
        metavar="OWNER[,OWNER...]", help="Who would give its frames up instead. Repeatable."
    ),
]
_Order = Annotated[
    int,
    typer.Option(metavar="N", help="Look at blocks of 2^N frames owner by owner: 9 to 18."),
]
_Want = Annotated[
    int | None,
    typer.Option(min=0, metavar="K", help="Find the cheapest set of owners that gives K blocks."),
]
_Costs = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="What each owner costs, lines of OWNER = NUMBER; 1 if not there."
    ),
]
_Page = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page with the map and a switch for each owner; needs no network.",
        callback=options.require_name,
    ),
]


def what_if(  # noqa: PLR0913, PLR0917  (typer calls it by name)
    memory: options.Recording = None,
    movable: _Movable = None,
    release: _Release = None,
    order: _Order = 9,
    want: _Want = None,
    costs: _Costs = None,
    png: options.Picture = None,
    page: _Page = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """What would be gained if these owners could move: clean blocks before and after.

    What each adds alone, as its fair share, and as the last to join; which pairs gain only
    together; and the cheapest set of owners for so many blocks.
    """
    snapshot = open_recording(memory, label, needs_free=want is not None)
    weights = None if costs is None else _costs(costs)
    with usage_errors(), _naming_costs(costs):
        from pinlab.whatif import answer as asking

        answer = asking.what_if(
            snapshot,
            movable=_names(movable, "movable"),
            released=_names(release, "release"),
            order=order,
            want=want,
            costs=weights,
        )
    from pinlab.whatif import show

    if png is not None:
        with failures():
            show.draw(answer, png)
    if page is not None:
        from pinlab.whatif.page import write_page

        with failures():
            write_page(snapshot, page)
    typer.echo(json.dumps(asking.as_json(answer), indent=2) if as_json else show.as_text(answer))


def _names(given: list[str] | None, argument: str) -> tuple[str, ...]:
    """Owners from lists; one that names nobody, as an empty variable does, is no list."""
    from pinpage.errors import PinpageError

    lists = [[part.strip() for part in text.split(",") if part.strip()] for text in given or ()]
    if not all(lists):
        raise PinpageError(f"{argument}='': names nobody: name owners, or leave it out")
    return tuple(part for parts in lists for part in parts)


def _costs(file: str) -> dict[str, float]:
    """What a file says, owner by owner; whatever it says wrongly ends the command."""
    from pinlab.files.careful import read_bytes

    try:
        text = read_bytes(Path(file), pipes=True).decode("utf-8", errors="replace")
    except OSError as error:
        problem = error.strerror or error
        end(f"--costs {file}: {problem}; give a file with lines of OWNER = NUMBER", 1)
    found: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        name, equals, cost = (part.strip() for part in said.partition("="))
        try:
            value = float(cost)
        except ValueError:
            value = -1.0
        if not equals or not name or not value > 0 or name in found:
            end(
                f"--costs {file}: line {number}: give OWNER = NUMBER, more than 0, each owner once",
                1,
            )
        found[name] = value
    return found


@contextmanager
def _naming_costs(file: str | None) -> Iterator[None]:
    """What is wrong with a cost is said with the file that it stands in."""
    from pinpage.errors import PinpageError

    try:
        yield
    except PinpageError as error:
        said = str(error).removeprefix("what-if: costs name ")
        if file is None or said == str(error):
            raise
        end(f"--costs {file}: names {said}", 2)


def diagnose(  # noqa: PLR0917  (typer calls it by name)
    memory: options.Recording = None,
    order: Annotated[
        int | None, typer.Option(metavar="N", help="A page of 2^N frames: 3 to 18.")
    ] = None,
    cma: Annotated[bool, typer.Option("--cma", help="Of a contiguous area.")] = False,
    area: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of that one, where there are several.")
    ] = None,
    block: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="That memory block, to go offline.")
    ] = None,
    again: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The same machine, recorded later: does asking again help?"
        ),
    ] = None,
    as_json: options.Json = False,
    label: options.Labels = None,
) -> None:
    """Why is there no such page here? Can it be had now, after compaction, after callbacks?

    With the ten nearest places, whose frames are in the way there, and where.
    """
    of_area = cma or area is not None
    if (order is None) == (block is None) or (block is not None and of_area):
        end("diagnose: give --order, alone or with --cma or --area NAME, or else --block", 2)
    snapshot = open_recording(memory, label, needs_free=True)
    later = None if again is None else open_recording(again, label, needs_free=True)
    with usage_errors():
        from pinlab.diagnose import diagnosis as asking

        found = asking.diagnose(
            snapshot,
            order=order,
            area=area if area is not None else ("" if cma else None),
            block=block,
            again=later,
        )
    from pinlab.diagnose.show import as_text

    page_nr_bytes = snapshot.geometry.page_nr_bytes
    typer.echo(
        json.dumps(asking.as_json(found), indent=2) if as_json else as_text(found, page_nr_bytes)
    )
