"""One pin, or one unpin, as a single step that needs no lock.

Each function here looks whether things are simple, then reads the node's sequence count a
second time, and then stores, without a call in between.  CPython lets another thread, a signal
handler or a finalizer in only where something is called, entered or begins anew, or (up to
3.11) where a tuple or another container is made.  So from that second look on nobody comes
between: what the function saw is still so when it stores, and no locked section has begun that
would have to be told.  What needs memory, which is a number, too, is made before the first
store: either all is stored or nothing.  Each says False when things are not simple; then the
caller takes the lock.  So it does on a CPython without its global lock, where the count is odd
at all times.

Owns:    the steps that lean on the interpreter's own lock; nothing else in the registry does.
Ignores: owners, privates that are objects.
Cost:    about 0.2 us.
Kernel counterpart: this_cpu_cmpxchg on the per-CPU lists; preemption is off for a moment.
"""

from pinpage.store.blocks import Blocks
from pinpage.store.privates import INT64_MAX, INT64_MIN
from pinpage.store.shard import Shard
from pinpage.store.sparse import DEAD, EMPTY, NR_TAG_BITS

__all__ = [
    "add",
    "take_from_batch",
    "take_from_column",
    "take_from_table",
]


def add(shard: Shard, pfn: int, tag: int, value: int, seq: int) -> bool:
    """Add a pin of a frame that has one other at most; False when it is not that simple.

    Where its block is dense the first pin goes into the column; all else into its node's batch.

    Context: any thread, without the lock.

    Args:
        shard: of the frame's node.
        pfn: the frame.
        tag, value: the pin.
        seq: what the node's count was when the caller knew that it may pin.
    """
    batch, blocks, block = shard.batch, shard.radix.blocks, pfn >> 9
    if not INT64_MIN <= value <= INT64_MAX:
        return False
    if blocks.is_dense[block]:
        words, at = blocks.words, pfn + pfn
        if not words[at]:
            if seq & 1 or shard.seq != seq or pfn in batch:
                return False
            count, behind, first = blocks.count_at[block] + 1, at + 1, tag + 1
            words[behind] = value
            words[at] = first
            blocks.count_at[block] = count
            return True
    else:
        at = blocks.sparse.find(pfn)
    record = tag, value
    if len(batch) >= shard.batch_nr_pins:
        return False
    if seq & 1 or shard.seq != seq or pfn in batch:
        return False
    if at >= 0:  # it has one: the same one, or is there a second already?
        is_dense = blocks.is_dense[block]
        words = blocks.words if is_dense else blocks.sparse.view[0]
        key = tag + 1 if is_dense else pfn << NR_TAG_BITS | tag
        if (words[at] == key and words[at + 1] == value) or pfn in blocks.crowded:
            return False
        shard.has_further = True
    batch[pfn] = record
    return True


def take_from_column(
    blocks: Blocks, shard: Shard, pfn: int, tag: int, value: int, seq: int
) -> bool:
    """Remove the only pin of a frame whose block is dense; False when it is not that simple.

    Context: any thread, without the lock.

    Args:
        blocks, shard: of the frame's node.
        pfn, tag, value: as for `add`.
        seq: what the node's count was when the caller read `blocks`.
    """
    block, at = pfn >> 9, pfn + pfn
    words = blocks.words
    if (
        not blocks.is_dense[block]
        or words[at] != tag + 1
        or words[at + 1] != value
        or seq & 1
        or shard.seq != seq
        or pfn in blocks.crowded
    ):
        return False
    count = blocks.count_at[block] - 1
    if count < blocks.sparse_below:
        blocks.thin[block] = True
    words[at] = 0
    blocks.count_at[block] = count
    return True


def take_from_table(blocks: Blocks, shard: Shard, pfn: int, tag: int, value: int, seq: int) -> bool:
    """Remove the only pin of a frame whose block is not dense; False when it is not that simple.

    Context: any thread, without the lock.

    Args:
        blocks, shard, pfn, tag, value, seq: as for `take_from_column`.
    """
    table = blocks.sparse
    found = table.find_record(pfn, tag)
    if found is None:
        return False
    at, behind, key = found
    words, block = table.view[0], pfn >> 9
    if (
        words[at] != key
        or words[at + 1] != value
        or seq & 1
        or shard.seq != seq
        or pfn in blocks.crowded
    ):
        return False
    count = blocks.count_at[block] - 1
    nr_used, nr_dead = table.nr_used - 1, table.nr_dead + 1
    if words[behind] == EMPTY:  # no probe has to pass here
        words[at] = EMPTY
        table.nr_used = nr_used
    else:
        words[at] = DEAD
        table.nr_dead = nr_dead
    blocks.count_at[block] = count
    return True


def take_from_batch(shard: Shard, pfn: int, tag: int, value: int, seq: int) -> bool:
    """Take a pin back that is still in the batch; False when it is not, or not that simple.

    Context: any thread, without the lock.

    Args:
        shard, pfn, tag, value, seq: as for `add`.
    """
    batch, record = shard.batch, (tag, value)
    if seq & 1 or shard.seq != seq or pfn not in batch or batch[pfn] != record:
        return False
    nr_annihilated = shard.nr_annihilated + 1
    del batch[pfn]
    shard.nr_annihilated = nr_annihilated
    return True
