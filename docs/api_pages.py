"""The API pages of the site: one for each folder, made from docstrings and from `__all__`.

Docstrings here are plain text with Google's sections, and with labels of our own: a line such as
`Cost: ...` and a block such as `Invariants: ...`.  reStructuredText reads some of that as markup
that was not meant, so what is not Google's is put into a form that cannot be misread.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["examples", "main_pages", "public_names", "readable", "setup", "users", "uses"]

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs" / "api"
PACKAGES = ("pinpage", "mm", "owners", "pinlab")
NAMES = ROOT / "docs" / "reference" / "names.md"

_TARGET = re.compile(r"^\((example-[\w-]+)\)=\n## `([\w.]+)`$", re.MULTILINE)
_GOOGLE = re.compile(r"^(Args|Arguments|Attributes|Returns|Raises|Yields|Examples?):$")
_LABEL = re.compile(
    r"^((?:Owns|Ignores|Costs?|Context|Prior art|Locks?|Kernel counterparts?|Not modelled)"
    r"(?: \([^)]*\))?): (.*)$"
)
_IMPORT = re.compile(
    rf"^ *from ((?:{'|'.join(PACKAGES)})[.\w]*) import (\([^)]*\)|[^\n(]+)$", re.MULTILINE
)
_CODE = re.compile(r"(``.*?``|`[^`]*`)")


def public_names(tree: ast.Module, module: str) -> list[str]:
    """What a module's `__all__` lists and the module itself defines.

    Args:
        tree: the module's.
        module: its dotted name, for the message.
    """
    listed: list[str] = []
    defined = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if names == ["__all__"] and node.value is not None:
                listed = list(ast.literal_eval(node.value))
            defined.update(names)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            defined.add(node.name)
    return [name for name in listed if name in defined]


def modules() -> Iterator[tuple[str, list[str]]]:
    """(dotted name, its public names) of every shipped module, packages first."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            yield name, public_names(ast.parse(path.read_text()), name)


def main_pages() -> dict[str, str]:
    """File name in docs/api -> text: a page for each folder, and one that lists them.

    A page for each module would be five times as many, and each shows the way to all others.
    """
    found = dict(modules())
    folders = [name for name in found if (ROOT / name.replace(".", "/")).is_dir()]
    pages = {"tests.rst": ".. include:: ../../tests/README.md\n   :parser: myst_parser.sphinx_\n"}
    for folder in folders:
        lines = _section(folder, found[folder], "=")
        for name, members in found.items():
            if name not in folders and name.rpartition(".")[0] == folder:
                lines += _section(name, members, "-")
        below = [name for name in folders if name.rpartition(".")[0] == folder]
        pages[f"{folder}.rst"] = "\n".join([*lines, *_toctree(below)]) + "\n"
    title = "API reference"
    text = "Everything public, from the docstrings; by package, lowest first."
    pages["index.rst"] = "\n".join([title, "=" * len(title), "", text, "", *_toctree(PACKAGES)])
    return pages


def _section(name: str, members: list[str], line: str) -> list[str]:
    shown = [f"   :members: {', '.join(members)}", "   :show-inheritance:"] if members else []
    return [name, line * len(name), "", f".. automodule:: {name}", *shown, ""]


def _toctree(names: list[str] | tuple[str, ...]) -> list[str]:
    if not names:
        return []
    return [".. toctree::", "   :maxdepth: 1", "", *(f"   {name}" for name in names), ""]


@functools.cache
def examples() -> dict[str, str]:
    """Dotted name of an object -> the label of its example in docs/reference/names.md."""
    return {name: label for label, name in _TARGET.findall(NAMES.read_text())}


@functools.cache
def uses() -> dict[str, str]:
    """Dotted name of an object -> where it is used, as markup: a page, or the path of a file.

    Of several places the one that explains most: pages, examples, unit tests, other code.
    """
    docs, tests = ROOT / "docs", ROOT / "tests"
    places = [
        *sorted(docs.rglob("*.md")),
        *sorted((docs / "examples").glob("*.py")),
        *sorted((tests / "unit").rglob("test_*.py")),
        *sorted(tests.rglob("*.py")),
        *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))),
    ]
    found: dict[str, str] = {}
    for path in places:
        if path.suffix == ".md":
            shown = f":doc:`/{path.relative_to(docs).with_suffix('').as_posix()}`"
        else:
            shown = f"``{path.relative_to(ROOT).as_posix()}``"
        text = path.read_text()
        for name in _imported(text):
            found.setdefault(name, shown)
        for command in re.findall(r"\bpinpage (?:report )?(\w+)", text):
            for module in ("main", "sources"):
                found.setdefault(f"pinlab.cli.{module}.{command}", shown)
    return found


