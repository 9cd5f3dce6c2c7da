"""Each rule finds a violation that is planted for it, and passes the same tree without it."""

import pytest

from tests.arch import classes, counts, imports, names, parameters, surface, tidy
from tests.arch import words as vocabulary
from tests.arch.rules import RULES
from tests.kit.project import Project

CLEAN = {
    "pinpage/__init__.py": '"""units."""\n\nfrom pinpage.units import Span\n\n__all__ = ["Span"]\n',
    "pinpage/units.py": '"""D."""\n\n__all__ = ["Span"]\n\n\nclass Span:\n    """D."""\n',
    "mm/__init__.py": '"""D: machine."""\n',
    "mm/state/frames.py": '"""D."""\n\nimport numpy\n\n__all__ = []\n',
    "mm/compaction/compaction.py": '"""D."""\n\nfrom mm.state import frames\n\n__all__ = []\n',
    "mm/allocator/page_alloc.py": '"""D."""\n\nimport mm.compaction.compaction\n\n__all__ = []\n',
    "mm/machine.py": '"""D."""\n\nimport mm.allocator.page_alloc\n\n__all__ = []\n',
    "owners/__init__.py": '"""D."""\n',
    "owners/zbud/pool.py": '"""D."""\n\nfrom mm.state import frames\n\n__all__ = []\n',
    "pinlab/__init__.py": '"""D."""\n',
    "pinlab/report/tables.py": '"""D."""\n\nimport rich\n\n__all__ = []\n',
    "docs/index.md": "| name | what |\n|---|---|\n| `Span` | pages |\n",
    "docs/glossary.md": "| **span** | a range |\n",
    "docs/kernel-map.md": "`mm/state/frames.py` `mm/compaction/compaction.py` "
    "`mm/allocator/page_alloc.py` `mm/machine.py`\n",
}


def facade(project):
    """The rule with its document."""
    return surface.facade_matches_the_document(project, "docs/index.md")


def kernel_map(project):
    """The rule with its document."""
    return tidy.map_names_every_file(project, "docs/kernel-map.md")


def glossary(project):
    """The rule with its document."""
    return vocabulary.glossary_words_are_used(project, "docs/glossary.md")


def words(project):
    """The rule takes the folder."""
    return tidy.words_stay_out(project.root)


def lines(count):
    """A function of that many lines, the first and its docstring not counted."""
    return "def _long():\n" + '    """D."""\n' + "    x = 1\n" * (count - 1)


