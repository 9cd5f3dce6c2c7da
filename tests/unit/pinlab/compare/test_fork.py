"""Children start from the parent's memory, report in order, and leave nothing behind."""

import multiprocessing
import multiprocessing.util
import os
import signal
import threading
import time

import numpy as np
import pytest

from pinlab.compare.fork import can_fork, run_forked
from pinlab.snapshot.errors import SnapshotError
from pinpage.errors import InvariantError, PinpageError

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")


@pytest.mark.parametrize("nr_jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(nr_jobs):
    def work(task):
        time.sleep(0.05 * (3 - task))
        return task * task

    assert run_forked(work, [0, 1, 2, 3], nr_jobs=nr_jobs) == [0, 1, 4, 9]


def test_every_child_starts_from_the_same_memory():
    column = np.zeros(4096, dtype=np.int64)

    def work(task):
        column[task] += 1
        return int(column.sum())

    assert run_forked(work, [0, 1, 2], nr_jobs=2) == [1, 1, 1]
    assert not column.any()


def test_a_task_is_told_when_it_starts_with_how_many_have_ended():
    told = []
    run_forked(lambda task: task, "abc", nr_jobs=1, started=lambda *said: told.append(said))
    assert told == [("a", 0), ("b", 1), ("c", 2)]


def test_no_more_run_at_a_time_than_asked_for(tmp_path):
    def work(task):
        (tmp_path / str(task)).touch()
        count = len(list(tmp_path.iterdir()))
        time.sleep(0.05)
        (tmp_path / str(task)).unlink()
        return count

    assert max(run_forked(work, range(5), nr_jobs=2)) <= 2


class OneWayError(Exception):
    """Can be pickled, and not unpickled."""

    def __init__(self, key, value) -> None:
        super().__init__(f"{key} {value}")


@pytest.mark.parametrize(
    "error",
    [
        PinpageError("bad"),
        InvariantError("I4"),
        SnapshotError("a", "b", "c", "d"),
        KeyError("k"),
        OneWayError("k", "v"),  # its text is what counts
    ],
)
def test_what_a_task_raises_is_raised_here(error):
    def work(task):
        raise error

    with pytest.raises(Exception, match=str(error)) as caught:
        run_forked(work, [1], nr_jobs=1)
    if not isinstance(error, OneWayError):
        assert type(caught.value) is type(error)
        assert "in work" in "".join(caught.value.__notes__)


def test_what_cannot_be_sent_is_named():
    with pytest.raises(Exception, match=r"pickle|local object"):
        run_forked(lambda task: threading.Lock(), [1], nr_jobs=1)


def test_a_large_result_arrives_whole():
    (column,) = run_forked(lambda task: np.arange(1_000_000), [0], nr_jobs=1)
    assert np.array_equal(column, np.arange(1_000_000))


def test_a_child_that_was_killed_is_a_line_that_says_why():
    with pytest.raises(PinpageError, match="was killed, most likely because memory ran out"):
        run_forked(lambda task: os.kill(os.getpid(), signal.SIGKILL), [1], nr_jobs=1)
    with pytest.raises(PinpageError, match=r"without a result \(exit code 7\)"):
        run_forked(lambda task: os._exit(7), [1], nr_jobs=1)


def test_an_error_ends_the_other_children(tmp_path):
    def work(task):
        if task == 0:
            (tmp_path / "pid").write_text(str(os.getpid()))
            time.sleep(60)
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        raise PinpageError("no")

    started = time.monotonic()
    with pytest.raises(PinpageError):
        run_forked(work, [0, 1], nr_jobs=2)
    assert time.monotonic() - started < 30
    assert multiprocessing.active_children() == []


def test_a_child_ignores_the_ctrl_c_that_its_parent_answers():
    def work(task):
        os.kill(os.getpid(), signal.SIGINT)
        return signal.getsignal(signal.SIGINT) == signal.SIG_IGN

    # Whoever runs the tests in the background has ignored it on our behalf.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run_forked(work, [1], nr_jobs=1) == [True]
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_child_leaves_without_cleaning_up_what_is_its_parents(tmp_path):
    mark = tmp_path / "cleaned up"

    def work(task):
        multiprocessing.util.Finalize(None, mark.touch, exitpriority=1)
        return task

    assert run_forked(work, [1], nr_jobs=1) == [1]
    assert not mark.exists()


@pytest.mark.parametrize("nr_jobs", [0, -1])
def test_less_than_one_at_a_time_is_refused(nr_jobs):
    with pytest.raises(PinpageError, match="give 1 or more"):
        run_forked(lambda task: task, [1], nr_jobs=nr_jobs)
