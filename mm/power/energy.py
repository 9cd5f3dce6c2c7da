"""What switched-off memory saves and what emptying it costs, in picojoules.

One mW for one ns is one pJ, so the account is in whole numbers, as the clock is.  Each
constant says where it comes from: off a data sheet, derived from one, or assumed.  Only
differences between runs should be read off the account.

Kernel counterpart: none.
"""

from typing import Any

import attrs
from attrs import define, field, frozen

from pinpage.errors import PinpageError

__all__ = ["EnergyAccount", "EnergyModel"]

_GIB_SHIFT = 30


def _whole_and_not_negative(_model: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if type(value) is not int or value < 0:
        raise PinpageError(f"energy model: {attribute.name}={value!r}: a whole number, 0 or more")


@frozen
class EnergyModel:
    """Power and energy of memory and of whoever moves pages.  Metadata holds each `source`.

    The data sheet is that of a registered 8 GiB DDR4-2133 module of one rank (x4, 1.2 V):
    currents of the whole module, IDD2N 1040 mA, IDD2P 500 mA, IDD3N 1210 mA, IDD4R 2240 mA.
    """

    on_mw_per_gib: int = field(
        default=156,
        validator=_whole_and_not_negative,
        metadata={"source": "data sheet: precharge standby, 1040 mA at 1.2 V over 8 GiB"},
    )
    off_mw_per_gib: int = field(
        default=75,
        validator=_whole_and_not_negative,
        metadata={"source": "data sheet: precharge power-down, 500 mA at 1.2 V over 8 GiB"},
    )
    dram_pj_per_byte: int = field(
        default=72,
        validator=_whole_and_not_negative,
        metadata={
            "source": "derived: burst read over active standby, 1030 mA at 1.2 V for 17.07 GB/s;"
            " a write is assumed to cost the same"
        },
    )
    core_mw: int = field(
        default=5_000,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: one core at work over one that idles"},
    )
    wake_ns: int = field(
        default=1_000,
        validator=_whole_and_not_negative,
        metadata={"source": "assumed: power-down exit takes some ns, the controller the rest"},
    )

    def saved_pj(self, nr_bytes: int, off_ns: int) -> int:
        """What `nr_bytes` of memory save while they are off for `off_ns`."""
        return (self.on_mw_per_gib - self.off_mw_per_gib) * nr_bytes * off_ns >> _GIB_SHIFT

    def moving_pj(self, nr_bytes: int, elapsed_ns: int) -> int:
        """What copying `nr_bytes` costs, on a core that is busy for `elapsed_ns` in all."""
        return 2 * nr_bytes * self.dram_pj_per_byte + self.core_mw * elapsed_ns

    def break_even_ns(self, nr_bytes: int, cost_pj: int) -> int:
        """How long `nr_bytes` have to stay off until `cost_pj` are won back, rounded up.

        Raises:
            PinpageError: off saves nothing under this model, so they never are.
        """
        power = (self.on_mw_per_gib - self.off_mw_per_gib) * nr_bytes
        if power <= 0:
            raise PinpageError("energy model: on_mw_per_gib must be above off_mw_per_gib")
        return -(-(cost_pj << _GIB_SHIFT) // power)


@define
class EnergyAccount:
    """What power management came to so far.

    Attributes:
        region_ns_off: simulated ns that regions were off, summed over regions.
        page_ns_off: the same, summed over pages.
        pages_moved: to empty regions, those that did not get empty in the end included.
        moving_ns: time that this took.
        saved_pj, spent_pj: what the memory did not draw; what moving cost.
    """

    region_ns_off: int = 0
    page_ns_off: int = 0
    pages_moved: int = 0
    moving_ns: int = 0
    saved_pj: int = 0
    spent_pj: int = 0

    @property
    def net_pj(self) -> int:
        """The gain; negative where moving cost more."""
        return self.saved_pj - self.spent_pj

    @property
    def region_seconds_off(self) -> float:
        """Region-seconds, as people count them."""
        return self.region_ns_off / 1e9
