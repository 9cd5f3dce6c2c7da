"""A row for each source, in order, whatever becomes of it; and the table on disk."""

import csv
import signal
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from pinlab.sources import fleet
from pinpage.errors import PinpageError
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, owner_text

PROC = TESTS_DATA / "proc-6.1"


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "bad.txt").write_text("nothing of the kind\n")
    return [
        str(machine().write(tmp_path / "a")),
        str(tmp_path / "bad.txt"),
        str(PROC / "buddyinfo"),
        str(tmp_path / "nowhere"),
        "scenario:16MiB,anon=30%",
    ]


class _Here(Executor):
    """Runs what is submitted at once; can be made to lose a future."""

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def test_every_source_is_a_row_in_order_and_a_bad_one_has_its_reason(sources):
    rows = fleet.tabulate(sources, executor=_Here())
    assert [row["source"] for row in rows] == sources
    assert [bool(row["reason"]) for row in rows] == [False, True, False, True, False]
    assert "is no recording, no text of page_owner" in rows[1]["reason"]
    assert "does not exist" in rows[3]["reason"]
    assert all(tuple(row) == fleet.COLUMNS for row in rows)
    assert rows[1]["nr_frames"] is None
    made = rows[0]
    assert (made["nr_frames"], made["nr_free"], made["nr_movable"]) == (16384, 10652, 5120)
    assert (made["nr_unmovable"], made["nr_unknown"], made["nr_slab_frames"]) == (612, 0, 100)
    assert (made["nr_blocks"], made["nr_blocks_free"], made["nr_blocks_tainted"]) == (32, 20, 2)
    assert made["nr_blocks_clearable"] == 30
    assert made["largest_free_order"] == 10
    assert made["unusable_for_a_pageblock"] == round(412 / 10652, 4)


def test_a_row_is_a_row_without_any_executor(sources):
    assert "does not exist" in fleet.row_of(sources[3])["reason"]
    assert fleet.row_of(sources[1], "no such table")["reason"]


def test_what_only_counts_has_no_frames_in_its_row(sources):
    row = fleet.row_of(sources[2])
    assert row["nr_frames"] is None
    assert row["nr_free"] == 1535
    assert row["largest_free_order"] == 8
    assert row["unusable_for_a_pageblock"] == 1.0


def test_any_executor_gives_the_same_rows(sources):
    rows = fleet.tabulate(sources, executor=_Here())
    with ThreadPoolExecutor(3) as threads:
        assert fleet.tabulate(sources, executor=threads) == rows
    assert fleet.tabulate(sources, nr_jobs=2) == rows


class _OfACluster(_Here):
    """Hands out futures of its own kind, as those of clusters do."""

    def submit(self, function, /, *args, **kwargs):
        inner = super().submit(function, *args, **kwargs)

        class Theirs:
            result = staticmethod(inner.result)

        return Theirs()


def test_futures_of_another_kind_are_waited_for_one_by_one(sources):
    assert fleet.tabulate(sources, executor=_OfACluster()) == fleet.tabulate(
        sources, executor=_Here()
    )


def test_readers_in_another_directory_are_told_the_whole_path(sources, tmp_path, monkeypatch):
    class Elsewhere(_Here):
        def submit(self, function, /, *args, **kwargs):
            with monkeypatch.context() as there:
                there.chdir("/")
                return super().submit(function, *args, **kwargs)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "who").write_text(owner_text([Asked(pfn=512, stack=("mine_one",))]))
    (tmp_path / "mine.toml").write_text('[[owner]]\nname = "mine"\nfunctions = ["mine_*"]\n')
    rows = fleet.tabulate(["a", "nowhere"], executor=Elsewhere(), owners_table="mine.toml")
    assert [row["source"] for row in rows] == ["a", "nowhere"]
    assert [bool(row["reason"]) for row in rows] == [False, True]


def test_a_cluster_that_goes_leaves_a_reason_in_each_row(sources):
    class Gone(_Here):
        def submit(self, function, /, *args, **kwargs):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    rows = fleet.tabulate(sources, executor=Gone())
    assert {row["reason"] for row in rows} == {"its reader was taken back before it had read it"}


def test_a_cluster_of_dask_gives_the_same_rows(sources):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    there = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=None
    )
    with there, fleet.cluster_executor(there.scheduler_address) as executor:
        rows = fleet.tabulate(sources, executor=executor)
    assert rows == fleet.tabulate(sources, executor=_Here())


