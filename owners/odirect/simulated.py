"""A simulated disk with direct I/O.

    submit -> pin every page -> queued -> started -> DMA -> unpin -> reaped
                                   ^                  (CANCEL: taken back, to be started again)
                                   +---- held --------+

The device knows no processes.  When a request starts it is given a descriptor, the frames
of that moment, and it is these frames that its DMA reads or writes at the end, whatever has
become of them.  So a move that did not ask, or an owner that said Yes without stopping the
device, shows in the data: in the process, which waits for bytes that went elsewhere, and in
the new owner of the old frame.

A request that is queued holds its pages as a pin and nothing more: under any policy such a
page moves, and the request waits until the move is over.

Forced out of the registry, the device takes no more requests; those in flight end as they
would have, and their pages stay where they are until then.

Kernel counterpart: block/bio.c (pins per request), drivers/block/null_blk (a device that is
only a delay).
"""

import numpy as np

from mm.state.address_space import AddressSpace
from mm.state.contents import Contents, TagContents
from mm.state.errno import Errno
from owners.arguments import instance
from owners.gup.flags import Foll
from owners.gup.gup import Got, Gup
from owners.gup.pin_references import PinIds, Pinner
from owners.odirect.buffers import Buffers
from owners.odirect.device import Completion, Op, Policy, check_request
from owners.odirect.events import EventQueue
from owners.odirect.model import DeviceCounters, DeviceModel
from owners.odirect.queue import SimulatedRequest, WaitingRequests
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Verdict
from pinpage.registry import PinRegistry

__all__ = ["SimulatedDevice"]

_DRAWS = 256


