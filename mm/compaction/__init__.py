"""Compaction by scanners, for whole zones and until a block of some order is there.

    compact_control         What compaction is asked and what it answers: plain data, for every
                            caller
    compact_for_order       Compaction until a free block of some order is there: direct compaction
                            and kcompactd
    compaction              Compaction as the kernel does it: two scanners that walk towards each
                            other
    free_scanner            The free scanner: targets for compaction, from the top of a zone
                            downward
    free_scanner_for_order  The free scanner of an allocation's compaction: where to move things to
    kcompactd               The compaction daemon of a node: what allocations could not wait for,
                            and before anybody asks
    listed_heads            The free blocks of one order, by place in a search: what a look at a
                            free list finds
    migrate_scan            The migrate scanner of an allocation's compaction: which frames to move
                            next
    scan_hints              What compaction of a zone remembers from one call to the next
    suitable                Whether compaction can help, and how often it is left out after it has
                            failed

Kernel counterpart: mm/compaction.c.
May be imported by: the allocator, hotplug, planning, the machine and pinlab. The allocator calls
it, never the other way: it must not reach `mm.allocator`.
"""
