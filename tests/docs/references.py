"""Races, rules and invariants: where they are told, and where the code names them.

python -m tests.docs.references      writes the table in docs/reference/invariants.md
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

from tests.kit.project import Module, Project

__all__ = [
    "Invariant",
    "checked_in",
    "declared",
    "main",
    "numbered",
    "table",
    "told",
    "unresolved",
]

ROOT = Path(__file__).resolve().parents[2]
INVARIANTS = Path("docs/reference/invariants.md")
RACES = Path("docs/reference/races.md")
BEGIN = "<!-- invariants: begin (make readme) -->\n"
END = "<!-- invariants: end -->\n"

_HEADING = re.compile(r"^ *Invariants\b[^:]*:$", re.MULTILINE)
_DECLARED = re.compile(r"^(?P<indent> +)(?P<label>[A-Z]{1,2}\d{1,2}) +(?P<text>\S.*)$")
_LABEL = re.compile(r"[A-Z]{1,2}\d{1,2}")
_NAMED = re.compile(r"^([A-Z]{1,2}\d{1,2})(?= )")
_TOLD = re.compile(r"^(?:### (R-\d+)|\| \*\*(?P<rule>[A-Z])\*\*)", re.MULTILINE)
_USED = re.compile(r"(R-\d+)\b|\b[Rr]ules? ([A-Z](?:/[A-Z])*)\b")


@frozen
class Invariant:
    """One invariant as a docstring declares it.

    Attributes:
        label: its name in messages, tests and mutants.
        text: what holds.
        path: the file of the docstring.
    """

    label: str
    text: str
    path: str = field(eq=False)


def declared(project: Project) -> Iterator[Invariant]:
    """Each line of each "Invariants" section, in the order of the files."""
    for module in project.modules.values():
        path = project.where(module).partition(":")[0]
        for docstring in _docstrings(module):
            if heading := _HEADING.search(docstring):
                yield from _section(docstring[heading.end() + 1 :], path)


def numbered(project: Project) -> Iterator[str]:
    """Each label that is a name in a class: promises and laws are members of enums."""
    for module in project.modules.values():
        for node in ast.walk(module.tree):
            for line in node.body if isinstance(node, ast.ClassDef) else ():
                targets = line.targets if isinstance(line, ast.Assign) else ()
                names = (name.id for name in targets if isinstance(name, ast.Name))
                yield from filter(_LABEL.fullmatch, names)


def checked_in(project: Project) -> dict[str, set[str]]:
    """Label -> the files whose messages begin with it; docstrings are no messages."""
    found = defaultdict(set)
    for module in project.modules.values():
        path = project.where(module).partition(":")[0]
        words = set(map(id, _docstring_nodes(module)))
        for node in ast.walk(module.tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in words and (named := _NAMED.match(text)):
                found[named[1]].add(path)
    return found


def table(project: Project) -> str:
    """The invariants as a markdown table; those that only a move can show have no message."""
    where = checked_in(project)
    rows = ["| label | what holds | declared in | checked in |", "|---|---|---|---|"]
    for one in sorted(declared(project), key=lambda one: _key(one.label)):
        checked = ", ".join(f"`{path}`" for path in sorted(where.get(one.label, ()))) or "tests"
        text = re.sub(r"[|<>]", lambda found: f"\\{found[0]}", one.text)
        rows.append(f"| {one.label} | {text} | `{one.path}` | {checked} |")
    return "\n".join(rows) + "\n"


def told(text: str) -> set[str]:
    """Races ("R-7") and rules ("K") that a document tells."""
    return {found[1] or found["rule"] for found in _TOLD.finditer(text)}


def unresolved(text: str, entries: set[str]) -> list[str]:
    """Races and rules that a text names and that no entry tells."""
    names = []
    for race, rules in _USED.findall(text):
        names += [race] if race else rules.split("/")
    return [name for name in names if name not in entries]


def _docstring_nodes(module: Module) -> Iterator[ast.Constant]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(module.tree):
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def _docstrings(module: Module) -> Iterator[str]:
    for node in _docstring_nodes(module):
        yield str(node.value)


def _section(text: str, path: str) -> Iterator[Invariant]:
    label, words, indent = "", [], 0
    for line in [*text.splitlines(), ""]:
        begins = _DECLARED.match(line)
        goes_on = label and not begins and len(line) - len(line.lstrip()) > indent
        if goes_on:
            words.append(line.strip())
            continue
        if label:
            yield Invariant(label, " ".join(words), path)
        if not begins:
            if line.strip() or label:
                return
            continue
        label, words, indent = begins["label"], [begins["text"]], len(begins["indent"])


def _key(label: str) -> tuple[str, int]:
    letters = label.rstrip("0123456789")
    return letters, int(label[len(letters) :])


def main() -> None:
    """Replace the table."""
    path = ROOT / INVARIANTS
    before, _, rest = path.read_text().partition(BEGIN)
    path.write_text(f"{before}{BEGIN}{table(Project(ROOT))}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