class SimulatedDevice:
    """A disk of `nr_blocks` pages over the events of one clock; implements `DirectDevice`.

    Attributes:
        disk: what is on it; block i is frame i.
        counters: what it did.
        pinner: the owner that answers for its pages.

    Invariants, run by `check`:
        OD1 at most `queue_depth` requests are at the device, each with a descriptor and an event.
        OD2 a descriptor names the frames that its pins name (unless a move forgot to ask).
        OD3 no request at the device has a page that a move holds still.
        OD4 between moves nothing is held still.
        OD5 every pin of the device belongs to one request in flight or to one registered buffer.

    Context: one thread.  It may be interrupted (KeyboardInterrupt) in any of the device's own
        steps: a request was submitted or was not, and `drain` goes on with what was left.
    Cost: a request of one page about 20 us.
    """

    def __init__(
        self,
        name: str,
        gup: Gup,
        disk: Contents,
        events: EventQueue,
        *,
        model: DeviceModel,
        rng: np.random.Generator,
        registry: PinRegistry | None = None,
        policy: Policy = Policy.REFUSE,
    ) -> None:
        """An idle device.

        Args:
            name: for people and for counters.
            gup: pins the pages.
            disk: its contents, of the same kind as the machine's.
            events: on the machine's clock.
            model: how long a request takes, how many at a time.
            rng: draws the times.
            registry: where pins are registered; None: pages in flight are unexpected references.
            policy: what to do when a page in flight is to move.

        Raises:
            PinpageError: a disk of bytes for a machine of tags, or the other way round, or of
                pages of another size; a policy that is none.
        """
        instance(f"odirect {name!r}", "policy", policy, Policy)
        instance(f"odirect {name!r}", "model", model, DeviceModel)
        if isinstance(disk, TagContents) != isinstance(gup.host.contents, TagContents):
            raise PinpageError(f"odirect {name!r}: disk: give it the machine's kind of contents")
        if disk.page_nr_bytes != gup.host.contents.page_nr_bytes:
            raise PinpageError(f"odirect {name!r}: disk: give it blocks of the machine's page size")
        self.name = name
        self.policy = policy
        self.disk = disk
        self.counters = DeviceCounters()
        self.pinner = Pinner(name, registry=registry, handler=None if registry is None else self)
        self._gup = gup
        self._events = events
        self._model, self._rng = model, rng
        self._draws: list[int] = []
        self._flags = {Op.READ: model.flags | Foll.WRITE, Op.WRITE: model.flags}
        self._in_flight: dict[int, SimulatedRequest] = {}
        self._nr_started = 0
        self._waiting = WaitingRequests()
        self._by_pin: dict[int, SimulatedRequest] = {}
        self._buffers = Buffers(gup, self.pinner)
        self._away: set[int] = set()  # pins of registered buffers, held still by a move
        self._done: list[Completion] = []
        self._next_id = 0
        self._is_start_planned = False

    @property
    def nr_blocks(self) -> int:
        """Its size in pages."""
        return self.disk.nr_frames

    @property
    def nr_in_flight(self) -> int:
        """Requests submitted and not ended, queued ones included."""
        return len(self._in_flight)

    # Buffers pinned for long.

    def register(self, space: AddressSpace, vpn: int, nr_pages: int) -> int:
        """Pin a buffer for long, as RDMA does; OK, or the errno of get_user_pages.

        Args:
            space: whose pages.
            vpn: the first.
            nr_pages: how many.

        Raises:
            PinpageError: a buffer is registered at this address already.
        """
        return self._buffers.register(space, vpn, nr_pages)

    def unregister(self, space: AddressSpace, vpn: int) -> None:
        """Unregister a buffer.

        Args:
            space: whose pages.
            vpn: where the buffer was registered.

        Raises:
            PinpageError: none is registered there, or a request is in flight on it.
        """
        mine = set(self._buffers.at(space, vpn))
        if any(not mine.isdisjoint(request.pins) for request in self._in_flight.values()):
            raise PinpageError(f"odirect {self.name!r}: a request is in flight: drain first")
        self._buffers.unregister(space, vpn)

    # Requests.

    def submit(self, op: Op, space: AddressSpace, vpn: int, nr_pages: int, block: int) -> int:
        """Begin a request on `nr_pages` pages from `vpn` on, to blocks from `block` on.

        Args:
            op: which way the data go.
            space: whose pages.
            vpn: the first.
            nr_pages: how many.
            block: first block of the disk, one to a page.

        Returns:
            Its id, or an errno: then no page is pinned.

        Raises:
            PinpageError: beyond the device, or not an `Op`; or RESTART on a buffer that is not
                registered.
            OwnerError: the pinner was forced out of the registry.
        """
        vpn, nr_pages, block = check_request(self, op, space, vpn, nr_pages, block)
        self.pinner.require_registered()
        if self.policy is Policy.RESTART:
            pins = self._buffers.find(space, vpn, nr_pages)
            return self._enlist(op, space, vpn, block, pins)
        got = Got([], Errno.OK)
        try:
            got = self._gup.get_user_pages(space, vpn, nr_pages, self.pinner, self._flags[op])
            if not got.error:
                return self._enlist(op, space, vpn, block, got.pins)
            self._gup.put_user_pages(self.pinner, got.pins)
        except BaseException:
            if all(request.pins is not got.pins for request in self._in_flight.values()):
                left = [pin for pin in got.pins if pin in self.pinner]
                self._gup.put_user_pages(self.pinner, left)
            raise
        return got.error

    def _enlist(self, op: Op, space: AddressSpace, vpn: int, block: int, pins: PinIds) -> int:
        """From here on it is a request, and will end."""
        is_registered, now_ns = self.policy is Policy.RESTART, self._events.clock.now_ns
        request = SimulatedRequest(
            self._next_id, op, space, vpn, block, pins, is_registered, now_ns
        )
        self._next_id += 1
        self._in_flight[request.request_id] = request
        if not is_registered:
            self._by_pin.update(dict.fromkeys(pins, request))
            self.counters.nr_pins += len(pins)
        self.counters.nr_requests += 1
        self._waiting.queued.append(request)
        self._start_queued()
        return request.request_id

    def _start_queued(self) -> None:
        """Give the device as many as it takes; requests held still keep their place."""
        queued = self._waiting.queued
        held: list[SimulatedRequest] = []
        while queued and self._nr_started < self._model.queue_depth:
            request = queued.popleft()
            if request.nr_held and not self.pinner.is_forced_out:
                held.append(request)
            else:
                self._start(request)
        queued.extendleft(reversed(held))

    def _start(self, request: SimulatedRequest) -> None:
        """The descriptor is written: from here on the device uses these frames."""
        pfn_of = self.pinner.pfn_of
        request.frames = [] if request.is_registered else [pfn_of(pin) for pin in request.pins]
        request.started_ns = self._events.clock.now_ns
        self._nr_started += 1
        self._schedule(request)

    def _schedule(self, request: SimulatedRequest) -> None:
        if not self._draws:
            self._draws = self._model.latency.draw(self._rng, _DRAWS).tolist()
        request.event = self._events.after(self._draws.pop(), lambda: self._end(request))

    def _end(self, request: SimulatedRequest) -> None:
        """The device has the data: transfer, unpin, tell, and go on with the next."""
        request.event = -1
        frames = self._translate(request)
        if frames is None:
            self.counters.nr_restarted += 1
            self._waiting.faulted.append(request)
            return
        request.transfer(self.disk, self._gup.host.contents, frames)
        request.has_ended = True
        self._nr_started -= 1
        request.frames = None
        self._finish(request)
        self._start_queued()

    def _finish(self, request: SimulatedRequest) -> None:
        """Unpin, and tell; pins that an interrupted call has dropped are not there any more."""
        if not request.is_registered:
            left = [pin for pin in request.pins if pin in self.pinner]
            for pin in request.pins:
                self._by_pin.pop(pin, None)
            self._gup.put_user_pages(self.pinner, left, dirty=request.op is Op.READ)
        self._tell(request)
        del self._in_flight[request.request_id]

    def _translate(self, request: SimulatedRequest) -> list[int] | None:
        """Where the DMA goes; None if a page of a registered buffer is away at this moment."""
        if not request.is_registered:
            return request.frames
        if not self._away.isdisjoint(request.pins) and not self.pinner.is_forced_out:
            return None
        return [self.pinner.pfn_of(pin) for pin in request.pins]

    def _tell(self, request: SimulatedRequest) -> None:
        self.counters.nr_completed += 1
        now_ns = self._events.clock.now_ns
        self._done.append(
            Completion(
                request.request_id, request.op, request.vpn, len(request.pins), request.block,
                0, now_ns - request.submitted_ns, now_ns - request.started_ns,
            )
        )  # fmt: skip

    def reap(self) -> list[Completion]:
        """Requests that have ended since the last call, in the order in which they did."""
        done = self._done[:]
        for completion in done:
            self._in_flight.pop(completion.request, None)
        del self._done[: len(done)]
        return done

    def drain(self) -> None:
        """Let time pass until nothing is in flight; also what an interrupt left half done.

        Raises:
            InvariantError: a request waits for a move that does not end.
        """
        self._take_up()
        while self._in_flight:
            if not self._events.step():
                if self.pinner.is_forced_out:  # no callback will say that a move is over
                    self._go_on()
                is_idle = self._in_flight and self._events.next_ns is None
                require(not is_idle, "OD4 a request waits and nothing is going to happen")

    def _take_up(self) -> None:
        """Requests that an interrupt dropped on their way."""
        reported = {done.request for done in self._done}
        for request in list(self._in_flight.values()):
            if request.request_id in reported:
                del self._in_flight[request.request_id]
            elif request.has_ended:
                self._finish(request)
            elif not request.is_registered:
                self._by_pin.update(dict.fromkeys(request.pins, request))
        dropped = [
            r
            for r in self._in_flight.values()
            if r.event not in self._events
            if r not in self._waiting
        ]
        for request in dropped:  # first: what waits is not at the device, whatever interrupts us
            request.frames = None
        self._waiting.queued.extend(dropped)
        self._nr_started = sum(r.frames is not None for r in self._in_flight.values())
        self._start_queued()

    # What it answers for a page (owners.gup.pin_references.MoveHandler).

    def quiesce(self, pin_id: int, mode: Mode) -> Verdict:
        """By policy, where the device works on the page; Yes where it does not.

        Args:
            pin_id: of the device's pin on the page.
            mode: how long the mover would wait.
        """
        request = self._by_pin.get(pin_id)
        if request is None:
            return self._quiesce_buffer(pin_id)
        if request.frames is not None and not self._stop(request, mode):
            self.counters.nr_refused += 1
            return Verdict.AGAIN
        request.nr_held += 1  # (one that has just ended has no pin left to be held by)
        return Verdict.YES

    def _quiesce_buffer(self, pin_id: int) -> Verdict:
        """A page of a registered buffer is invalidated; a pin of neither is about to be used."""
        if pin_id not in self._buffers:
            self.counters.nr_refused += 1
            return Verdict.AGAIN
        self._away.add(pin_id)
        return Verdict.YES

    def _stop(self, request: SimulatedRequest, mode: Mode) -> bool:
        """Whether the device has stopped using the request's pages."""
        if self.policy is Policy.CANCEL:
            self._events.cancel(request.event)
            request.event, request.frames = -1, None
            self._nr_started -= 1
            self._waiting.queued.appendleft(request)
            self.counters.nr_cancelled += 1
            return True
        if self.policy is not Policy.WAIT or mode is not Mode.SYNC:
            return False
        return self._wait_for(request)

    def _wait_for(self, request: SimulatedRequest) -> bool:
        clock = self._events.clock
        began_ns = clock.now_ns
        bound_ns = began_ns + self._model.wait_bound_ns
        self.counters.nr_waited += 1
        while request.frames is not None:
            due_ns = clock.next_ns(interrupts_only=True)  # a move is under way: no process goes on
            if due_ns is None or due_ns > bound_ns:
                clock.run_until(bound_ns, interrupts_only=True)
                break
            clock.step(interrupts_only=True)
        self.counters.wait_ns += clock.now_ns - began_ns
        return request.frames is None

    def resume(self, pin_id: int) -> None:
        """The page may be used again; what waited for it goes on once time passes.

        Not at once: while the move is not over, a partner's failure may still bring the page
        back to where it came from, and then nothing of ours may be at work on it.
        """
        self._away.discard(pin_id)
        request = self._by_pin.get(pin_id)
        if request is not None:
            request.nr_held -= 1
        if not self._is_start_planned:
            self._is_start_planned = True
            self._events.after(0, self._go_on)

    def _go_on(self) -> None:
        self._is_start_planned = False
        faulted, self._waiting.faulted = self._waiting.faulted, []
        for waiting in faulted:
            self._schedule(waiting)
        self._start_queued()

    def check(self) -> None:
        """Run OD1..OD5.

        Raises:
            InvariantError: one does not hold.
        """
        self.pinner.check()
        is_out = self.pinner.is_forced_out  # a move that held a page of ours came to nothing
        started = [r for r in self._in_flight.values() if r.frames is not None]
        counted = len(started) == self._nr_started <= self._model.queue_depth
        require(counted, "OD1 requests at the device", counted=self._nr_started)
        for request in started:
            away = request in self._waiting.faulted
            require(away or request.event >= 0, "OD1 a request that never ends")
            if not request.is_registered:
                pfns = [self.pinner.pfn_of(pin) for pin in request.pins]
                require(request.frames == pfns, "OD2 the device uses other frames than are pinned")
                require(
                    is_out or not request.nr_held, "OD3 the device uses a page that is held still"
                )
        is_held = self._away or any(r.nr_held for r in self._in_flight.values())
        require(is_out or not is_held, "OD4 a page is held still for a move that is over")
        nr_pins = len(self._by_pin) + len(self._buffers)
        require(len(self.pinner) == nr_pins, "OD5 a pin of neither a request nor a buffer")
