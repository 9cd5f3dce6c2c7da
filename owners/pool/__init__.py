"""What zbud, z3fold, zsmalloc and zswap share.

    extents     Where pool objects lie, as columns, and their bytes: one way for every pool
    wait        Read and write objects of a zsmalloc pool, waiting out a mover in another thread
    zbud_bytes  The bytes of pool objects, one object or many: they are in the frames and nowhere
                else

Kernel counterpart: mm/zpool.c, as far as it has one.
May be imported by: the pools, `owners.zpool`, and whoever stores in them.
"""
