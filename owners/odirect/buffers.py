"""Buffers that a device has pinned for long, so that single requests need no pin.

Kernel counterpart: io_uring's registered buffers, RDMA memory regions (ib_umem_get).
"""

from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from owners.arguments import instance, integer
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import PinIds, Pinner
from pinpage.errors import PinpageError

__all__ = ["Buffers"]


class Buffers:
    """The registered buffers of one device, each pinned with PIN, LONGTERM and WRITE."""

    def __init__(self, gup: Gup, pinner: Pinner) -> None:
        """None yet; `pinner` holds their pages.

        Args:
            gup: what pins.
            pinner: who holds the pins.
        """
        self._gup = gup
        self._pinner = pinner
        self._pins: dict[tuple[int, int], PinIds] = {}
        self._all: set[int] = set()

    def __len__(self) -> int:
        """Pages in all of them."""
        return len(self._all)

    def __contains__(self, pin_id: int) -> bool:
        """Whether a pin is one of theirs."""
        return pin_id in self._all

    def register(self, space: AddressSpace, vpn: int, nr_pages: int) -> int:
        """Pin a buffer; OK, or the errno of get_user_pages (then nothing is pinned).

        Args:
            space: whose pages.
            vpn: the first.
            nr_pages: how many.

        Raises:
            PinpageError: a buffer is registered at this address already.
        """
        key = self._key(space, vpn)
        if key in self._pins:
            raise PinpageError(f"{self._pinner.name}: a buffer is registered at vpn {vpn:#x}")
        flags = Foll.PIN | Foll.LONGTERM | Foll.WRITE
        got = self._gup.get_user_pages(space, vpn, nr_pages, self._pinner, flags)
        if got.error:
            self._gup.put_user_pages(self._pinner, got.pins)
            return got.error
        self._pins[key] = got.pins
        self._all.update(got.pins)
        return Errno.OK

    def at(self, space: AddressSpace, vpn: int) -> PinIds:
        """The pins of the buffer that begins at `vpn`.

        Args:
            space: whose pages.
            vpn: where the buffer was registered.

        Raises:
            PinpageError: none does.
        """
        pins = self._pins.get(self._key(space, vpn))
        if pins is None:
            raise PinpageError(f"{self._pinner.name}: no buffer is registered at vpn {vpn:#x}")
        return pins

    def unregister(self, space: AddressSpace, vpn: int) -> None:
        """Unregister a buffer; the device may have written to it.  Interrupted, call it again.

        Args:
            space: whose pages.
            vpn: where the buffer was registered.

        Raises:
            PinpageError: none begins there.
        """
        pins = self.at(space, vpn)
        left = [pin for pin in pins if pin in self._pinner]
        self._gup.put_user_pages(self._pinner, left, dirty=True)
        self._all.difference_update(pins)
        del self._pins[self._key(space, vpn)]

    def _key(self, space: AddressSpace, vpn: int) -> tuple[int, int]:
        instance(self._pinner.name, "space", space, AddressSpace)
        return space.mm_id, integer(self._pinner.name, "vpn", vpn)

    def find(self, space: AddressSpace, vpn: int, nr_pages: int) -> PinIds:
        """The pins of some pages within one buffer.

        Args:
            space: whose pages.
            vpn: the first.
            nr_pages: how many.

        Raises:
            PinpageError: no buffer has all of them.
        """
        for (mm_id, first), pins in self._pins.items():
            if mm_id == space.mm_id and first <= vpn and vpn + nr_pages <= first + len(pins):
                return pins[vpn - first : vpn - first + nr_pages]
        raise PinpageError(
            f"{self._pinner.name}: vpns {vpn:#x}..{vpn + nr_pages:#x} of {space.name!r} "
            "are in no registered buffer: register it first"
        )
