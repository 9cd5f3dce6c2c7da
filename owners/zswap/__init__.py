"""zswap: a compressed cache for swapped-out pages, before the disk.

    entries  zswap's own index: which handle holds the page of which swap slot, and who uses the
             entry
    host     What zswap asks of the swap core when an object must leave the pool
    zswap    zswap: a compressed cache for swapped-out pages, before the disk

Kernel counterpart: mm/zswap.c (v3.11).
May be imported by: pinlab.
"""
