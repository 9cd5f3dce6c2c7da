"""zsmalloc: objects of any size, packed into zspages of up to four pages.

    classes       Size classes: how big an object may be, and how many pages make a zspage of such
                  objects
    groups        Fullness groups: where a zspage with room for one more object is found
    handles       Handles of a zsmalloc pool: a number for the user, and the object it stands for
                  now
    mapping       What a mapping of an object is: a view of its bytes, until it is unmapped
    objects       Objects of a zsmalloc pool: alloc, free, map, read, write
    owner         The zsmalloc pool as an owner of pages: one pin per page, and what it answers when
                  asked
    pieces        The bytes of zsmalloc objects: they are in the frames, in one piece or in two
    pool          zsmalloc: objects of any size up to a page, packed into zspages of one to four
                  pages
    zpool_driver  A zsmalloc pool behind the protocol of `owners.zpool`: what that asks beyond alloc
                  and free
    zspages       The zspages of a zsmalloc pool, as columns: which frames each has, and what lies
                  where

Kernel counterpart: mm/zsmalloc.c (v6.1).
May be imported by: zram, `owners.zpool`, pinlab.
"""
