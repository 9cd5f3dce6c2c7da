"""What memory is, as columns and values that check themselves; nothing here decides.

    address_space  One process's page table, or one file's page cache, as a column of PTEs
    contents       What the frames hold: real bytes, or one 64-bit tag each where memory is too
                   large for bytes
    costs          What things cost in simulated time: one model, one clock, integers only
    due            What is going to happen, in the order of its times; whose clock it is says when
    errno          Errors as values: the codes that mm functions answer with, negative as in the
                   kernel
    folios         Large pages of the page tables and the page cache: which frames make up one page
    frames         Every frame of the machine, as columns
    gfp            What an allocation asks for: gfp flags, and what they imply
    lru            Pages in the order of their last addition: what reclaim takes first
    nodes          Nodes and zones: spans and numbers, never pages
    page_ref       References of frames: the one place where a count is taken, dropped and frozen
    pageblock      Pageblocks: which kind of page each 2 MiB of memory is meant for
    reasons        Why frames did not move, counted by reason and by holder
    rmap           Which page tables map which frame, both ways

Kernel counterpart: include/linux/mm_types.h, mmzone.h and gfp.h, page tables and mm/rmap.c,
struct lruvec.
May be imported by: everybody; it imports pinpage alone.
"""
