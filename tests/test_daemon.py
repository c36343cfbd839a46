"""The daemon as a process: start, ready, reload, drain, stop, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import PATIENCE, Served, command, until

ALLOW = {"action": "allow"}


def environment(**env: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TSHEADROOM_", "TS_"))}
    return {**kept, **env}


def fails(directory: Path, *options: str, **env: str) -> str:
    """The one sentence with which a daemon refuses to start."""
    done = subprocess.run(
        command(directory, *options),
        capture_output=True,
        text=True,
        env=environment(**env),
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode not in (0, -signal.SIGKILL)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("Error: ")
    return sentence


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[Served] = []

    def start(*options: str, **more: Any) -> Served:
        started.append(Served(tmp_path, *options, **more))
        return started[-1]

    yield start
    for served in started:
        served.kill()


def hook_call(text: str = "hello") -> bytes:
    body = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": text}]}
    metadata = {"provider": "anthropic", "model": "claude-sonnet-4-5", "session_id": "s"}
    return json.dumps({"metadata": metadata, "request_body": body}).encode()


def test_a_life(serve: Serve) -> None:
    served = serve("-v")
    assert served.ask("GET", "/livez")[0] == 200
    until(lambda: served.ask("GET", "/readyz") == (200, "ready\n"))
    assert json.loads(served.ask("GET", "/config")[1])["headroom_version"]
    assert json.loads(served.ask("POST", "/", hook_call())[1]) == ALLOW
    assert served.ask("GET", "/")[0] == 405
    # An answer arrives before it is counted.
    until(lambda: "headroom_requests_total 1.0\n" in served.ask("GET", "/metrics")[1])
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE) == 0
    line = served.lines.read_text()
    assert re.fullmatch(r"request in_msgs=1 in_bytes=\d+ .* -> allow\(noop\)\n", line)
    assert all(re.match(r"time=\S+ level=(INFO|WARN) msg=", li) for li in served.log.splitlines())
    assert served.log.splitlines()[-1].endswith("msg=stopped")


def test_without_v_stdout_is_empty(serve: Serve) -> None:
    served = serve()
    assert served.ask("POST", "/", hook_call())[0] == 200
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(PATIENCE) == 0
    assert served.lines.read_text() == ""


def test_metrics_have_the_pools_and_conversations_series(serve: Serve) -> None:
    text = serve().ask("GET", "/metrics")[1]
    for name in (
        "tsheadroom_pool_slots_total",
        "tsheadroom_pool_slots_busy",
        "tsheadroom_affinity_hits_total",
        "tsheadroom_affinity_spills_total",
        "tsheadroom_conversations",
    ):
        assert re.search(rf"^{name} \d", text, re.MULTILINE), name


def test_hangup_reads_the_settings_again(serve: Serve) -> None:
    served = serve()
    before = json.loads(served.ask("GET", "/config")[1])
    (served.directory / "config.json").write_text('{"holdout": 7}')
    served.process.send_signal(signal.SIGHUP)
    until(lambda: json.loads(served.ask("GET", "/config")[1]) == {**before, "holdout": 7})
    (served.directory / "config.json").write_text("nonsense")
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "keeping the settings" in served.log)
    assert json.loads(served.ask("GET", "/config")[1])["holdout"] == 7


def test_an_unusable_settings_file_is_a_warning_and_the_defaults(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"holdout": 700}')
    served = serve()
    assert json.loads(served.ask("GET", "/config")[1])["holdout"] == 0
    assert "level=WARN" in served.log
    assert "holdout must be an integer from 0 to 100 (percent)" in served.log


def test_settings_put_over_loopback_survive_a_restart(serve: Serve) -> None:
    served = serve()
    assert served.ask("PUT", "/config", b'{"holdout": 9}')[0] == 200
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(PATIENCE)
    assert json.loads(serve().ask("GET", "/config")[1])["holdout"] == 9


def half_a_request(served: Served, body: bytes) -> socket.socket:
    """A connection whose request has begun; the daemon is waiting for the rest."""
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:10])
    until(lambda: "headroom_inbound_requests_active 1.0\n" in served.ask("GET", "/metrics")[1])
    return connection


def test_an_open_request_is_answered_while_draining(serve: Serve) -> None:
    served = serve("--drain", "60s")
    body = hook_call()
    with half_a_request(served, body) as connection:
        port = served.port
        served.process.send_signal(signal.SIGTERM)
        until(lambda: "msg=stopping" in served.log.replace('"', ""))
        until(lambda: refused(port))
        assert served.process.poll() is None
        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.rstrip().endswith(b'{"action":"allow"}')
    assert served.process.wait(PATIENCE) == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_draining_ends_although_a_request_does_not(serve: Serve) -> None:
    served = serve("--drain", "100ms")
    with half_a_request(served, hook_call()):
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(serve: Serve, number: signal.Signals) -> None:
    served = serve("--drain", "1h")
    with half_a_request(served, hook_call()):
        served.process.send_signal(number)
        until(lambda: "waiting for open requests" in served.log)

        def ended() -> bool:
            served.process.send_signal(number)  # one that comes too soon counts as the first
            return served.process.poll() is not None

        until(ended)
        assert served.process.wait(PATIENCE) == 128 + number


# The daemon, but two signals within an hour are one wish.
SLOW_TO_INSIST = """
from tsheadroom import daemon
from tsheadroom.cli.main import main
daemon.SAME_SIGNAL_SECONDS = 3600.0
main(prog_name="tsheadroom")
"""


def test_one_wish_to_stop_may_arrive_twice(serve: Serve) -> None:
    served = serve("--drain", "1h", program=["-c", SLOW_TO_INSIST])
    body = hook_call()
    with half_a_request(served, body) as connection:
        served.process.send_signal(signal.SIGTERM)
        until(lambda: "waiting for open requests" in served.log)
        served.process.send_signal(signal.SIGTERM)
        connection.sendall(body[10:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert served.process.wait(PATIENCE) == 0


def test_without_headroom_everything_is_allowed_and_the_reason_logged(
    serve: Serve, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    served = serve("--python", str(python), "-v")
    assert json.loads(served.ask("POST", "/", hook_call("x " * 5000))[1]) == ALLOW
    until(lambda: "worker does not start; retrying" in served.log)
    assert "No module named 'headroom'" in served.log
    answer, text = served.ask("GET", "/readyz")
    assert answer == 503
    assert text.startswith("no worker is warm: Headroom does not load in ")
    assert served.ask("GET", "/livez")[0] == 200
    assert json.loads(served.ask("GET", "/config")[1])["headroom_version"] is None


def status(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tsheadroom", "status", "--state-dir", str(directory), *options],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )


def said(directory: Path, *options: str) -> tuple[int, str]:
    done = status(directory, *options)
    return done.returncode, done.stdout


def test_status_asks_the_daemon_of_a_state_directory(serve: Serve, tmp_path: Path) -> None:
    state = tmp_path / "state"
    nobody = status(state)
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("Error: no daemon answers on ")
    served = serve()
    served.ask("GET", "/livez")
    # `status` waits for three seconds, which a busy machine may use up.
    until(lambda: said(state, "--live") == (0, "ok\n"))
    until(lambda: said(state) == (0, "ready\n"))


def test_the_status_socket_is_the_owners_and_cannot_write_settings(serve: Serve) -> None:
    served = serve()
    served.ask("GET", "/livez")
    path = served.directory / "state" / "tsheadroom.sock"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = fails(tmp_path, "--local-addr", f"127.0.0.1:{port}")
    assert sentence == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_an_unknown_host_is_one_sentence(tmp_path: Path) -> None:
    assert "cannot listen on" in fails(tmp_path, "--local-addr", "192.0.2.1:0")


def test_a_state_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = fails(tmp_path, "--state-dir", str(tmp_path / "file" / "below"))
    assert sentence.startswith("Error: cannot write to the state directory ")


def test_a_taken_state_directory_is_one_sentence(serve: Serve, tmp_path: Path) -> None:
    serve().ask("GET", "/livez")
    assert "another" in fails(tmp_path)


def test_a_missing_library_is_one_sentence(tmp_path: Path) -> None:
    words: list[Any] = [*command(tmp_path)]
    at = words.index("--local-addr")
    del words[at : at + 2]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env=environment(TSHEADROOM_LIBTAILSCALE=str(tmp_path / "missing.so")),
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "missing.so" in done.stderr.splitlines()[-1]
