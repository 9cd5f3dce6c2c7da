"""Which pageblocks or ranges to empty, by the fewest moves, and compaction by such a plan.

    blocks      From what is known about memory to the fewest moves that empty the most pageblocks
    census      What a planner has to know about memory, and nothing else: masks over a span
    execute     Compaction by plan: use what is known about every block, then move
    fill        Where the frames go that a plan moves, and what moving them costs
    frontier    How many pageblocks a zone can empty, and the fewest moves for each number of them
    range_plan  What the planner says about ranges: which to empty, by which moves, and why not the
                others
    ranges      Which range to empty: contiguous allocation, hot-remove and 1 GiB pages, by plan

Kernel counterpart: none: a kernel cannot know who would let go.
May be imported by: contig, hotplug, hugetlb, power, the machine and pinlab.
"""
