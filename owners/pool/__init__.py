"""What zbud, z3fold, zsmalloc and zswap share.

    lock        The lock of a pool
    handles     Handles: a number for the user, and the object that it stands for now
    pages       The pages of a zbud or z3fold pool, as columns
    lists       The lists of a zbud or z3fold pool: which page gets the next object, which goes next
    pieces      The bytes of one object, in one frame or in two
    extents     Where many objects lie, as columns, and their bytes
    owner       A pool as an owner of pages: what it answers when a page is to move
    objects     What pools have in common: all of them, and those with a few objects to a page
    wait        Read and write objects, waiting out a mover in another thread

Kernel counterpart: none; mm/zbud.c, mm/z3fold.c and mm/zsmalloc.c repeat each other.
May be imported by: the pools (zbud, z3fold, zsmalloc), `owners.zpool`, what stores in them (zcache,
zswap, zram), pinlab.
"""
