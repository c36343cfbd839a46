"""Asking a daemon through its socket, and what is said where none answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsheadroom.cli import ask as asking
from tsheadroom.cli.ask import NoDaemon, ask
from tsheadroom.tailnet.statedir import SOCKET_NAME


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """What a daemon would listen on."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET_NAME))
        server.listen()
        yield server


def _answer_once(server: socket.socket, answer: bytes, seen: list[bytes]) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            seen.append(connection.recv(65536))
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_status_and_text_of_a_page(tmp_path: Path, listener: socket.socket) -> None:
    seen: list[bytes] = []
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nno\xff w"
    thread = _answer_once(listener, answer, seen)
    assert ask(tmp_path, "/readyz") == (503, "no\ufffd w")
    thread.join()
    assert seen[0].startswith(b"GET /readyz HTTP/1.1\r\n")


def test_without_a_socket_there_is_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon, match=f"no daemon answers on {tmp_path / SOCKET_NAME}: "):
        ask(tmp_path, "/readyz")


def test_a_socket_that_nobody_serves_is_no_daemon(tmp_path: Path, listener: socket.socket) -> None:
    listener.close()
    with pytest.raises(NoDaemon, match="Connection refused"):
        ask(tmp_path, "/readyz")


def test_what_is_not_http_is_no_daemon(tmp_path: Path, listener: socket.socket) -> None:
    thread = _answer_once(listener, b"hello\r\n", [])
    with pytest.raises(NoDaemon, match="hello"):
        ask(tmp_path, "/readyz")
    thread.join()


@pytest.mark.usefixtures("listener")
def test_a_daemon_that_is_stuck_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.01)
    with pytest.raises(NoDaemon, match="timed out"):
        ask(tmp_path, "/readyz")
