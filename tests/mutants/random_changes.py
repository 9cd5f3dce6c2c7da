"""Change the core at random places, and count what the tests notice.

    make mutation            SAMPLE=100 changes, drawn with SEED=2013
    python -m tests.mutants.random_changes --sample N --seed N --jobs N

The catalogue in `tests/mutants` has the bugs that somebody thought of.  Here cosmic-ray proposes
every change of an operator, a comparison, a number or a branch in `pinpage` without its test kit;
some are drawn, and each is planted and judged as those of the catalogue are.

What does not even import is no program, and counts for nothing.  A run that does not end is
noticed: whoever plants such a thing sees it.  What nobody noticed is printed with its line: it
changes nothing that a caller could see, which is said in `tests.mutants.equivalent`, or it asks
for a test.  What is drawn depends on a line and on nothing else, so a change of the code draws
again only what it touches.
"""

import argparse
import ast
import hashlib
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from rich.console import Console
from rich.progress import Progress

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.mutant import Mutant
from tests.mutants.run import ROOT, Outcome, Pytest, Result, check_baseline, project_copy, run_all

LEAST_SHARE = 0.9
"""Of the changes that are programs: noticed."""
_NO_SUBJECT = ("RemoveDecorator",)  # frozen or not is for mypy to see
_STORE = (
    "tests/unit/pinpage/store", "tests/unit/pinpage/test_registry.py",
    "tests/unit/pinpage/test_shapes.py", "tests/unit/pinpage",
    "tests/property/test_registry_machine.py",
    "tests/property/test_registry_interrupts.py", "tests/property/test_registry_threads.py",
    "tests/property/test_registry_rule_p.py", "tests/property/test_registry_switches.py",
    "tests/property/test_registry_schedules.py",
)  # fmt: skip
_MOVE = (
    "tests/unit/pinpage/move", "tests/unit/pinpage/test_migrate.py", "tests/unit/pinpage",
    "tests/faults", "tests/property/test_move_against_model.py",
    "tests/property/test_nested_pins.py", "tests/races",
)  # fmt: skip
_HISTORY = ("tests/unit/pinpage", "tests/unit/pinlab/defects", "tests/unit/mm/designs")
TESTS = {
    "pinpage/rfc2013": _HISTORY,
    "pinpage/move": _MOVE,
    "pinpage/migrate.py": _MOVE,
    "pinpage": _STORE,
}
"""Beginning of a path -> what is run for it, the likeliest to notice first."""
BY_DEFAULT = "not benchmark and not slow and not fuzz"
"""What `make test` runs: it is the default suite that is judged."""


def places(file: str) -> Iterator[tuple[str, int, int]]:
    """Each change that cosmic-ray knows for a file: its operator, which occurrence, its line."""
    source = (ROOT / file).read_text()
    passive = _lines_that_do_nothing(ast.parse(source))
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(cosmic_ray.plugins.operator_names()):
        operator: Any = cosmic_ray.plugins.get_operator(name)
        if operator.arguments() or name.endswith(_NO_SUBJECT):
            continue
        at = (spot for node in nodes for spot in operator().mutation_positions(node))
        for occurrence, (start, _) in enumerate(at):
            if start[0] not in passive:
                yield name, occurrence, start[0]


