"""A move agrees with a model that decides about each frame alone, by a plain loop.

Six frames, three owners, scripts that refuse, raise and lie; frames shared by several
owners, mapped, referenced by strangers, or nobody's.
"""

import hypothesis.strategies as st
from hypothesis import given, settings

from pinpage.migrate import move_many
from pinpage.owner import Mode, Reason
from pinpage.registry import PinRegistry
from pinpage.testing.scripted import ScriptedOwner
from pinpage.testing.strategies import frame_layouts, refusals
from pinpage.testing.world import World, WorldTargets, column
from pinpage.topology import Topology

NR_PAGES, NR_FRAMES, NR_OWNERS = 4, 10, 3
ANSWERS = {"again": Reason.OWNER_AGAIN, "busy": Reason.OWNER_BUSY}


def build(world, registry, layout, said):
    """The owners, and the pages that the layout asks for."""
    owners = [
        ScriptedOwner(
            f"o{n}", world, registry, isolate=[lambda pin, n=n: said.get((pin.private, n))]
        )
        for n in range(NR_OWNERS)
    ]
    for page, frame in enumerate(layout):
        pfn = world.alloc_page(contents=100 + page)
        for n in frame["pinners"]:
            owners[n].share(page, pfn)
        if frame["is_mapped"]:
            world.map_page(pfn)
        if not frame["has_stranger"] and (frame["pinners"] or frame["is_mapped"]):
            world.put_page(pfn)
    return owners


def expected(page, frame, said, has_target):
    """What becomes of one frame, decided as one would by hand."""
    if not frame["pinners"] and not frame["is_mapped"]:
        return Reason.NO_OWNER
    for place, n in enumerate(frame["pinners"]):
        if (page, n) in said:
            return Reason.PARTNER_REFUSED if place else ANSWERS[said[page, n]]
    if not has_target:
        return Reason.NO_TARGET
    return Reason.UNACCOUNTED if frame["has_stranger"] else Reason.MOVED


@settings(max_examples=150, deadline=None)
@given(
    layout=frame_layouts(NR_PAGES, NR_OWNERS),
    said=refusals(NR_PAGES, NR_OWNERS),
    nr_targets=st.integers(0, NR_PAGES),
)
def test_a_batch_ends_as_each_frame_would_alone(layout, said, nr_targets):
    world, registry = World(NR_FRAMES), PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
    owners = build(world, registry, layout, said)
    sources = column(*range(len(layout)))
    report = move_many(registry, world, sources, WorldTargets(world, nr_targets), Mode.SYNC)

    left, model = nr_targets, []
    for page, frame in enumerate(layout):
        reason = expected(page, frame, said, has_target=left > 0)
        left -= reason in {Reason.MOVED, Reason.UNACCOUNTED}
        model.append(reason)
    assert [Reason(int(reason)) for reason in report.reasons] == model

    world.check()
    registry.check()
    assert not world.taken
    assert len(world.free_pfns()) == NR_FRAMES - len(layout)
    for page, frame in enumerate(layout):
        target = int(report.targets[page])
        assert (target >= 0) == (model[page] is Reason.MOVED)
        where = target if target >= 0 else page
        assert world.read(where) == 100 + page
        assert world.home[where] == frame["is_mapped"]
        assert [pin.owner for pin in registry.pins(where)] == [owners[n] for n in frame["pinners"]]
        assert all(owners[n].place[page] == where for n in frame["pinners"])
    assert not any(owner.quiet for owner in owners)
