"""A zram device as swap: page for page, slot n of the area is page n of the disk.

It stands where frontswap stands, because that is where swap asks and takes no for an answer:
a page that zram cannot hold goes to the area's own disk, as it goes to the next swap
device of the list in the kernel, and comes back from there.
"""

from mm.state.errno import Errno
from owners.zram.zram import Zram
from pinpage.errors import PinpageError

__all__ = ["ZramSwap"]


class ZramSwap:
    """Implements `mm.swap.swapops.FrontSwap` for one area.

    Attributes:
        zram: the device.
        swap_type: of the area that it serves.
    """

    def __init__(self, zram: Zram, swap_type: int) -> None:
        """Serve one area; give it to `SwapArea` as its frontswap.

        Args:
            zram: the device.
            swap_type: of the one area that it is.
        """
        self.zram = zram
        self.swap_type = swap_type

    def store(self, swap_type: int, offset: int, page: bytes) -> bool:
        """Keep a page; False when it does not fit.  Called in reclaim, so never reclaims.

        Args:
            swap_type: of the area.
            offset: slot of the area, page of the disk.
            page: its 4096 bytes.

        Raises:
            PinpageError: another area's page.
        """
        self._require_type(swap_type)
        if not 0 <= offset < self.zram.nr_pages:
            return False
        return self.zram.write_page(offset, page, may_reclaim=False) is Errno.OK

    def load(self, swap_type: int, offset: int) -> bytes | None:
        """The page, or None if it is not here.

        Args:
            swap_type: of the area.
            offset: slot of the area, page of the disk.

        Raises:
            PinpageError: another area's page.
        """
        self._require_type(swap_type)
        return self.zram.read_page(offset) if self.zram.is_stored(offset) else None

    def invalidate_page(self, swap_type: int, offset: int) -> None:
        """The slot is free (swap_slot_free_notify).

        Args:
            swap_type: of the area.
            offset: slot of the area, page of the disk.
        """
        self._require_type(swap_type)
        if 0 <= offset < self.zram.nr_pages:
            self.zram.discard(offset)

    def invalidate_area(self, swap_type: int) -> None:
        """The area is gone: forget everything."""
        self._require_type(swap_type)
        self.zram.reset()

    def _require_type(self, swap_type: int) -> None:
        if swap_type != self.swap_type:
            raise PinpageError(
                f"zram swap: serves area {self.swap_type}, not {swap_type}: one device per area"
            )