def _lines_that_do_nothing(tree: ast.Module) -> set[int]:
    """Lines of imports and of signatures, whose annotations only mypy reads."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines.update(range(node.lineno, (node.end_lineno or 0) + 1))
        elif isinstance(node, ast.FunctionDef):
            lines.update(range(node.lineno, node.body[0].lineno))
        elif isinstance(node, ast.AnnAssign):
            lines.update(range(node.annotation.lineno, (node.annotation.end_lineno or 0) + 1))
    return lines


def drawn(count: int, seed: int) -> list[Mutant]:
    """So many changes of all there are, each as a mutant.

    Args:
        count: how many.
        seed: of the draw.
    """
    files = sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pinpage").rglob("*.py")
        if "testing" not in path.parts
    )
    some = sorted(place for file in files for place in _numbered(file, seed))[:count]
    return [_mutant(*place) for _, *place in sorted(some, key=itemgetter(1, 4))]


def _numbered(file: str, seed: int) -> Iterator[tuple[bytes, str, str, int, int]]:
    """The places of a file, each behind a number that a change elsewhere leaves as it is."""
    lines, seen = (ROOT / file).read_text().splitlines(), Counter[tuple[str, str]]()
    for operator, occurrence, line in places(file):
        what = operator, lines[line - 1].strip()
        seen[what] += 1
        told = f"{seed} {file} {what} {seen[what]}"
        yield hashlib.sha256(told.encode()).digest(), file, operator, occurrence, line


def _mutant(file: str, operator: str, occurrence: int, line: int) -> Mutant:
    source = (ROOT / file).read_text()
    made: Any = cosmic_ray.plugins.get_operator(operator)
    changed = mutate_code(source, made(), occurrence)
    tests = next(tests for start, tests in TESTS.items() if file.startswith(start))
    name = f"{file}:{line} {operator.removeprefix('core/')} {occurrence}"
    return Mutant(name, "any", file, source, changed or source + "\n", tests)


def changed_line(mutant: Mutant) -> tuple[str, str]:
    """The first line that differs, before and after."""
    old, new = mutant.old.splitlines(), mutant.new.splitlines()
    pairs = zip(old, new, strict=False)
    return next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", ""))


def why_none(mutant: Mutant) -> str:
    """Why it changes nothing, if somebody has found that out."""
    line = changed_line(mutant)
    known = (e.why for e in EQUIVALENT if (e.file, e.old, e.new) == (mutant.file, *line))
    return next(known, "")


def summary(results: Sequence[Result]) -> tuple[str, float]:
    """What came of the changes, and the share that was noticed of those that change something."""
    counts = Counter(result.outcome for result in results)
    noticed = counts[Outcome.CAUGHT] + counts[Outcome.TIMEOUT]
    unnoticed = [result.mutant for result in results if result.outcome is Outcome.SURVIVED]
    lines = []
    for mutant in unnoticed:
        shown = "\n".join(f"    {line}" for line in changed_line(mutant))
        lines.append(f"{mutant.name}: {why_none(mutant) or 'ASKS FOR A TEST'}\n{shown}")
    nr_none = sum(bool(why_none(mutant)) for mutant in unnoticed)
    programs = noticed + len(unnoticed) - nr_none
    share = noticed / programs if programs else 0.0
    lines.append(
        f"{noticed} of {programs} changes noticed ({share:.0%}), "
        f"{counts[Outcome.TIMEOUT]} of them because nothing ended; {nr_none} more change nothing, "
        f"as said above; {counts[Outcome.BROKEN]} were no programs"
    )
    return "\n".join(lines), share


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, plant, judge; 0 if the share that is noticed is large enough."""
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--sample", type=int, default=100, help="changes to draw")
    parser.add_argument("--seed", type=int, default=2013, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="changes at a time")
    options = parser.parse_args(arguments)
    os.environ.setdefault("PYTEST_TIMEOUT", "100")  # seconds a test: who hangs does so soon
    mutants, pytest = drawn(options.sample, options.seed), Pytest()
    with project_copy(ROOT) as copy:
        wrong = check_baseline(
            mutants, copy, jobs=options.jobs, timeout_s=600.0, marks=BY_DEFAULT, pytest=pytest
        )
    if wrong:  # else each change would be "noticed"
        print(f"The tests fail without any change:\n{wrong}", file=sys.stderr)
        return 1
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("changes", total=len(mutants))
        results = run_all(
            mutants,
            jobs=options.jobs,
            timeout_s=420.0,
            marks=BY_DEFAULT,
            pytest=pytest,
            progress=lambda _: bar.advance(task),
        )
    text, share = summary(results)
    print(text)
    return 0 if share >= LEAST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
