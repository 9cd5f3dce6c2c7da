"""The parts of the owner kit: promises, plans, the watch, reports, searches."""

import _thread
import os
import sys
import threading

import hypothesis
import numpy as np
import pytest
from attrs import evolve

from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.testing.conformance import check as conformance
from pinpage.testing.conformance import escape as conformance_escape
from pinpage.testing.conformance.accounts import Held
from pinpage.testing.conformance.check import check
from pinpage.testing.conformance.escape import exits_are_raised, is_users
from pinpage.testing.conformance.lab import PageSubject, Subject, WorldLab
from pinpage.testing.conformance.plan import FAULTS, Fault, Move, Release, User, drill, simpler
from pinpage.testing.conformance.promises import Finding, Promise
from pinpage.testing.conformance.run import Session
from pinpage.testing.conformance.search import Search, plans
from pinpage.testing.conformance.watch import BrokenPromiseError

HOLD, LET_GO, WRITE = User("hold"), User("let go"), User("write")


class Plain(PinOwner):
    """Keeps every promise; `quiet_at` notes what was asked of it."""

    name = "plain"

    def __init__(self):
        self.pfn_of = {}
        self.quiet = set()
        self.asked = []

    def isolate(self, pin, mode):
        self.asked.append(("isolate", pin.private, mode))
        self.quiet.add(pin.private)
        return Verdict.YES

    def migrate(self, pin, target):
        self.asked.append(("migrate", pin.private, target))
        self.pfn_of[pin.private] = target
        self.quiet.discard(pin.private)

    def putback(self, pin):
        self.asked.append(("putback", pin.private))
        self.quiet.discard(pin.private)


def plain(lab):
    owner = Plain()
    return PageSubject(lab, owner, owner.pfn_of, owner.quiet)


def session_of(*plan, factory=plain):
    session = Session(factory)
    for action in plan:
        session.act(action)
    return session


def callbacks(session):
    return [event[0] for event in session.watch.events]


# Words.


def test_promises_are_numbered_without_gaps_and_say_each_thing_once():
    assert [promise.name for promise in Promise] == [f"C{n}" for n in range(1, 20)]
    assert len({promise.title for promise in Promise}) == len(Promise)
    assert not [promise for promise in Promise if promise.meaning.endswith(".")]


def test_the_contract_lists_the_promises(pytestconfig):
    text = (pytestconfig.rootpath / "docs/explanation/contract.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| C")]
    assert rows == [f"| {p.name} | {p.title} | {p.meaning} |" for p in Promise]


def test_a_finding_is_the_promise_the_trace_and_what_was_seen():
    finding = Finding(Promise.C5, "it raised", tuple("abcdefghij"))
    lines = str(finding).splitlines()
    assert lines[0] == "C5 Putback may not fail: putback does not raise."
    assert (lines[1], lines[10]) == ("   1. a", "  10. j")
    assert lines[-1] == "  => it raised"


# The lab.


def test_the_lab_tells_who_reads_and_writes():
    lab, seen = WorldLab(), []
    lab.observer = lambda pfn, does: seen.append((pfn, does))
    pfn = lab.alloc(b"12345678")
    lab.write(pfn, b"abcdefgh")
    assert lab.read(pfn) == b"abcdefgh"
    assert lab.get(pfn)
    assert [does for _, does in seen] == ["allocates", "writes", "reads", "references"]
    assert {at for at, _ in seen} == {pfn}
    lab.put(pfn)
    assert lab.references(pfn) == 1
    lab.put(pfn)
    assert lab.references(pfn) == 0
    assert lab.snapshot(pfn)[:8] != b"abcdefgh"


def test_a_frame_that_is_still_under_move_is_not_kept():
    lab = WorldLab()
    subject = plain(lab)
    lab.registry.marks.begin_move(lab.targets().take(16))
    for pfn in range(16):
        lab.world.state[pfn] = type(lab.world.state[pfn])("free")
    assert subject.hold(b"12345678") is None
    assert (subject.owner.pfn_of, len(lab.registry)) == ({}, 0)
    assert lab.references(0) == 0


# Plans.


