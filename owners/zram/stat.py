"""The statistics of a zram device, as its files in sysfs have them.

Kernel counterpart: mm_stat, io_stat and bd_stat of drivers/block/zram, v6.1.
"""

from attrs import define, frozen

__all__ = ["ZramBdStat", "ZramCounters", "ZramIoStat", "ZramMmStat"]


@define
class ZramCounters:
    """What a device counts as it goes.

    Attributes:
        compr_data_size: bytes of objects.
        pages_stored: rows that are not empty.
        same_pages, huge_pages: rows of these kinds now; huge_pages_since: ever.
        used_max_nr_pages: most pages that the pool ever had.
        failed_reads, failed_writes, invalid_io, notify_free: see `ZramIoStat`.
        bd_reads, bd_writes: see `ZramBdStat`.
    """

    compr_data_size: int = 0
    pages_stored: int = 0
    same_pages: int = 0
    huge_pages: int = 0
    huge_pages_since: int = 0
    used_max_nr_pages: int = 0
    failed_reads: int = 0
    failed_writes: int = 0
    invalid_io: int = 0
    notify_free: int = 0
    bd_reads: int = 0
    bd_writes: int = 0


@frozen
class ZramMmStat:
    """What the device holds and what that takes.  Sizes in bytes.

    Attributes:
        orig_data_size: uncompressed size of what is stored, written back included.
        compr_data_size: compressed size of what is in memory.
        mem_used_total: memory of the pool, its waste included.
        mem_limit: most that the pool may use; 0 for no limit.
        mem_used_max: most that it ever used.
        same_pages: pages that are one word again and again, and take no memory.
        pages_compacted: pages freed by compaction of the pool.
        huge_pages: pages that do not compress, now.
        huge_pages_since: ever.
    """

    orig_data_size: int
    compr_data_size: int
    mem_used_total: int
    mem_limit: int
    mem_used_max: int
    same_pages: int
    pages_compacted: int
    huge_pages: int
    huge_pages_since: int


@frozen
class ZramIoStat:
    """What went wrong, and what was given up.

    Attributes:
        failed_reads, failed_writes: pages that could not be read or written.
        invalid_io: requests outside the disk.
        notify_free: pages given up by discards.
    """

    failed_reads: int
    failed_writes: int
    invalid_io: int
    notify_free: int


@frozen
class ZramBdStat:
    """The backing store, in pages of 4 KiB.

    Attributes:
        bd_count: in use.
        bd_reads, bd_writes: read and written so far.
    """

    bd_count: int
    bd_reads: int
    bd_writes: int
