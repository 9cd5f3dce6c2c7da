"""What each request costs per frame as memory grows: the work counted, CPU time reported.

Work is what the request looked at and moved: frames scanned, entries of free lists and of the
LRU that searches looked at, pages moved.  Per frame it may grow by a fifth from 1 GiB on, or as
much as what is obtained of each frame grows: a larger machine keeps back less of itself, and a
search for a huge page that is found is work, too.  One look at each frame is always allowed.
"""

import time

import pytest

from pinlab.described.synthetic import describe_machine
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, prepare

MOST_GROWTH = 1.2
REQUESTS = [
    (consumer, strategy)
    for consumer in ("huge2m", "huge1g", "cma", "offline", "power")
    for strategy in ("scan", "plan")
]


def work_per_frame(nr_gib, consumer, strategy):
    """Looked at and moved, and obtained, of each frame there is; prints the CPU time as well."""
    memory = describe_machine(
        f"scenario:{nr_gib}GiB,anon=40%,file=15%,slab=0.5%,scatter=2%,cma={nr_gib * 128}MiB", seed=1
    )
    options = RequestOptions(strategy=strategy)
    machine = prepare(memory, options, contents="none").machine
    began_s = time.process_time()
    report = SERVERS[consumer](machine, options)
    cpu_s = time.process_time() - began_s
    work = report.pages_scanned + report.pages_moved
    work += sum(machine.compaction.hints(zone).lists.nr_seen for zone in machine.zones)
    if machine.reclaimer.clean is not None:
        work += machine.reclaimer.clean.nr_looked_at
    nr_frames = machine.frames.nr_frames
    print(
        f"{consumer} by {strategy}, {nr_gib} GiB: {work / nr_frames:.3f} looks and moves"
        f" per frame, {report.obtained} obtained,"
        f" {cpu_s / nr_frames * 1e6:.2f} us of CPU per frame, {cpu_s:.1f} s"
    )
    return work / nr_frames, report.obtained / nr_frames


def require_linear(larger_gib, consumer, strategy):
    """The cost of a frame of the larger machines is that of a machine of 1 GiB, or one look."""
    least, obtained_of_least = work_per_frame(1, consumer, strategy)
    for nr_gib in larger_gib:
        work, obtained = work_per_frame(nr_gib, consumer, strategy)
        gained = obtained / obtained_of_least if obtained_of_least else 1.0
        assert work <= max(1.0, least) * max(MOST_GROWTH, gained), (nr_gib, least, gained)


@pytest.mark.benchmark
@pytest.mark.parametrize(("consumer", "strategy"), REQUESTS)
def test_up_to_16_gib(consumer, strategy):
    require_linear((4, 16), consumer, strategy)


@pytest.mark.slow
@pytest.mark.parametrize(("consumer", "strategy"), REQUESTS)
def test_64_gib(consumer, strategy):
    require_linear((64,), consumer, strategy)
