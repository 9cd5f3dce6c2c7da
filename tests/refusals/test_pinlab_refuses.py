"""A caller's mistake in a script on pinlab: one clear line, whatever the argument was.

The command never hands these over, since its parser splits names and counts seeds; scripts do.
"""

import pytest

from pinlab.compare.results import Run
from pinlab.described.synthetic import describe_machine
from pinlab.load.mixed import run
from pinlab.load.run import make_world
from pinlab.replay.corpus import Corpus
from pinlab.replay.owners import check_movable, check_release
from pinlab.replay.replay import replay
from pinlab.whatif.answer import what_if
from pinpage.errors import PinpageError


@pytest.fixture(scope="module")
def memory():
    return describe_machine("scenario:16MiB,anon=20%,slab=5%", seed=1)


TAKE_NAMES = {
    "Run movable": ("movable", lambda memory, names: Run("registry", movable=names)),
    "Run release": ("release", lambda memory, names: Run("registry", release=names)),
    "what_if movable": ("movable", lambda memory, names: what_if(memory, movable=names)),
    "what_if released": ("release", lambda memory, names: what_if(memory, released=names)),
    "replay": ("movable", lambda memory, names: replay(memory, None, movable=names)),
    "check_movable": ("movable", check_movable),
    "check_release": ("release", lambda memory, names: check_release(memory, names, ())),
    "load only": ("only", lambda memory, names: run(only=names)),
    "load strategies": ("strategies", lambda memory, names: run(strategies=names)),
}


@pytest.mark.parametrize("call", TAKE_NAMES)
@pytest.mark.parametrize("names", ["slab", "", 3])
def test_one_name_is_not_taken_for_its_letters(memory, call, names):
    argument, called = TAKE_NAMES[call]
    with pytest.raises(PinpageError, match=f"{argument}={names!r}: give several, such as "):
        called(memory, names)


def test_several_names_are_kept_as_a_tuple_however_they_come():
    assert Run("registry", movable=iter(["slab", "zbud"])).movable == ("slab", "zbud")


@pytest.mark.parametrize("seed", [-1, 1.5, "x", None, True])
@pytest.mark.parametrize(
    "seeded",
    [
        lambda seed: describe_machine("scenario:16MiB", seed=seed),
        lambda seed: Corpus.build(seed=seed, nr_pages=1),
        lambda seed: make_world(nr_pages=512, design_name="registry", seed=seed),
    ],
)
def test_a_seed_that_is_none_is_named(seeded, seed):
    with pytest.raises(PinpageError, match=f"seed={seed!r}: give (a whole number, )?0 or more"):
        seeded(seed)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_time_without_an_end_is_named_before_there_is_a_machine(seconds):
    with pytest.raises(PinpageError, match=f"seconds={seconds}: give seconds of simulated time"):
        run(seconds=seconds, nr_pages=1)


def test_a_strategy_that_is_none_is_named_before_there_is_a_machine():
    with pytest.raises(PinpageError, match="strategies='foo': it is 'scan' or 'plan'"):
        run(strategies=("scan", "foo"), nr_pages=1)


def test_where_nobody_could_the_sentence_says_so():
    nobodys = describe_machine("scenario:16MiB")
    with pytest.raises(PinpageError, match=r"it is one of nobody$"):
        check_movable(nobodys, ("slab",))
    with pytest.raises(PinpageError, match=r"it is one of nobody$"):
        check_release(nobodys, ("slab",), ())
