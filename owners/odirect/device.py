"""Direct I/O: a device reads and writes pages of a process while the process goes on.

One interface, two devices: `owners.odirect.simulated` simulates one on the machine's clock,
`owners.odirect.real` is a file opened O_DIRECT with threads.  What happens when a page is
to move while a request is in flight on it is the policy's business:

=========  =============================================  ===============================
policy     when asked during I/O                          the price
=========  =============================================  ===============================
REFUSE     Again                                          the move fails, or comes again
WAIT       waits for the end, up to a bound (mode SYNC)   the mover stalls
CANCEL     takes the request back, submits it again       the request takes longer
RESTART    the device translates at the last moment, and  a pin for as long as the buffer
           a transfer that finds no page starts again     is registered (RDMA with ODP)
=========  =============================================  ===============================

Kernel counterpart: fs/direct-io.c and block/bio.c for the pins, io_uring's registered
buffers, drivers/infiniband/core/umem_odp.c for the last row.  No kernel asks any of them.
"""

import enum
from typing import Protocol

from attrs import frozen

from mm.state.address_space import AddressSpace
from owners.arguments import instance, integer
from pinpage.errors import PinpageError
from pinpage.registry import PinRegistry
from pinpage.store.statistics import Statistics

__all__ = [
    "Completion", "DirectDevice", "Op", "Policy", "RegistrationCost", "check_request", "cost_since",
]  # fmt: skip


class Op(enum.Enum):
    """Which way the data go."""

    READ = "read"
    """From the device into memory."""
    WRITE = "write"
    """From memory to the device."""


class Policy(enum.Enum):
    """What a device does when a page with I/O in flight is to move."""

    REFUSE = "refuse"
    WAIT = "wait"
    CANCEL = "cancel"
    RESTART = "restart"


@frozen
class Completion:
    """A request that has ended.

    Attributes:
        request: its id.
        op, vpn, nr_pages, block: as submitted.
        error: 0, or a negative errno of the host.
        latency_ns: from submission to the end; simulated or real time.
        service_ns: the part of it since the device (last) began to work on it.
    """

    request: int
    op: Op
    vpn: int
    nr_pages: int
    block: int
    error: int
    latency_ns: int
    service_ns: int


class DirectDevice(Protocol):
    """A block device with blocks of a page, and direct I/O to it."""

    @property
    def name(self) -> str:
        """For people and for counters."""

    @property
    def policy(self) -> Policy:
        """What it does when asked."""

    @property
    def nr_blocks(self) -> int:
        """Its size in pages."""

    @property
    def nr_in_flight(self) -> int:
        """Requests submitted and not ended."""

    def register(self, space: AddressSpace, vpn: int, nr_pages: int) -> int:
        """Pin a buffer for long; OK or an errno.

        Args:
            space: whose pages.
            vpn: the first.
            nr_pages: how many.
        """

    def unregister(self, space: AddressSpace, vpn: int) -> None:
        """Unregister a buffer that was registered at `vpn`.

        Args:
            space: whose pages.
            vpn: where the buffer was registered.
        """

    def submit(self, op: Op, space: AddressSpace, vpn: int, nr_pages: int, block: int) -> int:
        """Begin a request; its id, or an errno.

        Args:
            op: which way the data go.
            space: whose pages.
            vpn: the first.
            nr_pages: how many.
            block: first block of the disk, one to a page.
        """

    def reap(self) -> list[Completion]:
        """Requests that have ended since the last call, in the order in which they did."""

    def drain(self) -> None:
        """Wait until nothing is in flight."""


def check_request(
    device: DirectDevice, op: Op, space: AddressSpace, vpn: int, nr_pages: int, block: int
) -> tuple[int, int, int]:
    """Refuse a request that is none, or goes beyond the device.

    Args:
        device: whose request it is.
        op, space, vpn, nr_pages, block: as given to `DirectDevice.submit`.

    Returns:
        The last three, as ints.

    Raises:
        PinpageError: it names no direction or no process, blocks that are not there, or no
            page at all.
    """
    who = f"odirect {device.name!r}"
    instance(who, "op", op, Op)
    instance(who, "space", space, AddressSpace)
    vpn = integer(who, "vpn", vpn)
    nr_pages, block = integer(who, "nr_pages", nr_pages), integer(who, "block", block)
    if nr_pages < 1 or block < 0 or block + nr_pages > device.nr_blocks:
        raise PinpageError(
            f"{who}: blocks {block}..{block + nr_pages} are not within 0..{device.nr_blocks}"
        )
    return vpn, nr_pages, block


@frozen
class RegistrationCost:
    """What registering pins has cost the registry between two moments.

    Attributes:
        nr_pins: pins taken.
        nr_annihilated: pins taken and dropped without ever leaving their batch: no lock at all.
        nr_locks: node locks taken, for whatever reason.
        nr_drains: batches emptied.
        nr_drained: pins that came out of them.
    """

    nr_pins: int
    nr_annihilated: int
    nr_locks: int
    nr_drains: int
    nr_drained: int

    @property
    def lock_free_share(self) -> float:
        """Of the pins, those that never took a node lock."""
        return self.nr_annihilated / max(self.nr_pins, 1)

    @property
    def locks_per_pin(self) -> float:
        """Node locks per pin, drains and removals included."""
        return self.nr_locks / max(self.nr_pins, 1)


def cost_since(registry: PinRegistry, before: Statistics, nr_pins: int) -> RegistrationCost:
    """What `nr_pins` pins have cost since `before` was taken.

    Args:
        registry: whose counters.
        before: those counters at the start.
        nr_pins: pins taken since.
    """
    now = registry.statistics()
    return RegistrationCost(
        nr_pins=nr_pins,
        nr_annihilated=now.nr_annihilated - before.nr_annihilated,
        nr_locks=now.lock_acquisitions - before.lock_acquisitions,
        nr_drains=now.nr_drains - before.nr_drains,
        nr_drained=now.nr_drained - before.nr_drained,
    )
