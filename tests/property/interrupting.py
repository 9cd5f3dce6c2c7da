"""An interrupt at each place where CPython lets one in.

CPython looks for signals when it enters a Python function, after a call, and when it jumps
back.  Each of these places in `pinpage` is a *point*; an operation has as many of them as it
passes.  `signalled` runs a handler at one of them, `interrupted` one that raises.
"""

import dis
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pinpage

__all__ = ["Interrupt", "Place", "interrupted", "places", "signalled"]

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
    """Counts points, and runs a handler at one of them."""

    def __init__(self, at: int, handler: Callable[[], object]) -> None:
        self.at, self.handler = at, handler
        self.seen: list[Place] = []
        self.where: str | None = None
        self._before: dict[FrameType, bool] = {}

    def watch(self, work: Callable[[], Any]) -> None:
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            work()
        finally:
            sys.settrace(before)

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
            self.where = f"at {frame.f_code.co_qualname}:{frame.f_lineno}"
            self.handler()


def signalled(work: Callable[[], Any], at: int, handler: Callable[[], object]) -> str | None:
    """Call `work`, and `handler` at its point number `at` (the first is 1).

    Returns:
        Where it was; None when `work` passed fewer points.
    """
    points = _Points(at, handler)
    points.watch(work)
    return points.where


def interrupted(
    work: Callable[[], Any], at: int, error: type[BaseException] = Interrupt
) -> str | None:
    """Call `work`; raise at its point number `at`.

    Returns:
        As `signalled`.  What `work` raises by itself goes on to the caller.
    """

    def raising() -> None:
        raise error

    points = _Points(at, raising)
    try:
        points.watch(work)
    except error:
        if points.where is None:
            raise
    return points.where


def places(work: Callable[[], Any]) -> list[Place]:
    """The points that `work` passes, in order."""
    points = _Points(0, bool)
    points.watch(work)
    return points.seen
