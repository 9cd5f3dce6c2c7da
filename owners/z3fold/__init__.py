"""z3fold: up to three compressed objects to a page.

    layout   How three objects share one page: chunks, and nothing but arithmetic
    lists    The lists of a z3fold pool: who gets the next object, who is reclaimed next
    objects  Where the objects of a z3fold pool lie: alloc, free, map, read, write, and tidying up
    owner    The z3fold pool as an owner of pages: one pin per page, and what it answers when asked
    pages    The pages of a z3fold pool, as columns: what the kernel keeps in the page's own header
    pool     z3fold: up to three compressed objects per page, and pages of one object that fills
             them
    slots    Handles of a z3fold pool: a number for the user, and the object it stands for now

Kernel counterpart: mm/z3fold.c (v6.1).
May be imported by: `owners.zpool`, pinlab.
"""
