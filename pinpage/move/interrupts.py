"""What an interrupt may not part: a call from the note of its answer, an undo from its end.

Python runs signal handlers between two bytecodes: when a function is entered, after a call
has returned, at a backward jump.  So the answer of a call can be lost although the call was
made, and an `__exit__` or a `finally` that calls anything may never get to it.  What holds:

    answers += map(call, column)     one instruction: an answer that came is in the list
    with lock:                       of a lock made in C; nothing can come before its release
    a.x = y; a.z = w                 stores without a call between them happen together

Owns:    nothing; a `Receipt` belongs to one move.
Cost:    a list and a `map` per call that changes something: once per step, not per frame.
Kernel counterpart: none needed; kernel code is not unwound in the middle.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pinpage.errors import InvariantError

__all__ = ["NR_TRIES", "ROUNDS", "Receipt", "see_through"]

_T = TypeVar("_T")

NR_TRIES = 1_000
"""Interrupts that an undo survives before it gives up: nobody sends as many by hand."""
ROUNDS = range(8)
"""Times that a caller begins `see_through` again."""
_NR_FAILURES = 3
"""Errors: what raised three times will raise again."""


class Receipt:
    """Makes calls of which nobody can lose the answer.

    One call at a time: it is made and what came of it is noted; whoever was interrupted calls
    `settle` first of all, which notes what has come of a call and was not noted yet.
    """

    __slots__ = ("_note",)

    def __init__(self) -> None:
        """No call was made."""
        self._note: Callable[[], object] = bool

    def do(self, note: Callable[[Any], object], call: Callable[..., Any], *arguments: Any) -> None:
        """`note(call(*arguments))`, and the note is not lost.

        Args:
            note: what to do with the answer; may run twice, so the second time changes nothing.
            call: what to call; if it raises it has changed nothing.
            arguments: what to call it with.
        """
        answers: list[Any] = []
        self._note = lambda: [note(answer) for answer in answers]
        answers += map(call, *[(argument,) for argument in arguments])
        if not answers:
            raise RuntimeError(f"{call!r} raised StopIteration")
        self.settle()

    def watch(self, note: Callable[[], object], call: Callable[..., _T], *arguments: Any) -> _T:
        """The same for a call that keeps its answers by itself; what it returns.

        Args:
            note: finds out how far the call has got, whatever ended it; may run twice.
            call: what to call.
            arguments: what to call it with.
        """
        self._note = note
        result = call(*arguments)
        self.settle()
        return result

    def settle(self) -> None:
        """Note what is not noted yet."""
        self._note()
        self._note = bool


def see_through(
    attempt: Callable[[], object], error: BaseException, nr_tries: int = NR_TRIES
) -> BaseException:
    """Undo something to the end, whatever interrupts it.

    Args:
        attempt: does what is left to do, and can be begun again at any point.
        error: why it is undone.
        nr_tries: give up after so many interrupts.

    Returns:
        What the caller is to raise: `error`, or the last interrupt that came meanwhile.

    Raises:
        InvariantError: our own state contradicts itself.
        Exception: what the third try raised that failed by itself.
    Context: an interrupt between two tries comes out of here.  So the caller does this in a
        loop, over `ROUNDS`: what gets through has to strike at its backward jump as well.
    """
    nr_failures = 0
    while nr_tries:
        nr_tries -= 1
        try:
            attempt()
            return error
        except InvariantError:
            raise
        except Exception as another:
            nr_failures += 1
            if nr_failures == _NR_FAILURES:
                raise
            if type(error) is GeneratorExit:  # which is raised for nobody to see
                error = another
        except BaseException as another:  # noqa: BLE001 - remembered, and raised by the caller
            error = another
    raise error
