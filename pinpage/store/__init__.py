"""Where the registry keeps its pins, node by node.

    accounts     A registry's books: what it counted, and whether its parts agree
    batch        Pins of one thread that have not reached their node yet
    blocks       The first pin of each frame, in two forms: a block has few pins, or many
    forks        What a child of fork() has to set right: locks that other threads held, and what
                 they began
    keys         From (owner, privates) to what is stored: tags and values, one for all or in
                 columns
    marks        The mover's part of the registry: frames under move, and pins that change their
                 frame
    nodes        All nodes together: who holds which lock, in which order, and which node a frame is
                 on
    owner_table  Owners: their numbers, their faults, and their callbacks in flight
    privates     The side table for privates that are not plain 64-bit ints
    radix        Which frames of one NUMA node are pinned, and by how many pins
    reads        Reading the registry by ranges and by columns: for scanners, planners and movers
    rows         Pins as columns, and columns in parts
    shard        One NUMA node of the registry: its lock, its pins, the batches on their way to it
    sparse       Few pins to a pageblock: one hash table of (pfn -> tag, value) for a whole node
    standing     Two names for one frame: the time between an owner's migrate and the end of the
                 move
    statistics   What the registry counted, as one value
    writes       Pinning and unpinning many frames at once: all of them, or none

Kernel counterpart: none: there a page's holder is unknown.
May be imported by: `pinpage.registry`, its door; `statistics` and `keys` hold words that others
use too.
"""
