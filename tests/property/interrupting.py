"""An interrupt at each place where CPython lets one in.

CPython looks for signals when it enters a Python function, after a call, and when it jumps
back.  Each of these places in `pinpage` is a *point*; an operation has as many of them as it
passes.  `interrupted` raises at one of them, as a signal handler would there.
"""

import dis
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pinpage

__all__ = ["Interrupt", "Place", "interrupted", "places"]

PACKAGE = str(Path(pinpage.__file__).parent)
KIT = str(Path(pinpage.__file__).parent / "testing")


Place = tuple[CodeType, int]
"""A line of code to come back to: a function, and an offset in it."""


class Interrupt(KeyboardInterrupt):
    """Nobody else raises this one."""


@cache
def _lets_in(code: CodeType) -> dict[int, bool]:
    """By the offset of an instruction: whether a signal is looked for after it."""
    return {
        step.offset: step.opname.startswith(("CALL", "JUMP_BACKWARD"))
        and not step.opname.startswith("CALL_INTRINSIC")
        for step in dis.get_instructions(code)
    }


class _Points:
    """Counts points, and raises at one of them."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.at, self.error = at, error
        self.seen: list[Place] = []
        self.has_raised = False
        self._before: dict[FrameType, bool] = {}

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE) or name.startswith(KIT):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "call":
            self._before[frame] = True
        elif event == "opcode":
            is_point = self._before.get(frame, False)
            self._before[frame] = _lets_in(frame.f_code)[frame.f_lasti]
            if is_point:
                self._pass(frame)
        elif event == "exception":  # also what closes a generator
            self._before[frame] = False
        elif event == "return":
            self._before.pop(frame, None)
        return self.trace

    def _pass(self, frame: FrameType) -> None:
        self.seen.append((frame.f_code, frame.f_lasti))
        if len(self.seen) == self.at:
            self.has_raised = True
            raise self.error(f"at {frame.f_code.co_qualname}:{frame.f_lineno}")


def interrupted(
    work: Callable[[], Any], at: int, error: type[BaseException] = Interrupt
) -> str | None:
    """Call `work`; raise at its point number `at` (the first is 1).

    Returns:
        Where it was; None when `work` passed fewer points.  What `work` raises by itself
        goes on to the caller.
    """
    points = _Points(at, error)
    before = sys.gettrace()
    sys.settrace(points.trace)
    try:
        work()
    except error as raised:
        if not points.has_raised:
            raise
        return str(raised)
    finally:
        sys.settrace(before)
    # Swallowed where only the interpreter can: in a finalizer, or while a generator is closed.
    return "swallowed" if points.has_raised else None


def places(work: Callable[[], Any]) -> list[Place]:
    """The points that `work` passes, in order."""
    points = _Points(0, Interrupt)
    before = sys.gettrace()
    sys.settrace(points.trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return points.seen
