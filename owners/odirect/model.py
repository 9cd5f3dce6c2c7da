"""What kind of device a simulated one is, and what it has done.

Kernel counterpart: the module parameters of drivers/block/null_blk, and iostat.
"""

from attrs import define, frozen

from owners.arguments import instance, integer
from owners.gup.flags import Foll, wanted
from owners.odirect.events import Latency
from pinpage.errors import PinpageError

__all__ = ["DeviceCounters", "DeviceModel"]


@frozen
class DeviceModel:
    """What kind of device it is.

    Attributes:
        latency: how long a request takes.
        queue_depth: requests at the device at a time; more wait in a queue.
        wait_bound_ns: the most that policy WAIT waits, in simulated time.
        flags: how pages are pinned for a request: GET as in 6.1, or PIN as since v6.5.

    Raises:
        PinpageError: a queue depth below one, a bound in the past, or flags that are no pin.
    """

    latency: Latency
    queue_depth: int = 32
    wait_bound_ns: int = 1_000_000
    flags: Foll = Foll.GET

    def __attrs_post_init__(self) -> None:
        """Refuse a device that could never do anything."""
        wanted(instance("odirect", "flags", self.flags, Foll))
        if integer("odirect", "queue_depth", self.queue_depth) < 1:
            raise PinpageError(f"odirect: queue_depth={self.queue_depth}: must be at least 1")
        integer("odirect", "wait_bound_ns", self.wait_bound_ns, least=0)


@define
class DeviceCounters:
    """What a device did, since it was made."""

    nr_requests: int = 0
    nr_completed: int = 0
    nr_pins: int = 0
    """Pages pinned for single requests."""
    nr_cancelled: int = 0
    nr_restarted: int = 0
    """Transfers that found a page away (RESTART)."""
    nr_refused: int = 0
    """Times that it said Again."""
    nr_waited: int = 0
    wait_ns: int = 0
    """Simulated time that movers spent waiting for it."""
