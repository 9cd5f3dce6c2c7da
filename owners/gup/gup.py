"""get_user_pages: hold pages of a process so that a device may use them.

    fast   resolve -> reference -> register -> recheck      no fault, no wait
    slow   fault   -> reference -> register -> recheck      again while a move is under way

Each is a generator of named steps that does nothing between two of them, so that a test can
let a move, a fork or a fault happen at every one; `get_user_pages` exhausts them.

Why it is safe against a move.  The reference fails on a frame that is frozen, the
registration on one that is under move.  Whatever got in before either, the mover sees: as a
reference that nothing accounts for, or as one more pin to ask.  And a page that moved before
both is noticed by the recheck: its page table names another frame.

Why it is safe against fork.  fork raises a sequence count while it shares pages.  A pin
taken before it shows in the page's references, and that page is copied for the child at
once; one taken meanwhile sees the count change and is undone.

Kernel counterpart: mm/gup.c.  What fork does about pinned pages is in `mm.paging.memory`.
Differences: a process is one mapping, so there are no VMAs to walk, and a page is shared
exactly if it has more than one user (`mm.paging.memory`); MADV_DONTFORK does not exist.
"""

import enum
from collections.abc import Callable, Generator, Iterable
from typing import TypeAlias

import numpy as np
from attrs import define, frozen

from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.state.reasons import Refused
from owners.arguments import instance, integer
from owners.gup.flags import Foll, Wanted, wanted
from owners.gup.host import GupHost
from owners.gup.longterm import is_longterm_pinnable, migrate_away
from owners.gup.pin_references import PinIds, Pinner
from pinpage.errors import PinpageError, require
from pinpage.move.steps import run_out
from pinpage.units import Pfns

__all__ = ["NR_TRIES", "Got", "Gup", "GupCounters", "GupStep", "PinSteps"]

NR_TRIES = 10
"""Rounds of the slow path, and of migrating a long-term range, before EAGAIN.  (The kernel
sleeps on migration entries and repeats the second without limit; nothing sleeps here.)"""

_SWAPCACHE = int(PageFlag.SWAPCACHE.mask)


class GupStep(enum.Enum):
    """What pinning a page, or a fork, has just done."""

    RESOLVE = "resolves"
    REFERENCE = "references"
    REGISTER = "registers"
    UNREGISTER = "unregisters"
    FAULT = "faults in"
    WAIT = "waits"
    SHARE = "shares all pages"
    COPY = "copies a pinned page"

    def __str__(self) -> str:
        """As schedules print it."""
        return self.value


PinSteps: TypeAlias = Generator[GupStep, None, int]
"""Steps that end with a pin id, or with a negative errno."""


@frozen
class Got:
    """What get_user_pages got.

    Attributes:
        pins: ids of the pages pinned, in the order of their addresses; perhaps fewer than asked.
        error: why it stopped; OK when all were pinned.
        in_the_way: pages that had to move before they were pinned for long, and did not.
    """

    pins: PinIds
    error: Errno
    in_the_way: tuple[Refused, ...] = ()

    @property
    def value(self) -> int:
        """As the kernel returns it: the number of pages, or the error if that is none."""
        return len(self.pins) or int(self.error)


@define
class GupCounters:
    """What was done.  Pages, since the start (the first two as in /proc/vmstat)."""

    nr_foll_pin_acquired: int = 0
    nr_foll_pin_released: int = 0
    nr_fast: int = 0
    nr_slow: int = 0
    nr_undone: int = 0
    """Pins undone because the page had moved, or a fork had begun, before the recheck."""
    nr_migrated: int = 0
    """Pages moved before they were pinned for long."""
    nr_copied_early: int = 0
    """Pages that fork copied because they may be pinned."""


def _no_files(_file: AddressSpace, _index: int) -> int:
    return Errno.EFAULT


