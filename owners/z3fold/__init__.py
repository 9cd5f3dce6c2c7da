"""z3fold: up to three compressed objects to a page.

    layout   How three objects share one page: chunks, and nothing but arithmetic
    pages    The pages of a z3fold pool, as columns
    pool     The pool: alloc, free, compaction of a page, reclaim, adoption

Kernel counterpart: mm/z3fold.c (v6.1).
May be imported by: `owners.zpool`, pinlab.
"""
