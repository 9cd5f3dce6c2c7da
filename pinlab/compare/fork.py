"""Runs that start from the same memory, each in a child process of its own.

A child sees everything that its parent had prepared, contents of memory included, and
pays only for the pages that it changes; the parent's copy stays as it was for the next.
Children run beside each other, results come back in the order of the tasks.

A child never touches the terminal: it ignores Ctrl-C, which its parent answers by ending
it, and it leaves without flushing what the parent had buffered.
"""

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, NoReturn, TypeVar

from attrs import define

from pinpage.errors import PinpageError

__all__ = ["can_fork", "run_forked"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def can_fork() -> bool:
    """Whether this system has fork(2)."""
    return "fork" in multiprocessing.get_all_start_methods()


@define
class _Child(Generic[Task]):
    index: int
    process: BaseProcess
    results: Connection


def run_forked(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    nr_jobs: int,
    started: Callable[[Task, int], None] | None = None,
    ended: Callable[[int, Result], None] | None = None,
) -> list[Result]:
    """`work(task)` for each task, up to `nr_jobs` at a time.

    Args:
        work: must not need anything back but its result, which is pickled.
        tasks: what to do.
        nr_jobs: children at a time, 1 or more.
        started: told of each task when it starts, with how many have ended.
        ended: told of each result when it is there, with the number of its task.

    Returns:
        The results, in the order of the tasks.

    Raises:
        PinpageError: fewer than one at a time; a child died (out of memory, most likely).
        Exception: whatever `work` raised, with a note that says where; one that cannot be
            pickled comes as a RuntimeError of its type and text.  The other children are
            ended first, as they are when the caller is interrupted.
    """
    if nr_jobs < 1:
        raise PinpageError(f"nr_jobs={nr_jobs}: runs at a time; give 1 or more")
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Connection, _Child[Task]] = {}
    results: dict[int, Result] = {}
    try:
        while waiting or running:
            while waiting and len(running) < nr_jobs:
                index, task = waiting.pop()
                if started is not None:
                    started(task, len(results))
                child = _start(work, index, task)
                running[child.results] = child
            for connection in wait(list(running)):
                if isinstance(connection, Connection):
                    child = running.pop(connection)
                    results[child.index] = _result_of(child, work)
                    if ended is not None:
                        ended(child.index, results[child.index])
    finally:
        for child in running.values():
            child.process.terminate()
            child.process.join()
    return [results[index] for index in range(len(tasks))]


def _start(work: Callable[[Task], Result], index: int, task: Task) -> _Child[Task]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_in_child, args=(work, task, theirs), daemon=True)
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    theirs.close()
    return _Child(index, process, ours)


def _in_child(work: Callable[[Task], Result], task: Task, results: Connection) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # held back since before the fork
    try:
        results.send_bytes(_answer(work, task))
    except OSError:  # the parent is gone, and with it whoever wanted to know
        os._exit(1)
    # No exit handlers, no flushing: another thread may have held the lock of a stream at the
    # fork, and taking a whole machine apart object by object takes longer than it helps.
    os._exit(0)


def _answer(work: Callable[[Task], Result], task: Task) -> bytes:
    """(True, result), or (False, error) with where it came from; always something to send."""
    try:
        return pickle.dumps((True, work(task)))
    except Exception as error:  # noqa: BLE001  (it is raised again in the parent)
        error.add_note("in a forked run:\n" + "".join(traceback.format_tb(error.__traceback__)))
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)  # (some errors can be pickled and not unpickled)
        except Exception:  # noqa: BLE001  (what matters is the error above)
            plain = RuntimeError(f"{type(error).__name__}: {error}")
            answer = pickle.dumps((False, plain))
        return answer


def _result_of(child: _Child[Task], _work: Callable[[Task], Result]) -> Result:
    try:
        is_good, value = pickle.loads(child.results.recv_bytes())
    except EOFError:
        child.process.join()
        raise PinpageError(_how_it_ended(child.process.exitcode)) from None
    finally:
        child.results.close()
    child.process.join()
    if not is_good:
        raise value
    result: Result = value
    return result


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "a run was killed, most likely because memory ran out: try nr_jobs=1"
    return f"a run ended without a result (exit code {exit_code}): try nr_jobs=1"
