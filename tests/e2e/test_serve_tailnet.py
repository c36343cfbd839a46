"""Real conversations over a private tailnet: the daemon as one node, the caller as another."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conversation import TRACES, Provider, call, turns
from tests.served import PATIENCE, until
from tests.tailnet.private import NODE_ENVIRONMENT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.tailnet.private import Caller, ControlServer

HOST = "conversed"


class Daemon:
    """`tsheadroom serve -v` on the tailnet."""

    def __init__(self, control: ControlServer, directory: Path) -> None:
        self.lines = directory / "lines"
        self.log = directory / "log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TSHEADROOM_", "TS_"))}
        with self.lines.open("wb") as lines, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tsheadroom", "serve", "-v", "--pool-size", "2"),
                    *("--deadline", f"{PATIENCE}s"),  # a busy machine may make a worker late
                    *("--hostname", HOST, "--control-url", control.url),
                    *("--state-dir", str(directory / "state")),
                    *("--config", str(directory / "config.json")),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=log,
                env={**kept, **NODE_ENVIRONMENT, "TS_AUTHKEY": "any"},
            )


@pytest.fixture
def daemon(control: ControlServer, caller: Caller, tmp_path: Path) -> Iterator[Daemon]:
    started = Daemon(control, tmp_path)

    def ready() -> bool:
        assert started.process.poll() is None, started.log.read_text()
        try:
            return caller.http(HOST).ask("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    until(ready)
    yield started
    started.process.kill()
    started.process.wait()


def converse(caller: Caller, path: Path) -> tuple[int, int]:
    """Send a recorded conversation turn by turn; turns sent, bytes saved."""
    provider = Provider()
    connection = caller.http(HOST)
    sent = 0
    for body in turns(path):
        status, answer = connection.ask("POST", "/", call(body))
        assert status == 200
        provider.receive(body, json.loads(answer))
        sent += 1
    connection.close()
    return sent, provider.saved


def test_conversations_at_once(daemon: Daemon, caller: Caller) -> None:
    with concurrent.futures.ThreadPoolExecutor(len(TRACES)) as pool:
        results = list(pool.map(lambda path: converse(caller, path), TRACES))
    assert sum(saved for _, saved in results) > 100_000
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(PATIENCE) == 0  # an answer arrives before its line is printed
    lines = daemon.lines.read_text().splitlines()
    calls = [line for line in lines if line.startswith("request ")]
    assert len(calls) == sum(sent for sent, _ in results)
    assert "Traceback" not in daemon.log.read_text()
