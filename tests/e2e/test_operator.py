"""What an operator does with the real daemon on a tailnet: look, grant, change settings, stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.served import PATIENCE, until
from tests.tailnet.private import NODE_ENVIRONMENT
from tests.test_daemon import environment, hook_call, status
from tsheadroom.web.access import DEFAULT_CAPABILITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.tailnet.private import Caller, ControlServer

HOST = "operated"


class Daemon:
    """`tsheadroom serve` as a node of the private tailnet."""

    def __init__(self, control_url: str, directory: Path) -> None:
        self.state = directory / "state"
        self.errors = directory / "stderr"
        self.lines = directory / "stdout"
        words = ["--control-url", control_url, "--hostname", HOST, "--state-dir", str(self.state)]
        more = ["--config", str(directory / "config.json"), "--pool-size", "1", "-v"]
        with self.errors.open("wb") as err, self.lines.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tsheadroom", "serve", *words, *more],
                stdout=out,
                stderr=err,
                env={**environment(TS_AUTHKEY="any"), **NODE_ENVIRONMENT},
            )
        until(self.ready)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.errors.read_text()
        return status(self.state).returncode == 0


@pytest.fixture
def daemon(control: ControlServer, tmp_path: Path) -> Iterator[Daemon]:
    started = Daemon(control.url, tmp_path)
    yield started
    control.grant({})
    if started.process.poll() is None:
        started.process.kill()
    started.process.wait()


def test_an_operators_day(daemon: Daemon, control: ControlServer, caller: Caller) -> None:
    peer = caller.http(HOST)
    assert peer.ask("GET", "/readyz") == (200, b"ready\n")
    assert json.loads(peer.ask("POST", "/", hook_call())[1]) == {"action": "allow"}
    # An answer arrives before it is counted.
    until(lambda: b"headroom_requests_total 1.0\n" in peer.ask("GET", "/metrics")[1])

    code, text = peer.ask("PUT", "/config", b'{"holdout": 5}')
    assert code == 403
    grant = json.loads(text.partition(b"grants: ")[2])
    assert list(grant["app"]) == [DEFAULT_CAPABILITY]
    assert json.loads(peer.ask("GET", "/config")[1])["holdout"] == 0

    control.grant(grant["app"])
    until(lambda: peer.ask("PUT", "/config", b'{"holdout": 5}')[0] == 200)
    assert json.loads(peer.ask("GET", "/config")[1])["holdout"] == 5

    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(PATIENCE) == 0
    assert "Traceback" not in daemon.errors.read_text()
    assert daemon.lines.read_text().startswith("request in_msgs=1 ")
