"""Starts the daemon that is measured, as a process, and reads its CPU, memory and metrics.

It serves a local address, or a private tailnet on this machine, where a second node sends the
requests.
"""

from __future__ import annotations

import contextlib
import http
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts.lab.door import ROOT
from tests.tailnet import private
from tsheadroom.cli import ask as status
from tsheadroom.cli.ask import NoDaemon

START_SECONDS = 90.0
STOP_SECONDS = 20.0
PATIENCE = 60.0  # seconds that a client waits
HOST = "tsheadroom"
LONGEST = 60  # characters of a temporary directory's path; a socket's path must be short
MIB = 1024.0  # KiB


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU milliseconds since the start, and PSS in MiB."""

    daemon_cpu: float
    workers_cpu: float
    daemon_pss: float
    workers_pss: float

    @property
    def pss(self) -> float:
        """MiB of daemon and workers together."""
        return self.daemon_pss + self.workers_pss


class Daemon:
    """`tsheadroom serve` with a new state directory; a context manager.

    `address` is its host and port, unless it is on a tailnet. `settings` are in its file when it
    starts. `stdout` and `stderr` are descriptors; None for stderr is its log.
    """

    address = ""
    patience = PATIENCE  # seconds that a connection may take, and each of its answers
    control: private.ControlServer | None = None  # of its tailnet
    caller: private.Caller | None = None  # the second node there
    _dial: Callable[[], socket.socket]

    def __init__(
        self,
        *options: str,
        pool: int = 2,
        runner: tuple[str, ...] = ("tsheadroom",),
        tailnet: bool = False,
        settings: Mapping[str, Any] | None = None,
        stdout: int = subprocess.DEVNULL,
        stderr: int | None = None,
    ) -> None:
        self._pool = pool
        self._streams = stdout, stderr
        self._parts = contextlib.ExitStack()
        try:
            directory = short_directory("tsheadroom-bench-")
            self._parts.callback(shutil.rmtree, directory, ignore_errors=True)
            self._log, self.state = directory / "log", directory / "state"
            self.settings_file = directory / "config.json"
            if settings is not None:
                self.settings_file.write_text(json.dumps(settings))
            place = self._on_a_tailnet(directory) if tailnet else self._on_a_port()
            words = ["serve", *place, "--pool-size", str(pool), "--state-dir", str(self.state)]
            words += ["--config", str(self.settings_file), *options]
            self._command = [sys.executable, "-m", *runner, *words]
            self.start()
            self._parts.callback(self.stop)
        except BaseException:
            self._parts.close()
            raise

    def _on_a_port(self) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = ("127.0.0.1", int(free.getsockname()[1]))
        self._dial = lambda: socket.create_connection(address, timeout=self.patience)
        self.address = "{}:{}".format(*address)
        return ["--local-addr", self.address]

    def _on_a_tailnet(self, directory: Path) -> list[str]:
        private.build()
        self.control = control = private.ControlServer()
        self._parts.callback(control.close)
        (directory / "caller").mkdir()
        self.caller = caller = private.Caller(control.url, directory / "caller")
        self._parts.callback(caller.close)
        self._dial = lambda: caller.connect(HOST, timeout=self.patience)
        return ["--control-url", control.url, "--hostname", HOST]

    def start(self) -> None:
        """Start it, or start it again with the state that it has."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TSHEADROOM_", "TS_"))}
        stdout, stderr = self._streams
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**kept, **private.NODE_ENVIRONMENT, "TS_AUTHKEY": "any"},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log if stderr is None else stderr,
            )

    def connect(self) -> socket.socket:
        """Open a connection to it."""
        return self._dial()

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parts.close()

    def wait_ready(self) -> None:
        """Wait until every worker is warm."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if self.page("/readyz")[0] == http.HTTPStatus.OK and self._all_warm():
                    return
            except NoDaemon:
                pass  # not yet
            time.sleep(0.1)
        raise RuntimeError(f"the daemon did not get ready:\n{self._log.read_text()}")

    def _all_warm(self) -> bool:
        """True if all workers are warm. Otherwise a row would measure the start of a worker."""
        return self.metrics().get("tsheadroom_pool_slots_warm", 0) >= self._pool

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal, or by force where that does not end it; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True unless it has ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What the daemon has logged so far."""
        return self._log.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def page(self, path: str) -> tuple[int, str]:
        """Get one of its pages: status and text."""
        return status.ask(self.state, path)

    def metrics(self) -> dict[str, float]:
        """Read its series, by name with labels."""
        return series(self.page("/metrics")[1])

    def usage(self) -> Usage:
        """Read CPU and memory now, of the daemon and of all processes that it has started."""
        return usage_of(self.pid)


def series(text: str) -> dict[str, float]:
    """Read the series of a metrics page, by name with labels."""
    found = re.findall(r"^([^#\s]\S*) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def usage_of(daemon: int) -> Usage:
    """Read CPU and memory now, of a process and of all that it has started."""
    workers = [pid for pid in tree(daemon) if pid != daemon]
    return Usage(_cpu(daemon), sum(map(_cpu, workers)), _pss(daemon), sum(map(_pss, workers)))


def short_directory(prefix: str) -> Path:
    """Make a temporary directory with a short path: a socket's may have 108 bytes at most."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=prefix, dir=usual if len(usual) < LONGEST else "/tmp"))


def tree(root: int) -> list[int]:
    """The pids of a process and of all that it has started, as far as they run."""
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(process.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def _cpu(pid: int) -> float:
    """CPU milliseconds, from the scheduler's nanoseconds: a turn takes less than a clock tick."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0]) / 1e6
        except OSError:
            continue  # a thread that has just ended
    return total


def _pss(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        return math.nan  # the daemon and its workers hide it from all but root
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / MIB if found else 0.0