def test_the_drill_tries_every_fault_and_every_step():
    moves = [action for plan in drill() for action in plan if isinstance(action, Move)]
    assert {move.fault for move in moves} == {None, *FAULTS}
    faults = {(f.callback, f.does) for f in FAULTS if isinstance(f.does, str)}
    assert faults == {
        *(("isolate", does) for does in ("busy", "again", "nonsense", "raise")),
        *(("migrate", does) for does in ("raise", "lie")),
        ("putback", "raise"),
    }
    assert {move.mode for move in moves} == set(Mode)
    meanwhile = {(step, does.does) for move in moves for step, does in move.meanwhile}
    assert meanwhile >= {(step, does) for step in range(9) for does in ("write", "let go", "tick")}
    assert {move.abandon_at for move in moves} >= set(range(9))
    assert any(isinstance(action, Release) for plan in drill() for action in plan)


def test_the_drill_begins_and_ends_in_every_pair_of_phases():
    pairs = {
        tuple(step for step, _ in action.meanwhile)
        for plan in drill()
        for action in plan
        if isinstance(action, Move)
        and [user.does for _, user in action.meanwhile] == ["write", "tick"]
    }
    assert pairs == {(a, b) for a in range(0, 9, 2) for b in range(a + 2, 9, 2)}
    still = [plan for plan in drill(has_time=False) if len(getattr(plan[1], "meanwhile", ())) > 1]
    assert still == []


def test_a_plan_can_go_without_any_of_its_parts():
    plan = (HOLD, Move(nr_targets=0, meanwhile=((1, WRITE), (2, LET_GO))))
    assert list(simpler(plan)) == [
        plan[1:],
        plan[:1],
        (HOLD, Move(nr_targets=0, meanwhile=((2, LET_GO),))),
        (HOLD, Move(nr_targets=0, meanwhile=((1, WRITE),))),
    ]


@hypothesis.given(plans())
@hypothesis.settings(max_examples=50, deadline=None)
def test_a_good_owner_survives_any_plan(plan):
    session_of(*plan).close()


# A run.


def test_a_plain_move_calls_back_in_order():
    session = session_of(HOLD, HOLD, Move())
    assert callbacks(session) == ["isolate", "isolate", "migrate", "migrate"]
    assert [line for line in session.log if "done" in line] == [
        "vm     done: pfn 0x0 MOVED, pfn 0x1 MOVED"
    ]


def test_another_owner_that_raises_sends_it_back():
    session = session_of(HOLD, Move(fault=Fault("migrate", "raise", "after")))
    assert callbacks(session) == ["isolate", "migrate", "isolate", "migrate"]
    assert "vm     done: pfn 0x0 OWNER_FAULTY" in session.log


def test_another_owner_that_refuses_is_asked_after_or_before():
    after = session_of(HOLD, Move(fault=Fault("isolate", "busy", "after")))
    before = session_of(HOLD, Move(fault=Fault("isolate", "busy", "before")))
    assert callbacks(after) == ["isolate", "putback", "isolate", "migrate"]
    assert callbacks(before) == []


def test_again_is_asked_again():
    session = session_of(HOLD, Move(fault=Fault("isolate", "again", "after")))
    assert callbacks(session) == ["isolate", "putback", "isolate", "migrate"]


def test_what_is_let_go_of_inside_a_callback_of_another_is_freed():
    session = session_of(HOLD, Move(fault=Fault("isolate", LET_GO, "after"), nr_targets=0))
    assert session.kept == {}
    session.close()


def test_a_move_that_is_abandoned_puts_back():
    session = session_of(HOLD, Move(abandon_at=2))
    assert callbacks(session) == ["isolate", "putback"]


def test_a_pin_that_has_to_wait_lets_the_mover_go_on():
    plan = Move(meanwhile=((0, LET_GO), (0, HOLD)))
    session = session_of(HOLD, plan)
    assert "vm     goes on to the end, for a pin waits for it" in session.log
    assert len(session.kept) == 1


def test_a_mover_that_comes_second_does_not_end_the_move_of_the_first():
    session = session_of(HOLD)
    first = session.move_steps(Mode.SYNC)
    while next(first) != "migrate":
        pass
    list(session.move_steps(Mode.ASYNC))
    assert (session.watch.told, session.watch.moving) == ({15: 0}, {0})
    list(first)
    assert (session.watch.told, session.watch.moving) == ({}, set())


def test_an_invariant_of_the_move_is_not_blamed_on_the_owner():
    session = session_of(HOLD)
    with pytest.raises(InvariantError, match="M7"):
        session.model.went_wrong("the move", InvariantError("M7 ours"))
    with pytest.raises(BrokenPromiseError, match="C6"):
        session.model.went_wrong("the move", InvariantError("W2 theirs"))


# Several pins on one frame.


