"""A machine without bytes: pages are swapped out all the same, and take up what they would."""

import zlib

import numpy as np
import pytest
from attrs import evolve

from mm.state.frames import PageFlag
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.described.synthetic import describe_machine
from pinlab.replay.corpus import Corpus
from pinlab.replay.layout_only import LayoutContents, blobs_of, sizes_of
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import run_request
from pinlab.snapshot.classes import FrameClass

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


def test_compressed_pages_are_brought_back():
    memory = describe_machine("scenario:32MiB,anon=30%,zbud=8%", seed=2)
    runs = [Run("zbud-reclaim"), Run("registry", (), "plan", ("zbud",))]
    frames, real = (compare(memory, runs, layout_only=only).rows for only in (True, False))
    assert all(row.pages_unused for row in frames)
    assert [evolve(row, digest="", bytes_verified=0) for row in frames] == [
        evolve(row, digest="", bytes_verified=0) for row in real
    ]


def test_sizes_are_those_of_the_corpus():
    corpus = Corpus.build(seed=0)
    serial = int(corpus.draw(np.random.default_rng(0), 1, first=5)[0])
    tag = np.array([serial]).astype(np.uint64).tobytes()
    sizes = sizes_of(corpus)
    assert len(sizes.compress(tag)) == len(zlib.compress(corpus.page(serial), 1))
    assert sizes.decompress(sizes.compress(tag)) == tag
    (blob,) = blobs_of(corpus, np.array([serial]))
    assert (len(blob), blob[:8]) == (len(corpus.blobs(np.array([serial]))[0]), tag)


def test_an_object_is_what_was_written_last():
    contents = LayoutContents(4)
    contents.write(1, b"old and long", 8)
    contents.write(1, b"new" + bytes(3), 10)
    assert contents.read(1, 8, 12) == b"olnew" + bytes(3) + b"long"
    contents.copy(np.array([1]), np.array([2]))
    contents.write(1, b"x", 8)
    assert contents.read(2, 8, 2) == b"ol"
    contents.copy(np.array([3]), np.array([2]))
    contents.forget(np.array([1]))
    assert contents.read(2) == contents.read(1) == bytes(4096)
