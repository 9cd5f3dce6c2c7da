"""Stands between the VM and an owner, and writes down what each of them does.

The watch wraps the callbacks of one owner and the registry that it uses, and is told of the
owner's accesses to frames.  What contradicts the contract at that very moment it notes as a
`Finding`; what shows only at rest is for `conformance_run` to look up.

Owns:    who is quiesced, who was told which new place, the log.
Ignores: why anything happens.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.conformance.columns import is_verdict, pfns_of, plain, thing
from pinpage.testing.conformance.escape import contained, is_users, what_it_says
from pinpage.testing.conformance.lab import Lab
from pinpage.testing.conformance.promises import Finding, Promise
from pinpage.units import Pfns

__all__ = ["BrokenPromiseError", "Event", "Watch"]

Event = tuple[str, int, Any, str]
"""A callback about one pin, for comparison: (callback, pfn, private, answer)."""

_CALLBACKS = ("isolate", "migrate", "putback", "release")
_ANSWERED = ("isolate", "release")
_COUNTING = "references"
_PINNING = ("pin", "pin_range", "pin_many")
_UNPINNING = ("unpin", "unpin_range", "unpin_many")


class BrokenPromiseError(Exception):
    """Stops a run: `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        """Carry the finding."""
        super().__init__(str(finding))
        self.finding = finding


class Watch:
    """What one owner does and what is done to it.

    Attributes:
        log: what happened, one line each.
        events, lines: its callbacks, pin by pin, and how long the log was with each.
        finding: the first broken promise, or None.
        quiet: (pfn, private) -> the frame's contents, from Yes to migrate or putback.
        told: target -> source, from migrate until the move has ended.
        last: pfn -> what the owner was told last about it: "migrate" and "back" of its new
            place, "left" and "left again" of the old one, "putback".
        inside: the callback that runs, or "".
        doing: what a user of the owner does at the moment, or "".
        touched, reached: the frame of the last access; those since somebody cleared the set.
        allocated_at: pfn -> the line of the log, from 1, in which it was allocated last.
        moving: sources of moves on their way.
        nr_other_references: references of a frame that the kit's own partners hold.
        finish_moves: runs the moves that are on their way to their ends, as they would while
            somebody waits for them; False if there is none that can go on.
    """

    def __init__(self, lab: Lab, owner: PinOwner, log: list[str]) -> None:
        """Watch `owner` from here on; its callbacks are replaced on the instance."""
        self.log = log
        self.events: list[Event] = []
        self.lines: list[int] = []
        self.finding: Finding | None = None
        self.quiet: dict[tuple[int, Any], bytes] = {}
        self.told: dict[int, int] = {}
        self.last: dict[int, str] = {}
        self.touched = -1
        self.reached: set[int] = set()
        self.allocated_at: dict[int, int] = {}
        self.inside = ""
        self.doing = ""
        self.moving: set[int] = set()
        self.nr_other_references: Callable[[int], int] = lambda _pfn: 0
        self.finish_moves: Callable[[], bool] = lambda: False
        self._gone: set[int] = set()
        self._still: set[int] = set()
        self._lab = lab
        self._owner = owner
        lab.observer = self._access
        for name in (*_PINNING, *_UNPINNING, "unregister"):
            self._hook(lab.registry, name)
        self._forbid_moves(lab.registry.marks, "begin_move")
        self._forbid_moves(lab.memory, "take")

    def broke(self, promise: Promise, detail: str) -> None:
        """Note a broken promise; the first one stays.

        Args:
            promise: which.
            detail: what happened, in words.
        """
        if self.finding is None:
            self.finding = Finding(promise, detail, tuple(self.log))

    def require_kept(self) -> None:
        """Stop if a promise was broken.

        Raises:
            BrokenPromiseError: one was.
        """
        if self.finding is not None:
            raise BrokenPromiseError(self.finding)

    def look_for_writes(self) -> None:
        """Find what was written to quiesced frames past the observer (C1)."""
        for (pfn, private), before in self.quiet.items():
            if self._is_quiet(pfn) and self._lab.snapshot(pfn) != before:
                self.broke(Promise.C1, f"pfn {pfn:#x} changed while {thing(private)} was quiesced")

    def end_of_move(self, pfns: Iterable[int]) -> None:
        """These frames are not under move any more; nobody stands in for them."""
        left = set(pfns)
        self.told = {target: pfn for target, pfn in self.told.items() if pfn not in left}
        self.moving -= left

    def owns(self, pfn: int) -> bool:
        """Whether the owner has a pin on the frame."""
        return any(pin.owner is self._owner for pin in self._lab.registry.pins(pfn))

    # Wrapping.

    def attach(self, *, use_batch_forms: bool) -> None:
        """Replace the callbacks; without batch forms every pin goes through the single one."""
        owner = self._owner
        kind = type(owner)
        for name in _CALLBACKS:
            many = f"{name}_many"
            has_batch_form = getattr(kind, many) is not getattr(PinOwner, many)
            batch = getattr(owner, many)
            setattr(owner, name, self._single(name, getattr(owner, name)))
            if has_batch_form and not use_batch_forms:
                setattr(owner, many, self._one_by_one(getattr(PinOwner, many), batch))
            elif has_batch_form:
                setattr(owner, many, self._batch(name, batch))
        setattr(owner, _COUNTING, self._counting(owner.references))

    def _hook(self, registry: PinRegistry, name: str) -> None:
        method = getattr(registry, name)

        def hooked(*args: Any, **kwargs: Any) -> Any:
            def call() -> Any:
                return method(*args, **kwargs)

            if name in _PINNING:
                return self._pin(call, name, args, kwargs.get("wait", True))
            if name in _UNPINNING:
                return self._unpin(call, name, args)
            return self._unregister(call, args)

        setattr(registry, name, hooked)

    def _forbid_moves(self, subject: object, name: str) -> None:
        """C17: every way to move frames, or to have them released, comes by here."""
        method = getattr(subject, name)

        def hooked(pfns: Pfns, *args: Any) -> Any:
            if self.inside and len(pfns):
                what = f"{self.inside} has pfn {int(pfns[0]):#x} moved or released"
                self.broke(Promise.C17, what)
            return method(pfns, *args)

        setattr(subject, name, hooked)

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(pfns: Any, privates: Any) -> Any:
            if self.inside:
                return call(pfns, privates)
            self.inside = "references"
            try:
                return call(pfns, privates)
            except BaseException as error:
                if is_users(error):
                    raise
                self.broke(Promise.C6, f"references raised {what_it_says(error)}")
                raise contained(error) from error
            finally:
                self.inside = ""

        return counted

    def _single(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(pin: Pin, *rest: Any) -> Any:
            if self.inside:
                return call(pin, *rest)
            targets = [int(rest[0])] if name == "migrate" else []
            answers = self._observe(
                name, [(pin.pfn, pin.private)], targets, rest, lambda: [call(pin, *rest)]
            )
            return answers[0]

        return watched

    def _one_by_one(
        self, loop: Callable[..., Any], batch: Callable[..., Any]
    ) -> Callable[..., Any]:
        """The default loop; a single form that is a batch of one still gets its batch."""

        def called(*args: Any) -> Any:
            return batch(*args) if self.inside else loop(self._owner, *args)

        return called

    def _batch(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(pfns: Any, privates: Any, *rest: Any) -> Any:
            if self.inside:
                return call(pfns, privates, *rest)
            pins = list(zip(np.asarray(pfns).tolist(), plain(privates), strict=True))
            targets = np.asarray(rest[0]).tolist() if name == "migrate" else []
            return self._observe(name, pins, targets, rest, lambda: call(pfns, privates, *rest))

        return watched

    def _observe(
        self,
        name: str,
        pins: list[tuple[int, Any]],
        targets: list[int],
        rest: Sequence[Any],
        call: Callable[[], Any],
    ) -> Any:
        self._entering(name, pins, targets)
        self.inside = name
        try:
            answer = call()
        except BaseException as error:
            if is_users(error):
                raise
            self._raised(name, pins, targets, error)
            raise contained(error) from error
        finally:
            self.inside = ""
        if name in _ANSWERED:
            self._answered(name, pins, rest[0], answer)
        else:
            self._say(name, pins, targets, "")
        return answer

    # What is seen.

    def _entering(self, name: str, pins: list[tuple[int, Any]], targets: list[int]) -> None:
        self.look_for_writes()
        if name in ("migrate", "putback"):
            for key in pins:
                self.quiet.pop(key, None)
            self._still &= {pfn for pfn, _ in self.quiet}
        for (pfn, _), target in zip(pins, targets, strict=False):
            is_back = self.told.get(pfn) == target
            self.last[target] = "back" if is_back else "migrate"
            self.last[pfn] = "left again" if is_back else "left"
            if is_back:
                del self.told[pfn]
            else:
                self.told[target] = pfn
        if name == "putback":
            self.last.update((pfn, name) for pfn, _ in pins)

    def _raised(
        self, name: str, pins: list[tuple[int, Any]], targets: list[int], error: BaseException
    ) -> None:
        what = what_it_says(error)
        self._say(name, pins, targets, f"raises {what}")
        promise = {"migrate": Promise.C3, "putback": Promise.C5}.get(name, Promise.C11)
        if targets and self.last[targets[0]] == "back":
            promise = Promise.C13
        self.broke(promise, f"{name} raised {what}")

    def _answered(self, name: str, pins: list[tuple[int, Any]], mode: Mode, answer: Any) -> None:
        answers = plain(answer)
        if len(answers) != len(pins) or not all(map(is_verdict, answers)):
            self._say(name, pins, [], f"{mode.name} -> {answer!r}")
            self.broke(Promise.C11, f"{name} of {len(pins)} pins answered {answers!r}")
            return
        for pin, verdict in zip(pins, map(Verdict, answers), strict=True):
            self._say(name, [pin], [], f"{mode.name} -> {verdict.name.title()}")
            if verdict is Verdict.YES and name == "isolate" and self._has(pin):
                self._said_yes(pin)
            elif verdict is Verdict.YES and name == "release":
                self._released(pin)

    def _said_yes(self, pin: tuple[int, Any]) -> None:
        """Of several pins on one frame the last Yes counts: before it another may be in use."""
        self.quiet[pin] = b""
        self._look_who_is_still()

    def _look_who_is_still(self) -> None:
        """A frame whose last pin has said Yes, or has gone, must stay as it is from now on."""
        still = {pfn for pfn, _ in self.quiet if self._is_quiet(pfn)}
        for pfn in still - self._still:
            now = self._lab.snapshot(pfn)
            self.quiet.update((pin, now) for pin in self.quiet if pin[0] == pfn)
        self._still = still

    def _is_quiet(self, pfn: int) -> bool:
        """Whether every pin that the owner has on the frame has said Yes."""
        pins = [(pin.pfn, pin.private) for pin in self._lab.registry.pins(pfn)
                if pin.owner is self._owner]  # fmt: skip
        return bool(pins) and self.quiet.keys() >= set(pins)

    def _released(self, pin: tuple[int, Any]) -> None:
        pfn, private = pin
        if self._has(pin):
            self.broke(Promise.C9, f"release of {thing(private)} said Yes and kept its pin")
            return
        left = self._lab.references(pfn) - 1 - self.nr_other_references(pfn)
        if left > 0 and not self.owns(pfn):
            self.broke(
                Promise.C9, f"release of {thing(private)} said Yes and kept {left} references"
            )

    def _access(self, pfn: int, does: str) -> None:
        if does == "allocates":
            self._allocated(pfn)
            return
        if does == "references":
            self._referenced(f"the owner takes a reference of pfn {pfn:#x}", pfn)
            return
        what = f"the owner {does} pfn {pfn:#x}"
        self.touched = pfn
        self.reached.add(pfn)
        if self.quiet and self._is_quiet(pfn):
            self.log.append(f"owner  {does} pfn {pfn:#x}")
            self.broke(Promise.C1, f"{what} after it said Yes and before migrate or putback")
        elif pfn in self.told.values() and self.inside != "migrate":
            self.broke(Promise.C2, f"{what}, which it was told to leave")
        elif not (self.owns(pfn) or pfn in self.told):
            self._has_no_business(what, pfn, "on which it has no pin")

    def _has_no_business(self, what: str, pfn: int, why: str) -> None:
        """C14 before its first pin on the frame; after its last one, C12 or what it was told."""
        left = {"left": Promise.C2, "left again": Promise.C13}.get(self.last.get(pfn, ""))
        self.log.append(what.replace("the owner", "owner ", 1))
        if left:
            self.broke(left, f"{what}, which it was told to leave")
        elif self.doing in ("hold", "write") and pfn not in self._gone:
            self.broke(Promise.C14, f"{what}, which it has not pinned")
        else:
            self.broke(Promise.C12, f"{what}, {why}")

    def _allocated(self, pfn: int) -> None:
        self.last.pop(pfn, None)
        self._gone.discard(pfn)
        self.allocated_at[pfn] = len(self.log) + 1  # the one that says what it was done for
        if self.inside and self.inside != "release":
            self.broke(Promise.C18, f"{self.inside} allocated pfn {pfn:#x}")

    def _referenced(self, what: str, pfn: int) -> None:
        """Whoever finds a frame by a table of his own that is up to date finds no free one."""
        if not (self._lab.references(pfn) or pfn in self.told or self.owns(pfn)):
            self._has_no_business(what, pfn, "which is free")

    def _pin(self, call: Callable[..., Any], name: str, args: Sequence[Any], wait: object) -> Any:
        """A pin by anybody; one that has to wait for a mover lets the mover go on."""
        if self.inside and args[2 if name == "pin_range" else 1] is self._owner:
            self._pinned_inside(name, args)
        verdict = call()
        if verdict is Verdict.AGAIN and wait and not self.inside and self.finish_moves():
            verdict = call()
        if not self.inside and verdict is Verdict.YES:
            for pfn in pfns_of(name, args):
                self.last.pop(pfn, None)  # whatever it was before, it is somebody's anew
                self._gone.discard(pfn)
        return verdict

    def _pinned_inside(self, name: str, args: Sequence[Any]) -> None:
        """C7; a frame freed under its move may come back from the allocator: then Again is all."""
        for pfn in sorted(pfns_of(name, args) & (self.moving | self.told.keys())):
            if pfn in self.moving and not self.owns(pfn):
                continue
            self.broke(Promise.C7, f"{self.inside} pinned pfn {pfn:#x}, which is under move")

    def _unpin(self, call: Callable[..., Any], name: str, args: Sequence[Any]) -> Any:
        call()
        if args[2 if name == "unpin_range" else 1] is self._owner:
            self._gone |= {pfn for pfn in pfns_of(name, args) if not self.owns(pfn)}
        self.quiet = {pin: held for pin, held in self.quiet.items() if self._has(pin)}
        self._look_who_is_still()

    def _unregister(self, call: Callable[..., Any], args: Sequence[Any]) -> Any:
        if self.inside and args[0] is self._owner:
            self.broke(Promise.C10, f"{self.inside} unregistered its own owner")
        return call()

    def _has(self, pin: tuple[int, Any]) -> bool:
        """Whether the pin is there, by its name or by that of the source it stands for."""
        pfn, private = pin
        wanted = Pin(self.told.get(pfn, pfn), self._owner, private)
        return wanted in self._lab.registry.pins(wanted.pfn)

    def _say(self, name: str, pins: list[tuple[int, Any]], targets: list[int], end: str) -> None:
        for at, (pfn, private) in enumerate(pins):
            to = f" to {targets[at]:#x}" if targets else ""
            self.events.append((name, pfn, private, end))
            self.lines.append(len(self.log) + 1)
            self.log.append(f"owner  {name} of pfn {pfn:#x}{to}, {thing(private)} {end}".rstrip())
