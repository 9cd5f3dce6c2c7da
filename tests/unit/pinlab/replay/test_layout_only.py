"""A machine without bytes: pages are swapped out all the same, and take up what they would."""

import zlib

import numpy as np
import pytest
from attrs import evolve

from mm.state.frames import PageFlag
from pinlab.replay.corpus import Corpus
from pinlab.replay.layout_only import LayoutContents, sizes_of
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import run_request
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.synthetic import describe_machine
from pinpage.errors import PinpageError

SLOW = pytest.mark.slow
POOLS = ["zbud", "zram", *(pytest.param(name, marks=SLOW) for name in ("z3fold", "zsmalloc"))]


@pytest.mark.parametrize("pool", POOLS)
def test_what_is_swapped_out_takes_as_much_room(pool):
    memory = describe_machine(f"scenario:16MiB,anon=80%,{pool}=12%", seed=2)
    swappable = np.where(memory.klass == FrameClass.ANON, PageFlag.SWAPBACKED.mask, 0)
    memory = evolve(
        memory,
        flags=memory.flags | swappable.astype(np.uint64),
        workload={**memory.workload, "swap_size_kb": 65_536},
    )
    frames, real = (
        run_request("huge2m", memory, RequestOptions(count=2), contents=contents)
        for contents in ("none", "bytes")
    )
    assert frames.details["pages_swapped_out"] > 0
    assert (frames.details, frames.obtained, frames.steps_ns, frames.pages_moved) == (
        real.details, real.obtained, real.steps_ns, real.pages_moved,
    )  # fmt: skip
    assert (frames.bytes_verified, real.bytes_lost) == (0, 0)


def test_sizes_are_those_of_the_corpus_and_nothing_is_read():
    corpus = Corpus.build(seed=0)
    serial = int(corpus.draw(np.random.default_rng(0), 1, first=5)[0])
    tag = np.array([serial]).astype(np.uint64).tobytes()
    assert len(sizes_of(corpus).compress(tag)) == len(zlib.compress(corpus.page(serial), 1))
    contents = LayoutContents(4)
    contents.write(1, b"an object", 8)
    with pytest.raises(PinpageError, match="read needs bytes"):
        contents.read(1, 8, 9)
