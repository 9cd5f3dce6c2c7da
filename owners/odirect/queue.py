"""Requests of a simulated disk, and where they are while they are not at the device.

Kernel counterpart: struct request and the dispatch list of block/blk-mq.c.
"""

from collections import deque

import numpy as np
from attrs import define, field

from mm.state.address_space import AddressSpace
from mm.state.contents import Contents, TagContents
from owners.gup.pin_references import PinIds
from owners.odirect.device import Op

__all__ = ["SimulatedRequest", "WaitingRequests"]


@define(eq=False)
class SimulatedRequest:
    """One request on its way.

    Attributes:
        request_id, op, space, vpn, block: as submitted.
        pins: of its pages.
        is_registered: they are a buffer's, not its own.
        submitted_ns: when, in simulated time.
        frames: the descriptor: set exactly while the device works on it.
        event: the end of that, if it is planned.
        nr_held: pages of it that a move holds still.
        started_ns: when the device (last) began to work on it.
        has_ended: the data are where they belong; what is left is to unpin and to tell.
    """

    request_id: int
    op: Op
    space: AddressSpace
    vpn: int
    block: int
    pins: PinIds
    is_registered: bool
    submitted_ns: int
    frames: list[int] | None = None
    event: int = -1
    nr_held: int = 0
    started_ns: int = 0
    has_ended: bool = False

    def transfer(self, disk: Contents, memory: Contents, frames: list[int]) -> None:
        """The data, between the blocks of the disk and these frames.

        Args:
            disk: contents of the blocks.
            memory: contents of the frames.
            frames: the descriptor, a frame to a page.
        """
        pfns = np.array(frames, dtype=np.int64)
        blocks = np.arange(self.block, self.block + len(frames))
        into, at, out_of, where = (
            (memory, pfns, disk, blocks) if self.op is Op.READ else (disk, blocks, memory, pfns)
        )
        if isinstance(disk, TagContents):
            into.set_tags(at, out_of.tags(where))
        else:
            into.write_many(at, out_of.read_many(where))


@define
class WaitingRequests:
    """Requests that are not at the device.

    Attributes:
        queued: they wait for their turn.
        faulted: they found a page away, and begin again when it is back.
    """

    queued: deque[SimulatedRequest] = field(factory=deque)
    faulted: list[SimulatedRequest] = field(factory=list)

    def __contains__(self, request: SimulatedRequest) -> bool:
        """Whether a request is one of them."""
        return request in self.queued or request in self.faulted
