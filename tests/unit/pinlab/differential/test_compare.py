"""Two designs on the same memory: honest ones keep every law, broken ones are told which."""

from pathlib import Path

import numpy as np
import pytest

from mm.move.design import RegistryDesign, Unmovable
from owners.zbud.reclaim import ZbudReclaim
from pinlab.differential.compare import Contender, compare_designs
from pinlab.differential.laws import Law
from pinlab.differential.recipe import Recipe
from pinlab.differential.requests import REQUESTS
from pinlab.replay.designs import DESIGNS
from pinpage.errors import PinpageError
from tests.kit.pinlab.broken_designs import BROKEN, Registry

ROOT = Path(__file__).resolve().parents[4]
NARROW = [name for name in DESIGNS if name != "registry"]


def honest(name):
    def make(world):
        DESIGNS[name].put_in_force(world.machine, world.pools)
        return world.machine.design

    return make


@pytest.mark.parametrize("name", NARROW[::2])  # of the others in `slow`
def test_the_registry_is_wider_than_every_design(name):
    nth = NARROW.index(name)
    asked = tuple(REQUESTS)[nth % len(REQUESTS)]  # over the designs every one is made
    report = compare_designs(
        honest(name), honest("registry"), nr_examples=1, seed=nth, requests=(asked,)
    )
    assert report.holds, str(report)
    assert report.names == (name, "registry")
    assert "every law holds on one world" in str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", NARROW)
def test_the_registry_is_wider_than_every_design_on_many_worlds(name):
    report = compare_designs(honest(name), honest("registry"), nr_examples=20, seed=100)
    assert report.holds, str(report)
    for (_, strategy), (narrow, wide) in report.obtained.items():
        assert strategy == "scan" or narrow <= wide


def test_zbud_reclaim_is_contained_in_the_registry_with_unuse():
    series = Contender(
        lambda world: ZbudReclaim(world.machine, world.pools), movable=(), registered=False
    )
    generic = Contender(honest("registry"), movable=(), zbud="unuse")
    report = compare_designs(series, generic, nr_examples=1, seed=3, requests=(), contains=True)
    assert report.holds, str(report)
    moving = Contender(honest("registry"), movable=())
    report = compare_designs(series, moving, nr_examples=1, seed=3, requests=(), contains=True)
    assert report.finding.law is Law.DL7


class GivesEachProcessItsOwnAnswer(Registry):
    """What it answers depends on how many of its kind were made before."""

    name = "DL6"
    nr_made = 0

    def __init__(self, world):
        super().__init__(world)
        GivesEachProcessItsOwnAnswer.nr_made += 1
        self.nth = self.nr_made

    def ask(self, pfns, mode):
        answers, reasons = super().ask(pfns, mode)
        answers[(pfns + self.nth) % 3 > 0] = 0
        return answers, reasons


class PinsWhenItIsMade(Registry):
    name = "DL1"

    def __init__(self, world):
        super().__init__(world)
        world.machine.get_page(int(world.used()[0]))


class GivesUpHalfWay(RegistryDesign):
    """Wider than its name says, and does less."""

    name = "DL5"

    def __init__(self, world):
        super().__init__(world.registry, world.machine.mover)

    def ask(self, pfns, mode):
        answers, reasons = super().ask(pfns, mode)
        answers[:] = 0
        return answers, reasons


LAWS = [
    *zip(BROKEN[:5], (Law.DL3, Law.DL2, Law.DL4, Law.DL4, Law.DL2), strict=True),
    (PinsWhenItIsMade, Law.DL1),
    (GivesEachProcessItsOwnAnswer, Law.DL6),
]


@pytest.mark.parametrize(("make", "law"), LAWS, ids=lambda value: getattr(value, "name", ""))
def test_a_broken_design_is_told_its_law(make, law):
    report = compare_designs(honest("unmovable"), make, nr_examples=3, requests=())
    assert not report.holds
    assert report.finding.law is law
    assert law.title in str(report)
    assert law.meaning in str(report)


def test_a_wider_design_that_does_less_is_told_so():
    report = compare_designs(
        honest("registry"), GivesUpHalfWay, nr_examples=4, requests=("huge2m",)
    )
    assert report.finding.law is Law.DL5
    assert "huge2m: DL5 obtained" in report.finding.detail


def test_by_scan_less_is_no_broken_law():
    """The patch gives owners pages from anywhere, the scanner only those above it."""
    report = compare_designs(
        honest("rfc2013"), honest("registry"), nr_examples=1, seed=9, requests=("huge2m",)
    )
    assert report.holds
    narrow, wide = report.obtained["huge2m", "scan"]
    assert narrow > wide
    assert report.nr_behind_by_scan == 1
    assert str(report).splitlines()[-1].split() == ["behind", "by", "scan", "1"]


def test_same_seed_same_report():
    reports = [
        compare_designs(honest("type-keyed"), honest("registry"), nr_examples=1, requests=())
        for _ in range(2)
    ]
    assert reports[0] == reports[1]


def test_worlds_hold_what_their_recipe_says():
    recipe = Recipe(7, 12, 60, 4, 0.5, nr_shared=3, nr_pinned=2, nr_strangers=2, nr_cma_blocks=2)
    world = Contender(lambda _: Unmovable()).world(recipe)
    assert [owner.nr_objects for owner in world.owners.values()] == [4, 3, 3, 2]
    assert len(world.strangers) == 2
    assert world.lost() is None
    world.check()
    stays = world.used()
    assert world.let_go() == 0
    assert not world.used()
    assert stays
    for owner in world.owners.values():
        assert np.all(owner.pfn_of(np.arange(owner.nr_objects)) >= 0)


def test_the_page_has_every_law_in_its_table():
    text = (ROOT / "docs" / "how-to" / "compare-two-designs-as-a-property.md").read_text()
    for law in Law:
        assert f"| {law.name} | {law.title} | {law.meaning} |" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nr_examples": 0}, "nr_examples=0"),
        ({"seed": -1}, "seed=-1"),
        ({"requests": ("huge3m",)}, "requests='huge3m': the requests are huge2m, cma"),
    ],
)
def test_mistakes_are_one_line(given, message):
    with pytest.raises(PinpageError, match=message):
        compare_designs(honest("unmovable"), honest("registry"), **given)


def test_an_owner_that_there_is_not():
    with pytest.raises(PinpageError, match="movable='zbud': the owners are slab, driver"):
        Contender(honest("registry"), movable=("zbud",)).world(Recipe.drawn(0))
