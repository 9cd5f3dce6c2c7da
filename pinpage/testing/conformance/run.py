"""One run of a plan: an owner in its lab, its users, the VM and another owner around it.

After every action the owner is at rest, and then it must be exactly what the model says: a
dict from keys to what was given.  Cost: about a millisecond per plan in a `WorldLab`.
"""

from collections.abc import Generator
from inspect import GEN_RUNNING, getgeneratorstate
from typing import TypeAlias, cast

import numpy as np

from pinpage.errors import InvariantError
from pinpage.migrate import move_steps
from pinpage.move.release import release_steps
from pinpage.move.report import MoveReport
from pinpage.move.steps import Reasons, Step
from pinpage.owner import Mode, Reason
from pinpage.testing.conformance.accounts import Held
from pinpage.testing.conformance.counts import Counts
from pinpage.testing.conformance.escape import is_users
from pinpage.testing.conformance.lab import Factory
from pinpage.testing.conformance.owner_model import NR_PASSES, OwnerModel, has_time
from pinpage.testing.conformance.partner import Partner
from pinpage.testing.conformance.plan import Action, Fault, Move, Plan, User
from pinpage.testing.conformance.promises import Promise
from pinpage.testing.conformance.watch import BrokenPromiseError
from pinpage.units import Pfns

__all__ = ["Session", "Steps"]

Steps: TypeAlias = Generator[str, None, Reasons]
"""A move or a release, step by step in words; at its end one `Reason` per frame."""

_TRANSIENT = (Reason.OWNER_AGAIN, Reason.PARTNER_REFUSED)
"""Another pass may succeed (of a partner we do not ask whether it said Again or Busy)."""


class _Ride:
    """A move on its way, which may have to go on while its driver is busy elsewhere."""

    def __init__(self, steps: Generator[Step, None, MoveReport | Reasons]) -> None:
        self.reasons: Reasons = np.empty(0, dtype=np.uint8)
        self._steps = steps
        self._is_over = False

    @property
    def can_go_on(self) -> bool:
        return not self._is_over and getgeneratorstate(self._steps) != GEN_RUNNING

    def step(self) -> Step | None:
        if self._is_over:
            return None
        try:
            return next(self._steps)
        except StopIteration as end:
            self._is_over = True
            self.reasons = getattr(end.value, "reasons", end.value)
            return None

    def finish(self) -> None:
        while self.step() is not None:
            pass


