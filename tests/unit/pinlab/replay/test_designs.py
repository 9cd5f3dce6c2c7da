"""The table of designs: every name in it can be run, and no other."""

import pytest

from pinlab.replay.corpus import Corpus
from pinlab.replay.designs import DESIGNS, Dispatch, design
from pinlab.replay.replay import replay
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import small_recording


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_in_the_table_can_be_put_in_force(name):
    entry = design(name)
    assert entry.name == name
    assert entry.summary
    machine = replay(small_recording(), Corpus.build(nr_pages=64), design_name=name).machine
    assert machine.design.name == name
    assert (machine.registry is not None) == (entry.dispatch is Dispatch.REGISTRY)


def test_only_a_design_that_asks_owners_takes_a_coverage():
    assert [name for name in DESIGNS if design(name).takes_coverage] == ["registry"]


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(PinpageError, match="unmovable, zbud-reclaim, registry"):
        design("Registry")
