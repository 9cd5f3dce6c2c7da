"""pytest without its start: a process that has loaded what the project needs, and forks.

A mutant's tests often take less time than the imports before them.  So a process imports once
whatever is not the project's, and each run is a child of it, in a copy of the project that it
is told.  Nothing of the project is loaded before: each child meets its own copy's files.

    one = WarmPytest()
    code, output = one.run(["-q", "tests/unit"], copy, {}, timeout_s=60.0)
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["PRELOADED", "WarmPytest"]

PRELOADED = (
    *("pytest", "_pytest.assertion.rewrite", "hypothesis", "hypothesis.strategies"),
    *("hypothesis.stateful", "hypothesis.extra.numpy", "numpy", "attrs", "sortedcontainers"),
    *("typer", "rich.console", "rich.progress", "scipy.sparse", "scipy.optimize"),
    *("asyncio", "concurrent.futures", "multiprocessing", "subprocess", "tomllib"),
    "unittest.mock",
)
"""What is not the project's and takes long to import; what cannot be had is left out."""
_POLL_S = 0.01


class WarmPytest:
    """Runs of pytest, one at a time for each thread that asks; the processes end with this one."""

    def __init__(self) -> None:
        """Nothing is started before it is needed."""
        self._of_thread = threading.local()
        self._servers: list[subprocess.Popen[str]] = []
        weakref.finalize(self, _end, self._servers)

    def run(
        self, arguments: Sequence[str], folder: Path, gained: Mapping[str, str], timeout_s: float
    ) -> tuple[int, str]:
        """Exit code of pytest, and all that it printed.

        Args:
            arguments: of pytest.
            folder: where it runs, and what it imports from first.
            gained: what its environment gains.
            timeout_s: seconds until it is killed, with all that it has started.

        Raises:
            subprocess.TimeoutExpired: it was.
        """
        server = self._server()
        asked = [list(arguments), str(folder), dict(gained), timeout_s]
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code, output = json.loads(server.stdout.readline())
        if code is None:
            raise subprocess.TimeoutExpired("pytest", timeout_s)
        return code, output

    def _server(self) -> "subprocess.Popen[str]":
        found = getattr(self._of_thread, "server", None)
        if found is None or found.poll() is not None:
            found = self._of_thread.server = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._servers.append(found)
        return found


def _end(servers: list["subprocess.Popen[str]"]) -> None:
    for server in servers:
        with server:  # closes its input, and waits
            pass


def serve() -> None:
    """Answer one request a line until there are no more; what a child prints goes to a file."""
    sys.path.pop(0)  # the folder of this file
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    gc.freeze()  # so that a child's collections do not touch, and copy, what all share
    for line in sys.stdin:
        arguments, folder, gained, timeout_s = json.loads(line)
        with tempfile.TemporaryFile("w+", errors="replace") as printed:
            pid = os.fork()
            if pid == 0:
                _be_pytest(arguments, folder, gained, printed.fileno())
            code = _wait(pid, timeout_s)
            printed.seek(0)
            print(json.dumps([code, printed.read()]), flush=True)


def _be_pytest(arguments: list[str], folder: str, gained: dict[str, str], printed: int) -> None:
    """In the child: never returns."""
    code = 3
    try:
        os.setsid()
        for number in (1, 2):
            os.dup2(printed, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        os.environ.update(gained)
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True
        sys.argv = ["pytest", *arguments]
        code = int(importlib.import_module("pytest").main(arguments))
    except BaseException:  # noqa: BLE001  # whatever it is, it is told, and the child ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, timeout_s: float) -> int | None:
    """The exit code of a child, or None: it was killed when its time was over."""
    ends, code = time.monotonic() + timeout_s, None
    try:
        while time.monotonic() < ends and code is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(_POLL_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if code is None:
            os.waitpid(pid, 0)
    return code


if __name__ == "__main__":
    serve()
