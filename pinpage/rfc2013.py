"""The pin-page patch of 12 August 2013, as posted, and with each of its defects mended.

    set_pinned_page(owner, pfn, private)   a record in a hash of 1024 buckets, under one lock
    get_pin_page_info(pfn)                 the newest record of that page
    migrate_pinned_page(pfn)               ask owner after owner, until one fails

One callback, `migrate(pfn, private)`, which returns 0 when its owner uses the page no more,
by moving or by reclaiming as it likes.  What is wrong with it is listed in
`pinpage.rfc2013_defects`; each entry can be switched off by leaving it out of `defects`.

What C does silently is reported here: `Heap` knows the size and the life of each record, as a
kernel with KASAN does, and a loop without end is stopped by a watchdog.

Kernel counterpart: mm/pin-page.c of the patch; never merged.
Cost: one Python object per record; a look-up walks its bucket.
"""

from collections.abc import Callable, Collection, Generator
from typing import Any, Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from pinpage.errors import at_least, require
from pinpage.move.steps import run_out
from pinpage.rfc2013_defects import AS_POSTED, Defect
from pinpage.units import Pfns

__all__ = [
    "MOST_ROUNDS",
    "NOT_PINNED",
    "POINTER_NR_BYTES",
    "PPAGE_HASH_BITS",
    "RECORD_NR_BYTES",
    "Heap",
    "KernelOopsError",
    "PinPageOwner",
    "Record",
    "Rfc2013",
    "SoftLockupError",
    "hash_long",
]

PPAGE_HASH_BITS: Final = 10
RECORD_NR_BYTES: Final = 40
"""struct pin_page_info: owner, two pointers of an hlist_node, pfn, private."""
POINTER_NR_BYTES: Final = 8
NOT_PINNED: Final = 1
"""What the patch returns for a page without the flag."""
MOST_ROUNDS: Final = 1000
"""Callbacks for one page before the watchdog bites."""

_GOLDEN_RATIO_PRIME_64: Final = 0x9E37FFFFFFFC0001
_ALL_ONES: Final = (1 << 64) - 1
_EAGAIN, _ENOMEM, _EBUSY, _EEXIST, _ENOSYS, _ENOENT = -11, -12, -16, -17, -38, -2


class KernelOopsError(Exception):
    """The kernel would have died here; says of what."""


class SoftLockupError(Exception):
    """The kernel would still be in this loop."""


def hash_long(pfns: Pfns, nr_bits: int) -> NDArray[np.int64]:
    """Buckets of pfns, as include/linux/hash.h of v3.11 has it.

    Args:
        pfns: int64 (n,).
        nr_bits: log2 of the number of buckets.
    """
    mixed = np.asarray(pfns).astype(np.uint64) * np.uint64(_GOLDEN_RATIO_PRIME_64)
    return (mixed >> np.uint64(64 - nr_bits)).astype(np.int64)


@define
class PinPageOwner:
    """struct pin_page_owner, and what a mended caller may use besides.

    Attributes:
        name: for people.
        migrate: `migrate(pfn, private)`; a mended caller that knows where to adds
            `target=` and `mode=` if `takes_target`.
        prepare: asked first where refusals are to be undone; None: agrees.
        takes_target: whether its callback has use for a destination.
        is_gone: its module was unloaded.
    """

    name: str
    migrate: Callable[..., int]
    prepare: Callable[[int, Any], int] | None = None
    takes_target: bool = False
    is_gone: bool = False


@define(eq=False)
class Record:
    """struct pin_page_info."""

    owner: PinPageOwner
    pfn: int
    private: Any
    nr_users: int = 0
    is_freed: bool = False
    is_dead: bool = False


@define
class Heap:
    """kmalloc with a guard: knows how large each object is, and whether it is alive.

    Attributes:
        nr_left: objects that can still be had; None: any number.
        reports: what would have been silent, in order.
    """

    nr_left: int | None = None
    reports: list[str] = field(factory=list)

    def take(self) -> bool:
        """Take one object, if there is one."""
        if self.nr_left is None:
            return True
        had_one = self.nr_left > 0
        self.nr_left -= had_one
        return had_one

    def written(self, nr_bytes: int, size: int) -> None:
        """Report a write behind the end.

        Args:
            nr_bytes: written.
            size: of the object.
        """
        if nr_bytes > size:
            self.reports.append(f"out of bounds: {nr_bytes} bytes written to an object of {size}")

    def used(self, record: Record) -> None:
        """Report the use of a record that was freed."""
        if record.is_freed:
            self.reports.append(f"use after free: record of pfn {record.pfn:#x}")


