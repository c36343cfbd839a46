"""A small HTTP client. It keeps its connection, and writes a request in one go, as Go's does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

_HEAD = (
    b"POST / HTTP/1.1\r\nHost: tsheadroom\r\nContent-Type: application/json\r\n"
    b"Accept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answered request: milliseconds, HTTP status, and bytes of the answer's body."""

    ms: float
    status: int
    size: int


class Connection:
    """A connection to the daemon."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._socket = connect()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, body: bytes) -> Answered:
        """Post a hook call and read the whole answer."""
        started = time.perf_counter()
        self._socket.sendall(_HEAD % len(body) + body)
        head, rest = self._head()
        length = int(_field(head, b"content-length"))
        while len(rest) < length:
            rest += self._receive()
        return Answered((time.perf_counter() - started) * 1e3, int(head[9:12]), length)

    def _head(self) -> tuple[bytes, bytearray]:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        return bytes(data[:end]), data[end + 4 :]

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the daemon closed the connection")
        return data

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    raise ConnectionError(f"the answer has no {name.decode()}")
