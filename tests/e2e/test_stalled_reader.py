"""A daemon whose stdout and stderr nobody reads, any more or again."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conversation import call
from tests.served import PATIENCE, command, until

# The daemon with little room for lines, so that few requests fill it.
PROGRAM = """
from tsheadroom.cli.main import main
from tsheadroom.telemetry.output import LineOutput
LineOutput.__init__.__defaults__ = (10_000,)
main(prog_name="tsheadroom")
"""
BODY = call({"messages": [{"role": "user", "content": "hi"}]})


def fill(descriptor: int) -> int:
    """Write until nothing more is taken. Returns how many bytes were."""
    os.set_blocking(descriptor, False)
    taken = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            taken += os.write(descriptor, b"\n")
    os.set_blocking(descriptor, True)
    return taken


class Stalled:
    """A daemon on a known port, and the reading end of its stdout and stderr, which is full."""

    def __init__(self, directory: Path) -> None:
        self.reads, writes = os.pipe()
        fill(writes)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # Of two equal options the last one is in force.
        self.process = subprocess.Popen(
            command(
                directory,
                *("--local-addr", f"127.0.0.1:{self.port}", "-v"),
                program=("-c", PROGRAM),
            ),
            stdout=writes,
            stderr=writes,
        )
        os.close(writes)
        until(self.answers)

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/livez")[0] == 200
        return False

    def ask(self, method: str, path: str, body: bytes = b"", coding: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            headers = {"Content-Encoding": coding} if coding else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def dropped(self, stream: str) -> int:
        text = self.ask("GET", "/metrics")[1]
        found = re.search(rf'lines_dropped_total{{stream="{stream}"}} (\d+)', text)
        return int(found[1]) if found else -1


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[Stalled]:
    daemon = Stalled(tmp_path)
    yield daemon
    daemon.process.kill()
    daemon.process.wait()
    with contextlib.suppress(OSError):
        os.close(daemon.reads)


def test_no_request_waits_for_a_reader(stalled: Stalled) -> None:
    assert stalled.dropped("stderr") == stalled.dropped("stdout") == 0
    for _ in range(100):
        assert stalled.ask("POST", "/", BODY)[0] == 200
        assert stalled.ask("POST", "/", b"no JSON")[0] == 200
        assert stalled.ask("POST", "/", b"{}", "x" * 7900)[0] == 415
    dropped = stalled.dropped("stderr"), stalled.dropped("stdout")
    assert min(dropped) > 0
    parts: list[bytes] = []

    def read() -> None:
        while part := os.read(stalled.reads, 1 << 16):
            parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: b"".join(parts).count(b"lines were dropped") >= 2)
    assert (stalled.dropped("stderr"), stalled.dropped("stdout")) == dropped
    stalled.process.send_signal(signal.SIGTERM)
    assert stalled.process.wait(PATIENCE) == 0
    reader.join(PATIENCE)
    lines = b"".join(parts).decode().split("\n")
    for lost, stream in zip(dropped, ("stderr", "stdout"), strict=True):
        told = f'msg="{lost} lines were dropped because {stream} was not read"'
        assert [line for line in lines if told in line]
    # Two streams share the pipe, and each line is whole.
    assert all(re.match(r"time=|request(\(\S+\))? in|request\(\S+\) wire|$", x) for x in lines)
    assert lines[-2].endswith("msg=stopped")


@pytest.mark.parametrize("gone", [True, False])
def test_it_ends_though_nobody_reads(stalled: Stalled, gone: bool) -> None:
    if gone:
        os.close(stalled.reads)
    for _ in range(20):
        assert stalled.ask("POST", "/", b"no JSON")[0] == 200
    stalled.process.send_signal(signal.SIGTERM)
    assert stalled.process.wait(PATIENCE) == 0
