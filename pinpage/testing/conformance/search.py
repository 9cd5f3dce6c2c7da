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
from pinpage.extras import missing_extra
from pinpage.owner import Mode
from pinpage.testing.conformance.accounts import Held
from pinpage.testing.conformance.counts import Counts
from pinpage.testing.conformance.escape import is_users, what_it_says
from pinpage.testing.conformance.lab import Factory
from pinpage.testing.conformance.owner_model import has_time, make_lab, make_subject
from pinpage.testing.conformance.plan import (
    FAULTS,
    Action,
    Move,
    Plan,
    Release,
    User,
    UserWord,
    drill,
    simpler,
    twin_plans,
)
from pinpage.testing.conformance.promises import Finding, Promise
from pinpage.testing.conformance.run import Session
from pinpage.testing.conformance.watch import BrokenPromiseError, Event
from pinpage.testing.explore import Actor, Scenario, explore

try:
    import hypothesis
    import hypothesis.strategies as st
except ModuleNotFoundError as missing:  # say which extra, not which module
    raise missing_extra("the owner kit needs hypothesis", "test") from missing

__all__ = ["Search", "plans"]

_MOST_HELD = 5
"""Things that a random plan starts with at most."""
_MOST_PREEMPTIONS = 2
_NR_SCHEDULES_PER_EXAMPLE = 2
_MOST_ROUNDS = 40
_MOST_QUIET_ROUNDS = 3
"""Times in a row that a plan takes no page more, and what it has left counts as a cache: one
for each thing that a page was seen to hold, for a lost thing leaves room for the others."""
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
        session: the run of this moment, None while it is made (another thread may look).
        nr_runs: runs begun.
        offers: the owner's name, whether it can migrate, whether it can release.
        is_over: set by whoever does not wait any more; the next run does not begin.
    """

    def __init__(self, factory: Factory, *, nr_examples: int, seed: int) -> None:
        """Nothing has run yet."""
        self.counts = Counts()
        self.session: Session | None = None
        self.nr_runs = 0
        self.offers = ("", False, False)
        self.is_over = False
        self._has_time = True
        self._most_per_page = 1
        self._factory = factory
        self._nr_examples = nr_examples
        self._seed = seed

    def first(self) -> Finding | None:
        """Search until something is found; None when every promise was kept.

        Raises:
            PinpageError: the factory gives no subject.
        """
        subject = make_subject(self._factory, make_lab(self._factory))
        owner, self._has_time = subject.owner, has_time(subject)
        self.offers = owner.name, owner.can_migrate, owner.can_release
        searches: list[Callable[[], Finding | None]] = [
            self._drill,
            self._twins,
            self._plans,
            self._schedules,
        ]
        return next((finding for search in searches if (finding := search())), None)

    def _drill(self) -> Finding | None:
        for plan in drill(has_time=self._has_time):
            finding = self.finding_of(plan)
            if finding is not None:
                return self._shorten(plan, finding)
        return None

    def _twins(self) -> Finding | None:
        for plan in twin_plans():
            if self._run(plan, use_batch_forms=True) is not None:
                continue  # the other searches show why
            batch = self._events()
            single_finding = self._run(plan, use_batch_forms=False)
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
            finding = self.finding_of(plan)
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
        return self.finding_of(plan)

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
        session = self._session()
        for _ in range(nr_things):
            session.user(User("hold"))
        return session

    def ended_by(self, error: BaseException) -> Finding:
        """An exit that neither a hook nor a callback raised: a property, a hash, a name did.

        Raises:
            BaseException: it is no exit, or the user's; then it is not the owner's.
        """
        if isinstance(error, Exception) or is_users(error):
            raise error
        detail = f"its code raised {what_it_says(error)}"
        return Finding(Promise.C16, detail, self._log())

    # One plan.

    def finding_of(self, plan: Plan) -> Finding | None:
        """Run a plan; if pages are left of it, find out whether they are lost."""
        return self._run(plan) or self._leak(plan)

    def _run(self, plan: Plan, *, use_batch_forms: bool = True) -> Finding | None:
        self.counts.nr_plans += 1
        session = self._session(use_batch_forms=use_batch_forms)
        try:
            session.run(plan)
        except BrokenPromiseError as broken:
            return broken.finding
        except BaseException as error:  # noqa: BLE001 - raised again, or a finding
            return self.ended_by(error)
        return None

    def _leak(self, plan: Plan) -> Finding | None:
        """Whether the pages that the last run has left are more and more if it is repeated."""
        session = self.session
        assert session is not None
        self._most_per_page = max(self._most_per_page, session.model.most_per_page)
        if session.is_excused or not session.held.is_more_than(session.held_at_first):
            return None
        what, line = session.where_lost()
        trace = tuple(session.log[:line])
        if session.uses_again(self._most_per_page):
            return None
        grown = self._repeated(session, plan)
        if grown is None:
            return None
        nr_rounds, held = grown
        detail = (
            f"{what}, is not given back after step {line}; the same again, {nr_rounds} times, and "
            f"{held.nr_pages} pages with {held.nr_references} references are kept for nothing"
        )
        return Finding(Promise.C19, detail, trace)

    def _repeated(self, session: Session, plan: Plan) -> tuple[int, Held] | None:
        """What is held once there is no more to be had, and after how many rounds.

        None: it takes no more than it has, and that counts as a cache.
        """
        first = most = session.held
        nr_rounds = nr_quiet = 0
        while nr_rounds < _MOST_ROUNDS:
            nr_rounds += 1
            try:
                session.run(plan)
                if most.is_more_than(first) and not session.can_hold():
                    break
            except BrokenPromiseError:  # of a lab that is full; else a plan of its own shows it
                break
            nr_quiet = 0 if session.held.is_more_than(most) else nr_quiet + 1
            if nr_quiet == min(self._most_per_page, _MOST_QUIET_ROUNDS):
                return None
            if not nr_quiet:
                most = session.held
        return (nr_rounds, most) if most.is_more_than(first) else None

    def _session(self, *, use_batch_forms: bool = True) -> Session:
        if self.is_over:
            raise PinpageError("the search was given up")
        self.nr_runs += 1
        self.session = None
        self.session = Session(self._factory, self.counts, use_batch_forms=use_batch_forms)
        return self.session

    def _shorten(self, plan: Plan, finding: Finding) -> Finding:
        """Leave out whatever can go as long as the same promise breaks."""
        untried = simpler(plan)
        while (shorter := next(untried, None)) is not None:
            without = self.finding_of(shorter)
            if without is not None and without.promise is finding.promise:
                finding = without
                untried = simpler(shorter)  # what was needed by what has gone may go now
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
    session.model.at_rest()
    session.close()


def _said(event: Event) -> str:
    name, pfn, private, answer = event
    return f"{name} of pfn {pfn:#x}, private {private!r} {answer}".rstrip()
