"""Where a suite looks for the first broken promise, and how it makes the trace short.

=========  ==============================================  ================================
search     looks at                                        finds
=========  ==============================================  ================================
drill      every fault at every step, one at a time        nearly everything, in few lines
twins      the batch forms against the single forms        answers that differ
plans      sequences that hypothesis makes and shrinks     what needs a history
schedules  every interleaving of users and movers          what needs a moment
=========  ==============================================  ================================

Needs the extra `test`; nothing in the package but the check command leads here.
"""

from collections.abc import Callable
from random import Random

from pinpage.errors import PinpageError
from pinpage.owner import Mode
from pinpage.testing.conformance_counts import Counts
from pinpage.testing.conformance_lab import Factory
from pinpage.testing.conformance_plan import (
    FAULTS,
    Action,
    Move,
    Plan,
    Release,
    User,
    UserWord,
    drill,
    twin_plans,
)
from pinpage.testing.conformance_promises import Finding, Promise
from pinpage.testing.conformance_run import Session
from pinpage.testing.conformance_watch import BrokenPromiseError, Event
from pinpage.testing.explore import Actor, Scenario, explore

try:
    import hypothesis
    import hypothesis.strategies as st
except ModuleNotFoundError as missing:  # say which extra, not which module
    raise PinpageError("the owner kit needs hypothesis: pip install 'pinpage[test]'") from missing

__all__ = ["Search", "plans"]

_MOST_HELD = 5
"""Things that a random plan starts with at most."""
_MOST_PREEMPTIONS = 2
_NR_SCHEDULES_PER_EXAMPLE = 2
_WORDS: tuple[UserWord, ...] = ("hold", "read", "write", "let go", "tick")


def plans(max_size: int = 12) -> st.SearchStrategy[Plan]:
    """Any sequence of actions, faults and races included."""
    user = st.builds(User, st.sampled_from(_WORDS), st.integers(0, 3))
    meanwhile = st.lists(st.tuples(st.integers(0, 8), user), max_size=3).map(tuple)
    mode = st.sampled_from(list(reversed(Mode)))
    move = st.builds(
        Move,
        mode,
        st.none() | st.sampled_from(FAULTS),
        st.none() | st.integers(0, 2),
        meanwhile,
        st.none() | st.integers(0, 8),
    )
    action: st.SearchStrategy[Action] = st.one_of(
        user, move, st.builds(Move, mode), st.builds(Release, mode, meanwhile)
    )
    held = st.integers(0, _MOST_HELD).map(lambda count: (User("hold"),) * count)
    return st.builds(lambda first, rest: (*first, *rest), held, st.lists(action, max_size=max_size))


