"""What a request looks at grows with memory, not with memory times what is asked of it."""

import pytest

from pinlab.described import describe_machine
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, prepare

SIZES_MIB = (64, 128, 256)
MOST_GROWTH = 1.25
"""Of the work per frame, when memory doubles: it would double were the work quadratic."""


def work_of(machine):
    """List entries, pageblocks and frames looked at in search of something."""
    searches = sum(machine.compaction.hints(zone).lists.nr_seen for zone in machine.zones)
    return {"searches": searches, "reclaim": machine.reclaimer.clean.nr_looked_at}


@pytest.mark.parametrize("filled", ["anon=60%,file=10%", "anon=20%,file=55%,slab=2%"])
def test_huge_pages_by_scan(filled):
    per_frame = []
    for size in SIZES_MIB:
        options = RequestOptions(design="registry", strategy="scan")
        memory = describe_machine(f"scenario:{size}MiB,{filled}", seed=1)
        subject = prepare(memory, options, contents="none")
        assert SERVERS["huge2m"](subject, options).obtained > size // 8
        nr_frames = subject.machine.frames.nr_frames
        per_frame.append({k: v / nr_frames for k, v in work_of(subject.machine).items()})
    for less, more in zip(per_frame, per_frame[1:], strict=False):
        for what, work in less.items():
            assert more[what] <= MOST_GROWTH * work, (what, per_frame)
