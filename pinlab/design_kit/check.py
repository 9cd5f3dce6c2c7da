"""Try a design on machine after machine; the first promise that it breaks is named.

Each machine is a `DesignLab`.  The design is asked about every used frame, twice; then it moves
and releases what it said it would, in the three modes; at last all memory is compacted with it
by both strategies.  Same number of machines, same seed: same report.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from mm.designs.rfc2013 import OwnPages
from mm.move.design import Answer, Design
from mm.state.frames import FrameState
from pinlab.design_kit.lab import DesignLab
from pinlab.design_kit.promises import DesignPromise
from pinpage.errors import InvariantError, PinpageError, at_least
from pinpage.owner import Mode, Reason
from pinpage.units import Pfns

__all__ = ["DesignFactory", "DesignFinding", "DesignReport", "check_design"]

DesignFactory = Callable[[DesignLab], Design]
"""Makes a design for a lab's machine."""

_METHODS: Final = ("claims", "ask", "holders", "move", "release")


@frozen
class DesignFinding:
    """A broken promise.

    Attributes:
        promise: which.
        detail: what was seen.
        seed: of the machine on which it was.
    """

    promise: DesignPromise
    detail: str
    seed: int

    def __str__(self) -> str:
        """As the command prints it."""
        return (
            f"{self.promise.name}: {self.promise.title}\n"
            f"  {self.detail} (machine {self.seed})\n"
            f"  Broken, it means: {self.promise.meaning}."
        )


@define
class DesignReport:
    """What was tried, and what came of it.

    Attributes:
        design: its name.
        nr_machines, nr_moved, nr_released, nr_refused: frames, but for the machines.
        finding: the promise that was broken; None if all were kept.
    """

    design: str
    nr_machines: int = 0
    nr_moved: int = 0
    nr_released: int = 0
    nr_refused: int = 0
    finding: DesignFinding | None = None

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return self.finding is None

    def __str__(self) -> str:
        """As the command prints it."""
        if self.finding is not None:
            return f"{self.design} breaks a promise.\n\n{self.finding}"
        return (
            f"{self.design} keeps every promise.\n"
            f"{self.nr_machines} machines: {self.nr_moved} frames moved, "
            f"{self.nr_released} released, {self.nr_refused} refused."
        )


class _BrokenError(Exception):
    def __init__(self, promise: DesignPromise, detail: str) -> None:
        super().__init__(detail)
        self.promise = promise


def check_design(make: DesignFactory, *, nr_examples: int = 8, seed: int = 0) -> DesignReport:
    """Run the whole kit against the designs that `make` makes.

    Args:
        make: gets a `DesignLab`, returns a design for it; called once for each machine.
        nr_examples: machines.
        seed: of the first of them.

    Raises:
        PinpageError: no machines, or what `make` returns is no design.

    Cost: about a quarter of a second for each machine.
    """
    at_least(1, "check", nr_examples=nr_examples)
    at_least(0, "check", seed=seed)
    report = DesignReport("")
    for which in range(seed, seed + nr_examples):
        lab = DesignLab(which)
        design = make(lab)
        missing = [name for name in _METHODS if not callable(getattr(design, name, None))]
        if missing or not isinstance(getattr(design, "name", None), str):
            raise PinpageError(f"that is no design: it has no {', '.join(missing) or 'name'}")
        lab.machine.design = design
        report.design = design.name
        report.nr_machines += 1
        try:
            _try(lab, design, Mode(which % len(Mode)), report)
        except _BrokenError as broken:
            report.finding = DesignFinding(broken.promise, str(broken), which)
            break
    return report


def _try(lab: DesignLab, design: Design, mode: Mode, report: DesignReport) -> None:
    used = lab.used
    answers = _asked(lab, design, used, mode)
    for answer in (Answer.MOVE, Answer.RELEASE):
        chosen = used[answers == answer]
        chosen = chosen[lab.machine.frames.state[chosen] == FrameState.USED]
        if len(chosen):
            _act(lab, design, chosen, mode, answer, report)
    for strategy in ("scan", "plan"):
        try:
            lab.machine.compact(strategy, mode)
        except InvariantError as error:
            raise _BrokenError(DesignPromise.D4, f"compacting by {strategy}: {error}") from None
        _require_whole(lab)


def _asked(lab: DesignLab, design: Design, used: Pfns, mode: Mode) -> NDArray[np.uint8]:
    """Ask twice; D1 and D6."""
    before, nr_frames = lab.facts(), lab.machine.frames.nr_frames
    design.claims(0, nr_frames)
    first, _ = design.ask(used, mode)
    design.holders(nr_frames)
    if lab.facts() != before:
        raise _BrokenError(
            DesignPromise.D1, f"claims, ask and holders about {len(used)} frames changed one"
        )
    second, _ = design.ask(used, mode)
    differs = np.flatnonzero(np.asarray(first) != second)
    if len(first) != len(used) or len(differs):
        pfn = int(used[differs[0]]) if len(differs) else -1
        raise _BrokenError(DesignPromise.D6, f"asked twice about pfn {pfn:#x}, it said two things")
    return np.asarray(first)


def _act(
    lab: DesignLab,
    design: Design,
    chosen: Pfns,
    mode: Mode,
    answer: Answer,
    report: DesignReport,
) -> None:
    """Move or release what it said it would; then look."""
    before = {pfn: lab.facts_of(pfn) for pfn in chosen.tolist()}
    try:
        if answer is Answer.MOVE:
            reasons = design.move(chosen, OwnPages(lab.machine), mode).reasons
        else:
            reasons = design.release(chosen, mode)
    except InvariantError as error:
        raise _BrokenError(DesignPromise.D4, str(error)) from None
    if missing := lab.missing():
        raise _BrokenError(DesignPromise.D2, missing)
    _require_so(lab, chosen, np.asarray(reasons))
    stayed = chosen[reasons > Reason.RELEASED]
    for pfn in stayed.tolist():
        if lab.facts_of(pfn) != before[pfn]:
            raise _BrokenError(DesignPromise.D3, f"pfn {pfn:#x} stayed, and is not as it was")
    report.nr_refused += len(stayed)
    report.nr_moved += int(np.count_nonzero(reasons == Reason.MOVED))
    report.nr_released += int(np.count_nonzero(reasons == Reason.RELEASED))
    _require_whole(lab)


def _require_so(lab: DesignLab, chosen: Pfns, reasons: NDArray[np.uint8]) -> None:
    """D4, frame by frame."""
    if len(reasons) != len(chosen):
        raise _BrokenError(DesignPromise.D4, f"{len(reasons)} reasons for {len(chosen)} frames")
    is_free = lab.machine.frames.state[chosen] != FrameState.USED
    wrong = np.flatnonzero((reasons <= Reason.RELEASED) & ~is_free)
    if len(wrong):
        pfn, reason = int(chosen[wrong[0]]), Reason(int(reasons[wrong[0]]))
        raise _BrokenError(DesignPromise.D4, f"pfn {pfn:#x} is {reason.name}, and still in use")


def _require_whole(lab: DesignLab) -> None:
    if missing := lab.missing():
        raise _BrokenError(DesignPromise.D2, missing)
    if lost := lab.lost():
        raise _BrokenError(DesignPromise.D5, lost)
    try:
        lab.machine.check()
    except InvariantError as error:
        raise _BrokenError(DesignPromise.D4, str(error)) from None