PLANTED = [
    # rule, file, text appended to it, what the finding says
    (
        imports.packages_point_down,
        "mm/state/frames.py",
        "import owners.zbud.pool",
        "mm imports owners.zbud.pool",
    ),
    (
        imports.packages_point_down,
        "pinpage/units.py",
        "from mm.state import frames",
        "imports mm.state.frames",
    ),
    (
        imports.packages_point_down,
        "mm/state/frames.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pinlab.report import tables",
        "mm imports pinlab.report.tables",
    ),
    (
        imports.packages_point_down,
        "mm/state/frames.py",
        "def _late():\n    from owners.zbud.pool import x",
        "mm imports owners.zbud.pool",
    ),
    (
        imports.packages_point_down,
        "mm/state/frames.py",
        "import importlib\nimportlib.import_module('owners.zbud.pool')",
        "mm imports owners.zbud.pool",
    ),
    (
        imports.inside_mm,
        "mm/state/frames.py",
        "from mm.compaction import compaction",
        "is above it",
    ),
    (imports.inside_mm, "mm/state/frames.py", "from .. import machine", "is above it"),
    (
        imports.inside_mm,
        "mm/power/regions.py",
        '"""D."""\nimport mm.compaction.compaction',
        "or beside",
    ),
    (imports.inside_mm, "mm/compaction/suitable.py", "def _f():\n    import mm.machine", "above"),
    (imports.inside_mm, "mm/novelty.py", '"""D."""', "no layer"),
    (
        imports.importers_are_named,
        "mm/state/__init__.py",
        '"""D.\n\nMay be imported by: owners,\n`mm.machine`.\n\nNot by compaction.\n"""\n',
        "mm/compaction/compaction.py:3: mm.state does not name it",
    ),
    (
        imports.owners_see_state_only,
        "owners/zbud/pool.py",
        "import mm.machine",
        "imports mm.machine",
    ),
    (
        imports.owners_see_state_only,
        "owners/zbud/pool.py",
        "import mm.compaction.compaction",
        "mm.compaction.compaction",
    ),
    (imports.no_cycles, "mm/state/frames.py", "import mm.compaction.compaction", "mm.state.frames"),
    (
        imports.no_chain_leads_there,
        "mm/compaction/compaction.py",
        "def _f():\n    import mm.allocator.page_alloc",
        "the allocator calls compaction",
    ),
    (
        imports.no_chain_leads_there,
        "pinlab/report/tables.py",
        "import mm.machine",
        "made of results",
    ),
    (imports.kit_stays_out, "mm/state/frames.py", "import pinpage.testing", "pinpage.testing"),
    (imports.kit_stays_out, "owners/zbud/pool.py", "import hypothesis", "hypothesis"),
    (imports.kit_stays_out, "pinlab/cli/check.py", '"""D."""\nimport hypothesis', "hypothesis"),
    (imports.third_parties, "mm/state/frames.py", "import pandas", "pandas"),
    (imports.third_parties, "mm/state/frames.py", "import rich", "rich"),
    (
        imports.extras_are_lazy_and_the_rest_is_not,
        "owners/zbud/pool.py",
        "import lz4.block",
        "optional",
    ),
    (
        imports.extras_are_lazy_and_the_rest_is_not,
        "owners/zbud/pool.py",
        "def _f():\n    import json",
        "inside a function",
    ),
    (
        surface.all_is_what_is_public,
        "mm/state/frames.py",
        "def late():\n    pass",
        "not in __all__",
    ),
    (surface.all_is_what_is_public, "mm/state/frames.py", "NR: int = 3", "NR is public"),
    (surface.all_is_what_is_public, "mm/state/frames.py", "__all__ = ['gone']", "not defined here"),
    (
        surface.all_is_what_is_public,
        "mm/compaction/compaction.py",
        "__all__ = ['numpy']\nimport numpy",
        "numpy is in __all__",
    ),
    (surface.all_is_what_is_public, "mm/state/lru.py", '"""D."""\nimport numpy', "no __all__"),
    (surface.everything_public_is_documented, "mm/state/lru.py", "__all__ = []", "no docstring"),
    (
        surface.everything_public_is_documented,
        "mm/state/frames.py",
        "class F:\n    x = 1",
        "F has no",
    ),
    (
        surface.everything_public_is_documented,
        "mm/state/frames.py",
        'class F:\n    """D."""\n    async def look(self): ...',
        "F.look has no",
    ),
    (
        surface.inits_hold_a_docstring_only,
        "owners/__init__.py",
        "import owners.zbud.pool",
        "more than",
    ),
    (surface.facade_is_for_others, "pinpage/owner.py", "from pinpage import Span, x", "the façade"),
    (facade, "pinpage/__init__.py", "__all__ = ['Span', 'Pin']", "Pin is missing"),
    (facade, "docs/index.md", "| `Pan` | a typo |", "Pan is not in"),
    (
        imports.owners_stand_apart,
        "owners/pool/lists.py",
        "from owners.zbud import pool",
        "pool imports owners.zbud.pool",
    ),
    (
        classes.names_have_one_path,
        "owners/zbud/lists.py",
        "from owners.zbud.pool import Frames\n\n__all__ = ['Frames']",
        "shows Frames, which is another",
    ),
    (
        classes.names_have_one_path,
        "pinpage/owner.py",
        "def _late():\n    from owners.zbud.pool import Frames",
        "Frames is not owners.zbud.pool's own",
    ),
    (
        classes.bases_are_used,
        "owners/zbud/pool.py",
        "class Half:\n    pass\n\n\nclass Whole(Half):\n    pass\n\n\nWhole()",
        "owners.zbud.pool.Half is a base of owners.zbud.pool.Whole alone",
    ),
    (
        classes.bases_are_used,
        "owners/zbud/pool.py",
        "import abc\nclass Half(abc.ABC):\n    pass\n\n\nclass Whole(Half):\n    pass",
        "owners.zbud.pool.Half is a base of",
    ),
    (counts.references_have_one_place, "owners/zbud/pool.py", "frames.refcount[1] += 1", "by hand"),
    (
        counts.references_have_one_place,
        "mm/compaction/compaction.py",
        "x, f.g.refcount[p] = 1, f.refcount[p] - 1",
        "by hand",
    ),
    (
        counts.references_have_one_place,
        "mm/compaction/compaction.py",
        "b._refcount[0] = 2",
        "by hand",
    ),
    (
        names.public_classes_have_names_of_their_own,
        "pinlab/report/tables.py",
        'class Span:\n    """D."""',
        "class Span is also in pinpage/units.py",
    ),
    (
        names.errors_name_no_options,
        "pinlab/report/tables.py",
        "def _f(n):\n    raise ValueError(f'{n} runs: try --jobs 1')",
        "names an option",
    ),
    (
        parameters.parameters_are_explained,
        "owners/zbud/pool.py",
        'def store(page, data):\n    """Keep it.\n\n    Args:\n        page: where.\n    """',
        "store explains no parameter",
    ),
    (tidy.files_are_short, "mm/state/frames.py", "x = 1\n" * 401, "lines"),
    (tidy.functions_are_short, "mm/state/frames.py", lines(62), "_long has 62 lines"),
    (tidy.maps_name_their_modules, "mm/late.py", '"""D."""', "late is not in the map"),
    (tidy.maps_name_their_modules, "owners/zbud/__init__.py", '"""D."""', "pool is not in the map"),
    (tidy.maps_name_their_modules, "mm/swap/__init__.py", '"""D.\n\n    sl  x\n\nE.\n"""', "no sl"),
    (kernel_map, "mm/state/lru.py", '"""D."""', "mm/state/lru.py is missing"),
    (kernel_map, "docs/kernel-map.md", "`mm/ghost.py`", "there is no mm/ghost.py"),
    (vocabulary.private_words_stay_out, "mm/machine.py", "_nr_ousted = 1", "says ousted"),
    (vocabulary.private_words_stay_out, "mm/machine.py", "def _f(nobody_minds): ...", "minds"),
    (vocabulary.private_words_stay_out, "mm/swap/ledger.py", '"""D."""', "ledger says ledger"),
    (glossary, "docs/glossary.md", "| **gone** | away |", "called gone"),
    (words, "docs/index.md", "see /{}/main".format("work"), "a path of some machine"),
    (words, "mm/state/frames.py", "HOST = 'pypi.{}'".format("org"), "a registry"),
    (words, "docs/index.md", "as {} 7 says".format("issue"), "organised"),
]