def _imported(text: str) -> Iterator[str]:
    """Dotted names that a text imports, and those that it takes from a module it imports."""
    for module, names in _IMPORT.findall(text):
        for name, alias in re.findall(r"(\w+)(?: as (\w+))?", names):
            yield f"{module}.{name}"
            if (ROOT / module.replace(".", "/") / f"{name}.py").is_file():
                for part in re.findall(rf"\b{alias or name}\.(\w+)", text):
                    yield f"{module}.{name}.{part}"


@functools.cache
def users() -> dict[str, str]:
    """Dotted name of an object -> the first public name of its own module that speaks of it."""
    found: dict[str, str] = {}
    for module, names in modules():
        path = ROOT / module.replace(".", "/")
        source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        lines = source.splitlines()
        texts = {
            name: "\n".join(lines[node.lineno - 1 : node.end_lineno])
            for node in ast.parse(source).body
            for name in _defined(node)
        }
        for name in names:
            word = re.compile(rf"\b{name}\b")
            speak = [user for user in texts if user != name and word.search(texts[user])]
            known = [user for user in speak if user in names]
            if known:
                found[f"{module}.{name}"] = f"``{module}.{known[0]}``"
            elif speak:
                found[f"{module}.{name}"] = f"``{path.relative_to(ROOT).as_posix()}.py``"
    return found


def _defined(node: ast.stmt) -> list[str]:
    """What a statement of a module defines; the list of what is public defines nothing."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if name != "__all__"]


def readable(lines: list[str]) -> list[str]:
    """A docstring in the house's form as text that reStructuredText and napoleon read.

    Args:
        lines: of the docstring, without its common indent.
    """
    out: list[str] = []
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        if first.startswith(("=====", ">>>")):
            out += paragraph  # a table, or an example
        elif first.startswith(" "):
            out += ["::", "", *paragraph]  # set off: a list, a drawing, columns of words
        elif found := _GOOGLE.match(first):
            rest = paragraph[1:]
            out += [first, *map(_escaped, _joined(rest) if found[1] == "Returns" else rest)]
        elif found := _LABEL.match(first):
            words = " ".join([found[2], *map(str.strip, paragraph[1:])]).strip()
            out.append(f"**{found[1]}**: {_escaped(words)}")
        else:
            out += map(_escaped, paragraph)
        out.append("")
    return out


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Lines that belong together: of one kind, and with a section all that stands below it."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        first = paragraph[0] if paragraph else ""
        is_set_off = line.startswith(" ")
        section = _GOOGLE.match(first) or _LABEL.match(first)
        table = first.startswith(("=====", ">>>"))
        ends = not line.strip() or (
            not table
            and bool(paragraph)
            and (
                bool(_GOOGLE.match(line) or _LABEL.match(line))
                or (is_set_off != first.startswith(" ") and not (is_set_off and section))
                or bool(section and _GOOGLE.match(first) and not is_set_off)
            )
        )
        if ends and paragraph:
            yield paragraph
            paragraph = []
        if line.strip():
            paragraph.append(line.rstrip())


def _joined(lines: list[str]) -> list[str]:
    """The lines below `Returns:` with those that go on in the line that they belong to."""
    joined: list[str] = []
    for line in lines:
        if joined and len(line) - len(line.lstrip()) > len(lines[0]) - len(lines[0].lstrip()):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _escaped(line: str) -> str:
    """What is not between backticks is text: no emphasis, no substitutions, no references."""
    parts = _CODE.split(line)
    text = []
    for place, part in enumerate(parts):
        if place % 2:
            text.append(part)
            continue
        begins_in_a_word = place and part[:1].isalnum()  # `yield`s: the role has to end first
        safe = re.sub(r"([*|\\])|(?<=\w)(_)(?=\W|$)", r"\\\1\2", part)
        text.append(f"\\ {safe}" if begins_in_a_word else safe)
    return "".join(text)


def _process(app, what, name, obj, options, lines) -> None:
    lines[:] = readable(lines)
    if label := examples().get(name):
        lines += ["", f"**Example**: :ref:`{name} <{label}>`.", ""]
    elif shown := uses().get(name) or users().get(name):
        lines += ["", f"**In use**: {shown}.", ""]


def _link_inside(app, name, source) -> None:
    """The one page that lives beside the tests is a page of the site too."""
    source[0] = source[0].replace("](../tests/README.md)", "](api/tests.rst)")


def _write(app) -> None:
    pages = main_pages()
    API.mkdir(exist_ok=True)
    for path in API.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = API / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app) -> None:
    """Hook into a Sphinx application."""
    app.connect("builder-inited", _write, priority=100)
    app.connect("source-read", _link_inside)
    app.connect("autodoc-process-docstring", _process, priority=100)
