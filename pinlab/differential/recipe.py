"""How to build the same small memory again, under whatever design.

Kernel counterpart: none.
"""

import random
from typing import Self

from attrs import frozen

from pinpage.errors import at_least

__all__ = ["Recipe"]


@frozen
class Recipe:
    """What there is in a world; pageblocks have eight frames.

    Attributes:
        seed: of who has which page, and of all bytes.
        nr_blocks: size of the machine in pageblocks.
        nr_pages: of the process.
        nr_kernel: kernel pages between them, all of owner "slab".
        drop: share of the process's pages that it gives back, which leaves holes.
        nr_shared: pages that owners "driver" and "partner" hold together.
        nr_pinned: pages of the process that owner "gup" holds as well.
        nr_strangers: kernel pages that nobody has registered.
        nr_cma_blocks: pageblocks at the start of memory that are CMA's.
    """

    seed: int
    nr_blocks: int
    nr_pages: int
    nr_kernel: int
    drop: float
    nr_shared: int = 0
    nr_pinned: int = 0
    nr_strangers: int = 0
    nr_cma_blocks: int = 0

    @classmethod
    def drawn(cls, seed: int) -> Self:
        """The recipe of a seed: 6 to 14 pageblocks, crowded or not.

        Raises:
            PinpageError: a seed below 0.
        """
        at_least(0, "recipe", seed=seed)
        rng = random.Random(seed)
        nr_blocks = rng.randint(6, 14)
        return cls(
            seed=seed,
            nr_blocks=nr_blocks,
            nr_pages=rng.randint(4 * nr_blocks, 12 * nr_blocks),
            nr_kernel=rng.randint(0, nr_blocks),
            drop=rng.choice((0.3, 0.6, 0.8)),
            nr_shared=rng.randint(0, 3),
            nr_pinned=rng.randint(0, 3),
            nr_strangers=rng.choice((0, 0, 1, 2)),
            nr_cma_blocks=rng.choice((0, 2, nr_blocks // 2)),
        )
