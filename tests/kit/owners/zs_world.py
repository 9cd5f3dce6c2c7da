"""A small machine with a zsmalloc pool on it, and moves that stop at every step."""

import numpy as np

from owners.zsmalloc.pool import ZsPool
from tests.kit.owners.pool_world import PoolWorld

__all__ = ["ZsWorld"]


class ZsWorld(PoolWorld):
    """Of zsmalloc."""

    def __init__(self, nr_blocks=4, **kwargs):
        super().__init__(ZsPool, nr_blocks, **kwargs)

    move, steps = PoolWorld.move_pages, PoolWorld.steps_of

    def zspage_of(self, handle):
        return self.pool.handles.decode(handle)[0]

    def pfns_of(self, *handles):
        """Frames of the zspages of these objects, in order."""
        zspages = dict.fromkeys(self.zspage_of(handle) for handle in handles)
        pages = [self.pool.zspages.pfns(zspage) for zspage in zspages]
        return np.array([pfn for each in pages for pfn in each], dtype=np.int64)
