"""Starts the reference, the daemon in Go, as a process, and reads its CPU, memory and metrics.

It serves a local address, and runs Headroom in this Python. lab/beside.py says how to get it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.lab.daemon import (
    PATIENCE,
    START_SECONDS,
    STOP_SECONDS,
    Usage,
    series,
    short_directory,
    usage_of,
)
from tsheadroom.child import environment

READY = '"worker ready"'  # in the reference's log, once for each worker
INHERITED = ("PATH", "LANG")
INHERITED_PREFIXES = ("LC_", "OPENBLAS_")
# Headroom's settings stay its own. But whatever it would fetch is at hand, or is not asked for, so
# that no wait for a network counts against the reference.
OFFLINE = {
    "HEADROOM_TELEMETRY": "off",
    "HEADROOM_BEACON": "off",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class NoReference(Exception):
    """It cannot be run, or does not get ready."""


class Reference:
    """The Go daemon with a new state directory and this Python; a context manager."""

    def __init__(self, binary: Path, worker: Path, pool: int) -> None:
        self._pool = pool
        self._parts = contextlib.ExitStack()
        directory = short_directory("tsheadroom-beside-")
        self._parts.callback(shutil.rmtree, directory, ignore_errors=True)
        self._log = directory / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = ("127.0.0.1", int(free.getsockname()[1]))
        options = {
            "local-addr": "{}:{}".format(*self._address),
            "pool-size": pool,
            "state-dir": directory / "state",
            "config": directory / "config.json",
            "python": sys.executable,
            "worker": worker,
        }
        self._command = [str(binary)]
        for name, value in options.items():
            self._command += [f"-{name}", str(value)]
        self._environment = reference_environment(directory)

    def __enter__(self) -> Self:
        try:
            self._start()
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

    def _start(self) -> None:
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._log.parent,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        except OSError as error:
            raise NoReference(f"the reference cannot be run: {error}") from None
        self._parts.callback(self._stop)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if self._ready():
                return
            time.sleep(0.1)
        raise NoReference(f"the reference did not get ready:\n{self._log.read_text()}")

    def _ready(self) -> bool:
        """True if it listens, and every worker is warm."""
        if self._log.read_text().count(READY) < self._pool:
            return False
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def _stop(self) -> None:
        """End it, and with it its workers: the kernel kills what it leaves behind."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def connect(self) -> socket.socket:
        """Open a connection to it."""
        return socket.create_connection(self._address, timeout=PATIENCE)

    def usage(self) -> Usage:
        """Read CPU and memory now, of the daemon and of all processes that it has started."""
        return usage_of(self._process.pid)

    def metrics(self) -> dict[str, float]:
        """Read its series, by name with labels."""
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return series(connection.getresponse().read().decode())


def reference_environment(home: Path) -> dict[str, str]:
    """What the reference and its workers are started with: little of ours, and no key or token."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    vocabularies = environment.find_tokenizers()
    cached = {"TIKTOKEN_CACHE_DIR": str(vocabularies)} if vocabularies else {}
    return kept | OFFLINE | cached | {"HOME": str(home)}
