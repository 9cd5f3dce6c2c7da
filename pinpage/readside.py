"""The reading half of the registry: what scanners, planners and movers ask.

Point questions read without a lock and check the node's sequence count; when a writer was
in between, they ask again under the lock.  Everything else drains the batches first, under
the lock of each node that it reads.

Owns:    the state that both halves share; it writes none of it but through `scanning`.
Ignores: how pins come and go (`pinpage.registry`).
Cost:    point questions 0.3 us; a mask 1 us per pageblock; columns a few ns per frame.
Kernel counterpart: the read side of a seqlock.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinpage import scans
from pinpage.errors import PinpageError, require
from pinpage.lifetimes import OwnerTable
from pinpage.nodes import Nodes
from pinpage.owner import Pin, PinOwner
from pinpage.privates import NONE_NUMBER, Privates, Seen
from pinpage.radix_reads import Record
from pinpage.statistics import Statistics
from pinpage.topology import Topology
from pinpage.units import Mask, Pfns

__all__ = ["NO_OWNER_ID", "SEVERAL_OWNERS_ID", "PinColumns", "ReadSide"]

NO_OWNER_ID = -1
"""In a column of owner ids: the frame is not pinned."""
SEVERAL_OWNERS_ID = -2
"""In a column of owner ids: the frame has several pins; ask `pins`."""


@frozen(eq=False)
class PinColumns:
    """Pins as columns, shape (n,) each.

    Attributes:
        pfns: ascending; the pins of one frame by owner, then in order of arrival.
        owner_ids: see `ReadSide.owner_by_id`.
        privates: int64 when all are ints of 64 bits, else a list.
    """

    pfns: Pfns
    owner_ids: NDArray[np.int32]
    privates: NDArray[np.int64] | list[Any]

    def __len__(self) -> int:
        """Pins."""
        return len(self.pfns)


class ReadSide:
    """Everything about a registry that changes no pin.

    Invariants, run by `check` when no other thread is in the registry (the shards, the
    radix, the tables and the owners bring their own):
        R1 every pin belongs to a registered owner.
        R2 every object private in the side table is counted once for each of its pins.
        R3 `len` is the number of pins that a scan of everything finds.
    """

    def __init__(self, topology: Topology, sparse_below: int, dense_above: int) -> None:
        """Nothing registered, nothing pinned."""
        self.topology = topology
        self._nr_frames = topology.nr_frames
        self._nodes = Nodes(topology, sparse_below, dense_above)
        self._node_of_block = self._nodes.of_block
        self._shards = self._nodes.shards
        self._thread = self._nodes.thread
        self._owners = OwnerTable()
        self._number_of = self._owners.number_of
        self._tag_of = self._owners.tag_of
        self._privates = Privates()

    # Owners.

    @property
    def owners(self) -> tuple[PinOwner, ...]:
        """Registered owners in registration order, which is the order of asking."""
        return self._owners.owners

    def owner_by_id(self, owner_id: int) -> PinOwner:
        """The owner that a column of owner ids means.

        Raises:
            OwnerError: nobody has this id.
        """
        return self._owners.by_number(owner_id)

    def find_owner(self, owner_id: int) -> PinOwner | None:
        """`owner_by_id` for whoever reads while owners come and go: None for one that is gone."""
        return self._owners.find(owner_id)

    def is_faulty(self, owner: PinOwner) -> bool:
        """Whether the owner was marked faulty since it registered."""
        return self._owners.why_faulty(owner) is not None

    def why_faulty(self, owner: PinOwner) -> str | None:
        """What the owner did when it was first marked faulty; None for an honest one."""
        return self._owners.why_faulty(owner)

    def run_on(self, node: int) -> None:
        """Say on which node the calling thread runs; `statistics` tells local from remote by it.

        Raises:
            PinpageError: the topology has no such node.
        """
        if not 0 <= node < self.topology.nr_nodes:
            raise PinpageError(
                f"node {node}: the topology has nodes 0..{self.topology.nr_nodes - 1}"
            )
        self._thread.home = node

    # Looking.

    def is_pinned(self, pfn: int) -> bool:
        """Whether anybody pins the frame.  Without a lock, unless somebody writes just now.

        Raises:
            PfnError: no such frame.
        """
        if not 0 <= pfn < self._nr_frames:
            self._nodes.require_pfn(pfn)
        shard = self._shards[self._node_of_block[pfn >> 9]]
        seq = shard.seq
        leaf = shard.dense.get(pfn >> 9)
        found = (
            shard.sparse.find(pfn) >= 0 if leaf is None else leaf.present[pfn & 511] == 1
        ) or pfn in shard.claims
        if seq & 1 or shard.seq != seq:
            with self._nodes.locked((shard,)):
                return shard.radix.holds(pfn)
        return found

    def pins(self, pfn: int) -> list[Pin]:
        """All pins of a frame, by owner in registration order, then in order of arrival.

        Raises:
            PfnError: no such frame.
        """
        if not 0 <= pfn < self._nr_frames:
            self._nodes.require_pfn(pfn)
        shard = self._shards[self._node_of_block[pfn >> 9]]
        seq = shard.seq
        if not seq & 1 and pfn not in shard.claims:
            found = self._as_pins(pfn, shard.radix.records_of(pfn))
            if shard.seq == seq:  # else a private may be gone that was in a record
                return found
        with self._nodes.locked((shard,)):
            return self._as_pins(pfn, shard.radix.records_of(pfn))

    def pinned_mask(self, start: int, stop: int) -> Mask:
        """Which frames of [start, stop) are pinned.

        Returns:
            bool, shape (stop - start,); entry i speaks for pfn start + i.  A fresh array.

        Raises:
            PfnError: the range leaves the topology.
        """
        if not 0 <= start <= stop <= self._nr_frames:
            self._nodes.require_span(start, stop)
        block = start >> 9
        if start < stop <= block + 1 << 9:  # one pageblock: read as `is_pinned` reads
            shard = self._shards[self._node_of_block[block]]
            seq = shard.seq
            leaf = shard.dense.get(block)
            if leaf is not None and not shard.claims and not seq & 1:
                mask = leaf.mask()[start & 511 : (stop - 1 & 511) + 1].copy()
                if shard.seq == seq:
                    return mask
        return scans.mask_of(self._nodes, start, stop)

    def pin_columns(self, start: int, stop: int) -> PinColumns:
        """All pins of [start, stop), as columns; the batch form of `iter_pins`.

        Raises:
            PfnError: the range leaves the topology.
        """
        self._nodes.require_span(start, stop)
        seen = Seen(self._privates)
        pfns, tags, values = scans.records_in(self._nodes, start, stop, seen)
        return PinColumns(pfns, tags >> 1, seen.privates_of(tags, values))

    def iter_pins(self, start: int = 0, stop: int | None = None) -> Iterator[Pin]:
        """All pins of [start, stop) in pfn order, a frame's own as in `pins`.

        Reads 64 pageblocks at a time and holds no lock while the caller works, so pins that
        come and go meanwhile may or may not be seen.

        Raises:
            PfnError: the range leaves the topology.
        """
        end = self._nr_frames if stop is None else stop
        self._nodes.require_span(start, end)
        return self._iter_pins(start, end)

    def _iter_pins(self, start: int, stop: int) -> Iterator[Pin]:
        seen = Seen(self._privates)
        for pfns, tags, values in scans.all_records(self._nodes, start, stop, seen):
            ids, privates = (tags >> 1).tolist(), seen.privates_of(tags, values)
            if not isinstance(privates, list):
                privates = privates.tolist()
            for pfn, owner_id, private in zip(pfns.tolist(), ids, privates, strict=True):
                owner = self._owners.find(owner_id)
                if owner is not None:  # else it was forced out meanwhile, with its pins
                    yield Pin(pfn, owner, private)

    def next_pinned(self, pfn: int) -> int | None:
        """The first pinned frame from `pfn` on, or None.

        Raises:
            PfnError: no such frame; the pfn one past the last is allowed, and has none.
        """
        self._nodes.require_span(pfn, self._nr_frames)
        return scans.next_pinned(self._nodes, pfn)

    def _as_pins(self, pfn: int, records: list[Record]) -> list[Pin]:
        """Pins by owner, leaving out those of owners that are gone; under the lock none is."""
        if len(records) > 1:
            records.sort(key=_owner_number)
        pins = []
        for tag, value in records:
            owner = self._owners.find(tag >> 1)
            if owner is not None:
                pins.append(Pin(pfn, owner, self._privates.object_at(value) if tag & 1 else value))
        return pins

    def __len__(self) -> int:
        """Pins, those in batches included."""
        return sum(s.radix.nr_frames + s.radix.nr_extra + len(s.claims) for s in self._nodes.shards)

    # For planners and movers: columns of frames, in any order.

    @property
    def nr_died(self) -> int:
        """Pins dropped while their frame was under move: while it stays the same, none was.

        Cost: one attribute per node; what lets a move skip its second looks.
        """
        return sum(shard.nr_died for shard in self._nodes.shards)

    def owner_counts(self, pfns: Pfns) -> NDArray[np.int64]:
        """Pins of each frame, int64[n].

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        return scans.find(self._nodes, pfns)[2]

    def single_pins(self, pfns: Pfns) -> tuple[NDArray[np.int32], NDArray[np.int64] | list[Any]]:
        """The pin of each frame that has exactly one.

        Returns:
            owner_ids: int32[n]; NO_OWNER_ID for none, SEVERAL_OWNERS_ID for several.
            privates: int64[n] when all those found are ints of 64 bits, else a list.
                Meaningless where there is not exactly one pin.

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        seen = Seen(self._privates)
        tags, values, counts = scans.find(self._nodes, pfns, seen)
        owner_ids = tags >> 1
        owner_ids[counts > 1] = SEVERAL_OWNERS_ID
        return owner_ids, seen.privates_of(np.where(counts == 1, tags, 0), values)

    def can_migrate_mask(self, pfns: Pfns) -> Mask:
        """Frames with a pin whose every owner can migrate and is not faulty, bool[n].

        Raises:
            PfnError: no such frame.
        """
        return self.abilities(pfns)[0]

    def can_release_mask(self, pfns: Pfns) -> Mask:
        """Frames with a pin whose every owner can release and is not faulty, bool[n].

        Raises:
            PfnError: no such frame.
        """
        return self.abilities(pfns)[1]

    def abilities(self, pfns: Pfns) -> tuple[Mask, Mask, NDArray[np.int64]]:
        """`can_migrate_mask`, `can_release_mask` and `owner_counts`, in one look-up."""
        self._nodes.require_pfns(pfns)
        able = np.zeros((self._owners.nr_numbers + 1, 2), dtype=np.bool_)
        for owner in self._owners.owners:  # the last row is nobody's: NO_TAG >> 1
            if not self.is_faulty(owner):
                able[self._owners.number(owner)] = owner.can_migrate, owner.can_release
        tags, _, counts = scans.find(self._nodes, pfns)
        both = able[tags >> 1]
        for row in np.flatnonzero((counts > 1) & both.any(axis=1)).tolist():
            rows = [tag >> 1 for tag, _ in self._records(int(pfns[row]))]
            both[row] &= able[rows].all(axis=0)
        return both[:, 0], both[:, 1], counts

    def _records(self, pfn: int) -> list[Record]:
        shard = self._nodes.shard_of(pfn)
        with self._nodes.locked((shard,)):
            return shard.radix.records_of(pfn)

    # Scanners.

    @contextmanager
    def scanning(self) -> Iterator[None]:
        """While inside, no pin stays in a batch: what a scan has drained does not refill (R-21).

        Nests, and several threads may scan at a time.
        """
        for shard in self._nodes.shards:
            with self._nodes.locked((shard,)):
                shard.watch(+1)
        try:
            yield
        finally:
            for shard in self._nodes.shards:
                with self._nodes.locked((shard,)):
                    shard.watch(-1)

    def flush(self) -> None:
        """Store every pin that is in a batch of any thread."""
        for shard in self._nodes.shards:
            if shard.claims:
                with self._nodes.locked((shard,)):
                    pass

    # Accounts.

    def statistics(self) -> Statistics:
        """What was counted so far; takes no lock, so figures of busy nodes may disagree."""
        shards = self._nodes.shards
        radixes = [shard.radix for shard in shards]
        runs = [radix.nr_in_runs() for radix in radixes]
        sparse = [radix.sparse.nr_live for radix in radixes]
        return Statistics(
            nr_pins=len(self),
            nr_pending=sum(len(shard.claims) for shard in shards),
            nr_sparse=sum(sparse),
            nr_dense=sum(radix.nr_frames for radix in radixes) - sum(sparse) - sum(runs),
            nr_runs=sum(runs),
            nr_extra=sum(radix.nr_extra for radix in radixes),
            nr_leaves=sum(len(radix.dense) for radix in radixes),
            nr_moving=sum(len(shard.moving) for shard in shards),
            nr_local=sum(shard.nr_acquisitions - shard.nr_remote for shard in shards),
            nr_remote=sum(shard.nr_remote for shard in shards),
            nr_drains=sum(shard.nr_drains for shard in shards),
            nr_drained=sum(shard.nr_drained for shard in shards),
            nr_annihilated=sum(shard.nr_annihilated for shard in shards),
            nr_direct=sum(shard.nr_direct for shard in shards),
            nr_refused=sum(shard.nr_refused for shard in shards),
            nr_waits=sum(shard.nr_waits for shard in shards),
            nr_died=sum(shard.nr_died for shard in shards),
            nr_probes=sum(radix.sparse.nr_probes for radix in radixes),
            nr_rebuilds=sum(radix.sparse.nr_rebuilds for radix in radixes),
            nr_conversions=sum(radix.nr_conversions for radix in radixes),
            nr_privates=len(self._privates),
        )

    def check(self) -> None:
        """Run R1..R3 and the invariants of every part.

        Context: no other thread is in the registry.

        Raises:
            InvariantError: one does not hold.
        """
        self._owners.check()
        users: Counter[int] = Counter()
        nr_found = 0
        for shard in self._nodes.shards:
            shard.check()
            _, tags, values = shard.radix.first_pins(shard.radix.span.start, shard.radix.span.stop)
            records = list(zip(tags.tolist(), values.tolist(), strict=True))
            for extras in shard.radix.extras.values():
                records += extras
            records += [entry[:2] for entry in shard.claims.values()]
            nr_found += len(records)
            registered = set(self._number_of.values())
            strangers = {tag >> 1 for tag, _ in records} - registered
            require(not strangers, "R1 pins of owners that are not registered", owner_ids=strangers)
            users.update(value for tag, value in records if tag & 1 and value != NONE_NUMBER)
        self._privates.check(dict(users))
        require(nr_found == len(self), "R3 pins", found=nr_found, kept=len(self))


def _owner_number(record: Record) -> int:
    return record[0] >> 1
