"""zbud: at most two compressed objects to a page.

    handles  Handles: the opaque numbers by which a pool's user names one stored object
    layout   How two objects share one page: chunks, and nothing but arithmetic
    lists    The lists of a zbud pool: who gets the next object, who is reclaimed next
    objects  Where the objects of a zbud pool lie: alloc, free, map, and the references behind them
    owner    The zbud pool as an owner of pages: one pin per page, and what it answers when asked
    pages    The pages of a zbud pool, as columns: what the kernel keeps in the page's own header
    pool     zbud: at most two compressed objects per page, and a page that goes when both are gone
    reclaim  The 2013 series as a design: zbud pages are not moved, their contents are unused

Kernel counterpart: mm/zbud.c (v3.11).
May be imported by: zswap, zcache, `owners.zpool`, pinlab.
"""
