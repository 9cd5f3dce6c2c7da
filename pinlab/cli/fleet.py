"""`pinpage fleet`: many machines in one table."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pinlab.cli import options
from pinlab.cli.errors import failures, require_owners_table, usage_errors
from pinlab.cli.sources import OwnersTable

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["add_to", "fleet"]


def fleet(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Recordings, or whatever else `pinpage convert` takes.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="TABLE",
            help="The table to write: a .csv, or a .parquet (needs the extra `fleet`).",
            show_default=False,
        ),
    ],
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Sources read at a time.")] = 2,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Read them on a Dask cluster: its scheduler."),
    ] = None,
    owners_table: OwnersTable = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Put many machines into one table, and print how they are distributed.

    A source that cannot be read is a row with its reason. Exit code 1: none could be read.
    """
    from attrs import asdict

    from pinlab.cli.output import file_progress
    from pinlab.sources import fleet as many

    with usage_errors():
        place = many.require_table(output)
    if owners_table is not None:
        require_owners_table(owners_table)
    with failures(), _readers(cluster) as executor, file_progress() as progress:
        rows = many.tabulate(
            sources, executor=executor, nr_jobs=jobs, owners_table=owners_table, progress=progress
        )
        many.write_table(rows, place)
    if as_json:
        spreads = [asdict(spread) for spread in many.spreads(rows)]
        typer.echo(json.dumps({"rows": [dict(row) for row in rows], "spreads": spreads}, indent=2))
    else:
        typer.echo(many.spread_as_text(rows))
    if all(row["reason"] for row in rows):
        raise typer.Exit(1)


@contextmanager
def _readers(cluster: str | None) -> Iterator["Executor | None"]:
    """Those of a cluster; None: processes of this machine."""
    from pinlab.sources.fleet import cluster_executor

    if cluster is None:
        yield None
        return
    with ExitStack() as stack:
        with usage_errors():
            executor = stack.enter_context(cluster_executor(cluster))
        # What a lost cluster logs is in the rows already, in a line each and not in forty.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        yield executor


def add_to(app: typer.Typer, panel: str) -> None:
    """Make it a subcommand of the command.

    Args:
        app: the command.
        panel: of its help, where it stands.
    """
    app.command(rich_help_panel=panel)(fleet)
