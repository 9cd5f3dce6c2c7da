"""Completion rings of asynchronous I/O as an owner: one owner, a few pages per context.

The counter-example of 2013: a ring pinned for the life of its context kept memory from going
offline, and was given a migrate function of its own.  Here it is one owner among others:

    complete    an interrupt writes an event and the tail word, at any time; it cannot wait
    get_events  a reader holds the ring mutex, and may sleep with it
    isolate     try-lock only: a reader in the ring is Again; a context that is gone is Busy
                for good; a page that is not the one at its index is Again

From isolate to migrate or putback the page may not be written.  The kernel has no isolate step
here: it copies under the completion lock, with interrupts off.  We must let completions come
in meanwhile, and keep them beside the ring until its pages are back: none is lost, and their
order holds.  A reader that comes meanwhile gets AGAIN, for the tail word may be away.

User space reads the ring through its own mapping of the pages; that mapping is not modelled,
so each page has one reference, the context's.

Kernel counterpart: fs/aio.c, v6.1 (aio_setup_ring, aio_complete, aio_read_events_ring,
aio_migrate_folio, aio_free_ring).
"""

import threading
from collections import deque
from collections.abc import Generator

from attrs import define, field

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.aio.ring_format import (
    EVENT_NR_BYTES,
    HEAD_OFFSET,
    TAIL_OFFSET,
    IoEvent,
    RingHeader,
    event_place,
    nr_ring_events,
    nr_ring_pages,
)
from owners.arguments import instance, integer, require_usual_pages
from owners.forced_out import is_registered, require_registered, unpin
from pinpage.errors import PinpageError, require
from pinpage.move.steps import run_out
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry

__all__ = ["AioContext", "AioRings"]

_PAGE_BITS = 16
"""Bits of a private that hold the page's index in its ring."""
_HEADER_PAGE = 0


@define(eq=False)
class AioContext:
    """One context (struct kioctx).

    Attributes:
        ctx_id: its number; never used again.
        pages: pfns of the ring, by index.
        nr_events: slots of the ring; one of them always stays empty.
        tail: the next slot to write, as the kernel keeps it (the ring has a copy).
        head: the next slot to read, as last seen in the ring.
        quiet: indexes of pages that a mover has.
        deferred: completions that came while a page they need was quiet, oldest first.
        is_being_read: a reader holds the ring mutex.
    """

    ctx_id: int
    pages: list[int]
    nr_events: int
    tail: int = 0
    head: int = 0
    quiet: set[int] = field(factory=set)
    deferred: deque[bytes] = field(factory=deque)
    is_being_read: bool = False

    def private(self, index: int) -> int:
        """The private of the pin of one ring page."""
        return self.ctx_id << _PAGE_BITS | index


