"""A small machine with a z3fold pool on it, and moves that stop at every step."""

import numpy as np

from owners.z3fold.pool import Z3foldPool
from pinpage.owner import Mode
from tests.kit.owners.pool_world import PoolWorld

__all__ = ["Z3World"]


class Z3World(PoolWorld):
    """Of z3fold."""

    def __init__(self, nr_blocks=4, **kwargs):
        super().__init__(Z3foldPool, nr_blocks, **kwargs)

    def place(self, handle):
        """Page id, slot and byte offset of an object."""
        page_id, buddy = self.pool.handles.decode(handle)
        return page_id, buddy, int(self.pool.extents_of(np.array([handle])).head[0]) % 4096

    def pfn(self, handle):
        return int(self.pool.pages.pfn[self.place(handle)[0]])

    def move(self, *pfns, mode=Mode.SYNC):
        """Move frames at once; one `Reason` each."""
        return self.move_pages(pfns, mode)

    def steps(self, *pfns, mode=Mode.SYNC):
        """The same move, step by step."""
        return self.steps_of(pfns, mode)
