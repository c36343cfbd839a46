"""HTTP over one connection, as bytes: also requests that end too early, and answers left unread."""

from __future__ import annotations

import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Connect = Callable[[], socket.socket]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. The body is decoded, the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def request(
    body: bytes = b"",
    path: str = "/",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request as bytes."""
    said = {"Host": "tsheadroom", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace") + body


class Line:
    """A connection that is kept, and opened again where it was lost.

    All raise OSError where there is no answer; the next request then opens another connection.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    @property
    def is_open(self) -> bool:
        """False if the next request opens another connection."""
        return self._socket is not None and (bool(self._buffer) or not _ended(self._socket))

    def ask(
        self,
        body: bytes = b"",
        path: str = "/",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and read its answer."""
        return self.exchange(request(body, path, method, headers))

    def exchange(self, raw: bytes) -> Reply:
        """Send these bytes and read an answer."""
        started = time.perf_counter()
        try:
            line = self._open()
            line.sendall(raw)
            return self._answer(line, started)
        except BaseException:
            self.close()
            raise

    def hang_up(self, raw: bytes, *, after: int = 0, reset: bool = False) -> int:
        """Send these bytes, read `after` bytes of the answer, close. Returns how many came.

        Where none is to be read, the last byte and the end of the stream leave in one packet: who
        reads the byte can know that nobody waits for an answer.
        """
        line = self._open()
        read = 0
        try:
            if not after and not reset:
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            line.sendall(raw)
            while read < after and (data := line.recv(after - read)):
                read += len(data)
            if reset:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            self.close()
        return read

    def _open(self) -> socket.socket:
        if self._socket is not None and not self.is_open:
            self.close()  # as any client does that finds its kept connection closed
        if self._socket is None:
            self._buffer.clear()
            self._socket = self._connect()
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _answer(self, line: socket.socket, started: float) -> Reply:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._receive(line)
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        status = int(lines[0].split(" ", 2)[1])
        parted = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in parted}
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            self._receive(line)
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        if headers.get("connection", "").lower() == "close":
            self.close()
        if headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, _GZIP)
        return Reply(status, headers, body, time.perf_counter() - started)

    def _receive(self, line: socket.socket) -> None:
        data = line.recv(1 << 18)
        if not data:
            raise ConnectionError("the daemon closed the connection")
        self._buffer += data

    def close(self) -> None:
        """Close it. It may be used again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _ended(line: socket.socket) -> bool:
    """True if the other end has closed an idle connection."""
    poll = select.poll()
    poll.register(line, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))
