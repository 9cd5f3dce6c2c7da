"""zsmalloc: objects of any size, packed into zspages of up to four pages.

    classes  Size classes: how big an object may be, and how many pages make a zspage of such
             objects
    zspages  The zspages of a pool, as columns: which frames each has, and what lies where
    groups   Fullness groups: where a zspage with a free object is found
    mapping  What a mapping of an object is: a view of its bytes, until it is unmapped
    pool     The pool: alloc, free, map, compaction, statistics, adoption

Kernel counterpart: mm/zsmalloc.c (v6.1).
May be imported by: zram, `owners.zpool`, pinlab.
"""