class Twice(Subject):
    """Keeps each thing under two pins, and asks for the second before it stops."""

    def __init__(self, lab):
        self.lab = lab
        self.owner = Plain()
        self.inner = PageSubject(lab, self.owner, self.owner.pfn_of, self.owner.quiet)

    def hold(self, data):
        key = self.inner.hold(data)
        pfn = self.owner.pfn_of[key]
        self.lab.get(pfn)
        self.owner.pfn_of[-key] = pfn
        self.lab.registry.pin(pfn, self.owner, -key)
        return key

    def read(self, key):
        return self.inner.read(key)

    def let_go(self, key):
        self.inner.let_go(-key)
        return self.inner.let_go(key)


def test_two_pins_on_one_frame_move_together():
    session = session_of(HOLD, Move(), factory=Twice)
    assert callbacks(session) == ["isolate"] * 2 + ["migrate"] * 2
    session.close()


class Lazy(Plain):
    """Finishes its I/O when the second of its pins is asked, not the first."""

    def isolate(self, pin, mode):
        if pin.private < 0:
            lab, pfn = self.lab, self.pfn_of[pin.private]
            lab.write(pfn, lab.snapshot(pfn)[:8])
        return super().isolate(pin, mode)


class LazyTwice(Twice):
    def __init__(self, lab):
        super().__init__(lab)
        lab.registry.unregister(self.owner)
        self.owner = Lazy()
        self.owner.lab = lab
        self.inner = PageSubject(lab, self.owner, self.owner.pfn_of, self.owner.quiet)


def test_of_several_pins_the_last_yes_counts():
    session_of(HOLD, Move(), factory=LazyTwice).close()


# Searches and reports.


def test_the_same_seed_looks_at_the_same_things():
    first, second = (check(plain, nr_examples=5, seed=3).counts for _ in range(2))
    other = check(plain, nr_examples=5, seed=4).counts
    assert first == second
    assert evolve(first) != other


def test_a_plan_is_shortened_to_what_is_needed():
    class Touchy(Plain):
        def isolate(self, pin, mode):
            raise OSError("no")

    def touchy(lab):
        owner = Touchy()
        return PageSubject(lab, owner, owner.pfn_of, owner.quiet)

    search = Search(touchy, nr_examples=1, seed=0)
    plan = (HOLD, WRITE, HOLD, LET_GO, Release(), Move(), Move())
    finding = search._shorten(plan, search.finding_of(plan))
    assert finding.promise is Promise.C11
    assert [line for line in finding.trace if line.startswith("user")] == [
        "user   gives it thing 0 to keep"
    ]


def test_hypothesis_finds_what_needs_a_history():
    """The fourth thing it is given, it forgets to repoint: no plan of the drill has four."""

    class Forgetting(Plain):
        def migrate(self, pin, target):
            if pin.private == 4:
                self.quiet.discard(pin.private)
            else:
                super().migrate(pin, target)

    def forgetting(lab):
        owner = Forgetting()
        return PageSubject(lab, owner, owner.pfn_of, owner.quiet)

    search = Search(forgetting, nr_examples=200, seed=0)
    finding = search._plans()
    assert finding.promise is Promise.C2
    assert sum("to keep" in line for line in finding.trace) == 4
    assert sum("look up" in line for line in finding.trace) == 1


def test_the_explorer_finds_what_needs_a_moment():
    """It keeps the old address for exactly one access after a move."""

    class Late(Plain):
        def migrate(self, pin, target):
            super().migrate(pin, target)
            self.stale = pin.private, pin.pfn

    class LateSubject(PageSubject):
        def write(self, key, data):
            private, pfn = getattr(self.owner, "stale", (0, 0))
            if private == key and self._lab.references(pfn) and key not in self._quiet:
                self._lab.write(pfn, data)
                return True
            return super().write(key, data)

    def late(lab):
        owner = Late()
        return LateSubject(lab, owner, owner.pfn_of, owner.quiet)

    finding = Search(late, nr_examples=100, seed=0)._schedules()
    assert finding.promise is Promise.C2
    assert "which it was told to leave" in finding.detail


# Ways out that are none.


def test_the_user_s_interrupt_ends_the_search(monkeypatch):
    """An owner's KeyboardInterrupt is a fault; one that arrives in the main thread is not."""
    searches, nr_made = [], iter(range(1_000_000))

    class Noted(Search):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            searches.append(self)

    def interrupting(lab):
        if next(nr_made) == 5:
            _thread.interrupt_main()
        return plain(lab)

    monkeypatch.setattr(conformance, "Search", Noted)
    with pytest.raises(KeyboardInterrupt):
        check(interrupting, nr_examples=10_000)
    assert searches[0].is_over


