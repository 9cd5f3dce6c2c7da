"""Contiguous ranges and CMA against what can be said beforehand, in worlds of a few pageblocks.

Which range is obtained follows from who is in it and how many free frames there are outside
of its pageblocks; the walk over an area follows from that, range by range.  Each world is a
picture, so the model is a few lines over strings.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from mm.state.pageblock import MigrateType
from tests.kit.mm.ranges import SIZE, Ranged

MOVES = "adx"
"""Signs of pages that need a destination (x: where its owner has a callback)."""

pictures = st.lists(
    st.text(alphabet="....ppaacdPQx#", min_size=SIZE, max_size=SIZE), min_size=2, max_size=6
)
calm = st.lists(
    st.text(alphabet="....paacdPx", min_size=SIZE, max_size=SIZE), min_size=2, max_size=4
)


def forecast(blocks, start, stop, *, movable, trusted=False):
    """What alloc_contig_range answers; None where it hangs on the order of moves."""
    text, first, last = "".join(blocks), start // SIZE * SIZE, -(-stop // SIZE) * SIZE
    stuck = "#" if movable else "#x"
    if not trusted and any(sign in stuck for sign in text[first:last]):
        return Errno.EBUSY
    inside, outside = text[start:stop], text[:first] + text[last:]
    nr_moves = sum(sign in MOVES for sign in inside)
    nr_free = sum(sign in ".p" for sign in outside)
    if nr_moves > nr_free:
        may_fail_before = any(sign in "PQx" for sign in inside)
        return None if may_fail_before or "c" in outside else Errno.ENOMEM  # cache is reclaimed
    return Errno.EBUSY if any(sign in "PQ" for sign in inside) else Errno.OK


@given(pictures, st.booleans(), st.data())
def test_a_range_is_obtained_exactly_if_everything_in_it_can_go(blocks, movable, data):
    start = data.draw(st.integers(0, len(blocks) * SIZE - 1))
    stop = data.draw(st.integers(start + 1, len(blocks) * SIZE))
    world = Ranged(*blocks, movable=movable)
    found = world.contig(start, stop)
    expected = forecast(blocks, start, stop, movable=movable)
    assert expected in (None, found.errno)
    assert (found.pfn >= 0) == (found.errno is Errno.OK)
    assert not (world.machine.pageblocks.migratetype == MigrateType.ISOLATE).any()
    if found.errno is Errno.OK:
        assert set("".join(world.picture())[start:stop]) == {"#"}
        assert world.machine.contig.free_contig_range(start, stop - start) == 0
        world.check()


@given(pictures, st.booleans())
def test_every_page_that_stays_is_counted_once_under_its_reason(blocks, movable):
    world = Ranged(*blocks, movable=movable)
    found = world.contig(0, SIZE)
    report = found.report
    counted = report.refusals.total
    assert counted == sum(report.refusals.by_reason().values())
    if found.errno is Errno.OK:
        assert counted == 0
    elif report.nr_tries == 0:
        assert counted == 1, "the one that isolation stumbled upon"
    else:
        assert 1 <= counted <= len(report.left)


@given(calm, st.integers(1, 16), st.integers(0, 4))
@settings(max_examples=60)
def test_skipped_ranges_would_have_failed(blocks, count, align_order):
    """The walk that leaves them out ends where the kernel's ends, whatever it moved on the way."""
    results = []
    for retry in (RetryPolicy(), RetryPolicy(between_tries=lambda: None)):
        world = Ranged(*blocks, "........", "........", movable=False)
        world.cma(0, len(blocks))
        found = world.machine.cma.request(count, align_order, retry=retry)
        world.check()
        results.append(found)
    short, full = results
    assert (short.pfn, short.errno) == (full.pfn, full.errno)
    if full.report.errno is not Errno.ENOMEM:
        assert short.nr_ranges + short.nr_skipped == full.nr_ranges
    assert full.nr_skipped == 0


def what_is_left(usable, start, count, align_order):
    """Ranges that the rest of an area holds: such as this one, then of 16, 8, 4, 2, 1 pages."""
    signs = "".join("y" if fits else " " for fits in usable)
    signs = signs[:start] + " " * count + signs[start + count :]
    step, at, same = 1 << align_order, 0, 0
    while at + count <= len(signs):
        fits = signs[at : at + count] == "y" * count
        same += fits
        at += -(-count // step) * step if fits else step
    runs = [len(run) for run in signs.split()]
    return (same, *(sum(run >> size for run in runs) for size in (5, 4, 3, 2, 1, 0)))


@given(calm, st.integers(1, 16), st.integers(0, 4), st.booleans())
@settings(max_examples=60)
def test_the_plan_finds_the_cheapest_range_that_keeps_most_whole(
    blocks, count, align_order, movable
):
    spare = ("........", "....#...", "........")
    world = Ranged(*blocks, *spare, movable=movable)
    world.cma(0, len(blocks))
    text = "".join((*blocks, *spare))
    stuck = "P#" if movable else "P#x"
    costs = [
        sum(sign in "acdx" for sign in text[start : start + count])
        for start in range(0, len(blocks) * SIZE - count + 1, 1 << align_order)
        if not any(sign in stuck for sign in text[start : start + count])
    ]
    before = world.picture()
    found = world.machine.cma.request(count, align_order, strategy="plan")
    world.check()
    assert (found.pfn >= 0) == bool(costs)
    if costs:
        starts = [
            start
            for start in range(0, len(blocks) * SIZE - count + 1, 1 << align_order)
            if not any(sign in stuck for sign in text[start : start + count])
        ]
        usable = [sign not in stuck for sign in text[: len(blocks) * SIZE]]
        kept = [what_is_left(usable, start, count, align_order) for start in starts]
        fits = [cost for cost, left in zip(costs, kept, strict=True) if left == max(kept)]
        assert found.report.pages_moved + found.report.pages_dropped == min(fits)
    else:
        drained = [block.replace("p", ".") for block in before]
        assert world.picture() == drained, "a refusal moves nothing"
        assert found.span is None or len(found.report.left)


@given(calm, st.integers(1, 16))
@settings(max_examples=40)
def test_one_owner_more_with_a_callback_never_gets_less_by_plan(blocks, count):
    """Monotonicity: what is obtained without the callback is obtained with it."""
    obtained = []
    for movable in (False, True):
        world = Ranged(*blocks, "........", "........", movable=movable)
        world.cma(0, len(blocks))
        nr_pages = 0
        while (found := world.machine.cma.request(count, strategy="plan")).pfn >= 0:
            nr_pages += count
        assert found.errno is Errno.ENOMEM
        obtained.append(nr_pages)
    assert obtained[0] <= obtained[1]
