"""Where the registry keeps its pins, node by node.

    at_once      One pin, or one unpin, as a single step that needs no lock
    blocks       The first pin of each frame, in two forms: a block has few pins, or many
    marks        The mover's part of the registry: frames under move, and pins that change their
                 frame
    nodes        All nodes together: who holds which lock, in which order, and which node a frame is
                 on
    owner_table  Owners: their numbers, their faults, and their callbacks in flight
    privates     Privates as they are stored, and the side table for those that are objects
    radix        Which frames of one NUMA node are pinned, and by how many pins
    reads        Reading the registry by ranges and by columns: for scanners, planners and movers
    rows         Pfns and pins as columns, and columns in parts
    shard        One NUMA node of the registry: its lock, its pins, the batch of pins on their way
    sparse       Few pins to a pageblock: one hash table of (pfn -> tag, value) for a whole node
    statistics   What a registry counted, and whether its parts agree
    threads      The threads that use a registry, and what a child of fork() has to set right
    writes       Pinning and unpinning many frames at once: all of them, or none

Kernel counterpart: none: there a page's holder is unknown.
May be imported by: `pinpage.registry`, its door; `statistics` and `rows` hold words
that others use too.
"""
