"""The free lists: which frames are free, in which blocks, and for which kind of page.

    buddy        The buddy allocator: free frames in blocks of 2^order, grouped by mobility
    bulk         Batch helpers of the buddy allocator: checking, marking and grouping many frames at
                 once
    check        The buddy's invariants, recomputed from the state column the slow way round
    decompose    From "which frames are free" to "which buddy blocks are there"
    fallback     When the right free lists are empty: which other type to take from, and how much
    fragindex    How fragmented free memory is: pure functions of the free lists
    free_area    The free lists: an index over `frames.order`, without an object per free block
    merge        Free blocks into larger ones and into smaller ones: the mechanics between lists and
                 states
    page_source  What an owner may ask of mm
    pcp          Per-CPU lists of free pages: the allocator's batching, and what it hides
    rmqueue      Which free block serves a request: own lists, CMA, then other types

Kernel counterpart: struct free_area, __free_one_page, rmqueue and the per-CPU lists of
mm/page_alloc.c.
May be imported by: everybody above `mm.state`. Who asks with flags and watermarks wants
`mm.allocator`.
"""