class Session:
    """Runs plans.

    Attributes:
        model: the owner in its lab, and what it must have.
        lab, log, watch, kept, accounts: of the model, one step nearer.
        held_at_first: what the owner held when it was new.
    """

    def __init__(
        self, factory: Factory, counts: Counts | None = None, *, use_batch_forms: bool = True
    ) -> None:
        """A fresh lab with the owner in it; other owners before it, as spares.

        Raises:
            PinpageError: the factory gives no subject.
        """
        self.model = model = OwnerModel(factory, self.user)
        self.lab, self.log, self.watch = model.lab, model.log, model.watch
        self.kept, self.accounts = model.kept, model.accounts
        self._counts = counts or Counts()
        self._nr_things = 0
        self._nr_actions = 0
        self._rides: list[_Ride] = []
        self.watch.attach(use_batch_forms=use_batch_forms)
        self.watch.finish_moves = self._finish_moves
        self.held_at_first = self.held

    # Actions.

    def run(self, plan: Plan) -> None:
        """All of a plan, then let go of everything.

        Raises:
            BrokenPromiseError: the owner broke a promise.
        """
        for action in plan:
            self.act(action)
        self.close()

    def act(self, action: Action) -> None:
        """One action, and the owner at rest after it."""
        if isinstance(action, User):
            self.user(action)
        elif isinstance(action, Move):
            self._move(action)
        else:
            self._exhaust(self.release_steps(action.mode), action.meanwhile, None)
        self.model.at_rest()

    def close(self) -> None:
        """Let go of everything; nothing must be left."""
        for _ in range(NR_PASSES):
            for _ in range(len(self.kept)):
                self.user(User("let go"))
            if not self.kept:
                break
            self.user(User("tick"))
        for number, _ in self.kept.values():
            self.watch.broke(Promise.C16, f"it does not let go of thing {number}")
        self.model.at_rest()
        self._let_time_pass()
        self._require_no_strays()
        self.model.check_lab()

    @property
    def held(self) -> Held:
        """What the owner holds now."""
        return self.accounts.held(self.model.pins())

    @property
    def is_excused(self) -> bool:
        """Whether pages were lost by a partner that lied."""
        return bool(self.model.excused)

    def where_lost(self) -> tuple[str, int]:
        """A page that is held, and the line of the log after which nobody wanted it."""
        return self.accounts.where_lost(self.model.pins())

    def uses_again(self, nr_per_page: int) -> bool:
        """Whether the pages that are left hold all that they have room for: then none is lost.

        Args:
            nr_per_page: things that a page has room for.
        """
        before = self.held
        if before.nr_references > before.nr_pages:  # some may be lost: only repetition tells
            return False
        nr_things = before.nr_pages * nr_per_page
        try:
            for _ in range(nr_things):
                self.user(User("hold"))
            hold_all = len(self.kept) == nr_things and self.held.nr_pages <= before.nr_pages
            self.close()
        except BrokenPromiseError:  # a plan of its own shows it
            return True
        return hold_all and not self.held.is_more_than(before)

    def can_hold(self) -> bool:
        """Whether it would keep one thing more, and lets go of that again."""
        self.user(User("hold"))
        can = bool(self.kept)
        self.close()
        return can

    def _let_time_pass(self) -> None:
        """Some free what they were told to only when a worker comes by."""
        before: tuple[Held, list[int]] | None = None
        while has_time(self.model.subject):
            held = self.held
            if not held.is_more_than(self.held_at_first) and not self._strays():
                break
            left = held, self._strays()
            if left == before:
                break
            before = left
            self.user(User("tick"))

    def _strays(self) -> list[int]:
        return [
            pfn for pfn in self.accounts.strays(self.model.pins()) if pfn not in self.model.excused
        ]

    def _require_no_strays(self) -> None:
        for pfn in self._strays()[:1]:
            step = self.watch.allocated_at.get(pfn, len(self.log))
            what = f"pfn {pfn:#x}, allocated in step {step}, has no pin and was not given back"
            self.watch.broke(Promise.C14, what)
        self.watch.require_kept()

    def user(self, action: User) -> None:
        """What the owner's users do; also from inside another owner's callback."""
        self._nr_actions += 1
        outer, self.watch.doing = self.watch.doing, action.does
        try:
            self._user(action)
        except BrokenPromiseError:
            raise
        except BaseException as error:
            if is_users(error):
                raise
            self.model.went_wrong(action.does, error)
        finally:
            self.watch.doing = outer
        self.watch.look_for_writes()

    def _user(self, action: User) -> None:
        subject = self.model.subject
        if action.does == "tick":
            self.log.append("user   lets time pass")
            subject.tick()
        elif action.does == "hold":
            self._hold()
        elif self.kept:
            key = list(self.kept)[action.thing % len(self.kept)]
            number, data = self.kept[key]
            if action.does == "read":
                got = subject.read(key)
                self._say_user(f"reads thing {number}", got is not None)
                if got is not None:
                    self.model.compare(number, got, data)
            elif action.does == "write":
                fresh = b"again%03d" % (number % 1000)
                done = subject.write(key, fresh)
                self._say_user(f"writes thing {number}", done)
                if done:
                    self.kept[key] = number, fresh
            else:
                done = subject.let_go(key)
                self._say_user(f"lets go of thing {number}", done)
                if done:
                    del self.kept[key]
                    self.accounts.let_go(number)

    def _hold(self) -> None:
        number = self._nr_things
        data = b"thing%03d" % (number % 1000)
        key = self.model.subject.hold(data)
        self._say_user(f"gives it thing {number} to keep", key is not None)
        if key is None:
            return
        self._nr_things += 1
        self.kept[key] = number, data
        if not self.model.pins():
            self.watch.broke(Promise.C14, f"it keeps thing {number} and has not pinned any frame")

    def _move(self, action: Move) -> None:
        partner = self._partner(action.fault)
        if partner is not None:
            partner.share(self.model.pfns().tolist(), action.fault)
            self.log.append(f"other  shares the frames, registered {self._side(action.fault)}")
        for _ in range(NR_PASSES):
            reasons = self._exhaust(
                self.move_steps(action.mode, action.nr_targets), action.meanwhile, action.abandon_at
            )
            if reasons is None or not np.isin(reasons, _TRANSIENT).any():
                break
            self.user(User("tick"))
        if partner is not None:
            self.model.excused |= partner.perhaps_kept
            partner.leave()
        if action.is_undisturbed and reasons is not None:
            self._require_moved(reasons)

    def move_steps(self, mode: Mode, nr_targets: int | None = None) -> Steps:
        """Move every frame that the owner has pinned; yields the steps in words.

        Args:
            mode: of the move.
            nr_targets: frames that the move may use; None: any number.
        """
        pfns = self.model.pfns()
        self.watch.moving.update(pfns.tolist())
        targets = self.lab.targets(nr_targets)
        steps = move_steps(self.lab.registry, self.lab.memory, pfns, targets, mode)
        return (yield from self._steps(steps, pfns))

    def release_steps(self, mode: Mode) -> Steps:
        """Have every frame given up, where the owner can; yields the steps in words."""
        pfns = self.model.pfns() if self.model.owner.can_release else np.empty(0, dtype=np.int64)
        self.model.lost_to_release |= bool(len(pfns))
        self.watch.moving.update(pfns.tolist())
        return (
            yield from self._steps(
                release_steps(self.lab.registry, self.lab.memory, pfns, mode), pfns
            )
        )

    def _steps(self, steps: Generator[Step, None, MoveReport | Reasons], pfns: Pfns) -> Steps:
        """Pass steps on; after each the watch may have seen something."""
        ride = _Ride(steps)
        self._rides.append(ride)
        nr_actions = self._nr_actions
        try:
            while (step := ride.step()) is not None:
                self.log.append(f"vm     {step}")
                self.watch.look_for_writes()
                self.watch.require_kept()
                if step is Step.FREE:  # final; whoever gets such a frame now is a new user
                    self.watch.end_of_move(pfns.tolist())
                yield str(step)
        except InvariantError as error:
            self.model.went_wrong("the move", error)
            raise
        finally:
            self._rides.remove(ride)
            steps.close()
            another = ride.reasons == Reason.ALREADY_ISOLATED  # then it is under move still
            self.watch.end_of_move((pfns[~another] if len(another) else pfns).tolist())
        self.watch.require_kept()
        reasons = ride.reasons
        self._counts.add(reasons)
        told = [f"pfn {p:#x} {Reason(r).name}" for p, r in zip(pfns, reasons, strict=True)]
        self.log.append(f"vm     done: {', '.join(told) or 'nothing to do'}")
        if nr_actions == self._nr_actions:
            self.model.blame(pfns, reasons)
        self.model.require_not_faulty()
        return reasons

    def _finish_moves(self) -> bool:
        """Somebody waits for the moves on their way: they go on to their ends."""
        rides = [ride for ride in self._rides if ride.can_go_on]
        for ride in rides:
            self.log.append("vm     goes on to the end, for a pin waits for it")
            ride.finish()
        return bool(rides)

    def _exhaust(
        self,
        steps: Steps,
        meanwhile: tuple[tuple[int, User], ...],
        abandon_at: int | None,
    ) -> Reasons | None:
        number = 0
        try:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    return cast(Reasons, end.value)
                for at, action in meanwhile:
                    if at == number:
                        self.user(action)
                        self.watch.require_kept()
                if number == abandon_at:
                    self.log.append("vm     has lost interest")
                    return None
                number += 1
        finally:
            steps.close()

    def _require_moved(self, reasons: Reasons) -> None:
        """Left alone, a movable owner's frames move."""
        if not self.model.owner.can_migrate or not len(reasons):
            return
        if (reasons == Reason.NO_TARGET).all():  # the lab is full: not the owner's answer
            return
        if not (reasons <= Reason.RELEASED).any():
            was_put_back = "putback" in self.watch.last.values()
            promise = Promise.C4 if was_put_back else Promise.C15
            said = Reason(int(reasons[0])).name
            self.watch.broke(promise, f"left alone for {NR_PASSES} passes, it answers {said}")

    # Small things.

    def _partner(self, fault: Fault | None) -> Partner | None:
        if fault is None:
            return None
        if fault.side == "before":
            usable = [p for p in self.model.partners_before if not self.lab.registry.is_faulty(p)]
            return usable[0] if usable else None
        self.model.partners_after.append(
            Partner(f"guest {len(self.model.partners_after)}", self.lab, self.user)
        )
        return self.model.partners_after[-1]

    def _side(self, fault: Fault | None) -> str:
        return f"{fault.side} the owner; {fault}" if fault is not None else ""

    def _say_user(self, what: str, done: bool) -> None:
        self.log.append(f"user   {what}" + ("" if done else ": not now"))
