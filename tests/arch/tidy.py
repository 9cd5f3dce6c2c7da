"""Rules about size, about words, and about the documents that name our files."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.arch import table
from tests.kit.project import Project

__all__ = [
    "files_are_short",
    "folders_are_small",
    "functions_are_short",
    "map_names_every_file",
    "maps_name_their_modules",
    "nr_code_lines",
    "words_stay_out",
]

TEXT = {".py", ".md", ".toml", ".out", ".txt", ".cfg", ".ini", ".yml", ".yaml", ".sh", ""}
SKIPPED = {"build", "dist", "__pycache__", "data"}

# No pattern matches its own spelling, so this file is not its own first finding.
FORBIDDEN = {
    "a path of some machine": re.compile(r"(?<![\w.])/(?:work|tmp|root|home)/"),
    "the host of a registry": re.compile(
        r"\b(?:pypi\.org|pythonhosted\.|registry\.npm|deb\.debian)", re.IGNORECASE
    ),
    "how the work is organised": re.compile(
        r"\b(?:INTERFACES\.md|sub-?agents?|issue #?\d+\b)", re.IGNORECASE
    ),
}


def files_are_short(project: Project) -> Iterator[str]:
    """No shipped file is longer than one idea, told in code: words are not counted."""
    for module in project.modules.values():
        count = nr_code_lines(module.text, module.tree)
        if count > table.MOST_CODE_LINES_PER_FILE:
            yield f"{project.where(module)}: {count} lines"


def nr_code_lines(text: str, tree: ast.Module) -> int:
    """Lines of a file that are no comment, no docstring and not blank.

    Args:
        text: of the file.
        tree: what it parses to.
    """
    words: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                words.update(range(statement.lineno, (statement.end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    code = [line for number, line in lines if number not in words and line.strip()]
    return sum(not line.lstrip().startswith("#") for line in code)


def folders_are_small(project: Project) -> Iterator[str]:
    """No shipped folder has more files than a newcomer takes in at a glance."""
    counts = Counter(module.path.parent for module in project.modules.values())
    for folder, count in sorted(counts.items()):
        if count > table.MOST_FILES_PER_FOLDER:
            yield f"{folder.relative_to(project.root).as_posix()}: {count} files"


def maps_name_their_modules(project: Project) -> Iterator[str]:
    """The docstring of a package is its map: every module has its place there, no ghost has."""
    inside: dict[str, set[str]] = {}
    for name in project.modules:
        package, _, own = name.rpartition(".")
        inside.setdefault(package, set()).add(own)
    for module in project.modules.values():
        if not module.is_package:
            continue
        where, names = project.where(module), inside.get(module.name, set())
        text = ast.get_docstring(module.tree) or ""
        for name in sorted(names - set(re.findall(r"\w+", text))):
            yield f"{where}: {name} is not in the map"
        for ghost in sorted(set(re.findall(r"^    ([a-z]\w*)  ", text, re.MULTILINE)) - names):
            yield f"{where}: there is no {ghost}"


def functions_are_short(project: Project) -> Iterator[str]:
    """No shipped function is longer than a screen, its docstring not counted."""
    for module in project.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = _nr_lines(node)
                if count > table.MOST_LINES_PER_FUNCTION:
                    yield f"{project.where(module, node.lineno)}: {node.name} has {count} lines"


def map_names_every_file(project: Project, document: str) -> Iterator[str]:
    """Every file of mm has its line in the map from kernel files to ours, and no ghost has."""
    text = (project.root / document).read_text()
    for module in project.modules.values():
        path = module.path.relative_to(project.root).as_posix()
        is_file_of_mm = module.name.startswith("mm.") and not module.is_package
        if is_file_of_mm and f"`{path}`" not in text:
            yield f"{document}: {path} is missing"
    for ours in sorted(set(re.findall(r"`((?:pinpage|mm|owners|pinlab)/[\w/]+\.py)`", text))):
        if not (project.root / ours).is_file():
            yield f"{document}: there is no {ours}"


def words_stay_out(root: Path) -> Iterator[str]:
    """The project speaks of itself alone: no machine's paths, no registry's host."""
    for path in _texts(root):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for what, pattern in FORBIDDEN.items():
                if pattern.search(line):
                    yield f"{path.relative_to(root).as_posix()}:{number}: {what}: {line.strip()}"


def _texts(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") and path.name != ".ci"
        if hidden or path.name in SKIPPED or path.suffix == ".egg-info":
            continue
        if path.is_dir():
            yield from _texts(path)
        elif path.suffix in TEXT:
            yield path


def _nr_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    count = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node):
        docstring = node.body[0]
        count -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return count
