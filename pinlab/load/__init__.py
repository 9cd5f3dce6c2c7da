"""Many actors on one machine, in simulated time.

    growth     What keeping unmovable pages together buys on a machine that grows old: pageblocks
               tainted
    io         Devices as load: direct I/O to a disk, and a network ring whose buffers stay pinned
    kernel     Pages that no page table maps, as load: a balloon, completion rings, huge pages
    mixed      The mixed load: every owner at once on one machine, compacted all the while
    own        An owner of one's own in the mixed load, between everybody else's pages
    processes  Processes as load: more memory touched than there is, families that fork, locked
               memory
    run        Many actors on one machine: an event loop in simulated time, and the final account
    slab       Slab objects as load: names in a dentry cache, numbers in radix trees
    stores     Stores of compressed pages as load: a zram disk, a pool of objects, the page cache
               and zcache
    workload   What loads a machine: actors that do one thing, say what it was, and rest

May be imported by: scripts and tests.
"""
