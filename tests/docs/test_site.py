"""The site builds without a warning, and the names that scripts use most have an example."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = (ROOT / "docs" / "reference" / "names.md").read_text()
TARGETS = re.findall(r"^\((example-[\w-]+)\)=\n## `([\w.]+)`$", NAMES, re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PACKAGES = ("pinpage", "mm", "owners", "pinlab")
SHOWN_WITH_OTHERS = {"Mode", "Verdict", "Pin", "Foll", "IgnoresMoves"}
"""Shown where an owner or a hold is: each is no use by itself."""
TESTS_ONLY = {
    "World",
    "WorldTargets",
    "Scenario",
    "Until",
    "FrameIs",
    "column",
    "race_named",
    "run_sound",
}


def test_everything_is_read_and_every_link_leads_somewhere(tmp_path):
    """As `make docs`, but for the writing of HTML, which cannot warn any more."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "dummy",
         "-d", tmp_path / "trees", "docs", tmp_path / "out"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_each_example_is_that_of_a_public_name():
    for label, name in TARGETS:
        assert label == "example-" + name.lower().replace(".", "-").replace("_", "-")
        parts = name.split(".")
        module = ".".join(part for part in parts[:-1] if part.islower())
        thing = importlib.import_module(module)
        for part in parts[module.count(".") + 1 :]:
            thing = getattr(thing, part)
        assert thing.__doc__
    assert len(TARGETS) >= 20


def test_every_public_name_has_an_example_or_is_shown_where_it_is_used():
    sys.path.insert(0, str(ROOT / "docs"))
    pages = importlib.import_module("api_pages")
    known = pages.examples().keys() | pages.uses().keys() | pages.users().keys()
    public = {f"{module}.{name}" for module, names in pages.modules() for name in names}
    assert not public - known


def scripts():
    """The source of each example, of each Python block of a document, and of each race."""
    for path in sorted([*(ROOT / "docs").rglob("*.py"), *(ROOT / "tests" / "races").glob("*.py")]):
        yield path.read_text()
    pages = {ROOT / "README.md", *(ROOT / "docs").rglob("*.md")}
    for path in sorted(pages - {ROOT / "docs" / "reference" / "names.md"}):
        yield "\n".join(
            re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
        )


def test_the_names_that_most_scripts_import_are_among_them():
    counts = Counter()
    for text in scripts():
        imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
        ours = [node for node in imports if (node.module or "").partition(".")[0] in PACKAGES]
        counts.update({alias.name for node in ours for alias in node.names})
    left_out = SHOWN_WITH_OTHERS | TESTS_ONLY
    most = [name for name, _ in counts.most_common() if name not in left_out]
    shown = {part for _, name in TARGETS for part in name.split(".")}
    assert set(most[:8]) <= shown, most[:8]
