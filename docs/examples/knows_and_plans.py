"""What two scanners spend, a planner keeps: it knows which blocks can never be emptied.

Three pageblocks of eight frames.  f is free, m is a page that can move, S is a slab page.

Shows:  a census, a plan, and the reason for every block that the plan gives up.
Expect: nothing is moved out of block 0, which slab keeps anyway; its free frames take what
        block 2 holds, and block 2 ends up wholly free after two moves.
"""

import numpy as np

from mm.planning.blocks import plan
from mm.planning.census import Census

MEMORY = "mSfmffmf" "mmmmmfmm" "ffmffmff"  # fmt: skip
column = np.array(list(MEMORY))

census = Census(
    free=column == "f",
    movable=column == "m",
    nr_pages_per_block=8,
    owner_names=("slab",),
    owner=np.zeros(len(column), dtype=np.uint8),
)
found = plan(census)

print("wholly free in the end:", found.nr_wholly_free, "of at most", found.bound)
for source, target in zip(found.sources.tolist(), found.targets.tolist(), strict=True):
    print(f"move {source} (block {source // 8}) to {target} (block {target // 8})")
for block in range(census.nr_blocks):
    print(f"block {block}: {found.outcome_of(block).name}", found.in_the_way(block) or "")
