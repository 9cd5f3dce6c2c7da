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

Why that is safe.  The buffer's own pin, which stays, keeps the frame from being freed, and makes
sure that it moves only by a vote.  A frame that was looked up may be another's by the time it
is pinned; but as long as a frame is marked no pin joins it and the table changes only while
it is marked.  So if the table still says the same after the pin is in, the pin was in before
any later move looked, and that move has to ask; if it says something else, the pin is on
no frame that matters (it accounts for no reference) and is taken back.

A thread that holds one page of a request never waits for another: it unpins all first.

Forced out of the registry, the device takes no more requests.  Those at the file end as they
would have; their pages stay where they are until then, for the buffers' owner (or, if that is
out, a reference that no pin accounts for) says so.  Those not begun end with ENODEV.

The threads are in `owners.odirect.threads`.

Kernel counterpart: gup_fast and its recheck; io_uring's registered buffers.
"""

import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

from mm.state.address_space import AddressSpace
from mm.state.contents import ArenaContents
from owners.arguments import instance, integer, require_usual_pages, seconds
from owners.forced_out import is_registered, require_registered
from owners.gup.gup import Gup
from owners.gup.pin_references import Pinner
from owners.odirect.buffers import Buffers
from owners.odirect.device import Completion, Op, Policy, check_request
from owners.odirect.file import DirectFile
from owners.odirect.in_flight import InFlight
from owners.odirect.threads import IoRequest, IoThreads
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.registry import PinRegistry

__all__ = ["RealDevice"]


class _Buffered:
    """The handler of the buffers: nothing of theirs is at work that the flights do not know of."""

    def __init__(self, registry: PinRegistry, flights: InFlight) -> None:
        self._registry = registry
        self._flights = flights

    def quiesce(self, pin_id: int, mode: Mode) -> Verdict:
        """Yes: the flights were asked before.  Forced out they are not, and this answers."""
        if len(self._flights) and not is_registered(self._registry, self._flights):
            return Verdict.AGAIN
        return Verdict.YES

    def resume(self, pin_id: int) -> None:
        """Nothing was stopped."""


class RealDevice:
    """Direct I/O to a file; implements `DirectDevice`.

    Attributes:
        pinner: the owner that answers for registered buffers.
        flights: the owner that answers for requests; asked first.
        nr_retried: times that a page had moved between the look-up and the pin.

    Context: everything but the threads' own work belongs to the machine's thread.  That may
        be interrupted anywhere (KeyboardInterrupt), also twice: a request was submitted or was
        not, what has ended is reaped later, and whatever was called may be called again.
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
        """Open the file and start the threads.  Close it: see `close`.

        Args:
            name: for people and for counters; two devices may have the same.
            gup: pins the buffers.
            path: a file whose size is a multiple of a page, on a file system with direct I/O.
            registry: where pins are registered; None: buffers are unexpected references, stay
                where they are, and requests pin nothing.
            policy: REFUSE or WAIT.
            nr_threads: how many requests are worked on at a time.
            wait_bound_s: the most that WAIT lets one question wait, in real seconds.

        Raises:
            PinpageError: the machine has tags for contents, or pages not of 4 KiB; a policy that
                takes requests back; no threads; no bound, or one in the past; a file that cannot
                be opened so.
        """
        contents = gup.host.contents
        if not isinstance(contents, ArenaContents):
            raise PinpageError(f'odirect {name!r}: needs bytes: build with contents="arena"')
        who = f"odirect {name!r}"
        require_usual_pages(who, gup.host.frames)
        if instance(who, "policy", policy, Policy) not in (Policy.REFUSE, Policy.WAIT):
            raise PinpageError(
                f"{who}: policy {policy.value}: a real disk takes no request back: "
                "choose refuse or wait"
            )
        nr_threads = integer(who, "nr_threads", nr_threads, least=1)
        wait_bound_s = seconds(who, "wait_bound_s", wait_bound_s)
        self.name = name
        self.policy = policy
        self._registry = registry
        self._nr_submitted = 0
        self.flights = InFlight(name, policy, wait_bound_s)
        handler = None if registry is None else _Buffered(registry, self.flights)
        file = DirectFile(name, path)
        try:
            if registry is not None:
                registry.register(self.flights)
            self.pinner = Pinner(f"{name} buffers", registry=registry, handler=handler)
            self._buffers = Buffers(gup, self.pinner)
            memory = contents.pages.reshape(-1).data
            self._io = IoThreads(file, memory, self.pinner, self.flights, registry)
            self._io.start(name, nr_threads)
        except BaseException:
            if hasattr(self, "_io"):
                self._io.close()
            file.close()
            self._retire(self.flights)
            self._retire(getattr(self, "pinner", None))
            raise

    @property
    def nr_blocks(self) -> int:
        """Its size in pages, when it was opened."""
        return self._io.file.nr_blocks

    @property
    def nr_in_flight(self) -> int:
        """Requests submitted and not ended."""
        return self._io.nr_in_flight

    @property
    def nr_retried(self) -> int:
        """Times that a page had moved between the look-up and the pin."""
        return self._io.nr_retried

    @property
    def is_closed(self) -> bool:
        """Whether it takes nothing any more."""
        return self._io.is_closing

    @property
    def _fd(self) -> int:
        return self._io.file.fd

    @_fd.setter
    def _fd(self, fd: int) -> None:
        self._io.file.fd = fd

    def register(self, space: AddressSpace, vpn: int, nr_pages: int) -> int:
        """Pin a buffer for long: only such pages can be read into or written from.

        Args:
            space: whose pages.
            vpn: the first.
            nr_pages: how many.

        Returns:
            OK, or the errno of get_user_pages.

        Raises:
            PinpageError: a buffer is registered at this address already; or the device is
                closed.
            OwnerError: the buffers' owner was forced out.
        """
        self._require_open()
        return self._buffers.register(space, vpn, nr_pages)

    def unregister(self, space: AddressSpace, vpn: int) -> None:
        """Unregister a buffer; of a closed device, too.

        Args:
            space: whose pages.
            vpn: where the buffer was registered.

        Raises:
            PinpageError: none is registered there, or requests are in flight.
        """
        self._buffers.at(space, vpn)
        if self.nr_in_flight:
            raise PinpageError(f"odirect {self.name!r}: a request is in flight: drain first")
        self._buffers.unregister(space, vpn)
        self._retire_closed()

    def submit(self, op: Op, space: AddressSpace, vpn: int, nr_pages: int, block: int) -> int:
        """Hand a request to the threads; its id.

        It may be larger than one system call can be.  Where the file gives or takes less than
        all of it the completion says why, and some of it may have been done.

        Args:
            op: which way the data go.
            space: whose pages.
            vpn: the first.
            nr_pages: how many.
            block: first block of the disk, one to a page.

        Raises:
            PinpageError: beyond the device, or pages of no registered buffer; not an `Op`;
                or the device is closed.
            OwnerError: it was forced out of the registry.
        """
        vpn, nr_pages, block = check_request(self, op, space, vpn, nr_pages, block)
        pins = self._buffers.find(space, vpn, nr_pages)
        self._require_open()
        require_registered(self._registry, self.flights)
        request_id, self._nr_submitted = self._nr_submitted, self._nr_submitted + 1
        self._io.submit(IoRequest(request_id, op, vpn, block, pins, time.monotonic_ns()))
        return request_id

    def reap(self) -> list[Completion]:
        """Requests that have ended since the last call, in the order in which they did."""
        return self._io.reap()

    def drain(self) -> None:
        """Wait until nothing is in flight."""
        self._io.drain()

    def close(self) -> None:
        """End the threads, after what is in flight, and close the file.

        Buffers stay pinned until they are unregistered.  A device that is dropped instead
        ends its threads and closes its file by itself, and says so with a ResourceWarning.
        """
        self._io.close()
        self._retire_closed()

    def _require_open(self) -> None:
        if self._io.is_closing:
            raise PinpageError(f"odirect {self.name!r}: it is closed")

    def _retire_closed(self) -> None:
        """Leave the registry, as far as there is nothing more to answer for."""
        if self._io.is_closing:
            self._retire(self.flights)
            self._retire(None if len(self.pinner) else self.pinner)

    def _retire(self, owner: PinOwner | None) -> None:
        registry = self._registry
        if owner is not None and registry is not None and is_registered(registry, owner):
            registry.unregister(owner)

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

    def __del__(self) -> None:
        """Dropped: as a file of Python's does, warn if it was not closed, and close."""
        threads = getattr(self, "_io", None)  # None: it never came to be
        if threads is not None and not threads.is_closing:
            threads.stop()
            warnings.warn(f"unclosed device {self.name!r}", ResourceWarning, 2, source=self)

    def check(self) -> None:
        """D1 at rest: nothing in flight, nothing pinned for a request; and the buffers' own.

        Raises:
            InvariantError: it does not hold, or a thread has run into one.
        """
        self._io.raise_failures()
        self.pinner.check()
        require(self.nr_in_flight or not len(self.flights), "D1 a number outlived its request")
