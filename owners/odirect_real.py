"""A real file opened O_DIRECT: threads read and write it straight into the arena's frames.

The machine's state belongs to one thread, which submits, reaps, moves pages and does
everything else.  The threads here touch three things only: the registry, which is made for
it; the table from a buffer's pins to frames, which is one dict lookup; and the bytes of a
frame that their pin protects.

    machine's thread              an I/O thread                      the mover
    register: PIN, LONGTERM       look up the frame        <-----+   marks frames (no pin joins)
    submit ------- queue -------> pin it for this request        |   reads who pins them
                                  look up again: another? unpin -+   asks: in flight? Again, or
                                  read or write                          waits for the unpin
                                  unpin                              repoints the table, unmarks
    reap <-------- queue -------- tell

Why that is safe.  The standing pin of the buffer keeps the frame from being freed, and makes
sure that it moves only by a vote.  A frame that was looked up may be another's by the time it
is pinned; but as long as a frame is marked no pin joins it and the table changes only while
it is marked.  So if the table still says the same after the pin is in, the pin was in before
any later move looked, and that move has to ask; if it says something else, the pin is on
nobody's frame that matters (it accounts for no reference) and is taken back.

A thread that holds one page of a request never waits for another: it lets go of all first.

Kernel counterpart: gup_fast and its recheck; io_uring's registered buffers.
"""

import os
import queue
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import frozen

from mm.address_space import AddressSpace
from mm.contents import ArenaContents
from owners.gup import Gup
from owners.gup_pinner import Idle, PinIds, Pinner
from owners.odirect import Completion, Op, Policy, check_request
from owners.odirect_buffers import Buffers
from owners.odirect_flights import InFlight
from pinpage.errors import PinpageError, require
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE

__all__ = ["RealDevice"]

_EIO = 5


@frozen
class _Request:
    request_id: int
    op: Op
    vpn: int
    block: int
    pins: PinIds
    submitted_ns: int


