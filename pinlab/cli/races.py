"""`pinpage races`: explore the races of the catalogue, and tell how each of their bugs bites."""

import json
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinlab.cli.errors import INTERRUPTED, end, usage_errors

if TYPE_CHECKING:
    from pinlab.races.race import Race, RaceOutcome

__all__ = ["races"]

_WIDTH = 79


def races(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[R-N]...", help="Which races; all if left out."),
    ] = None,
    broken: Annotated[
        bool, typer.Option("--broken", help="Plant the race's bug, and tell how it bites.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explore every schedule of each race, as the library is and with the bug that it guards from.

    Exit code 1: a schedule broke something, or a bug was not found. Ctrl-C keeps what is done.
    """
    with usage_errors():
        from pinlab.races.catalog import RACES, race_named

        chosen = [race_named(name) for name in names] if names else list(RACES)
        chosen = list({race.number: race for race in chosen}.values())  # each once
    if broken:
        _tell(chosen, as_json)
        return
    done, was_interrupted = _run(chosen)
    if as_json:
        rows = [_as_json(outcome) for outcome in done]
        typer.echo(json.dumps({"partial": was_interrupted, "races": rows}, indent=2))
    else:
        typer.echo(_table(done))
        for outcome in done:
            if outcome.sound.violation is not None:
                typer.echo(
                    f"\n{outcome.race.name}, the library as it is: {outcome.sound.violation}"
                )
    if was_interrupted:
        raise typer.Exit(INTERRUPTED)
    if not all(outcome.is_good for outcome in done):
        raise typer.Exit(1)


def _run(chosen: "list[Race]") -> "tuple[list[RaceOutcome], bool]":
    """What came of each, as far as nobody interrupted."""
    from pinlab.cli.output import race_progress
    from pinlab.races.race import run_race

    done: list[RaceOutcome] = []
    try:
        with race_progress() as progress:
            for race in chosen:
                if progress is not None:
                    progress(f"{race.name} {race.title}", len(done), len(chosen))
                done.append(run_race(race))
    except KeyboardInterrupt:
        return done, True
    return done, False


def _tell(chosen: "Iterable[Race]", as_json: bool) -> None:
    """The stories of their bugs."""
    from pinlab.races.race import run_broken
    from pinlab.races.story import as_story, story_as_json

    told: list[Any] = []
    survived: list[str] = []
    for race in chosen:
        found = run_broken(race).violation
        if found is None:
            survived.append(race.name)
        elif as_json:
            told.append(story_as_json(race, found))
        else:
            typer.echo(("\n" if told else "") + as_story(race, found))
            told.append(race.name)
    if as_json:
        typer.echo(json.dumps({"survived": survived, "races": told}, indent=2))
    if survived:
        end(f"{', '.join(survived)}: the bug broke nothing", 1)


def _table(done: "list[RaceOutcome]") -> str:
    lines = [
        f"{'race':<5} {'rule':<5} {'bound':>5} {'schedules':>9}  {'all':<3} {'found':>5}  title"
    ]
    for outcome in done:
        race, sound = outcome.race, outcome.sound
        found = str(outcome.nr_broken_schedules) if outcome.found else "NOT FOUND"
        every = "BROKEN" if sound.violation else "yes" if sound.is_exhausted else "no"
        figures = (
            f"{race.name:<5} {race.rule:<5} {race.bound:>5} {sound.nr_schedules:>9,}  {every:<3} "
            f"{found:>5}  "
        )
        indent = " " * len(figures)
        lines += textwrap.wrap(race.title, _WIDTH, initial_indent=figures, subsequent_indent=indent)
    nr_found = sum(outcome.found is not None for outcome in done)
    nr_schedules = sum(outcome.sound.nr_schedules for outcome in done)
    lines += [
        "",
        f"{len(done)} races, {nr_schedules:,} schedules; {nr_found} of {len(done)} bugs found.",
        "rule: its letter in docs/reference/races.md.  bound: most preemptions.  all:",
        "every such schedule was run, and broke nothing.  found: the bug that the rule",
        "keeps away was planted, and so many schedules ran until something broke.",
    ]
    return "\n".join(lines)


def _as_json(outcome: "RaceOutcome") -> dict[str, Any]:
    race, sound = outcome.race, outcome.sound
    return {
        "race": race.name,
        "title": race.title,
        "rule": race.rule,
        "max_preemptions": race.max_preemptions,
        "nr_schedules": sound.nr_schedules,
        "is_exhausted": sound.is_exhausted,
        "broke": None if sound.violation is None else str(sound.violation),
        "bug": race.broken.what,
        "bug_is_found": outcome.found is not None,
        "nr_schedules_until_found": outcome.nr_broken_schedules,
    }
