"""Bugs planted in direct I/O, simulated and real."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

DEVICE, TIME, BUFFERS = (
    "owners/odirect/simulated.py", "owners/odirect/events.py", "owners/odirect/buffers.py",
)  # fmt: skip
RUN, FLIGHTS = "owners/odirect/threads.py", "owners/odirect/in_flight.py"
FILE = "owners/odirect/file.py"

DEVICE_T = "tests/unit/owners/odirect/test_simulated.py"
TIME_T = "tests/unit/owners/odirect/test_events.py"
THREADS = "tests/races/test_odirect_threads.py"
IO_RACE = "tests/races/test_io_completion_vs_move.py"

MUTANTS: list[Mutant] = [
    # the simulated device
    planted(
        "odirect-says-yes-while-it-transfers", "R-18, OD2", DEVICE,
        "mode is not Mode.SYNC:\n            return False",
        "mode is not Mode.SYNC:\n            return True", DEVICE_T,
    ),
    planted(
        "odirect-waits-in-every-mode", "Mode", DEVICE,
        "if self.policy is not Policy.WAIT or mode is not Mode.SYNC:",
        "if self.policy is not Policy.WAIT:", DEVICE_T,
    ),
    planted(
        "odirect-waits-without-a-bound", "R-32", DEVICE,
        "if due_ns is None or due_ns > bound_ns:", "if due_ns is None:", DEVICE_T,
    ),
    planted(
        "odirect-cancelled-request-ends-nevertheless", "R-18", DEVICE,
        "            self._events.cancel(request.event)\n", "", DEVICE_T,
    ),
    planted(
        "odirect-held-request-starts", "OD3", DEVICE,
        "            if request.nr_held and not", "            if request.nr_held < 0 and not",
        DEVICE_T, IO_RACE,
    ),
    planted(
        "odirect-goes-on-before-the-move-is-over", "R-28", DEVICE,
        "            self._events.after(0, self._go_on)\n", "            self._go_on()\n",
        DEVICE_T,
    ),
    planted(
        "odirect-transfers-though-the-page-is-away", "R-18", DEVICE,
        "if not self._away.isdisjoint(request.pins) and not",
        "if self._away and not self._away and not",
        DEVICE_T,
    ),
    planted(
        "odirect-queue-without-a-depth", "OD1", DEVICE,
        "while queued and self._nr_started < self._model.queue_depth:", "while queued:", DEVICE_T,
    ),
    planted(
        "odirect-new-pin-is-nobodys", "R-8", DEVICE,
        "        if pin_id not in self._buffers:\n", "        if pin_id < 0:\n", DEVICE_T,
    ),
    planted(
        "odirect-empty-registry-is-none", "NO_CALLBACK", DEVICE,
        "None if registry is None else self", "self if registry else None", DEVICE_T,
    ),
    planted(
        "odirect-leaks-what-a-short-pin-got", "OD5", DEVICE,
        "            self._gup.put_user_pages(self.pinner, got.pins)\n", "", DEVICE_T,
    ),
    planted(
        "odirect-buffer-ends-later-than-it-does", "buffers", BUFFERS,
        "vpn + nr_pages <= first + len(pins)", "vpn < first + len(pins)", DEVICE_T,
    ),
    # time
    planted(
        "odirect-cancelled-event-happens", "time", "mm/state/due.py",
        "return self._actions.pop(event_id, None) is not None",
        "return self._actions.get(event_id) is not None", TIME_T,
    ),
    planted(
        "odirect-events-of-one-time-in-reverse", "time", "mm/state/due.py",
        "(time_ns, rank, event_id)", "(time_ns, rank, -event_id)", TIME_T,
    ),
    planted(
        "odirect-histogram-without-its-weights", "latency", TIME,
        ", p=self.counts / self.counts.sum()", "", TIME_T,
    ),
    # the real one
    planted(
        "odirect-thread-does-not-look-again", "R-17", RUN,
        "            if pfn_of(pin_id) != pfn:\n", "            if pfn < 0:\n",
        f"{THREADS}::test_a_page_that_moves_between_the_look_up_and_the_pin_is_looked_up_again",
    ),
    planted(
        "odirect-thread-waits-while-it-holds", "R-30", RUN,
        "self._pin(registry, pfn, wait=False)", "self._pin(registry, pfn, wait=True)",
        f"{THREADS}::test_a_thread_that_holds_a_page_does_not_wait_for_another",
    ),
    planted(
        "odirect-lands-before-its-pin-is-gone", "D1", RUN,
        """            unpin(registry, pfn, self._flights, number)
            self._flights.end(number)
""",
        """            self._flights.end(number)
            unpin(registry, pfn, self._flights, number)
""", f"{THREADS}::test_a_page_lands_only_when_its_pin_is_gone",
    ),
    planted(
        "odirect-short-transfer-is-fine", "R-18", FILE,
        "return -errno.EIO  # the file", "return 0  # the file",
        f"{THREADS}::test_an_error_of_the_disk_is_an_errno_of_the_request",
    ),
    planted(
        "odirect-page-in-flight-may-move", "R-18, D2", FLIGHTS,
        "Verdict.YES if has_ended else Verdict.AGAIN", "Verdict.YES",
        f"{THREADS}::test_nobody_waits_unasked",
    ),
    planted(
        "odirect-refuse-waits", "Mode", FLIGHTS,
        "self._policy is Policy.WAIT and mode is Mode.SYNC", "mode is Mode.SYNC",
        f"{THREADS}::test_nobody_waits_unasked",
    ),
    planted(
        "odirect-nobody-is-woken", "R-9", FLIGHTS,
        "        if number in self._awaited:\n", "        if number < 0:\n",
        f"{THREADS}::test_whoever_waits_for_a_page_in_flight_is_woken_when_it_lands",
    ),
    planted(
        "odirect-everybody-wakes-the-mover", "cost", FLIGHTS,
        "        if number in self._awaited:\n", "        if self._awaited:\n",
        f"{THREADS}::test_a_mover_is_woken_by_the_page_that_it_waits_for_and_by_no_other",
    ),
    planted(
        "odirect-bound-for-each-page", "R-32", FLIGHTS,
        "left_s = deadline_s - time.monotonic()", "left_s = self._wait_bound_s",
        f"{THREADS}::test_the_bound_is_for_all_pages_of_one_question",
    ),
]  # fmt: skip
