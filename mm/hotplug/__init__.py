"""Memory that goes and comes back, block by block.

    forget          Nothing about a frame that is gone survives: who could still know it is looked
                    through here
    host            What memory hotplug needs of a machine: everything that may know a frame, and
                    must not
    memory_block    Memory in the units in which it comes and goes: blocks of 128 MiB, and where RAM
                    is at all
    memory_hotplug  Memory that goes and comes back: taking memory blocks offline, and online again
    needs           What taking memory blocks offline needs and what there is: columns by block and
                    by zone
    notify          Who is told before memory goes or comes, and may say no
    offline_loop    The loop of offlining: empty the block, look, and begin again until it is empty
                    or enough
    together        Which memory blocks go, alone and together: for certain, and at most
    verdict         May this memory go?  The answer before anything is moved, and who is in the way
    zones           Pageblocks that join a zone or leave it, and everything that is worked out from
                    a zone's size

Kernel counterpart: mm/memory_hotplug.c, drivers/base/memory.c.
May be imported by: the machine and pinlab.
"""
