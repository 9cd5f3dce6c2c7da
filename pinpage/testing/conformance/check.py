"""The owner kit: does this owner keep what the contract promises?

    from pinpage.testing.conformance.check import check

    report = check(make_my_owner)       # a callable: Lab -> Subject
    print(report)

`pinpage check MODULE:OWNER` is the same from the command line.  The promises have numbers
(`Promise`); a failure names the first one that was broken, and shows the shortest trace that
was found.  Needs the extra `test`.

Cost: one to ten seconds for an owner in the kit's own world.
"""

import sys
import threading
import traceback

from attrs import field, frozen

from pinpage.errors import PinpageError
from pinpage.testing.conformance.counts import Counts
from pinpage.testing.conformance.escape import exits_are_raised
from pinpage.testing.conformance.lab import (
    Factory,
)
from pinpage.testing.conformance.promises import Finding, Promise
from pinpage.testing.conformance.run import Session
from pinpage.testing.conformance.search import Search

__all__ = ["Report", "check"]

_DEFAULT_NR_EXAMPLES = 100
_PATIENCE_S = 30.0
_LOOK_EVERY_S = 0.05


@frozen
class Report:
    """What a check came to.

    Attributes:
        owner: its name.
        finding: the first broken promise, or None.
        counts: what was covered until then.
        can_migrate, can_release: what the owner offers.
    """

    owner: str
    finding: Finding | None
    counts: Counts = field(eq=False)
    can_migrate: bool
    can_release: bool

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return self.finding is None

    def __str__(self) -> str:
        """As the command prints it."""
        counts = self.counts
        if self.finding is not None:
            return f"{self.owner} breaks a promise.\n\n{self.finding}"
        offers = [
            word
            for word, can in (("migrates", self.can_migrate), ("releases", self.can_release))
            if can
        ]
        return (
            f"{self.owner} keeps every promise: it {' and '.join(offers) or 'only pins'}.\n"
            f"{counts.nr_plans} plans and {counts.nr_schedules} schedules: {counts.nr_moved} "
            f"frames moved, {counts.nr_refused} refused, {counts.nr_freed} freed."
        )


def check(
    factory: Factory,
    *,
    nr_examples: int = _DEFAULT_NR_EXAMPLES,
    seed: int = 0,
    patience_s: float = _PATIENCE_S,
) -> Report:
    """Run the whole suite against the owners that `factory` makes.

    Args:
        factory: gets a `Lab`, returns a `Subject`; called once for each run, so it must make
            everything afresh.  Its attribute `make_lab`, if any, makes the lab.
        nr_examples: plans that hypothesis makes; half of the schedules looked at.
        seed: of those plans; everything else is the same every time.
        patience_s: seconds after which one run that has not ended is a promise broken (C10).

    Raises:
        PinpageError: the factory returns no subject, raises, exits, or does not come back.
        KeyboardInterrupt: the user's; one that the owner raises is a promise broken.
    Context: while it runs, `os._exit` called by the owner in the thread of the run raises.
    """
    search = Search(factory, nr_examples=nr_examples, seed=seed)
    try:
        finding = _patiently(search, patience_s)
    finally:  # found, interrupted, or stuck: nobody waits for the rest of it
        search.is_over = True
    name, can_migrate, can_release = search.offers
    return Report(name, finding, search.counts, can_migrate, can_release)


def _patiently(search: Search, patience_s: float) -> Finding | None:
    """Run the search in a thread of its own; whoever does not come back has deadlocked."""
    outcome: list[Finding | None] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with exits_are_raised():
                outcome.append(search.first())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="conformance", daemon=True)
    thread.start()
    watched, nr_waits = search.nr_runs, 0
    while thread.is_alive():
        thread.join(_LOOK_EVERY_S)
        if search.nr_runs != watched:
            watched, nr_waits = search.nr_runs, 0
        nr_waits += 1
        if nr_waits * _LOOK_EVERY_S > patience_s and thread.is_alive():
            return _stuck(search.session, thread, patience_s)
    return search.ended_by(errors[0]) if errors else outcome[0]


def _stuck(session: Session | None, thread: threading.Thread, patience_s: float) -> Finding:
    """Where a run hangs, in the words of the contract.

    Raises:
        PinpageError: in the factory, which has promised nothing.
    """
    if session is None:
        raise PinpageError(f"the factory has not come back for {patience_s:g} s")
    frame = sys._current_frames().get(thread.ident or 0)
    stack = traceback.extract_stack(frame) if frame is not None else []
    callback = session.watch.inside
    places = [s for s in stack if s.name == callback] or stack[-1:]
    where = f" in {places[-1].filename.rpartition('/')[2]}:{places[-1].lineno}" if places else ""
    what = callback or session.watch.doing or "the run"
    promise = Promise.C10 if callback else Promise.C16
    detail = f"{what}{where} has not come back for {patience_s:g} s"
    return Finding(promise, detail, tuple(session.log))