class AioRings(PinOwner):
    """All rings of the machine; one owner, one pin per ring page.

    Context: any method from any thread; `complete` never waits for a reader or a mover.

    Invariants, run by `check`:
        AR1 a header says what the context knows: its id, its slots and its tail, except
            while the first page is under move.
        AR2 the head lies in the ring, and reserved words are as they were set up.
        AR3 completions are kept beside a ring only while one of its pages is under move.
    """

    name = "aio"

    def __init__(self, source: PageSource, *, registry: PinRegistry | None = None) -> None:
        """No contexts yet; with a registry, ring pages can move.

        Args:
            source: where ring pages come from.
            registry: where they are pinned; None pins nothing.

        Raises:
            PinpageError: the machine's pages are not of 4 KiB.
        """
        require_usual_pages("aio", source.frames)
        self._source = source
        self._registry = registry
        self._contexts: dict[int, AioContext] = {}
        self._next_id = 1
        self._lock = threading.RLock()
        if registry is not None:
            registry.register(self)

    # What users ask for.

    def setup(self, nr_events: int) -> int:
        """A context that can hold `nr_events` unread completions; its number, or a negative errno.

        ENOMEM where pages are short.

        Raises:
            PinpageError: `nr_events` is not positive, or needs more than 2^16 pages.
            OwnerError: the owner was forced out of the registry.
        """
        nr_pages = nr_ring_pages(integer("aio: setup", "nr_events", nr_events))
        if nr_events < 1 or nr_pages > 1 << _PAGE_BITS:
            raise PinpageError(f"aio: setup: nr_events={nr_events}: give 1 to {1 << 22}")
        require_registered(self._registry, self)
        with self._lock:
            ctx_id, self._next_id = self._next_id, self._next_id + 1
        context = AioContext(ctx_id, [], nr_ring_events(nr_pages))
        try:
            for index in range(nr_pages):
                if not self._add_page(context, index):
                    self._put_pages(context)
                    return Errno.ENOMEM
        except BaseException:  # forced out meanwhile, or interrupted
            self._put_pages(context)
            raise
        header = RingHeader(ctx_id, context.nr_events)
        self._source.contents.write(context.pages[_HEADER_PAGE], header.pack())
        with self._lock:
            self._contexts[ctx_id] = context
        return ctx_id

    def _add_page(self, context: AioContext, index: int) -> bool:
        """Allocate and pin without a lock: either may wait for a mover."""
        pfn = self._source.alloc_page(Gfp.HIGHUSER_MOVABLE | Gfp.NOWARN)
        if pfn < 0:
            return False
        registry, verdict = self._registry, Verdict.AGAIN
        try:
            verdict = (
                Verdict.YES if registry is None else registry.pin(pfn, self, context.private(index))
            )
        finally:
            if verdict is not Verdict.YES:
                self._source.put_page(pfn)  # freed by a mover of our own that still has it
        if verdict is Verdict.YES:
            context.pages.append(pfn)
        return verdict is Verdict.YES

    def destroy(self, ctx_id: int) -> int:
        """Take a context down; EINVAL if there is none, EAGAIN while it is being read.

        Pages that a mover has are freed too: it finds that out.
        """
        with self._lock:
            context = self._contexts.get(ctx_id)
            if context is None:
                return Errno.EINVAL
            if context.is_being_read:
                return Errno.EAGAIN
            del self._contexts[ctx_id]
            self._put_pages(context)
        return Errno.OK

    def _put_pages(self, context: AioContext) -> None:
        for index, pfn in enumerate(context.pages):
            if self._registry is not None:
                unpin(self._registry, pfn, self, context.private(index))
            self._source.put_page(pfn)

    def complete(self, ctx_id: int, event: IoEvent) -> int:
        """Put one event in; EAGAIN if the ring is full, EINVAL if there is no such context.

        (The kernel admits no more requests than the ring holds; here the completion gets EAGAIN.)
        Never waits: while a page it needs is quiet, the event is kept beside the ring.

        Args:
            ctx_id: from `setup`.
            event: what user space will read.

        Raises:
            PinpageError: the event is none, or has a value that its field cannot hold.
        """
        data = instance("aio: complete", "event", event, IoEvent).pack()
        with self._lock:
            context = self._contexts.get(ctx_id)
            if context is None:
                return Errno.EINVAL
            self._settle(context)
            if not self._has_space(context):
                return Errno.EAGAIN
            context.deferred.append(data)  # behind those that wait already
            self._catch_up(context)
            return Errno.OK

    def get_events(self, ctx_id: int, nr_events: int) -> list[IoEvent] | Errno:
        """Up to `nr_events` completions, oldest first; EAGAIN while another reads or it moves.

        Args:
            ctx_id: from `setup`.
            nr_events: at most that many.

        Raises:
            PinpageError: `nr_events` is no number of events.
        """
        nr_events = integer("aio: get_events", "nr_events", nr_events, least=0)
        return run_out(self.read_steps(ctx_id, nr_events))

    def read_steps(
        self, ctx_id: int, nr_events: int
    ) -> Generator[str, None, list[IoEvent] | Errno]:
        """`get_events` in steps: a reader may be preempted with the ring mutex held.

        Args:
            ctx_id: from `setup`.
            nr_events: at most that many.

        Yields:
            What it has just done.
        """
        with self._lock:
            context = self._contexts.get(ctx_id)
            if context is None:
                return Errno.EINVAL
            self._settle(context)
            if context.is_being_read or context.quiet:
                return Errno.EAGAIN
            context.is_being_read = True
        try:
            yield "takes the ring mutex"
            with self._lock:
                head, tail = self._header(context)[2:4]
            events: list[IoEvent] = []
            while head != tail and len(events) < nr_events:
                events.append(self._read_event(context, head))
                head = (head + 1) % context.nr_events
                yield "reads an event"
            with self._lock:
                self._write_word(context, HEAD_OFFSET, head)
            yield "writes the head"
        finally:
            context.is_being_read = False
        return events

    def _settle(self, context: AioContext) -> None:
        """Forced out, no callback comes when a move is over: it is where no count is frozen."""
        if not context.quiet or self._registry is None or is_registered(self._registry, self):
            return
        for index in list(context.quiet):
            if self._source.frames.refcount.item(context.pages[index]) > 0:
                self._end_quiet(context, index)

    # The ring; under the lock, and never while the page in question is quiet.

    def _header(self, context: AioContext) -> RingHeader:
        page = context.pages[_HEADER_PAGE]
        return RingHeader.unpack(self._source.contents.read(page, 0, EVENT_NR_BYTES))

    def _write_word(self, context: AioContext, offset: int, value: int) -> None:
        page = context.pages[_HEADER_PAGE]
        self._source.contents.write(page, value.to_bytes(4, "little"), offset)

    def _read_event(self, context: AioContext, slot: int) -> IoEvent:
        with self._lock:
            index, offset = event_place(slot)
            data = self._source.contents.read(context.pages[index], offset, EVENT_NR_BYTES)
        return IoEvent.unpack(data)

    def _is_away(self, context: AioContext) -> bool:
        """Whether a mover has one of the two pages that the next event is written to."""
        return not context.quiet.isdisjoint((_HEADER_PAGE, event_place(context.tail)[0]))

    def _has_space(self, context: AioContext) -> bool:
        """Whether one more event fits, those beside the ring included.

        The head is a word of the first page.  While that is quiet the ring is not read, so
        the head that `isolate` saw is still the head.
        """
        if _HEADER_PAGE not in context.quiet:
            context.head = self._header(context).head
        nr_unread = (context.tail - context.head) % context.nr_events + len(context.deferred)
        return nr_unread < context.nr_events - 1

    def _catch_up(self, context: AioContext) -> None:
        """Write what is kept beside the ring, oldest first, as far as its pages are here."""
        while context.deferred and not self._is_away(context):
            self._put(context, context.deferred.popleft())

    def _put(self, context: AioContext, event: bytes) -> None:
        index, offset = event_place(context.tail)
        self._source.contents.write(context.pages[index], event, offset)
        context.tail = (context.tail + 1) % context.nr_events
        self._write_word(context, TAIL_OFFSET, context.tail)

    # The contract.

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Try-lock in every mode: a reader may sleep, on memory that this very move will free."""
        with self._lock:
            context, index = self._context_of(pin)
            if context is None:
                return Verdict.BUSY
            if context.is_being_read or context.pages[index] != pin.pfn:
                return Verdict.AGAIN
            if index == _HEADER_PAGE:
                context.head = self._header(context).head
            context.quiet.add(index)
            return Verdict.YES

    def migrate(self, pin: Pin, target: int) -> None:
        """Repoint the ring, then let in what completed meanwhile."""
        with self._lock:
            context, index = self._context_of(pin)
            if context is not None:
                context.pages[index] = target
                self._end_quiet(context, index)

    def putback(self, pin: Pin) -> None:
        """The page stays; let in what completed meanwhile."""
        with self._lock:
            context, index = self._context_of(pin)
            if context is not None:
                self._end_quiet(context, index)

    def _end_quiet(self, context: AioContext, index: int) -> None:
        context.quiet.discard(index)
        self._catch_up(context)

    def _context_of(self, pin: Pin) -> tuple[AioContext | None, int]:
        ctx_id, index = divmod(pin.private, 1 << _PAGE_BITS)
        return self._contexts.get(ctx_id), index

    def pages_of(self, ctx_id: int) -> tuple[int, ...]:
        """Where the pages of a ring are now, by index; empty if there is no such context."""
        with self._lock:
            context = self._contexts.get(ctx_id)
            return () if context is None else tuple(context.pages)

    def check(self) -> None:
        """Run AR1..AR3 on every context.

        Raises:
            InvariantError: one does not hold.
        """
        with self._lock:
            for context in self._contexts.values():
                self._check(context)

    def _check(self, context: AioContext) -> None:
        self._settle(context)
        require(
            context.quiet or not context.deferred,
            "AR3 events are kept beside a ring that is whole",
            ctx_id=context.ctx_id,
        )
        if _HEADER_PAGE in context.quiet:
            return
        header = self._header(context)
        require(
            header[:2] == (context.ctx_id, context.nr_events) and header.tail == context.tail,
            "AR1 the header says something else",
            header=header,
        )
        require(
            header.head < context.nr_events and header[4:] == RingHeader(0, 0)[4:],
            "AR2 the header is not one",
            header=header,
        )
