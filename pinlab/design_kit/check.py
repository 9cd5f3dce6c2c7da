"""Try a design on machine after machine; the first promise that it breaks is named.

Each machine is a `DesignLab`.  The design is asked about every used frame, twice; then it moves
and releases what it said it would, in the three modes; at last all memory is compacted with it
by both strategies.  Same number of machines, same seed: same report.

A design cannot end the kit: whatever it raises, an exit too, is a finding (DP7).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

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
from pinpage.testing.conformance.escape import exits_are_raised, is_users, what_it_says
from pinpage.units import Pfns

__all__ = ["DesignFactory", "DesignFinding", "DesignReport", "check_design"]

DesignFactory = Callable[[DesignLab], Design]
"""Makes a design for a lab's machine."""

_METHODS: Final = ("claims", "ask", "holders", "move", "release")
_COUNTS: Final = ("lock_acquisitions", "nr_callbacks")


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
        PinpageError: no machines, `make` raises, or what it returns is no design.

    Cost: about a quarter of a second for each machine.
    """
    at_least(1, "check", nr_examples=nr_examples)
    at_least(0, "check", seed=seed)
    report = DesignReport("")
    for which in range(seed, seed + nr_examples):
        lab = DesignLab(which)
        with exits_are_raised():
            design = _made(make, lab)
            lab.machine.design = design
            report.design = design.name
            report.nr_machines += 1
            try:
                _try(lab, design, Mode(which % len(Mode)), report)
            except _BrokenError as broken:
                report.finding = DesignFinding(broken.promise, str(broken), which)
                break
    return report


def _made(make: DesignFactory, lab: DesignLab) -> Design:
    try:
        design = make(lab)
    except BaseException as error:  # a factory that exits, too
        if is_users(error):
            raise
        raise PinpageError(
            f"the factory raised {what_it_says(error)}; it gets a DesignLab and returns a design"
        ) from error
    missing = [name for name in _METHODS if not callable(getattr(design, name, None))]
    missing += [] if isinstance(getattr(design, "name", None), str) else ["name"]
    missing += [name for name in _COUNTS if not hasattr(design, name)]
    if missing:
        raise PinpageError(
            f"that is no design: it has no {', '.join(missing)}: "
            "see docs/tutorial/write-a-design.md"
        )
    return design


@contextmanager
def _answering(when: str) -> Iterator[None]:
    """DP4 where the machine contradicts itself meanwhile, DP7 for whatever else comes out of it."""
    try:
        yield
    except _BrokenError:
        raise
    except InvariantError as error:
        raise _BrokenError(DesignPromise.DP4, f"{when}: {error}") from None
    except BaseException as error:
        if is_users(error):
            raise
        raise _BrokenError(DesignPromise.DP7, f"{when} raised {what_it_says(error)}") from error


def _try(lab: DesignLab, design: Design, mode: Mode, report: DesignReport) -> None:
    used = lab.used
    answers = _asked(lab, design, used, mode)
    for answer in (Answer.MOVE, Answer.RELEASE):
        chosen = used[answers == answer]
        chosen = chosen[lab.machine.frames.state[chosen] == FrameState.USED]
        if len(chosen):
            _act(lab, design, chosen, mode, answer, report)
    for strategy in ("scan", "plan"):
        with _answering(f"compacting by {strategy}"):
            lab.machine.compact(strategy, mode)
        _require_whole(lab)


def _asked(lab: DesignLab, design: Design, used: Pfns, mode: Mode) -> NDArray[np.uint8]:
    """Ask twice; DP1, DP6, and DP7."""
    before, nr_frames = lab.facts(), lab.machine.frames.nr_frames
    with _answering("claims"):
        _require_a_row_each("claims", nr_frames, design.claims(0, nr_frames))
    first = _ask(design, used, mode)
    with _answering("holders"):
        design.holders(nr_frames)
    if lab.facts() != before:
        raise _BrokenError(
            DesignPromise.DP1, f"claims, ask and holders about {len(used)} frames changed one"
        )
    second = _ask(design, used, mode)
    if len(differs := np.flatnonzero(first != second)):
        pfn = int(used[differs[0]])
        raise _BrokenError(DesignPromise.DP6, f"asked twice about pfn {pfn:#x}, it said two things")
    return first


def _ask(design: Design, used: Pfns, mode: Mode) -> NDArray[np.uint8]:
    with _answering("ask"):
        answers, reasons = design.ask(used, mode)
        _require_a_row_each("ask", len(used), answers, reasons)
    return np.asarray(answers)


def _require_a_row_each(name: str, nr_frames: int, *columns: Any) -> None:
    for column in columns:
        if np.shape(column) != (nr_frames,):
            shown = "None" if column is None else f"an array of shape {np.shape(column)}"
            raise _BrokenError(
                DesignPromise.DP7, f"{name} about {nr_frames} frames answered {shown}"
            )


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
    what = answer.name.lower()
    with _answering(what):
        if answer is Answer.MOVE:
            given = design.move(chosen, OwnPages(lab.machine), mode).reasons
        else:
            given = design.release(chosen, mode)
        _require_a_row_each(what, len(chosen), given)
        reasons = np.asarray(given)
    if missing := lab.missing():
        raise _BrokenError(DesignPromise.DP2, missing)
    _require_so(lab, chosen, reasons)
    stayed = chosen[reasons > Reason.RELEASED]
    for pfn in stayed.tolist():
        if lab.facts_of(pfn) != before[pfn]:
            raise _BrokenError(DesignPromise.DP3, f"pfn {pfn:#x} stayed, and is not as it was")
    report.nr_refused += len(stayed)
    report.nr_moved += int(np.count_nonzero(reasons == Reason.MOVED))
    report.nr_released += int(np.count_nonzero(reasons == Reason.RELEASED))
    _require_whole(lab)


def _require_so(lab: DesignLab, chosen: Pfns, reasons: NDArray[np.uint8]) -> None:
    """DP4, frame by frame."""
    is_free = lab.machine.frames.state[chosen] != FrameState.USED
    wrong = np.flatnonzero((reasons <= Reason.RELEASED) & ~is_free)
    if len(wrong):
        pfn, reason = int(chosen[wrong[0]]), Reason(int(reasons[wrong[0]]))
        raise _BrokenError(DesignPromise.DP4, f"pfn {pfn:#x} is {reason.name}, and still in use")


def _require_whole(lab: DesignLab) -> None:
    if missing := lab.missing():
        raise _BrokenError(DesignPromise.DP2, missing)
    if lost := lab.lost():
        raise _BrokenError(DesignPromise.DP5, lost)
    try:
        lab.machine.check()
    except InvariantError as error:
        raise _BrokenError(DesignPromise.DP4, str(error)) from None
