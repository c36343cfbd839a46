"""The daemon under measurement: a process of its own, its CPU, its memory, its metrics."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.traffic import ROOT

START_SECONDS = 90.0
STOP_SECONDS = 20.0
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
        return self.daemon_pss + self.workers_pss


class Daemon:
    """`tsheadroom serve --local-addr` with a fresh state directory; a context manager."""

    def __init__(
        self, *options: str, pool: int = 2, runner: tuple[str, ...] = ("tsheadroom",)
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tsheadroom-bench-")
        directory = Path(self._directory.name)
        self._log = directory / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        words = ["serve", "--local-addr", f"127.0.0.1:{self.port}", "--pool-size", str(pool)]
        words += ["--state-dir", str(directory / "state"), "--config", str(directory / "c.json")]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TSHEADROOM_", "TS_"))}
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *runner, *words, *options],
                cwd=ROOT,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        self._pool = pool

    def __enter__(self) -> Daemon:
        try:
            self._wait_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _wait_ready(self) -> None:
        """Until every worker is warm."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if self.page("/readyz")[0] == http.HTTPStatus.OK and self._all_warm():
                    return
            except OSError:
                pass  # it does not listen yet
            time.sleep(0.1)
        raise RuntimeError(f"the daemon did not get ready:\n{self._log.read_text()}")

    def _all_warm(self) -> bool:
        """A row would measure the start of a worker otherwise."""
        return self.metrics().get("tsheadroom_pool_slots_warm", 0) >= self._pool

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._directory.cleanup()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STOP_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Its series by name with labels."""
        found = re.findall(r"^([^#\s]\S*) (\S+)$", self.page("/metrics")[1], re.MULTILINE)
        return {name: float(value) for name, value in found}

    def usage(self) -> Usage:
        """CPU and memory now, of the daemon and of all that it has started."""
        workers = [pid for pid in _tree(self._process.pid) if pid != self._process.pid]
        return Usage(
            _cpu(self._process.pid),
            sum(map(_cpu, workers)),
            _pss(self._process.pid),
            sum(map(_pss, workers)),
        )


def _tree(root: int) -> list[int]:
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
    """Milliseconds; the scheduler's own nanoseconds, since a turn is less than a clock tick."""
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
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / MIB if found else 0.0
