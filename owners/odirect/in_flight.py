"""Pages that a thread's request is working on at this moment, as an owner of their own.

Kernel counterpart: the page references of a bio in flight, if a mover could ask for them.
"""

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from owners.batch_owner import BatchOwner
from owners.odirect.device import Policy
from pinpage.errors import require
from pinpage.owner import Mode, Verdict, Verdicts
from pinpage.units import Pfns

__all__ = ["InFlight"]


class InFlight(BatchOwner):
    """The pins of requests that a thread is working on, each under a number of its own.

    Such a pin accounts for no reference (the buffer's does), so it never needs repointing:
    it says Yes only when it is gone.

    Invariants:
        D1 a number is here from before its pin is in the registry until after it is out.
        D2 no pin of a request is ever carried along by a move (required by `migrate`).
    """

    def __init__(self, name: str, policy: Policy, wait_bound_s: float) -> None:
        """Answer by `policy`; `wait_bound_s` for all pages of one question together.

        Args:
            name: of the owner.
            policy: what to answer for a page in flight.
            wait_bound_s: for all pages of one question together.
        """
        self.name = name
        self._policy = policy
        self._wait_bound_s = wait_bound_s
        self._numbers: set[int] = set()
        self._awaited: list[int] = []
        self._one_ended = threading.Condition()
        self._count = itertools.count()
        self.nr_refused = 0
        self.nr_waited = 0

    def __len__(self) -> int:
        """Pages in flight."""
        return len(self._numbers)

    def begin(self) -> int:
        """A number for a pin that is about to be taken.  Any thread."""
        number = next(self._count)
        self._numbers.add(number)
        return number

    def end(self, number: int) -> None:
        """Its pin is gone.  Any thread."""
        self._numbers.discard(number)
        # A mover that begins to wait after this line finds the number gone.  The end of another
        # pin does not wake it: it would only take the processor from the threads it waits for.
        if number in self._awaited:
            with self._one_ended:
                self._one_ended.notify_all()

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """None: the buffer's pin has them."""
        return np.zeros(len(pfns), dtype=np.int64)

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """Again for what is in flight; under WAIT and in mode SYNC, after waiting for it."""
        may_wait = self._policy is Policy.WAIT and mode is Mode.SYNC
        deadline_s = time.monotonic() + (self._wait_bound_s if may_wait else 0.0)
        verdicts = np.empty(len(pfns), dtype=np.uint8)
        for row, number in enumerate(np.asarray(privates).tolist()):
            has_ended = number not in self._numbers
            if not has_ended and may_wait:
                has_ended = self._wait(number, deadline_s)
            verdicts[row] = Verdict.YES if has_ended else Verdict.AGAIN
        self.nr_refused += int(np.count_nonzero(verdicts))
        return verdicts

    def _wait(self, number: int, deadline_s: float) -> bool:
        self.nr_waited += 1
        with self._one_ended:
            self._awaited.append(number)
            try:
                left_s = deadline_s - time.monotonic()
                return self._one_ended.wait_for(
                    lambda: number not in self._numbers, max(0.0, left_s)
                )
            finally:
                self._awaited.remove(number)

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Never called: when it said Yes the pin was gone."""
        require(condition=False, message="D2 a page in flight was moved", pfns=pfns.tolist())