class Search:
    """The four searches over one factory.

    Attributes:
        counts: what has been covered so far.
        session: the run of this moment (another thread may look).
    """

    def __init__(self, factory: Factory, *, nr_examples: int, seed: int) -> None:
        """Nothing has run yet."""
        self.counts = Counts()
        self.session: Session | None = None
        self._factory = factory
        self._nr_examples = nr_examples
        self._seed = seed

    def first(self) -> Finding | None:
        """Search until something is found; None when every promise was kept."""
        searches: list[Callable[[], Finding | None]] = [
            self._drill,
            self._twins,
            self._plans,
            self._schedules,
        ]
        return next((finding for search in searches if (finding := search())), None)

    def _drill(self) -> Finding | None:
        for plan in drill():
            finding = self._finding(plan)
            if finding is not None:
                return self._shorten(plan, finding)
        return None

    def _twins(self) -> Finding | None:
        for plan in twin_plans():
            if self._finding(plan, use_batch_forms=True) is not None:
                continue  # the other searches show why
            batch = self._events()
            single_finding = self._finding(plan, use_batch_forms=False)
            single = self._events()
            for at, (one, other) in enumerate(zip(batch, single, strict=False)):
                if one != other:
                    detail = f"batch form: {_said(one)}; single form: {_said(other)}"
                    return Finding(Promise.C8, detail, self._log(at))
            if single_finding is not None or len(batch) != len(single):
                why = single_finding.detail if single_finding else "other callbacks followed"
                return Finding(Promise.C8, f"only through the single forms: {why}", self._log())
        return None

    def _plans(self) -> Finding | None:
        """Let hypothesis find a plan and shrink it, without slipping to another promise."""
        first: Promise | None = None

        def breaks(plan: Plan) -> bool:
            nonlocal first
            finding = self._finding(plan)
            if finding is None:
                return False
            first = first or finding.promise
            return finding.promise is first

        settings = hypothesis.settings(
            max_examples=self._nr_examples,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        )
        try:
            plan = hypothesis.find(plans(), breaks, settings=settings, random=Random(self._seed))
        except hypothesis.errors.NoSuchExample:
            return None
        return self._finding(plan)

    def _schedules(self) -> Finding | None:
        for make in (self._users_and_a_mover, self._two_movers):
            exploration = explore(
                make,
                max_preemptions=_MOST_PREEMPTIONS,
                max_schedules=_NR_SCHEDULES_PER_EXAMPLE * self._nr_examples,
            )
            self.counts.nr_schedules += exploration.nr_schedules
            if exploration.violation is not None:
                error = exploration.violation.error
                if not isinstance(error, BrokenPromiseError):
                    raise error
                return error.finding
        return None

    def _users_and_a_mover(self) -> Scenario:
        session = self._started(2)
        users = [User("write", 1), User("let go"), User("hold"), User("write"), User("read", 1)]
        return Scenario(
            {"vm": session.move_steps(Mode.SYNC), "user": _users(session, users)},
            check=session.watch.require_kept,
            finish=lambda: _finish(session),
        )

    def _two_movers(self) -> Scenario:
        session = self._started(2)
        return Scenario(
            {
                "vm": session.move_steps(Mode.SYNC),
                "vm 2": session.move_steps(Mode.ASYNC),
                "user": _users(session, [User("write", 1), User("hold")]),
            },
            check=session.watch.require_kept,
            finish=lambda: _finish(session),
        )

    def _started(self, nr_things: int) -> Session:
        self.session = session = Session(self._factory, self.counts)
        for _ in range(nr_things):
            session.user(User("hold"))
        return session

    # One plan.

    def _finding(self, plan: Plan, *, use_batch_forms: bool = True) -> Finding | None:
        self.counts.nr_plans += 1
        self.session = Session(self._factory, self.counts, use_batch_forms=use_batch_forms)
        try:
            self.session.run(plan)
        except BrokenPromiseError as broken:
            return broken.finding
        return None

    def _shorten(self, plan: Plan, finding: Finding) -> Finding:
        """Leave out actions one by one as long as the same promise breaks."""
        at = 0
        while at < len(plan):
            shorter = plan[:at] + plan[at + 1 :]
            without = self._finding(shorter)
            if without is not None and without.promise is finding.promise:
                plan, finding = shorter, without
                at = 0  # what was needed by the one left out may go now
            else:
                at += 1
        return finding

    def _events(self) -> list[Event]:
        return self.session.watch.events if self.session is not None else []

    def _log(self, nr_event: int = -1) -> tuple[str, ...]:
        """The trace of the last run, up to one of its events."""
        if self.session is None:
            return ()
        stop = self.session.watch.lines[nr_event] if nr_event >= 0 else None
        return tuple(self.session.log[:stop])


def _users(session: Session, actions: list[User]) -> Actor:
    for action in actions:
        session.user(action)
        yield action.does


def _finish(session: Session) -> None:
    session.at_rest()
    session.close()


def _said(event: Event) -> str:
    name, pfn, private, answer = event
    return f"{name} of pfn {pfn:#x}, private {private!r} {answer}".rstrip()
