"""The threads of a real device: each takes a request, pins its pages, transfers, unpins.

Nothing here refers to the device.  So a device without references can end its
threads, and the last of them closes the file.

    submit      threads                           drain, reap
    open -----> take ... transfer ... done -----> (bell) ----> out of open, out of done

Each arrow is one operation of one container, which an interrupt finds done or not done; what
follows from it is made good by the next call.  A request is in flight from the moment in
which it is in `open`, and ends in the one in which its completion is known.

Kernel counterpart: io-wq of io_uring; the bell is a completion.
"""

import contextlib
import errno
import queue
import threading
import time

from attrs import define, field

from owners.forced_out import unpin
from owners.gup.pin_references import PinIds, Pinner
from owners.odirect.device import Completion, Op
from owners.odirect.file import DirectFile
from owners.odirect.in_flight import InFlight
from pinpage.errors import OwnerError, PinpageError
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE

__all__ = ["HeldPins", "IoRequest", "IoThreads"]

HeldPins = list[tuple[int, int]]
"""(pfn, number) of pins that a request has of its own."""


@define(eq=False)
class IoRequest:
    """One request on its way.

    Attributes:
        request_id, op, vpn, block: as submitted.
        pins: of the buffer's pages.
        submitted_ns: when, in real time.
        is_queued: the threads have been woken for it.
        unclaimed: not empty until a thread takes it; being woken twice is no harm.
        completion: how it ended; None before.
    """

    request_id: int
    op: Op
    vpn: int
    block: int
    pins: PinIds
    submitted_ns: int
    is_queued: bool = False
    unclaimed: list[bool] = field(factory=lambda: [True])
    completion: Completion | None = None

    def claim(self) -> bool:
        """Whether it is the caller's to work on; True once."""
        try:
            return self.unclaimed.pop()
        except IndexError:
            return False


class _Bell:
    """Rung once or often, it wakes one who waits, or the next who is going to."""

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was ringing
            self._silence.release()

    def wait(self) -> None:
        self._silence.acquire()