class Rfc2013:
    """The subsystem of the patch, for frames of which it knows only the number.

    Attributes:
        heap: where records come from; its reports are the bugs that nobody would see.
        home_migrate: `home_migrate(pfn)` repoints page tables; 0 when done.
        is_atomic: whether the caller may not sleep.
        nr_lock_acquisitions, nr_lookups, nr_probes: since the start; a probe looks at a record.

    Invariants, run by `check`:
        RF1 the buckets hold as many records as were registered and not taken back.
    """

    def __init__(
        self,
        defects: Collection[Defect] = AS_POSTED,
        *,
        nr_objects: int | None = None,
        home_migrate: Callable[[int], int] | None = None,
    ) -> None:
        """An empty table.

        Args:
            defects: those that are present.
            nr_objects: records that there is memory for; None: any number.
            home_migrate: of pages that page tables hold as well; None: there are none.

        Raises:
            PinpageError: a negative number of records.
        """
        if nr_objects is not None:
            at_least(0, "rfc2013", nr_objects=nr_objects)
        self._defects = frozenset(defects)
        self.heap = Heap(nr_objects)
        self.home_migrate = home_migrate
        self.is_atomic = False
        self.nr_lock_acquisitions = 0
        self.nr_lookups = 0
        self.nr_probes = 0
        self._nr_bits = PPAGE_HASH_BITS
        self._buckets: list[list[Record]] = [[] for _ in range(1 << self._nr_bits)]
        self._nr_records = 0
        self._flagged: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._isolated: set[int] = set()

    def __len__(self) -> int:
        """Records."""
        return self._nr_records

    def has(self, defect: Defect) -> bool:
        """Whether that defect is present."""
        return defect in self._defects

    # What owners call.

    def set_pinned_page(self, owner: PinPageOwner, pfn: int, private: Any = None) -> int:
        """Register; 0, or a negative errno where that is mended.

        Args:
            owner: who is to be called.
            pfn: of the page.
            private: the owner's own key.

        Raises:
            KernelOopsError: there is no memory, and nobody looked.
        """
        return run_out(self.set_steps(owner, pfn, private))

    def set_steps(
        self, owner: PinPageOwner, pfn: int, private: Any = None
    ) -> Generator[str, None, int]:
        """`set_pinned_page`, step by step.

        Args:
            owner: who is to be called.
            pfn: of the page.
            private: the owner's own key.
        """
        if self.is_atomic and self.has(Defect.SLEEPS_IN_ATOMIC):
            self.heap.reports.append("sleeping function called from atomic context")
        size = POINTER_NR_BYTES if self.has(Defect.SIZEOF_POINTER) else RECORD_NR_BYTES
        if not self.heap.take():
            if self.has(Defect.UNCHECKED_ALLOCATION):
                raise KernelOopsError("NULL pointer dereference in set_pinned_page")
            return _ENOMEM
        chain = self._chain(pfn)
        if not self.has(Defect.DUPLICATES) and any(
            r.owner is owner and r.pfn == pfn and r.private == private for r in chain
        ):
            return _EEXIST
        self.heap.written(RECORD_NR_BYTES, size)
        self.nr_lock_acquisitions += 1
        chain.insert(0, Record(owner, pfn, private))
        self._nr_records += 1
        if not self.has(Defect.NO_PAGE_REFERENCE):
            self._held[pfn] = self._held.get(pfn, 0) + 1
        if self.has(Defect.FLAG_AFTER_RECORD):
            yield "recorded"
        self._flagged[pfn] = self._flagged.get(pfn, 0) + 1
        yield "flagged"
        self._grow()
        return 0

    def unset_pinned_page(self, owner: PinPageOwner, pfn: int, private: Any = None) -> int:
        """Take a registration back; -ENOSYS as posted, -ENOENT for one that is not there.

        Args:
            owner, pfn, private: as registered.
        """
        if self.has(Defect.NO_UNREGISTER):
            return _ENOSYS
        self.nr_lock_acquisitions += 1
        chain = self._chain(pfn)
        for record in chain:
            if record.owner is owner and record.pfn == pfn and record.private == private:
                chain.remove(record)
                self._nr_records -= 1
                self._drop(record)
                return 0
        return _ENOENT

    def unload(self, owner: PinPageOwner) -> int:
        """The owner's module goes; -EBUSY where records of it hold it.

        Args:
            owner: whose module.
        """
        if not self.has(Defect.NO_OWNER_LIFETIME) and any(
            record.owner is owner for chain in self._buckets for record in chain
        ):
            return _EBUSY
        owner.is_gone = True
        return 0

    def free_page(self, pfn: int) -> bool:
        """The page's user lets go; whether it is free now, and may be anybody's next.

        Args:
            pfn: of the page.
        """
        return not self._held.get(pfn, 0)

    # What the VM calls.

    def pinned_page(self, pfn: int) -> bool:
        """PinnedPage(): the flag; a stub as posted."""
        return not self.has(Defect.FLAG_IS_A_STUB) and self._flagged.get(pfn, 0) > 0

    def get_pin_page_info(self, pfn: int) -> Record | None:
        """The newest record of that page, found by walking its bucket."""
        self.nr_lock_acquisitions += 1
        self.nr_lookups += 1
        for record in self._chain(pfn):
            self.nr_probes += 1
            if record.pfn == pfn:
                return record
        return None

    def migrate_pinned_page(self, pfn: int, *, target: int = -1, mode: int = 0) -> int:
        """Ask the owners; as posted 1 for a page without the flag, and 0 for all else.

        Args:
            pfn: of the page.
            target: where to; not passed on, as posted.
            mode: how long it may take; not passed on, as posted.

        Returns:
            Where FAILURE_IS_ZERO is mended: 0 moved, -EAGAIN another migrator has it,
            -EBUSY an owner refused.

        Raises:
            SoftLockupError: it would never return.
            KernelOopsError: a callback that is not there (any more).
        """
        return run_out(self.migrate_steps(pfn, target=target, mode=mode))

    def migrate_steps(
        self, pfn: int, *, target: int = -1, mode: int = 0
    ) -> Generator[str, None, int]:
        """`migrate_pinned_page`, step by step; arguments as there."""
        if not self.pinned_page(pfn):
            return NOT_PINNED
        if not self.has(Defect.NO_ISOLATION):
            if pfn in self._isolated:
                return _EAGAIN
            self._isolated.add(pfn)
        try:
            refused = yield from self._ask_all(pfn, target, mode)
            if not refused and not self.has(Defect.HOME_IS_FORGOTTEN) and self.home_migrate:
                refused = self.home_migrate(pfn) != 0
        finally:
            self._isolated.discard(pfn)
        return _EBUSY if refused and not self.has(Defect.FAILURE_IS_ZERO) else 0

    def letter_example(self, pfn: int) -> int:
        """What the letter showed for compaction: `info->migrate(page)`.

        Args:
            pfn: of the page.

        Raises:
            KernelOopsError: the callback wants two arguments.
        """
        if not self.has(Defect.WRONG_ARGUMENTS):
            return self.migrate_pinned_page(pfn)
        record = self.get_pin_page_info(pfn)
        if record is None:
            return NOT_PINNED
        try:
            return record.owner.migrate(pfn)
        except TypeError as error:
            raise KernelOopsError(f"migrate(page): {error}") from None

    # Inside.

    def _ask_all(self, pfn: int, target: int, mode: int) -> Generator[str, None, bool]:
        """Owner after owner; whether one refused."""
        if not self.has(Defect.NO_ROLLBACK):
            for record in self._records_of(pfn):
                prepare = record.owner.prepare
                if prepare is not None and prepare(pfn, record.private):
                    return True
        if self.has(Defect.SAME_RECORD_AGAIN):
            nr_rounds = 0
            while (record_or_none := self.get_pin_page_info(pfn)) is not None:
                nr_rounds += 1
                if nr_rounds > MOST_ROUNDS:
                    raise SoftLockupError(f"{MOST_ROUNDS} callbacks for pfn {pfn:#x}, and on")
                if (yield from self._call(record_or_none, target, mode)):
                    return True
            return False
        for record in self._records_of(pfn):
            if (yield from self._call(record, target, mode)):
                return True
        return False

    def _call(self, record: Record, target: int, mode: int) -> Generator[str, None, int]:
        guarded = not self.has(Defect.USE_AFTER_UNLOCK)
        record.nr_users += guarded
        try:
            yield "found"
            if guarded and record.is_dead:
                return 0
            self.heap.used(record)
            owner = record.owner
            if owner.is_gone:
                raise KernelOopsError(f"call into module {owner.name!r}, which is gone")
            more = {"target": target, "mode": mode}
            knows = owner.takes_target and not self.has(Defect.NO_DESTINATION)
            return owner.migrate(record.pfn, record.private, **(more if knows else {}))
        finally:
            record.nr_users -= guarded
            self._free_if_unused(record)

    def _records_of(self, pfn: int) -> list[Record]:
        self.nr_lock_acquisitions += 1
        self.nr_lookups += 1
        chain = self._chain(pfn)
        self.nr_probes += len(chain)
        return [record for record in chain if record.pfn == pfn]

    def _drop(self, record: Record) -> None:
        self._flagged[record.pfn] -= 1
        if record.pfn in self._held:
            self._held[record.pfn] -= 1
        record.is_dead = True
        self._free_if_unused(record)

    @staticmethod
    def _free_if_unused(record: Record) -> None:
        record.is_freed |= record.is_dead and not record.nr_users

    def _chain(self, pfn: int) -> list[Record]:
        mixed = pfn * _GOLDEN_RATIO_PRIME_64 & _ALL_ONES
        return self._buckets[mixed >> (64 - self._nr_bits)]

    def _grow(self) -> None:
        """A table that follows the number of records, where that is mended."""
        if self.has(Defect.ONE_LOCK_ONE_TABLE) or self._nr_records <= len(self._buckets):
            return
        self._nr_bits += 1
        records = [record for chain in self._buckets for record in chain]
        self._buckets = [[] for _ in range(1 << self._nr_bits)]
        for record in records:
            self._chain(record.pfn).append(record)

    def chain_lengths(self) -> NDArray[np.int64]:
        """Records per bucket, shape (nr_buckets,)."""
        return np.array([len(chain) for chain in self._buckets], dtype=np.int64)

    def check(self) -> None:
        """Run RF1.

        Raises:
            InvariantError: it does not hold.
        """
        nr_found = int(self.chain_lengths().sum())
        require(nr_found == self._nr_records, "RF1 records", found=nr_found, kept=len(self))
