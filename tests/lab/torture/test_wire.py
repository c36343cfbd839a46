"""The raw client: answers are read whole, and a caller that hangs up is seen to have done so."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from scripts.lab.torture.wire import Line, request

Serve = Callable[[socket.socket], None]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def serve(listener: socket.socket, *turns: Serve) -> threading.Thread:
    """Serve one connection after another, each in its way."""

    def run() -> None:
        for turn in turns:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                turn(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def line_to(listener: socket.socket) -> Line:
    return Line(lambda: socket.create_connection(listener.getsockname(), timeout=20))


def answering(*answers: bytes) -> Serve:
    def turn(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(1 << 16)
            connection.sendall(answer)

    return turn


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PACKED = gzip.compress(b"packed")
CODED = b"HTTP/1.1 415 No\r\ncontent-encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED)


def test_answers_come_one_after_the_other_on_one_connection(listener: socket.socket) -> None:
    thread = serve(listener, answering(PLAIN, CODED + PACKED))
    line = line_to(listener)
    with closing(line):
        first, second = line.ask(b"x"), line.ask(b"x")
    assert (first.status, first.body) == (200, b"ok")
    assert (second.status, second.body) == (415, b"packed")
    thread.join()


def test_a_connection_that_was_closed_meanwhile_is_opened_again(listener: socket.socket) -> None:
    thread = serve(listener, answering(PLAIN), answering(PLAIN))
    line = line_to(listener)
    with closing(line):
        line.ask(b"x")
        while not _closed(line):
            pass
        assert line.ask(b"x").body == b"ok"
    thread.join()


def _closed(line: Line) -> bool:
    sock = line._socket
    assert sock
    return sock.recv(1, socket.MSG_PEEK) == b""


def test_no_answer_is_an_error(listener: socket.socket) -> None:
    serve(listener, lambda connection: None, answering(PLAIN[:20]))
    line = line_to(listener)
    for _ in range(2):
        with pytest.raises(OSError):
            line.ask(b"x")


@pytest.mark.parametrize("end", [1, 40, None])
def test_who_hangs_up_has_sent_so_much_and_ended(listener: socket.socket, end: int | None) -> None:
    raw = request(b"body")[:end]
    seen = bytearray()

    def read(connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            seen.extend(data)

    thread = serve(listener, read)
    assert line_to(listener).hang_up(raw) == 0
    thread.join()
    assert bytes(seen) == raw


def test_who_hangs_up_in_the_answer_has_read_so_much(listener: socket.socket) -> None:
    serve(listener, answering(PLAIN), answering(PLAIN))
    assert line_to(listener).hang_up(request(b"x"), after=7) == 7
    assert line_to(listener).hang_up(request(b"x"), after=1000) == len(PLAIN)
