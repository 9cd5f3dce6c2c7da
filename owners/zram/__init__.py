"""zram: a disk of compressed pages.

    backing  Where zram writes back to: a file, or bytes of the caller
    disk     A zram device as a file of bytes: what a file system, a database or an archive writes
             to
    stat     The statistics of a zram device, as its files in sysfs have them
    swap     A zram device as swap: page for page, slot n of the area is page n of the disk
    table    The table of a zram device: one row per page of the disk
    zram     zram: a disk in memory, compressed

Kernel counterpart: drivers/block/zram (v6.1).
May be imported by: pinlab.
"""
