"""Runs that start from the same memory, each in a child process of its own.

A child sees everything that its parent had prepared, contents of memory included, and
pays only for the pages that it changes; the parent's copy stays as it was for the next.
Children run beside each other, results come back in the order of the tasks.

Where processes cannot fork, or only one run is wanted, the task runs right here.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

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
) -> list[Result]:
    """`work(task)` for each task, up to `nr_jobs` at a time.

    Args:
        work: must not need anything back but its result, which is pickled.
        tasks: what to do.
        nr_jobs: children at a time, 1 or more.
        started: told of each task when it starts, with how many have ended.

    Returns:
        The results, in the order of the tasks.

    Raises:
        PinpageError: a child died (out of memory, most likely), or `work` raised it.
        Exception: whatever else `work` raised; the other children are ended first.
    """
    if nr_jobs < 1:
        raise PinpageError(f"jobs: {nr_jobs} at a time; give 1 or more")
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
    finally:
        for child in running.values():
            child.process.terminate()
            child.process.join()
    return [results[index] for index in range(len(tasks))]


def _start(work: Callable[[Task], Result], index: int, task: Task) -> _Child[Task]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_in_child, args=(work, task, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Child(index, process, ours)


def _in_child(work: Callable[[Task], Result], task: Task, results: Connection) -> None:
    try:
        results.send((True, work(task)))
    except Exception as error:  # noqa: BLE001  (it is raised again in the parent)
        results.send((False, error))


def _result_of(child: _Child[Task], _work: Callable[[Task], Result]) -> Result:
    try:
        is_good, value = child.results.recv()
    except EOFError:
        child.process.join()
        raise PinpageError(
            f"a run ended without a result (exit code {child.process.exitcode}); "
            "most likely memory ran out: try --jobs 1"
        ) from None
    child.process.join()
    if not is_good:
        raise value
    result: Result = value
    return result
