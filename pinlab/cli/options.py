"""Options of `pinpage request`, `fidelity` and `report reasons`: types, names, help."""

import enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Align",
    "Area",
    "Block",
    "BlockSize",
    "Cdf",
    "Consumer",
    "ConsumerArgument",
    "Count",
    "Design",
    "FirstOption",
    "Folder",
    "FormatOption",
    "HowToChoose",
    "Idle",
    "Interleave",
    "Jobs",
    "Json",
    "Labels",
    "LayoutOnly",
    "Memory",
    "ModeOption",
    "Movable",
    "Node",
    "Only",
    "OutputFormat",
    "OwnerFilter",
    "OwnerOption",
    "Pages",
    "Pause",
    "Picture",
    "ReasonFilter",
    "RecordedRequest",
    "Recording",
    "Region",
    "Release",
    "ReportFile",
    "Retries",
    "Seed",
    "StrategyOption",
    "Timeout",
    "Together",
    "Tries",
    "Waiting",
    "WhatFirst",
    "require_name",
]


class Consumer(enum.StrEnum):
    """Whoever needs memory moved."""

    huge2m = "huge2m"
    huge1g = "huge1g"
    cma = "cma"
    offline = "offline"
    power = "power"


class HowToChoose(enum.StrEnum):
    """How a consumer decides what to move."""

    scan = "scan"
    plan = "plan"


class WhatFirst(enum.StrEnum):
    """What to do before a request."""

    compact = "compact"
    drop_caches = "drop-caches"


class Waiting(enum.StrEnum):
    """How long to wait for one frame."""

    async_ = "async"
    sync_light = "sync-light"
    sync = "sync"


class RecordedRequest(enum.StrEnum):
    """What a recorded kernel was asked for."""

    huge = "huge"
    cmphuge = "cmphuge"
    offline = "offline"
    cma = "cma"
    giga = "giga"


class OutputFormat(enum.StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def require_name(given: str | None) -> str | None:
    """Refuse a file without a name, in the name of the option that it was given to."""
    if given == "":
        raise typer.BadParameter("'' is no name of a file; give a path")
    return given


# What is asked, of which memory, and how.

ConsumerArgument: TypeAlias = Annotated[
    Consumer,
    typer.Argument(
        metavar="REQUEST",
        help="Who needs memory: huge2m (huge pages of a pageblock, 2 MiB mostly), huge1g (1 GiB "
        "pages), cma (contiguous memory), offline (hot-remove), power (memory power management).",
        show_default=False,
    ),
]
Memory: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="RECORDING|SCENARIO",
        help="A recording's file, or memory described as scenario:1GiB,anon=30%,slab=2% or in a "
        ".toml file. If left out: the recording that is built in, for huge1g and cma a scenario.",
        show_default=False,
    ),
]
Design: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How frames are treated that mm cannot move by itself: unmovable, zbud-reclaim, "
        "registry. If neither this nor --movable is given: as Linux 6.1 treats them, which "
        "moves z3fold, zsmalloc and zram.",
    ),
]
Movable: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="OWNER[,OWNER...]",
        help="Who has a migrate callback under registry, such as zbud,slab; or none.",
    ),
]
StrategyOption: TypeAlias = Annotated[
    HowToChoose,
    typer.Option(help="scan: as the kernel goes about it. plan: what is known goes first."),
]
Labels: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=PFNS",
        help="Frames of the recording that are an owner's of that name: 0x1200-0x13ff,5000 or "
        "@FILE. It refuses to move unless --movable names it. Repeatable.",
    ),
]
Release: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="OWNER[,OWNER...]",
        help="Who can only give pages up, under registry, as a cache can: slab, zbud (unused), "
        "a label.",
    ),
]
OwnerOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--owner",
        metavar="[LABEL=]MODULE:OWNER",
        help="An owner of one's own, as for `pinpage check`: it takes over the frames of --label "
        "(or of own=5% in a scenario) and answers for them itself.",
    ),
]
Seed: TypeAlias = Annotated[
    int, typer.Option(min=0, metavar="N", help="Of contents, and of a scenario's layout.")
]
Count: TypeAlias = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Units wanted; all if left out.")
]

# What only some consumers have.

Pages: TypeAlias = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="cma: pages per allocation.")
]
Align: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, max=20, metavar="ORDER", help="cma: first pfn a multiple of 2^ORDER."),
]
Area: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cma: the area to ask, where there are several."),
]
Block: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="offline: that memory block; each if left out."),
]
Together: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--together/--one-by-one",
        help="offline: blocks stay away until all are gone, as where a DIMM is unplugged; or "
        "each is back before the next. Together with --count, else one by one.",
        show_default=False,
    ),
]
FirstOption: TypeAlias = Annotated[
    list[WhatFirst] | None,
    typer.Option(
        "--first", help="What to do to the machine before. Repeatable, done in that order."
    ),
]
Retries: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Ask so often again for a unit that failed."),
]
Pause: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--pause-ms", min=0, metavar="MS", help="Simulated time that passes before each retry."
    ),
]
BlockSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="offline: of a memory block; the recorded machine's if left out, or 128MiB.",
    ),
]
Region: TypeAlias = Annotated[
    str | None, typer.Option(metavar="SIZE", help="power: of a region, such as 64MiB.")
]
Interleave: TypeAlias = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="power: regions that share each page.")
]
Idle: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="power: only if it pays over so much idle time."),
]
Node: TypeAlias = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="huge2m, huge1g: from that NUMA node.")
]

# How long to try.

ModeOption: TypeAlias = Annotated[
    Waiting | None, typer.Option(help="How long to wait for one frame; sync if left out.")
]
Tries: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Tries without progress; the kernel's if left out."),
]
Timeout: TypeAlias = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Simulated time for each attempt.")
]

# What is printed.

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
FormatOption: TypeAlias = Annotated[
    OutputFormat | None,
    typer.Option(
        "--format",
        help="table: for people. csv, markdown: plain values, one table after the other, under "
        "the names that the JSON has.",
    ),
]
Cdf: TypeAlias = Annotated[
    bool, typer.Option("--cdf", help="Add percentiles of the attempts' time per step.")
]
LayoutOnly: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--layout-only",
        help="Move no bytes, only frames: for machines larger than this one. Nothing is read "
        "back then.",
    ),
]

# what-if, diagnose and the views of report.

Recording: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="RECORDING|SCENARIO",
        help="A recording, or memory described as for `pinpage request`; if left out, the "
        "recording that is built in.",
        show_default=False,
    ),
]
Picture: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--png",
        metavar="FILE",
        help="Draw it as a picture, too: a PNG, an .svg or a .pdf.",
        callback=require_name,
    ),
]

# fidelity and report reasons.

Folder: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="A folder of recordings with their outcomes.", show_default=False
    ),
]
Only: TypeAlias = Annotated[
    list[RecordedRequest] | None,
    typer.Option(metavar="REQUEST", help="huge, cmphuge, offline, cma or giga. Repeatable."),
]
Jobs: TypeAlias = Annotated[int, typer.Option(min=1, metavar="N", help="Replays at a time.")]
ReportFile: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="What `pinpage request --json` or `compare --json` printed; - for stdin.",
        show_default=False,
    ),
]
ReasonFilter: TypeAlias = Annotated[
    str | None, typer.Option(metavar="REASON", help="Only that one, such as no_callback.")
]
OwnerFilter: TypeAlias = Annotated[
    str | None, typer.Option(metavar="OWNER", help="Only that holder's frames.")
]
