"""The rules hold for this project.  What each rule means: its docstring; the data: table.py."""

from pathlib import Path

import pytest

from tests.arch import classes, counts, imports, surface, tidy
from tests.arch.project import Project

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT)

RULES = [
    imports.packages_point_down,
    imports.inside_mm,
    imports.owners_see_state_only,
    imports.owners_stand_apart,
    imports.no_cycles,
    imports.no_chain_leads_there,
    imports.kit_stays_out,
    imports.third_parties,
    imports.extras_are_lazy_and_the_rest_is_not,
    surface.all_is_what_is_public,
    surface.everything_public_is_documented,
    surface.inits_hold_a_docstring_only,
    surface.facade_is_for_others,
    classes.names_have_one_path,
    classes.bases_are_used,
    counts.references_have_one_place,
    tidy.files_are_short,
    tidy.functions_are_short,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule):
    found = list(rule(PROJECT))
    assert not found, "\n".join([rule.__doc__, *found])


def test_the_facade_is_what_the_front_page_lists():
    assert not list(surface.facade_matches_the_document(PROJECT, "docs/index.md"))


def test_the_kernel_map_names_every_file_of_mm():
    assert not list(tidy.map_names_every_file(PROJECT, "docs/kernel-map.md"))


def test_the_project_speaks_of_itself_alone():
    assert not list(tidy.words_stay_out(ROOT))
