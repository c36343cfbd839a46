"""`tsheadroom serve --local-addr` as a process on a free port, for tests that talk to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds until something that must happen counts as not happening


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must happen."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Served:
    """One daemon. `directory` keeps its state and settings over a restart."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        program: Sequence[str] = ("-m", "tsheadroom"),
        **env: str,
    ) -> None:
        self.directory = directory
        self._options = options
        self._program = program
        self._env = env
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        self.errors = self.directory / f"stderr-{time.monotonic_ns()}"
        self.lines = self.directory / "stdout"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TSHEADROOM_", "TS_"))}
        with self.errors.open("wb") as err, self.lines.open("wb") as out:
            self.process = subprocess.Popen(
                command(self.directory, *self._options, program=self._program),
                stdout=out,
                stderr=err,
                env={**kept, **self._env},
            )
        self._port = 0

    @property
    def log(self) -> str:
        return self.errors.read_text()

    @property
    def port(self) -> int:
        """Waits until the daemon has said where it listens."""
        if not self._port:
            said = re.compile(r'msg="serving plain HTTP.*" addr=\S*:(\d+)')
            until(lambda: bool(said.search(self.log)) or self.process.poll() is not None)
            found = said.search(self.log)
            assert found, self.log
            self._port = int(found[1])
        return self._port

    def ready(self) -> Served:
        """Waits until a worker is warm."""
        until(lambda: self.ask("GET", "/readyz")[0] == 200)
        return self

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def hook(self, body: bytes) -> dict[str, Any]:
        """The hook's answer to a call; it is always a 200."""
        status, text = self.ask("POST", "/", body)
        assert status == 200
        answer: dict[str, Any] = json.loads(text)
        return answer

    def printed(self, count: int) -> list[str]:
        """The first `count` lines on stdout, once they are there."""
        until(lambda: len(self.lines.read_text().splitlines()) >= count)
        return self.lines.read_text().splitlines()

    def metric(self, name: str) -> float:
        """The value of a series, 0 when it is not there."""
        text = self.ask("GET", "/metrics")[1]
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def command(
    directory: Path, *options: str, program: Sequence[str] = ("-m", "tsheadroom")
) -> list[str]:
    """The command line; `program` is what stands between the interpreter and the arguments."""
    places = ["--state-dir", str(directory / "state"), "--config", str(directory / "config.json")]
    local = ["--local-addr", "127.0.0.1:0", "--pool-size", "1"]
    # A busy machine may make a worker late; the last of two equal options is in force.
    patient = ["--deadline", f"{PATIENCE}s"]
    return [sys.executable, *program, "serve", *places, *local, *patient, *options]