class Gup:
    """Pins pages of the processes of one machine, on behalf of any number of pinners.

    Attributes:
        counters: what was done.

    Invariants, run by `check`:
        G3 the pins of all pinners are backed by references, page by page.

    Context: one thread, that of the machine.
    Cost: a pin and its end about 3 us on the fast path, 5 us registered; a fault comes on top.
    """

    def __init__(
        self,
        host: GupHost,
        *,
        file_page: Callable[[AddressSpace, int], int] = _no_files,
    ) -> None:
        """Work on `host`.

        `file_page(file, index)` brings in a page of shared memory: its pfn, or an errno.
        """
        self.host = host
        self.counters = GupCounters()
        self._file_page = file_page

    # Pinning.

    def get_user_pages(
        self, space: AddressSpace, vpn: int, nr_pages: int, pinner: Pinner, flags: Foll
    ) -> Got:
        """Pin up to `nr_pages` pages from `vpn` on for `pinner`, in order.

        Returns:
            The pins so far and why it stopped there: EFAULT outside of the space, ENOMEM,
            EAGAIN (FAST_ONLY: not there without a fault; else: under move all the time).
            LONGTERM: ENOMEM and no pin at all if a page had to move first and did not.

        Raises:
            PinpageError: flags that exclude each other, no pages, or what is no number.
            OwnerError: the pinner was forced out of its registry.
        """
        how, vpn = self._wanted(space, vpn, pinner, flags)
        nr_pages = integer("gup", "nr_pages", nr_pages)
        if nr_pages < 1:
            raise PinpageError(f"gup: nr_pages={nr_pages}: ask for at least one page")
        if not how.is_longterm:
            return self._pin_range(space, vpn, nr_pages, pinner, how)
        in_the_way: tuple[Refused, ...] = ()
        for _ in range(NR_TRIES):
            got = self._pin_range(space, vpn, nr_pages, pinner, how)
            misplaced = self._misplaced(pinner.pfns_of(got.pins))
            if not len(misplaced):
                return got
            self.put_user_pages(pinner, got.pins)
            error, in_the_way = migrate_away(self.host, misplaced)
            if error == Errno.ENOMEM:
                return Got([], error, in_the_way)
            self.counters.nr_migrated += len(misplaced) if error == Errno.OK else 0
        return Got([], Errno.EAGAIN, in_the_way)

    @staticmethod
    def _wanted(space: AddressSpace, vpn: int, pinner: Pinner, flags: Foll) -> tuple[Wanted, int]:
        """What is asked for, and where; mistakes are refused before anything is pinned."""
        how = wanted(instance("gup", "flags", flags, Foll))
        instance("gup", "space", space, AddressSpace)
        instance("gup", "pinner", pinner, Pinner).require_registered()
        return how, integer("gup", "vpn", vpn)

    def _pin_range(
        self, space: AddressSpace, vpn: int, nr_pages: int, pinner: Pinner, how: Wanted
    ) -> Got:
        pins: PinIds = []
        try:
            for at in range(vpn, vpn + nr_pages):
                pin_id = run_out(self._pin(space, at, pinner, how))
                if pin_id < 0:
                    return Got(pins, Errno(pin_id))
                pins.append(pin_id)
        except BaseException:  # forced out half way, or interrupted: no caller has these pins
            self.put_user_pages(pinner, pins)
            raise
        return Got(pins, Errno.OK)

    def _misplaced(self, pfns: Pfns) -> Pfns:
        return np.unique(pfns[~is_longterm_pinnable(self.host, pfns)])

    def pin_steps(self, space: AddressSpace, vpn: int, pinner: Pinner, flags: Foll) -> PinSteps:
        """One page, fast path first, step by step; raises as `get_user_pages`, at once.

        Args:
            space: whose page.
            vpn: which page of it.
            pinner: who is to hold the pin.
            flags: FOLL_ flags.
        """
        how, vpn = self._wanted(space, vpn, pinner, flags)
        return self._pin(space, vpn, pinner, how)

    def _pin(self, space: AddressSpace, vpn: int, pinner: Pinner, how: Wanted) -> PinSteps:
        if not 0 <= vpn < space.nr_vpns:
            return Errno.EFAULT
        if how.is_pin:
            space.has_pinned = True
        pin_id = yield from self._fast(space, vpn, pinner, how)
        if pin_id >= 0:
            self.counters.nr_fast += 1
            return pin_id
        for _ in range(0 if how.is_fast_only else NR_TRIES):
            seq = space.write_protect_seq
            pfn = self._fault(space, vpn, how)
            if pfn < 0:
                return pfn
            yield GupStep.FAULT
            pin_id = yield from self._grab(space, vpn, pfn, pinner, how, seq)
            if pin_id >= 0:
                self.counters.nr_slow += 1
                return pin_id
            yield GupStep.WAIT
        return Errno.EAGAIN

    def _fast(self, space: AddressSpace, vpn: int, pinner: Pinner, how: Wanted) -> PinSteps:
        """One page without a fault and without waiting; EAGAIN if it takes more than that."""
        seq, pte = space.write_protect_seq, space.pte.item(vpn)
        if pte <= 0 or (how.is_private and self._is_shared(space, pte - 1)):
            return Errno.EAGAIN
        if how.is_longterm and len(self._misplaced(np.array([pte - 1]))):
            return Errno.EAGAIN
        yield GupStep.RESOLVE
        return (yield from self._grab(space, vpn, pte - 1, pinner, how, seq))

    def _grab(
        self, space: AddressSpace, vpn: int, pfn: int, pinner: Pinner, how: Wanted, seq: int
    ) -> PinSteps:
        """Reference and register a frame that a page table named; EAGAIN if it does no more.

        `seq` is fork's count from before the page was looked at: private then, it still is.
        """
        nr_references = how.nr_references
        if seq & 1 and how.is_pin:
            return Errno.EAGAIN
        if not self.host.refs.get_page(pfn, nr_references):
            return Errno.EAGAIN
        try:
            yield GupStep.REFERENCE
        except BaseException:  # closed here: no caller has the reference
            self._drop(pfn, nr_references)
            raise
        pin_id, is_registered = pinner.hold(pfn, nr_references), False
        try:
            is_registered = pinner.register(pin_id)
        finally:
            if not is_registered:  # under move, or the pinner was forced out this moment
                self._drop(*pinner.forget(pin_id))
        if not is_registered:
            return Errno.EAGAIN
        try:
            yield GupStep.REGISTER
        except BaseException:
            run_out(self._unpin(pinner, pin_id))
            raise
        # The page may have moved since, pin and all: what counts is where the pin is now.
        has_moved = space.pte.item(vpn) != pinner.pfn_of(pin_id) + 1
        if has_moved or (how.is_pin and seq != space.write_protect_seq):
            self.counters.nr_undone += 1
            yield from self._unpin(pinner, pin_id)
            return Errno.EAGAIN
        if how.is_pin:
            self.counters.nr_foll_pin_acquired += 1
        return pin_id

    def _fault(self, space: AddressSpace, vpn: int, how: Wanted) -> int:
        """Present, and private where the caller will write or the data must stay ours."""
        if space.kind == "file":
            return self._file_page(space, vpn)
        memory = self.host.memory
        pfn = memory.touch(space, vpn, write=how.is_write)
        if pfn >= 0 and how.is_private and not how.is_write and self._is_shared(space, pfn):
            pfn = memory.touch(space, vpn, write=True)  # unshare: later it may not be copied away
        return pfn

    def _is_shared(self, space: AddressSpace, pfn: int) -> bool:
        """Whether a private page may have users besides this page table (mappings, swap slot)."""
        frames = self.host.frames
        is_cached = frames.flags.item(pfn) & _SWAPCACHE
        return space.kind == "process" and bool(frames.mapcount.item(pfn) > 0 or is_cached)

    # Letting go.

    def put_user_pages(self, pinner: Pinner, pins: Iterable[int], *, dirty: bool = False) -> None:
        """Drop pins; their pages may move, be swapped out or go.

        Args:
            pinner: who holds them.
            pins: its ids; legal while a page is under move.
            dirty: the pages were written to behind the page tables' back (DMA).

        Raises:
            PinpageError: one is not held (any more), or is given twice; none is dropped then.
        """
        pins = list(pins)
        _require_held(pinner, pins)
        for pin_id in pins:
            pfn, is_long = pinner.pfn_of(pin_id), pinner.references_of(pin_id) > 1
            if dirty:
                self.host.refs.set_flag(pfn, PageFlag.DIRTY)
            for _ in self._unpin(pinner, pin_id):
                pass
            self.counters.nr_foll_pin_released += is_long

    def put_steps(self, pinner: Pinner, pin_id: int) -> Generator[GupStep, None, None]:
        """`put_user_pages` of one pin, step by step.

        Args:
            pinner: who holds the pin.
            pin_id: which of its pins.
        """
        is_long = pinner.references_of(pin_id) > 1
        yield from self._unpin(pinner, pin_id)
        self.counters.nr_foll_pin_released += is_long

    def _unpin(self, pinner: Pinner, pin_id: int) -> Generator[GupStep, None, None]:
        """First the registration, so that no callback comes any more; then the references."""
        pinner.unregister(pin_id)
        try:
            yield GupStep.UNREGISTER
        finally:
            self._drop(*pinner.forget(pin_id))

    def _drop(self, pfn: int, nr_references: int) -> None:
        self.host.refs.put_page(pfn, nr_references)

    # Fork.

    def fork(self, parent: AddressSpace, name: str) -> AddressSpace | None:
        """`Memory.fork`, with pages that it copied early counted; returns and costs the same.

        Args:
            parent: whose pages the child shares.
            name: of the child.
        """
        return run_out(self.fork_steps(parent, name))

    def fork_steps(
        self, parent: AddressSpace, name: str
    ) -> Generator[GupStep, None, AddressSpace | None]:
        """`fork`, step by step.

        Args:
            parent: whose pages the child shares.
            name: of the child.
        """
        steps = self.host.memory.fork_steps(parent, name)
        while True:
            try:
                nr_copied = next(steps)
            except StopIteration as end:
                child: AddressSpace | None = end.value
                return child
            self.counters.nr_copied_early += nr_copied > 0
            yield GupStep.COPY if nr_copied else GupStep.SHARE

    def check(self, pinners: Iterable[Pinner]) -> None:
        """G3: the pins of all pinners are backed by references, page by page; and G1, G2.

        Args:
            pinners: everybody who pinned anything through this.

        Raises:
            InvariantError: one does not hold; names the frame.
        """
        held: dict[int, int] = {}
        for pinner in pinners:
            pinner.check()
            for pfn, nr_references in pinner.holdings():
                held[pfn] = held.get(pfn, 0) + nr_references
        frames = self.host.frames
        for pfn, nr_references in held.items():
            home = max(frames.mapcount.item(pfn) + 1, 0)
            kept = frames.refcount.item(pfn)
            require(kept >= home + nr_references, "G3 pins without their references", pfn=pfn)


def _require_held(pinner: Pinner, pins: PinIds) -> None:
    """Refuse to unpin what is not there, while everything still is."""
    for pin_id in pins:
        pinner.pfn_of(pin_id)
    if len(set(pins)) < len(pins):
        raise PinpageError(f"pinner {pinner.name!r}: a pin is given twice")
