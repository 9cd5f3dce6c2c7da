"""Which node a frame is on, and which topologies there can be."""

import numpy as np
import pytest

from pinpage import PfnError, PinpageError, Span, Topology


@pytest.mark.parametrize(("nr_frames", "nr_nodes"), [(512, 1), (1536, 2), (4096, 3), (700, 1)])
def test_every_frame_has_the_node_whose_span_holds_it(nr_frames, nr_nodes):
    topology = Topology.uniform(nr_frames=nr_frames, nr_nodes=nr_nodes)
    wanted = [
        next(n for n, span in enumerate(topology.spans) if pfn in span) for pfn in range(nr_frames)
    ]
    assert [topology.node_of(pfn) for pfn in range(nr_frames)] == wanted
    assert topology.nodes_of(np.arange(nr_frames)).tolist() == wanted


@pytest.mark.parametrize("pfn", [-1, 1024])
def test_a_pfn_outside_is_named(pfn):
    topology = Topology.uniform(nr_frames=1024)
    with pytest.raises(PfnError, match=f"{pfn:#x} is outside the topology .0..0x3ff."):
        topology.node_of(pfn)
    with pytest.raises(PfnError, match=f"{pfn:#x} is outside the topology .0..0x3ff."):
        topology.nodes_of(np.array([3, pfn, 5]))


@pytest.mark.parametrize(
    "spans",
    [[], [Span(512, 1024)], [Span(0, 512), Span(1024, 2048)], [Span(0, 500), Span(500, 1024)]],
    ids=["none", "not from zero", "a gap", "a border within a pageblock"],
)
def test_spans_follow_each_other_on_pageblocks(spans):
    with pytest.raises(PinpageError, match="topology"):
        Topology(spans)


@pytest.mark.parametrize(("nr_frames", "nr_nodes"), [(0, 1), (10, 0), (1000, 2)])
def test_nodes_need_frames(nr_frames, nr_nodes):
    with pytest.raises(PinpageError, match="topology"):
        Topology.uniform(nr_frames=nr_frames, nr_nodes=nr_nodes)
