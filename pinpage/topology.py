"""Which frame belongs to which NUMA node.

The registry needs no more of the hardware than this: a shard and its lock belong to
the node where the frame lives.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from pinpage.errors import PfnError, PinpageError, at_least
from pinpage.units import PAGEBLOCK_NR_PAGES, Pfns, Span

__all__ = ["Topology"]


def _contiguous(spans: Iterable[Span]) -> tuple[Span, ...]:
    return tuple(spans)


@frozen
class Topology:
    """Frames 0..nr_frames-1, cut into one contiguous span per node.

    Attributes:
        spans: node i owns `spans[i]`; the spans follow each other without gaps from pfn 0,
            and inner borders lie on pageblocks, for a pageblock has one node.
    """

    spans: tuple[Span, ...] = field(converter=_contiguous)
    _starts: NDArray[np.int64] = field(init=False, repr=False, eq=False)

    @spans.validator
    def _check_spans(self, attribute: object, spans: tuple[Span, ...]) -> None:
        if not spans or spans[0].start != 0:
            raise PinpageError("topology: spans must start at pfn 0")
        for before, after in pairwise(spans):
            if before.stop != after.start or after.start % PAGEBLOCK_NR_PAGES:
                raise PinpageError(
                    f"topology: node border at pfn {after.start:#x} must follow the node before it "
                    f"and lie on a pageblock ({PAGEBLOCK_NR_PAGES} pages)"
                )

    @_starts.default
    def _default_starts(self) -> NDArray[np.int64]:
        return np.array([span.start for span in self.spans], dtype=np.int64)

    @classmethod
    def uniform(cls, *, nr_frames: int, nr_nodes: int = 1) -> Self:
        """`nr_nodes` nodes of equal size; the last one takes what does not divide.

        Args:
            nr_frames: of all nodes together.
            nr_nodes: how many nodes.

        Raises:
            PinpageError: fewer than one frame or node, or less than a pageblock per node.

        >>> Topology.uniform(nr_frames=4096, nr_nodes=2).node_of(2048)
        1
        """
        at_least(1, "topology", nr_frames=nr_frames, nr_nodes=nr_nodes)
        step = nr_frames // nr_nodes // PAGEBLOCK_NR_PAGES * PAGEBLOCK_NR_PAGES
        if nr_nodes > 1 and step == 0:
            raise PinpageError(
                f"topology: {nr_frames} frames: less than a pageblock for each of {nr_nodes} nodes"
            )
        borders = [node * step for node in range(nr_nodes)] + [nr_frames]
        return cls(Span(a, b) for a, b in pairwise(borders))

    @property
    def nr_nodes(self) -> int:
        """NUMA nodes."""
        return len(self.spans)

    @property
    def nr_frames(self) -> int:
        """Frames over all nodes; valid pfns are 0..nr_frames-1."""
        return self.spans[-1].stop

    def node_of(self, pfn: int) -> int:
        """The node where `pfn` lives.

        Raises:
            PfnError: the topology has no such frame.
        """
        if not 0 <= pfn < self.nr_frames:
            raise PfnError(f"pfn {pfn:#x} is outside the topology (0..{self.nr_frames - 1:#x})")
        return int(np.searchsorted(self._starts, pfn, side="right")) - 1

    def nodes_of(self, pfns: Pfns) -> NDArray[np.int64]:
        """The node of each pfn, shape (n,); the batch form of `node_of`.

        Raises:
            PfnError: one of them is outside; names the first.
        """
        outside = (pfns < 0) | (pfns >= self.nr_frames)
        if outside.any():
            first = int(pfns[outside.argmax()])
            raise PfnError(f"pfn {first:#x} is outside the topology (0..{self.nr_frames - 1:#x})")
        return np.searchsorted(self._starts, pfns, side="right") - 1