def test_a_cluster_that_is_none_is_one_line():
    pytest.importorskip("distributed", reason="Dask is not installed")
    unknown = pytest.raises(PinpageError, match=r"cluster=nonsense://x: unknown address scheme")
    with unknown, fleet.cluster_executor("nonsense://x"):
        pass


def test_a_reader_that_dies_takes_no_other_row_with_it(sources, monkeypatch):
    row_of = fleet.row_of

    def faulty(source, owners_table):
        return 1 // 0 if "bad" in source else row_of(source, owners_table)

    monkeypatch.setattr(fleet, "row_of", faulty)
    rows = fleet.tabulate(sources, executor=_Dying())
    assert [bool(row["reason"]) for row in rows] == [False, True, False, True, False]
    assert rows[1]["reason"] == "ZeroDivisionError: integer division or modulo by zero"
    assert "its reader died" in rows[3]["reason"]


class _Dying(_Here):
    """As a pool whose process dies, without one."""

    def submit(self, function, /, *args, **kwargs):
        if "nowhere" in args[0]:
            future = Future()
            future.set_exception(fleet.BrokenExecutor("a process ended abruptly"))
            return future
        return super().submit(function, *args, **kwargs)


def test_what_broke_a_pool_is_read_once_more_alone(sources, monkeypatch):
    pools = iter([_Dying(), _Here(), _Here()])
    monkeypatch.setattr(fleet, "_processes", lambda nr: next(pools))
    rows = fleet.tabulate(sources)
    assert rows == fleet.tabulate(sources, executor=_Here())


def test_a_table_in_csv_has_every_row(sources, tmp_path):
    rows = fleet.tabulate(sources, executor=_Here())
    fleet.write_table(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["source"] for row in read] == sources
    assert read[0]["nr_free"] == "10652"
    assert read[1]["nr_free"] == ""


def test_a_table_in_parquet_has_every_row(sources, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `fleet` is not installed")
    rows = fleet.tabulate(sources, executor=_Here())
    fleet.write_table(rows, tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == rows


def test_distributions_are_over_the_machines_that_say_it(sources):
    rows = fleet.tabulate(sources, executor=_Here())
    spread = {spread.column: spread for spread in fleet.spreads(rows)}
    free = spread["nr_free"]
    assert (free.nr, free.least, free.most) == (3, 1535, 10652)
    assert spread["nr_frames"].nr == 2
    text = fleet.spread_as_text(rows)
    assert max(map(len, text.split("\n\n")[0].split("\n"))) < 80
    assert "3 of 5 sources were read." in text
    assert f"{sources[3]}: not read: " in text


def test_numbers_of_large_machines_stay_apart():
    rows = [dict.fromkeys(fleet.COLUMNS) | {"source": "x", "reason": ""} for _ in range(3)]
    for row, nr_frames in zip(rows, (40_815, 268_435_456, 6_291_358), strict=True):
        row["nr_frames"] = nr_frames
    line = fleet.spread_as_text(rows).split("\n")[1]
    assert line.split() == ["frames", "3", "40,815", "665,869", "6291358", "2.42e+08", "2.68e+08"]
    assert len(line) < 80


def _how_ctrl_c_is_met():
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return signal.SIGINT in blocked, signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_readers_end_at_ctrl_c_without_a_word_and_what_waits_is_not_read(monkeypatch):
    starts, start = [], fleet.ProcessPoolExecutor.submit

    def watched(*args, **kwargs):
        starts.append(_how_ctrl_c_is_met()[0])
        return start(*args, **kwargs)

    monkeypatch.setattr(fleet.ProcessPoolExecutor, "submit", watched)
    waiting = []

    def interrupted():
        with fleet._processes(1) as pool:
            assert pool.submit(_how_ctrl_c_is_met).result() == (False, True)
            waiting.extend(pool.submit(time.sleep, 0.1) for _ in range(6))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(starts)
    assert not _how_ctrl_c_is_met()[0]
    assert waiting[-1].cancelled()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fleet.tabulate([]), "sources="),
        (lambda: fleet.tabulate(["a"], nr_jobs=0), "nr_jobs=0"),
        (lambda: fleet.write_table([], "a.xlsx"), r"ends in \.csv or \.parquet"),
    ],
)
def test_a_callers_mistake_is_one_line(call, words):
    with pytest.raises(PinpageError, match=words):
        call()