class RealDevice:
    """Direct I/O to a file; implements `DirectDevice`.

    Attributes:
        pinner: the owner that answers for registered buffers.
        flights: the owner that answers for requests; asked first.
        nr_retried: times that a page had moved between the look-up and the pin.

    Context: everything but the threads' own work belongs to the machine's thread.
    Cost: a page about 20 us with eight threads on a local disk; pinning is 2 to 3 us of it.
    """

    def __init__(
        self,
        name: str,
        gup: Gup,
        path: Path,
        *,
        registry: PinRegistry | None = None,
        policy: Policy = Policy.WAIT,
        nr_threads: int = 8,
        wait_bound_s: float = 0.1,
    ) -> None:
        """Open the file and start the threads.

        Args:
            name: for people and for counters.
            gup: pins the buffers.
            path: a file whose size is a multiple of a page, on a file system with direct I/O.
            registry: where pins are registered; None: buffers are unexpected references, stay
                where they are, and requests pin nothing.
            policy: REFUSE or WAIT.
            nr_threads: how many requests are worked on at a time.
            wait_bound_s: the most that WAIT lets one question wait, in real seconds.

        Raises:
            PinpageError: the machine has tags for contents; a policy that takes requests back;
                a file that cannot be opened so.
        """
        contents = gup.host.contents
        if not isinstance(contents, ArenaContents):
            raise PinpageError(f'odirect {name!r}: needs bytes: build with contents="arena"')
        if policy not in (Policy.REFUSE, Policy.WAIT):
            raise PinpageError(
                f"odirect {name!r}: policy {policy.value}: a real disk takes no request back: "
                "choose refuse or wait"
            )
        self.name = name
        self.policy = policy
        self._fd, self._nr_blocks = _open_direct(name, path)
        self._bytes = contents.pages.reshape(-1).data
        self._registry = registry
        self.flights = InFlight(name, policy, wait_bound_s)
        if registry is not None:
            registry.register(self.flights)
        handler = Idle() if registry is not None else None
        self.pinner = Pinner(f"{name} buffers", registry=registry, handler=handler)
        self._buffers = Buffers(gup, self.pinner)
        self._todo: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        self._reaped: list[Completion] = []
        self._nr_submitted = self._nr_received = 0
        self._retries: list[int] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True)
            for n in range(nr_threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def nr_blocks(self) -> int:
        """Its size in pages."""
        return self._nr_blocks

    @property
    def nr_in_flight(self) -> int:
        """Requests submitted and not ended."""
        return self._nr_submitted - self._nr_received - self._ended.qsize()

    @property
    def nr_retried(self) -> int:
        """Times that a page had moved between the look-up and the pin."""
        return len(self._retries)

    # The machine's thread.

    def register(self, space: AddressSpace, vpn: int, nr_pages: int) -> int:
        """Pin a buffer for long: only such pages can be read into or written from.

        Returns:
            OK, or the errno of get_user_pages.

        Raises:
            PinpageError: a buffer is registered at this address already.
        """
        return self._buffers.register(space, vpn, nr_pages)

    def unregister(self, space: AddressSpace, vpn: int) -> None:
        """Let go of a buffer.

        Raises:
            PinpageError: none is registered there, or requests are in flight.
        """
        self._buffers.at(space, vpn)
        if self.nr_in_flight:
            raise PinpageError(f"odirect {self.name!r}: a request is in flight: drain first")
        self._buffers.unregister(space, vpn)

    def submit(self, op: Op, space: AddressSpace, vpn: int, nr_pages: int, block: int) -> int:
        """Hand a request to the threads; its id.

        Raises:
            PinpageError: beyond the device, or pages of no registered buffer.
        """
        check_request(self, nr_pages, block)
        pins = self._buffers.find(space, vpn, nr_pages)
        request_id = self._nr_submitted
        self._nr_submitted += 1
        self._todo.put(_Request(request_id, op, vpn, block, pins, time.monotonic_ns()))
        return request_id

    def reap(self) -> list[Completion]:
        """Requests that have ended since the last call, in the order in which they did."""
        for _ in range(self._ended.qsize()):
            self._receive()
        done, self._reaped = self._reaped, []
        return done

    def drain(self) -> None:
        """Wait until nothing is in flight."""
        while self._nr_received < self._nr_submitted:
            self._receive()

    def _receive(self) -> None:
        self._reaped.append(self._ended.get())
        self._nr_received += 1

    def close(self) -> None:
        """End the threads, after what is in flight, and close the file.  Buffers stay pinned."""
        if self._fd < 0:
            return
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def check(self) -> None:
        """D1 at rest: nothing in flight, nothing pinned for a request; and the buffers' own.

        Raises:
            InvariantError: it does not hold.
        """
        self.pinner.check()
        require(self.nr_in_flight or not len(self.flights), "D1 a number outlived its request")

    # The threads.

    def _work(self) -> None:
        while (request := self._todo.get()) is not None:
            began_ns = time.monotonic_ns()
            if self._registry is None:
                pfns = [self.pinner.pfn_of(pin) for pin in request.pins]
                error = self._transfer(request, pfns)
            else:
                held = self._hold(self._registry, request.pins)
                try:
                    error = self._transfer(request, [pfn for pfn, _ in held])
                finally:
                    self._let_go(self._registry, held)
            now_ns = time.monotonic_ns()
            self._ended.put(
                Completion(
                    request.request_id, request.op, request.vpn, len(request.pins),
                    request.block, error, now_ns - request.submitted_ns, now_ns - began_ns,
                )
            )  # fmt: skip

    def _hold(self, registry: PinRegistry, pins: PinIds) -> list[tuple[int, int]]:
        """Pin the frames of a request: (pfn, number) each, all of them."""
        while True:
            held = self._hold_at_rest(registry, pins)
            if len(held) == len(pins):
                return held
            # Whoever holds a page must not wait for a mover: it may wait for that page.
            self._let_go(registry, held)
            self._wait_for(registry, pins[len(held)])

    def _hold_at_rest(self, registry: PinRegistry, pins: PinIds) -> list[tuple[int, int]]:
        """Look up, pin, look up again, up to the first frame that a mover has or had."""
        flights, pfn_of, pin = self.flights, self.pinner.pfn_of, registry.pin
        held: list[tuple[int, int]] = []
        for pin_id in pins:
            pfn, number = pfn_of(pin_id), flights.take_off()
            if pin(pfn, flights, number, wait=False) is not Verdict.YES:
                flights.land(number)
                break
            if pfn_of(pin_id) != pfn:
                self._let_go(registry, [(pfn, number)])
                self._retries.append(pin_id)
                break
            held.append((pfn, number))
        return held

    def _wait_for(self, registry: PinRegistry, pin_id: int) -> None:
        """Until no mover has the frame, by a pin that has to wait."""
        pfn, number = self.pinner.pfn_of(pin_id), self.flights.take_off()
        if registry.pin(pfn, self.flights, number) is Verdict.YES:
            registry.unpin(pfn, self.flights, number)
        self.flights.land(number)

    def _let_go(self, registry: PinRegistry, held: list[tuple[int, int]]) -> None:
        for pfn, number in held:
            registry.unpin(pfn, self.flights, number)
            self.flights.land(number)

    def _transfer(self, request: _Request, pfns: list[int]) -> int:
        """Straight between the file and the frames; 0 or a negative errno."""
        views = [self._bytes[pfn * PAGE_SIZE : (pfn + 1) * PAGE_SIZE] for pfn in pfns]
        move = os.preadv if request.op is Op.READ else os.pwritev
        try:
            nr_bytes = move(self._fd, views, request.block * PAGE_SIZE)
        except OSError as error:
            return -(error.errno or _EIO)
        return 0 if nr_bytes == len(pfns) * PAGE_SIZE else -_EIO


def _open_direct(name: str, path: Path) -> tuple[int, int]:
    """The descriptor and the size in pages."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError as error:
        raise PinpageError(
            f"odirect {name!r}: {path} cannot be opened for direct I/O ({error.strerror}): "
            "give a file on ext4, xfs or btrfs"
        ) from error
    nr_bytes = os.fstat(fd).st_size
    if nr_bytes < PAGE_SIZE or nr_bytes % PAGE_SIZE:
        os.close(fd)
        raise PinpageError(
            f"odirect {name!r}: {path} has {nr_bytes} bytes: give it a multiple of {PAGE_SIZE}"
        )
    return fd, nr_bytes // PAGE_SIZE
