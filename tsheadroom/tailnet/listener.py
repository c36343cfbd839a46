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
from typing import TYPE_CHECKING, Any

from tsheadroom.addresses import joined
from tsheadroom.seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from _typeshed import ReadableBuffer

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

# Of all connections, those of peers that are not trusted may have this share together.
_STRANGERS_SHARE = 4  # a quarter

# A connection counts as silent from so many seconds after its last answer on. Until then there may
# be more of that answer to come.
_SILENT_AFTER = 1.0

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # Linux; elsewhere the socket object sees to it


class TailnetSocket(socket.socket):
    """A connection from the library. It knows its tailnet peer, and when it was last silent."""

    __slots__ = ("_on_close", "_peer", "_quiet_since", "_transport", "_used", "stranger")

    def __init__(
        self,
        descriptor: int,
        peer: tuple[str, int] | None,
        on_close: Callable[[TailnetSocket], None],
    ) -> None:
        self._peer = peer
        self._on_close: Callable[[TailnetSocket], None] | None = on_close
        self._used = False
        self._quiet_since: float | None = time.monotonic()  # None: the last word was the peer's
        self.stranger = False
        self._transport: asyncio.Transport | None = None  # None until it is served
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)
        self.set_inheritable(False)

    def getpeername(self) -> tuple[str, int] | str:
        """The peer's tailnet address and port; "" if the library did not name the peer."""
        return self._peer or ""

    @property
    def host(self) -> str:
        """The peer's IP address; "" if the library did not name the peer."""
        return self._peer[0] if self._peer else ""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive, and note that the peer has said something."""
        data = super().recv(size, flags)
        self._quiet_since = None
        self._used = True
        return data

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, and note that the peer has got something."""
        sent = super().send(data, flags)
        self._quiet_since = time.monotonic()
        return sent

    def sendmsg(self, buffers: Iterable[ReadableBuffer], *more: Any) -> int:
        """Send as `send` does: asyncio sends this way from Python 3.12 on."""
        sent = super().sendmsg(buffers, *more)
        self._quiet_since = time.monotonic()
        return sent

    def silent_since(self, now: float) -> float | None:
        """Since when nobody has had anything to say here; None if somebody may have.

        A peer that has sent part of a request, or waits for an answer, is not silent.
        """
        since, transport = self._quiet_since, self._transport
        if since is None or transport is None or not self._used:
            return since
        unfinished = now - since < _SILENT_AFTER or transport.get_write_buffer_size() > 0
        return None if unfinished else since

    def has_unread(self) -> bool:
        """True if the peer has said something that nobody has read yet."""
        try:
            return bool(super().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def served_by(self, transport: asyncio.Transport) -> None:
        """Note what serves it from now on."""
        self._transport = transport
        if not self.wanted:
            transport.abort()

    @property
    def wanted(self) -> bool:
        """False from hang_up() or close() on."""
        return self._on_close is not None

    def hang_up(self) -> None:
        """End it, at once if it is served already, else soon. It no longer counts from now on."""
        self._release()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close it, and tell whoever counts open connections, once."""
        super().close()
        self._release()

    def _release(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self)


class Listener:
    """Serves the connections that arrive on one of the library's descriptors.

    When all places are taken, a connection that has been silent makes room for a new one: the
    longest silent one of the peer that has most of these. So nobody can keep others out by doing
    nothing. `trusted` tells by "ip:port" whose connections may take all places; all others have a
    quarter of them together. Without it nobody is held to a quarter. `on_caller` is told the IP
    address of each peer that is served.
    """

    def __init__(
        self,
        descriptor: int,
        factory: Callable[[], asyncio.BaseProtocol],
        max_connections: int,
        *,
        trusted: Callable[[str], Awaitable[bool]] | None = None,
        on_caller: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = socket.socket(fileno=descriptor)
        self._source.setblocking(False)
        self._factory = factory
        self._trusted = trusted
        self._on_caller = on_caller
        self._limit = min(max_connections, _affordable())
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._pause = _FIRST_PAUSE
        self._resume: asyncio.TimerHandle | None = None
        self._said = Seldom()
        self._open: dict[str, dict[TailnetSocket, None]] = {}  # by the peer's IP address
        self._strangers = 0
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
        room = self.connections < self._limit or self._make_room(strangers=False)
        self.connections += 1
        sock = TailnetSocket(descriptor, peer, self._closed)
        self._open.setdefault(sock.host, {})[sock] = None
        if not room:
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
            if not sock.wanted or not await self._admitted(sock):
                sock.close()
                return
            transport, _ = await self._loop.connect_accepted_socket(self._factory, sock)
            sock.served_by(transport)
            if sock.host and sock.wanted:
                self._on_caller(sock.host)
        except Exception:  # whatever one connection does, the others go on
            if self._said.count("a connection could not be served"):
                log.exception("a connection could not be served")
            sock.close()

    async def _admitted(self, sock: TailnetSocket) -> bool:
        """True if there is a place for this connection, which depends on who calls."""
        if self._trusted is None:
            return True
        name = sock.getpeername()
        if name and await self._trusted(joined(name[0], int(name[1]))):
            return True
        if not sock.wanted:
            return False
        share = max(1, self._limit // _STRANGERS_SHARE)
        if self._strangers >= share and not self._make_room(strangers=True):
            self._say(
                "too many connections of peers that are not trusted (--allow);"
                f" closing new ones limit={share}"
            )
            return False
        sock.stranger = True
        self._strangers += 1
        return True

    def _make_room(self, *, strangers: bool) -> bool:
        """Hang up on one silent connection, of a stranger if `strangers`. False if there is none.

        It is one of the peer with most of them: of many that do nothing, and not the only one that
        a quiet caller keeps.
        """
        now = time.monotonic()
        most: list[tuple[float, TailnetSocket]] = []
        for connections in self._open.values():
            silent = [
                (since, sock)
                for sock in connections
                if (sock.stranger or not strangers)
                and (since := sock.silent_since(now)) is not None
            ]
            most = max(most, silent, key=len)
        for _, sock in sorted(most, key=lambda one: one[0]):
            if not sock.has_unread():
                self._say("all connections are taken; closing silent ones for new ones")
                sock.hang_up()
                return True
        return False

    def _closed(self, sock: TailnetSocket) -> None:
        self.connections -= 1
        self._strangers -= sock.stranger
        connections = self._open[sock.host]
        del connections[sock]
        if not connections:
            del self._open[sock.host]

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
        if self._said.count(sentence.partition(";")[0]):
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
