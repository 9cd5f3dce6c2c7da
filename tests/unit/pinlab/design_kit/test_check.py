"""The design kit: broken designs fail with the right sentence, honest ones pass."""

import re

import pytest

from mm.designs.rfc2013 import OwnPages, Rfc2013Design
from mm.move.design import Answer
from pinlab.design_kit.check import check_design
from pinlab.design_kit.lab import DesignLab
from pinlab.design_kit.promises import DesignPromise
from pinlab.replay.designs import DESIGNS
from pinpage.errors import PinpageError
from pinpage.owner import Mode
from tests.kit.pinlab.broken_designs import BROKEN, Registry

DETAILS = {
    DesignPromise.DP1: "claims, ask and holders about",
    DesignPromise.DP2: "went, and nobody had registered it",
    DesignPromise.DP3: "stayed, and is not as it was",
    DesignPromise.DP4: "is MOVED, and still in use",
    DesignPromise.DP5: "reads other bytes in its",
    DesignPromise.DP6: "it said two things",
    DesignPromise.DP7: "ask raised SystemExit: 0",
}


@pytest.mark.parametrize(("make", "promise"), list(zip(BROKEN, DesignPromise, strict=True)))
def test_a_broken_design_is_told_its_promise(make, promise):
    report = check_design(make, nr_examples=3)
    assert not report.kept
    assert report.finding.promise is promise
    assert DETAILS[promise] in report.finding.detail
    assert promise.title in str(report)
    assert promise.meaning in str(report)


def answering(method, answer):
    """A design one of whose methods gives that answer, or raises it."""

    def make(lab):
        def answers(*asked):
            if isinstance(answer, BaseException):
                raise answer
            return answer

        design = Registry(lab)
        setattr(design, method, answers)
        return design

    return make


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("claims", None, "claims about 2048 frames answered None"),
        ("ask", None, "ask raised TypeError"),
        ("ask", ([1], [1]), r"ask about \d+ frames answered an array of shape \(1,\)"),
        ("ask", ValueError("oops"), "ask raised ValueError: oops"),
        ("holders", KeyError("x"), "holders raised KeyError"),
        ("move", None, "move raised AttributeError"),
        ("move", GeneratorExit(), "move raised GeneratorExit"),
    ],
)
def test_whatever_a_design_answers_the_kit_goes_on_to_its_report(method, answer, said):
    report = check_design(answering(method, answer), nr_examples=1)
    assert report.finding.promise is DesignPromise.DP7
    assert re.match(said, report.finding.detail)


@pytest.mark.parametrize("error", [KeyError("no"), SystemExit(0)])
def test_a_factory_that_raises_is_one_line(error):
    def make(lab):
        raise error

    with pytest.raises(PinpageError, match=f"the factory raised {type(error).__name__}"):
        check_design(make)


def test_ctrl_c_within_a_design_is_the_users():
    with pytest.raises(KeyboardInterrupt):
        check_design(answering("ask", KeyboardInterrupt()), nr_examples=1)


def honest(name):
    def make(lab):
        DESIGNS[name].put_in_force(lab.machine, lab.pools)
        return lab.machine.design

    return make


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_of_the_table_keeps_every_promise(name):
    report = check_design(honest(name), nr_examples=2, seed=1)
    assert report.kept, str(report)
    assert report.design == name
    capable = DESIGNS[name].kind.capabilities
    assert not capable.moves or report.nr_moved > 0
    assert "keeps every promise" in str(report)


def test_what_is_no_design_is_one_line():
    with pytest.raises(PinpageError, match="that is no design: it has no claims, ask"):
        check_design(lambda lab: object())
    with pytest.raises(PinpageError, match="nr_examples=0"):
        check_design(honest("registry"), nr_examples=0)


def test_the_patch_says_moved_of_what_was_not_and_the_design_looks_again():
    lab = DesignLab(1)
    design = Rfc2013Design(lab.registry, lab.machine.mover, lab.machine)
    check_design(lambda _: design, nr_examples=1)
    lab.machine.design = design
    lab.machine.compact("scan")
    assert design.nr_false_successes > 0
    assert lab.lost() is None


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_can_do_what_its_row_says_and_no_more(name):
    lab = DesignLab(1)
    design = lab.machine.design = honest(name)(lab)
    before = {kind: lab.places_of(kind) for kind in ("partner", "gup")}
    used = lab.used
    chosen = used[design.ask(used, Mode.SYNC)[0] == Answer.MOVE]
    chosen = chosen[~lab.machine.mover.has_home(chosen) | (design.claims(0, 2048)[chosen])]
    report = design.move(chosen, OwnPages(lab.machine), Mode.SYNC)
    can = DESIGNS[name].kind.capabilities
    assert (report.nr_moved > 0) == can.moves
    assert (lab.places_of("partner") != before["partner"]).any() == can.several_owners
    assert (lab.places_of("gup") != before["gup"]).any() == can.gup
