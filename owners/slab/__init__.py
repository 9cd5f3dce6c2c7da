"""Object caches as owners: slabs that move, or are emptied, object by object.

    cache   Object caches as owners of pages: slabs that move, or are emptied, object by object
    dentry  Directory entries in a slab cache: objects that some users hold, and that hold each
            other
    slabs   Slabs, addresses of objects, and the memory that they lie in
    xarray  Nodes of xarrays in a slab cache: objects that can move, for each knows who points to it

Kernel counterpart: mm/slub.c with the slab-movable-objects series; lib/xarray.c, fs/dcache.c.
May be imported by: pinlab.
"""
