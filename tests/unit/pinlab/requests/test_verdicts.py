"""A verdict from one block's own frames is the one that a census of all memory gives."""

import numpy as np
import pytest

from mm.hotplug import memory_hotplug
from mm.state.errno import Errno
from pinlab.described.synthetic import describe_machine
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import prepare


def verdicts(machine):
    hotplug = machine.hotplug
    return [hotplug.verdict(block, machine.design) for block in hotplug.blocks.online()]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "filled",
    [
        "anon=40%,file=10%,slab=0.05%,zbud=3%",
        "anon=60%,zbud=20%,gup=0.02%,cma=8MiB",
        "anon=93%",
        "anon=84%",
        "anon=85%",
        "anon=86%",
        "anon=87%",
        "anon=20%,slab=3%",
    ],
)
def test_one_block_and_all_memory_agree(filled, seed, monkeypatch):
    options = RequestOptions(design="registry", movable=("zbud",) if "zbud" in filled else ())
    memory = describe_machine(f"scenario:64MiB,{filled}", seed=seed)
    machine = prepare(memory, options, contents="none").machine
    machine.hotplug.blocks.nr_pages = 2048
    machine.registry.flush()
    quick = verdicts(machine)
    monkeypatch.setattr(memory_hotplug, "look_at_block", lambda *_: None)
    whole = verdicts(machine)
    for one, other in zip(quick, whole, strict=True):
        assert one.errno is other.errno
        assert (one.nr_moves, one.obstacles.by_owner()) == (
            other.nr_moves,
            other.obstacles.by_owner(),
        )
        assert np.array_equal(one.obstacles.pfns, other.obstacles.pfns)
        if one.errno is Errno.OK:
            assert one.modelled_ns == other.modelled_ns
