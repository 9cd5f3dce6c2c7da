"""`pinpage request`: serve one consumer and say what it got; every way to call it wrongly."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pinlab.requests import run
from pinlab.requests.report import RequestOptions, RequestReport
from tests.kit.command import ROOT, check_one_line
from tests.kit.pinlab.consumers import interrupts_itself, moves_a_block, refuses_the_call


@pytest.fixture
def serves(monkeypatch):
    """Put a consumer of the tests in the place of the real one."""

    def put(serve, name="huge2m"):
        monkeypatch.setitem(run.SERVERS, name, serve)

    return put


def test_json_is_the_report_and_nothing_else(pinpage, small, serves):
    serves(moves_a_block)
    done = pinpage(
        "request", "huge2m", small, "--movable", "zbud,slab", "--strategy", "plan", "--json",
        "--count", 1, "--seed", 2,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    report = RequestReport.from_json(json.loads(done.out))
    assert (report.design, report.movable, report.strategy) == (
        "registry",
        ("slab", "zbud"),
        "plan",
    )
    assert (report.wanted, report.seed, report.partial) == (1, 2, False)
    assert report.bytes_verified > 0 == report.bytes_lost


def test_a_person_gets_tables(pinpage, small, serves):
    serves(moves_a_block)
    done = pinpage("request", "huge2m", small, "--cdf")
    assert done.code == 0
    for words in ("small-", "obtained", "2 of 2 (2 MiB pages)", "Attempts", "by reason and holder",
                  "Time of 2 attempts in us", "p99"):  # fmt: skip
        assert words in done.out, done.out


def test_the_cdf_is_in_the_json_where_it_is_asked_for(pinpage, small, serves):
    serves(moves_a_block)
    done = pinpage("request", "huge2m", small, "--cdf", "--json")
    cdf = json.loads(done.out)["cdf"]
    assert cdf["total"]["p100"] >= cdf["copy"]["p100"] > 0
    assert "cdf" not in json.loads(pinpage("request", "huge2m", small, "--json").out)


def test_options_reach_the_consumer(pinpage, small, serves):
    seen = []

    def serve(subject, options):
        seen.append(options)
        return moves_a_block(subject, options)

    for name in ("cma", "offline", "power", "huge1g"):
        serves(serve, name)
    calls = (
        ("cma", "--pages", 64, "--align", 3, "--tries", 2, "--timeout", 0.5),
        ("offline", "--block", 1, "--block-size", "4MiB", "--mode", "async"),
        ("power", "--region", "4MiB", "--interleave", 2, "--idle", 3, "--mode", "sync-light"),
        ("huge1g", "--node", 0, "--count", 3),
    )
    for name, *rest in calls:
        assert pinpage("request", name, small, *rest).code == 0
    cma, offline, power, huge1g = seen
    assert (cma.nr_pages, cma.align_order, cma.nr_tries, cma.timeout_ns) == (64, 3, 2, 500_000_000)
    assert (offline.block, offline.block_nr_pages, offline.mode.name) == (1, 1024, "ASYNC")
    assert (power.region_nr_pages, power.nr_interleaved) == (1024, 2)
    assert (power.mode.name, power.expected_idle_ns) == ("SYNC_LIGHT", 3_000_000_000)
    assert (huge1g.node, huge1g.count, huge1g.timeout_ns) == (0, 3, None)


def test_no_option_in_a_script_is_no_option_on_the_command_line(pinpage, small, serves):
    seen = []

    def serve(subject, options):
        seen.append(options)
        return moves_a_block(subject, options)

    for name in run.SERVERS:
        serves(serve, name)
        assert pinpage("request", name, small).code == 0
    assert seen == [RequestOptions()] * len(run.SERVERS)


def test_memory_can_be_described(pinpage, serves):
    serves(moves_a_block)
    done = pinpage("request", "huge2m", "scenario:8MiB,anon=20%,slab=2%", "--json")
    assert json.loads(done.out)["recording"] == "8MiB,anon=20%,slab=2%-seed0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["request --help"]),
        (["huge4m"], ["'huge4m'", "'huge2m', 'huge1g', 'cma', 'offline', 'power'"]),
        (["huge2m", "--design", "rfc9"], ["'rfc9'", "unmovable, zbud-reclaim", "registry"]),
        (["huge2m", "--movable", "gpu"], ["'gpu'", "kernel, pagetable, slab, zbud"]),
        (["huge2m", "--movable", "none,slab"], ["none alone"]),
        (["huge2m", "--design", "unmovable", "--movable", "slab"], ["asks no owner"]),
        (["huge2m", "--strategy", "guess"], ["--strategy", "'guess'"]),
        (["huge2m", "--pages", "4"], ["--pages is for cma, not for huge2m"]),
        (["cma", "--block", "4"], ["--block is for offline, not for cma"]),
        (["offline", "--node", "0"], ["--node is for huge2m and huge1g"]),
        (["huge2m", "--count", "0"], ["--count", "1"]),
        (["huge2m", "--tries", "0"], ["--tries", "1"]),
        (["huge2m", "--timeout", "0"], ["--timeout", "more than 0"]),
        (["huge2m", "--timeout", "nan"], ["--timeout"]),
        (["huge2m", "--timeout", "1e9"], ["at most a day"]),
        (["power", "--region", "64MB"], ["--region '64MB'", "64MiB"]),
        (["power", "--region", "3KiB"], ["whole pages"]),
        (["offline", "--block-size", "0MiB"], ["--block-size"]),
        (["offline", "scenario:64MiB", "--block-size", "6MiB"], ["--block-size", "power of two"]),
        (["offline", "--block", "1", "--count", "2"], ["--count beside --block", "leave --count"]),
        (["huge2m", "--timeout", "1"], ["--timeout is for", "not for huge2m"]),
        (["huge2m", "--mode", "sync"], ["--mode for huge2m by scan", "the allocator decides"]),
        (["cma", "--together"], ["--together is for offline, not for cma"]),
        (["cma", "--pause-ms", "3"], ["--pause-ms is before a retry", "--retries"]),
        (["cma", "--first", "defragment"], ["--first", "'defragment'"]),
        (["huge2m", "--mode", "never"], ["--mode"]),
        (["huge2m", "scenario:1GB"], ["size='1GB'", "1GiB"]),
        (["huge2m", "scenario:8MiB,anom=3%"], ["anom", "anon"]),
    ],
)
def test_a_wrong_call_is_one_line(pinpage, arguments, words):
    check_one_line(pinpage("request", *arguments), 2, *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["request", "huge2m", "nowhere.toml"],
        ["request", "huge2m", "nowhere.npz"],
        ["request", "huge2m", "--label", "mine=@nowhere"],
        ["compare", "nowhere.toml"],
        ["fidelity", "nowhere"],
    ],
)
def test_a_file_that_is_not_there_is_no_wrong_call(pinpage, arguments):
    check_one_line(pinpage(*arguments), 1, "nowhere", "; ")


def test_what_a_consumer_cannot_serve_is_a_wrong_call(pinpage, small, serves):
    serves(refuses_the_call, "offline")
    check_one_line(pinpage("request", "offline", small, "--block", 99), 2, "--block 99", "0 to 7")


def test_a_recording_that_cannot_be_used_is_a_failure(pinpage, tmp_path):
    check_one_line(pinpage("request", "cma", tmp_path / "no.npz"), 1, "no.npz", "does not exist")


def test_running_out_of_memory_is_one_line(pinpage, small, serves):
    def fails(subject, options):
        raise MemoryError

    serves(fails)
    check_one_line(pinpage("request", "huge2m", small), 1, "memory ran out")


# Ctrl-C.


def test_ctrl_c_ends_in_order_with_a_report_that_says_it_is_partial(pinpage, small, serves):
    before = signal.getsignal(signal.SIGINT)
    serves(interrupts_itself)
    done = pinpage("request", "huge2m", small, "--json")
    assert done.code == 130
    report = RequestReport.from_json(json.loads(done.out))
    assert report.partial
    assert [attempt.errno for attempt in report.attempts] == ["EINTR"]
    assert report.refused == {"timeout": 3}
    assert "ending in order" in done.err
    assert "Traceback" not in done.err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_person_sees_that_it_is_partial(pinpage, small, serves):
    serves(interrupts_itself)
    done = pinpage("request", "huge2m", small)
    assert done.code == 130
    assert done.out.startswith("PARTIAL, interrupted: small")


def test_a_second_ctrl_c_does_not_wait(pinpage, small, serves):
    def deaf(subject, options):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    serves(deaf)
    done = pinpage("request", "huge2m", small)
    assert done.code == 130
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.mark.parametrize("delay_s", [0.0, 0.4, 1.0])
def test_ctrl_c_at_any_moment_of_a_process_is_no_traceback(delay_s):
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pinlab.cli import main, start\n"
        "def ready(run=main.main): print('ready', file=sys.stderr, flush=True); run()\n"
        "main.main = ready; start.main()"
    )
    command = [sys.executable, "-c", program, "request", "power", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline() == "ready\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert process.returncode in {0, 130}
    if out and process.returncode == 130:
        assert RequestReport.from_json(json.loads(out)).partial


# The real consumers.

SMALL = "scenario:64MiB,anon=20%,file=5%,slab=2%,zbud=3%,cma=8MiB,scatter=0.5%"
OF_CONSUMER = {
    "huge2m": ("--count", 3),
    "huge1g": (),
    "cma": ("--pages", 100, "--count", 4),
    "offline": ("--block-size", "4MiB", "--tries", 3),
    "power": ("--region", "4MiB"),
}


@pytest.mark.parametrize("consumer", OF_CONSUMER)
@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_every_consumer_serves_described_memory(pinpage, consumer, strategy):
    done = pinpage(
        "request", consumer, SMALL, "--movable", "slab,zbud", "--strategy", strategy, "--json",
        *OF_CONSUMER[consumer],
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    report = RequestReport.from_json(json.loads(done.out))
    assert (report.request, report.strategy) == (consumer, strategy)
    assert report.bytes_verified > 0 == report.bytes_lost
    if consumer != "huge1g":  # (64 MiB hold none)
        assert report.obtained > 0
        assert report.modelled_ns > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cma", "scenario:16MiB,anon=30%"], ["no contiguous area"]),
        (["offline", SMALL, "--block", "99"], ["99"]),
        (["offline", SMALL, "--block-size", "12KiB"], ["block"]),
        (["huge2m", SMALL, "--node", "3"], ["node", "3"]),
        (["huge1g", SMALL, "--node", "3"], ["node", "3"]),
        (["power", SMALL, "--region", "12KiB"], ["region"]),
    ],
)
def test_what_this_memory_cannot_serve_is_one_line(pinpage, arguments, words):
    check_one_line(pinpage("request", *arguments), 2, *words)