def plant(root, file="", text=""):
    """The clean tree, with `text` added to `file`; the last `__all__` of a file wins."""
    for name, content in CLEAN.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    if file:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_text() if path.exists() else ""
        if text.startswith("__all__"):
            old = old.partition("__all__")[0]
        path.write_text(f"{old}\n{text}\n")
    return Project(root)


@pytest.mark.parametrize(
    ("rule", "file", "text", "says"),
    PLANTED,
    ids=[f"{rule.__name__}-{says.replace(' ', '_')}" for rule, _, _, says in PLANTED],
)
def test_the_planted_violation_is_found(tmp_path, rule, file, text, says):
    found = list(rule(plant(tmp_path, file, text)))
    assert any(says in line for line in found), found


@pytest.mark.parametrize("rule", {rule: None for rule, *_ in PLANTED}, ids=lambda r: r.__name__)
def test_the_clean_tree_is_clean(tmp_path, rule):
    assert not list(rule(plant(tmp_path)))


@pytest.mark.parametrize(
    ("said", "nr_found"),
    [
        ("owners and compaction.", 0),
        ("`owners.zbud`, mm.", 0),
        ("everybody.", 0),
        ("nobody: who must, takes\n`frames`.", 0),
        ("`owners.zswap`, compaction.", 1),
        ("nobody.\n\nOwners and mm want it.", 2),
    ],
)
def test_who_may_import_is_named_by_module_folder_or_package(tmp_path, said, nr_found):
    text = f'"""D.\n\nMay be imported by: {said}\n"""'
    found = list(imports.importers_are_named(plant(tmp_path, "mm/state/__init__.py", text)))
    assert len(found) == nr_found, found


def test_the_check_command_alone_may_use_the_kit(tmp_path):
    used = '"""D."""\nfrom pinpage.testing.conformance import check as conformance'
    assert not list(imports.kit_stays_out(plant(tmp_path, "pinlab/cli/check.py", used)))
    assert list(imports.kit_stays_out(plant(tmp_path, "pinlab/cli/main.py", used)))


@pytest.mark.parametrize(
    "text",
    [
        "class B:\n    pass\n\n\nclass C(B):\n    pass\n\n\nB()",
        "class B:\n    pass\n\n\nclass C(B):\n    pass\n\n\nB.of(1)",
        "class B:\n    pass\n\n\nclass C(B):\n    pass\n\n\nclass D(B):\n    pass",
        "class B(Protocol):\n    pass\n\n\nclass C(B, Protocol):\n    pass",
        "class B(ValueError):\n    pass\n\n\nclass C(B):\n    pass",
    ],
)
def test_a_base_that_is_a_class_of_its_own_may_be(tmp_path, text):
    assert not list(classes.bases_are_used(plant(tmp_path, "owners/zbud/pool.py", text)))


def test_only_what_an_assignment_binds_is_public(tmp_path):
    text = (
        "_t = {}\n_t[numpy.NAN] = numpy.e\n_t.x = 1\n_a, (*_b, LEFT) = 1, [2, 3]\nT = TypeVar('T')"
    )
    found = list(surface.all_is_what_is_public(plant(tmp_path, "mm/state/frames.py", text)))
    assert found == ["mm/state/frames.py:1: LEFT is public but not in __all__"]


def test_frames_are_born_and_die_anywhere_and_other_columns_are_their_owners(tmp_path):
    text = "frames.refcount[p] = 0\nframes.refcount[p] = 1\nself.refcount[row] += 1"
    assert not list(counts.references_have_one_place(plant(tmp_path, "owners/zbud/pool.py", text)))


def test_a_folder_is_full_with_fifteen_files(tmp_path):
    for number in range(15):
        plant(tmp_path, f"mm/swap/s{number}.py", '"""D."""')
    assert not list(tidy.folders_are_small(Project(tmp_path)))
    plant(tmp_path, "mm/swap/one_more.py", '"""D."""')
    assert list(tidy.folders_are_small(Project(tmp_path))) == ["mm/swap: 16 files"]


def test_a_function_is_measured_without_its_docstring(tmp_path):
    assert not list(tidy.functions_are_short(plant(tmp_path, "mm/state/frames.py", lines(60))))


def test_every_rule_of_the_project_has_its_planted_violation():
    assert set(RULES) <= {rule for rule, *_ in PLANTED} | {tidy.folders_are_small}
