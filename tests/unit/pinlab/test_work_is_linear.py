"""What a request looks at grows with memory, not with memory times what is asked of it."""

import pytest

from pinlab.described.synthetic import describe_machine
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, prepare

SMALL_MIB, LARGE_MIB = 64, 512
MOST_GROWTH = 2
"""Of the work per frame: it would be eight were all memory looked at for each huge page."""


def work_per_frame(size_mib, filled):
    """Frames, list entries and places looked at to find targets and clean page cache."""
    options = RequestOptions(design="registry", strategy="scan")
    memory = describe_machine(f"scenario:{size_mib}MiB,{filled}", seed=1)
    subject = prepare(memory, options, contents="none")
    machine = subject.machine
    assert SERVERS["huge2m"](subject, options).obtained > size_mib // 8
    searches = sum(machine.compaction.hints(zone).lists.nr_seen for zone in machine.zones)
    assert searches > 0
    assert machine.kswapd.nr_runs > 0
    work = {"searches": searches, "reclaim": machine.reclaimer.clean.nr_looked_at}
    return {what: nr / machine.frames.nr_frames for what, nr in work.items()}


@pytest.mark.parametrize(
    "filled",
    [
        pytest.param("anon=60%,file=10%", id="anonymous"),
        pytest.param("anon=20%,file=55%,slab=2%", id="cache"),
    ],
)
def test_huge_pages_by_scan(filled):
    small, large = work_per_frame(SMALL_MIB, filled), work_per_frame(LARGE_MIB, filled)
    for what, work in small.items():
        assert large[what] <= MOST_GROWTH * work, (what, small, large)


def scanned_per_frame(size_mib, consumer, strategy):
    """Frames that a request looked at, of each frame that there is."""
    memory = describe_machine(
        f"scenario:{size_mib}MiB,anon=40%,file=10%,slab=1%,scatter=20%,cma={size_mib // 8}MiB",
        seed=1,
    )
    what = {"block_nr_pages": 4096} if consumer == "offline" else {}
    options = RequestOptions(strategy=strategy, nr_tries=2, **what)
    subject = prepare(memory, options, contents="none")
    report = SERVERS[consumer](subject.machine, options)
    assert report.attempts
    return report.pages_scanned / subject.machine.frames.nr_frames


@pytest.mark.parametrize("strategy", ["scan", "plan"])
@pytest.mark.parametrize("consumer", ["offline", "power"])
def test_blocks_and_regions_one_after_the_other(consumer, strategy):
    """32 blocks of a census each would be eight times the work per frame of 4 blocks."""
    small = scanned_per_frame(SMALL_MIB, consumer, strategy)
    large = scanned_per_frame(LARGE_MIB, consumer, strategy)
    assert large <= MOST_GROWTH * small, (small, large)