def test_a_search_that_is_over_begins_no_run():
    search = Search(plain, nr_examples=1, seed=0)
    search.is_over = True
    with pytest.raises(PinpageError, match="given up"):
        search.finding_of((HOLD,))


def test_an_interrupt_is_the_user_s_in_the_main_thread_only():
    seen = [is_users(KeyboardInterrupt()), is_users(SystemExit())]
    other = threading.Thread(target=lambda: seen.append(is_users(KeyboardInterrupt())))
    other.start()
    other.join()
    assert seen == [True, False, False]


def test_an_exit_at_once_is_raised_in_this_thread_and_this_process_only(monkeypatch):
    real, left = os._exit, []
    monkeypatch.setattr(conformance_escape, "_exit_at_once", left.append)
    with exits_are_raised():
        for _ in range(2):
            with exits_are_raised(), pytest.raises(SystemExit, match="3"):
                os._exit(3)
        with pytest.raises(SystemExit, match="3"):
            os._exit(3)
        other = threading.Thread(target=lambda: os._exit(4))
        other.start()
        other.join()
        monkeypatch.setattr(os, "getpid", lambda: -1)  # as a child has another
        os._exit(5)
        monkeypatch.undo()
    assert left == [4, 5]
    assert os._exit is real


def test_a_factory_that_does_not_come_back():
    stuck = threading.Event()
    with pytest.raises(PinpageError, match=r"the factory has not come back for 0\.2 s"):
        check(lambda lab: stuck.wait(), patience_s=0.2)
    stuck.set()


def test_what_came_of_an_earlier_fault_is_not_another():
    session = session_of(HOLD)
    session.watch.broke(Promise.C18, "it has allocated")
    with pytest.raises(BrokenPromiseError, match="C18"):
        session.model.went_wrong("the move", InvariantError("M7 what came of it"))


# What is left over.


def test_the_page_that_was_lost_is_named_and_the_step():
    """Of two things the second is lost, and it has moved since."""

    class Losing(PageSubject):
        def let_go(self, key):
            return key == 2 or super().let_go(key)

    def losing(lab):
        owner = Plain()
        return Losing(lab, owner, owner.pfn_of, owner.quiet)

    session = session_of(HOLD, HOLD, User("let go", 1), Move(), LET_GO, Move(), factory=losing)
    what, line = session.where_lost()
    assert what.endswith(", private 2")
    assert session.log[line - 1] == "user   lets go of thing 1"
    assert session.held == Held(1, 1)


def test_references_that_pile_up_on_a_cached_page_are_lost():
    """Each write leaves a reference, and `references` says so."""

    class Piling(Plain):
        def __init__(self):
            super().__init__()
            self.piled = {}

        def references(self, pfns, privates):
            return np.array([1 + self.piled.get(int(p), 0) for p in privates])

    class PilingSubject(PageSubject):
        cached = None

        def hold(self, data):
            if self.cached is None:
                return super().hold(data)
            key, self.cached = self.cached, None
            self._lab.write(self._pfn_of[key], data)
            return key

        def write(self, key, data):
            done = super().write(key, data)
            if done and self._lab.get(self._pfn_of[key]):
                self.owner.piled[key] = self.owner.piled.get(key, 0) + 1
            return done

        def let_go(self, key):
            if self.cached is not None or key in self._quiet:
                return False
            self.cached = key
            return True

    def piling(lab):
        owner = Piling()
        return PilingSubject(lab, owner, owner.pfn_of, owner.quiet)

    finding = Search(piling, nr_examples=1, seed=0).finding_of((HOLD, WRITE, LET_GO))
    assert finding.promise is Promise.C19
    assert "1 pages with" in finding.detail


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (lambda lab: sys.exit(0), "the factory raised SystemExit: 0"),
        (lambda lab: None, "returned NoneType, not a Subject"),
        (lambda lab: 1 / 0, "raised ZeroDivisionError"),
        (lambda: None, "raised TypeError"),
    ],
)
def test_a_factory_that_is_none(factory, says):
    with pytest.raises(PinpageError, match=says):
        check(factory)


def test_a_report_says_what_the_owner_offers():
    report = check(plain, nr_examples=1)
    assert str(report).startswith("plain keeps every promise: it migrates.\n")
    assert str(evolve(report, can_release=True)).startswith(
        "plain keeps every promise: it migrates and releases."
    )
    idle = evolve(report, can_migrate=False)
    assert str(idle).startswith("plain keeps every promise: it only pins.")
