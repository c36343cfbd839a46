"""Takes accepted connections from the library into the event loop, without a thread.

The library sends one message for each connection, over an AF_UNIX stream socket. The message has
the connection's descriptor, and the peer's "ip:port" as text.
"""

from __future__ import annotations

import array
import asyncio
import ipaddress
import logging
import resource
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_LONGEST_ADDRESS = 256
_DESCRIPTOR_BYTES = array.array("i").itemsize

# At most so many connections are taken in one go; then the event loop serves them.
_BATCH = 64

# When there are no free descriptors, each attempt to take a connection loses it for its caller. So
# the listener pauses until some are free again. Seconds, doubled each time.
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0

# Descriptors that the process needs for other things: workers' pipes, the store, the node's own.
_RESERVED_DESCRIPTORS = 128
_DESCRIPTORS_PER_CONNECTION = 2  # this side's and the library's

# The same warning is logged once in so many seconds.
_SAY_AGAIN = 10.0

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # Linux; elsewhere the socket object sees to it


class TailnetSocket(socket.socket):
    """A connection from the library. It knows its tailnet peer, and tells when it is closed."""

    __slots__ = ("_on_close", "_peer")

    def __init__(
        self, descriptor: int, peer: tuple[str, int] | None, on_close: Callable[[], None]
    ) -> None:
        self._peer = peer
        self._on_close: Callable[[], None] | None = on_close
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)
        self.set_inheritable(False)

    def getpeername(self) -> tuple[str, int] | str:
        """The peer's tailnet address and port; "" if the library did not name the peer."""
        return self._peer or ""

    def close(self) -> None:
        """Close it, and tell whoever counts open connections, once."""
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


class Listener:
    """Serves the connections that arrive on one of the library's descriptors."""

    def __init__(
        self, descriptor: int, factory: Callable[[], asyncio.BaseProtocol], max_connections: int
    ) -> None:
        self._source = socket.socket(fileno=descriptor)
        self._source.setblocking(False)
        self._factory = factory
        self._limit = min(max_connections, _affordable())
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._pause = _FIRST_PAUSE
        self._resume: asyncio.TimerHandle | None = None
        self._said: dict[str, float] = {}
        self.connections = 0
        if self._limit < max_connections:
            log.warning(
                "the descriptor limit allows fewer connections than asked for limit=%d asked=%d",
                self._limit,
                max_connections,
            )
        self._loop.add_reader(self._source, self._readable)

    @property
    def limit(self) -> int:
        """How many connections may be open at a time."""
        return self._limit

    def close(self) -> None:
        """Take no more connections; the open ones go on."""
        if self._source.fileno() < 0:
            return
        self._loop.remove_reader(self._source)
        if self._resume is not None:
            self._resume.cancel()
        self._source.close()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                text, ancillary, flags, _ = self._source.recvmsg(
                    _LONGEST_ADDRESS, socket.CMSG_SPACE(_DESCRIPTOR_BYTES), _CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._rest(f"cannot take connections from the tailnet: {error.strerror}")
                return
            descriptor = _descriptor(ancillary)
            if descriptor is not None:
                self._pause = _FIRST_PAUSE
                self._take(descriptor, _address(text))
            elif flags & socket.MSG_CTRUNC:
                self._rest("out of file descriptors; a connection was dropped")
                return
            elif not text:
                log.warning("the node ended its listener")
                self.close()
                return

    def _take(self, descriptor: int, peer: tuple[str, int] | None) -> None:
        self.connections += 1
        sock = TailnetSocket(descriptor, peer, self._closed)
        if self.connections > self._limit:
            # A closed connection tells the caller at once. In a queue it would wait for nothing.
            self._say(f"too many connections; closing new ones limit={self._limit}")
            sock.close()
            return
        if peer is None:
            self._say("the library names no peer; its callers are treated as nobody")
        sock.setblocking(False)
        task = self._loop.create_task(self._serve(sock))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _serve(self, sock: TailnetSocket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, sock)
        except Exception:  # whatever one connection does, the others go on
            log.exception("a connection could not be served")
            sock.close()

    def _closed(self) -> None:
        self.connections -= 1

    def _rest(self, reason: str) -> None:
        """Stop reading for a while: trying again and again would only use up CPU time."""
        self._say(f"{reason}; resting pause={self._pause:g}s")
        self._loop.remove_reader(self._source)
        self._resume = self._loop.call_later(self._pause, self._go_on)
        self._pause = min(2 * self._pause, _LAST_PAUSE)

    def _go_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self._source, self._readable)

    def _say(self, sentence: str) -> None:
        now = time.monotonic()
        topic = sentence.partition(";")[0]
        if now - self._said.get(topic, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._said[topic] = now
            log.warning("%s", sentence)


def _affordable() -> int:
    """How many connections the process has descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 20
    return max(1, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_PER_CONNECTION)


def _descriptor(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        whole = len(data) >= _DESCRIPTOR_BYTES
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and whole:
            return array.array("i", data[:_DESCRIPTOR_BYTES])[0]
    return None


def _address(text: bytes) -> tuple[str, int] | None:
    """The peer that a message names; None if the text is not an address and a port."""
    host, _, port = text.partition(b"\0")[0].decode("ascii", errors="replace").rpartition(":")
    try:
        ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return (str(ip), int(port)) if port.isdecimal() else None
