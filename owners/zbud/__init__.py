"""zbud: at most two compressed objects to a page.

    layout   How two objects share one page: chunks, and nothing but arithmetic
    pages    The pages of a zbud pool, as columns
    handles  Two forms of handle: the object's address, or generation, page and slot
    owner    What zbud adds as an owner of pages: its objects can be unused
    pool     The pool: alloc, free, reclaim, adoption
    reclaim  The 2013 series as a design: zbud pages are not moved, their contents are unused
    migrate  The later series of 2013 as a design: zbud pages are moved, and nobody notices

Kernel counterpart: mm/zbud.c (v3.11).
May be imported by: zswap, zcache, `owners.zpool`, pinlab.
"""