class IoThreads:
    """Requests, the threads that work on them, and what came of them.

    Attributes:
        file: which they read and write.
        open: requests that have not been reaped, by id, oldest first.
        is_closing: no more requests are taken.
        nr_retried: times that a page had moved between the look-up and the pin.

    Context: `submit`, `reap`, `drain` and `close` belong to the machine's thread, which may be
        interrupted anywhere in them; `stop` to any thread.
    """

    def __init__(
        self,
        file: DirectFile,
        memory: memoryview,
        pinner: Pinner,
        flights: InFlight,
        registry: PinRegistry | None,
    ) -> None:
        """No threads yet.

        Args:
            file: owned from here on.
            memory: every byte of the machine.
            pinner: knows where the pages of buffers are.
            flights: the owner of the pins of requests.
            registry: where; None pins nothing.
        """
        self.file = file
        self.open: dict[int, IoRequest] = {}
        self.is_closing = False
        self._memory = memory
        self._pinner = pinner
        self._flights = flights
        self._registry = registry
        self._todo: queue.SimpleQueue[IoRequest | None] = queue.SimpleQueue()
        self._done: list[Completion] = []
        self._bell = _Bell()
        self._retries: list[int] = []
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._present: set[int] = set()

    @property
    def nr_in_flight(self) -> int:
        """Requests submitted and not ended."""
        return sum(request.completion is None for request in list(self.open.values()))

    @property
    def nr_retried(self) -> int:
        """Times that a page had moved between the look-up and the pin."""
        return len(self._retries)

    # The machine's thread.

    def start(self, name: str, nr_threads: int) -> None:
        """Start the threads, all or none.

        Args:
            name: of the threads.
            nr_threads: how many.
        """
        for number in range(nr_threads):
            thread = threading.Thread(
                target=self._work, args=(number,), name=f"{name}-{number}", daemon=True
            )
            self._present.add(number)
            try:
                thread.start()
            except BaseException:
                if thread.ident is None:
                    self._present.discard(number)
                self.stop()
                raise
            self._threads.append(thread)

    def submit(self, request: IoRequest) -> None:
        """Hand a request to the threads.  It is theirs, or it never was."""
        self.open[request.request_id] = request
        self._tell(request)

    def _tell(self, request: IoRequest) -> None:
        self._todo.put(request)
        request.is_queued = True

    def _tell_all(self) -> None:
        """Tell the threads of what an interrupted `submit` did not."""
        for request in list(self.open.values()):
            if not request.is_queued:
                self._tell(request)

    def reap(self) -> list[Completion]:
        """What has ended since the last call, in the order in which it did."""
        done = self._done[:]
        for completion in done:
            self.open.pop(completion.request, None)
        count = len(done)
        del self._done[:count]  # (from here to the caller no call lets an interrupt in)
        return done

    def drain(self) -> None:
        """Wait until nothing is in flight."""
        self._tell_all()
        for request in list(self.open.values()):
            while request.completion is None:
                self._bell.wait()
        self._bell.ring()  # another thread may be waiting, too
        self.raise_failures()

    def raise_failures(self) -> None:
        """What a thread ran into that is no error of the host, where a caller sees it."""
        if self._failures:
            raise self._failures.pop(0)

    def stop(self) -> None:
        """Let the threads end behind what is in flight; waits for nothing."""
        self.is_closing = True
        self._tell_all()
        present = list(self._present)
        for _ in present:
            self._todo.put(None)
        if not present:  # or the last one to leave closes it
            self.file.close()

    def close(self) -> None:
        """`stop`, and wait for the end of the threads."""
        self.stop()
        for thread in self._threads:
            thread.join()

    # The threads.

    def _work(self, number: int) -> None:
        try:
            while (request := self._todo.get()) is not None:
                if request.claim():
                    self._serve(request)
        finally:
            self._present.discard(number)
            if not self._present:
                self.file.close()

    def _serve(self, request: IoRequest) -> None:
        began_ns = time.monotonic_ns()
        error = self._perform(request)
        now_ns = time.monotonic_ns()
        completion = Completion(
            request.request_id, request.op, request.vpn, len(request.pins), request.block,
            error, now_ns - request.submitted_ns, now_ns - began_ns,
        )  # fmt: skip
        self._done.append(completion)
        request.completion = completion
        self._bell.ring()

    def _perform(self, request: IoRequest) -> int:
        """0 or a negative errno, whatever happens."""
        try:
            return self._pin_and_transfer(request)
        except OwnerError:
            return -errno.ENODEV  # forced out of the registry: no owner could be asked
        except PinpageError:
            return -errno.EFAULT  # a page of the buffer was unpinned elsewhere
        except BaseException as failure:  # noqa: BLE001 - raised in the machine's thread
            self._failures.append(failure)
            return -errno.EIO

    def _pin_and_transfer(self, request: IoRequest) -> int:
        if self._registry is None:
            return self._transfer(request, [self._pinner.pfn_of(pin) for pin in request.pins])
        held = self.hold(self._registry, request.pins)
        try:
            return self._transfer(request, [pfn for pfn, _ in held])
        finally:
            self.unpin(self._registry, held)

    def _transfer(self, request: IoRequest, pfns: list[int]) -> int:
        """Straight between the file and the frames."""
        pages = [self._memory[pfn * PAGE_SIZE : (pfn + 1) * PAGE_SIZE] for pfn in pfns]
        return self.file.transfer(request.op, pages, request.block)

    def hold(self, registry: PinRegistry, pins: PinIds) -> HeldPins:
        """Pin the frames of a request, all of them.

        Args:
            registry: where to pin.
            pins: the request's, of its buffer.

        Raises:
            OwnerError: the flights were forced out; nothing is pinned.
        """
        while True:
            held: HeldPins = []
            try:
                if self._hold_at_rest(registry, pins, held):
                    return held
            except BaseException:
                self.unpin(registry, held)
                raise
            # A thread that holds a page must not wait for a mover: that may wait for that page.
            self.unpin(registry, held)
            pfn = self._pinner.pfn_of(pins[len(held)])
            number = self._pin(registry, pfn, wait=True)
            if number is not None:
                self.unpin(registry, [(pfn, number)])

    def _hold_at_rest(self, registry: PinRegistry, pins: PinIds, held: HeldPins) -> bool:
        """Look up, pin, look up again, up to the first frame that a mover has or had."""
        pfn_of = self._pinner.pfn_of
        for pin_id in pins:
            pfn = pfn_of(pin_id)
            number = self._pin(registry, pfn, wait=False)
            if number is None:
                return False
            if pfn_of(pin_id) != pfn:
                self.unpin(registry, [(pfn, number)])
                self._retries.append(pin_id)
                return False
            held.append((pfn, number))
        return True

    def _pin(self, registry: PinRegistry, pfn: int, *, wait: bool) -> int | None:
        """A pin of a request; its number, or None where a mover has the frame."""
        flights = self._flights
        number, verdict = flights.begin(), Verdict.AGAIN
        try:
            verdict = registry.pin(pfn, flights, number, wait=wait)
        finally:
            if verdict is not Verdict.YES:
                flights.end(number)
        return number if verdict is Verdict.YES else None

    def unpin(self, registry: PinRegistry, held: HeldPins) -> None:
        """Take the pins of a request back: the pin first, then its number.

        Args:
            registry: where they are pinned.
            held: from `hold`.
        """
        for pfn, number in held:
            unpin(registry, pfn, self._flights, number)
            self._flights.end(number)
