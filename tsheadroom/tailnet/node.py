"""The life of the node: it starts, is tried again until it works, is watched, and is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsheadroom.tailnet.listener import Listener
from tsheadroom.tailnet.localapi import LocalApi, LocalApiFailed, NodeStatus, Peer
from tsheadroom.tailnet.logpipe import LogPipe
from tsheadroom.tailnet.native import Loopback, NativeNode, NodeFailed, in_thread, load_library
from tsheadroom.tailnet.remembered import Remembered, free_port
from tsheadroom.tailnet.statedir import StateDirectory
from tsheadroom.tailnet.watch import Watch
from tsheadroom.tailnet.whois import Whois

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

DEFAULT_MAX_CONNECTIONS = 1024

# It takes a tenth of a second, and the state is on disk before it. With more than some hundred
# connections tsnet 1.102 never ends by itself: its netstack resets each, into a queue that nobody
# empties any more. What hangs ends with the process, and callers wait for the next one.
CLOSE_SECONDS = 3.0

_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a node is started with."""

    hostname: str
    state_dir: Path
    authkey: str | None = None
    control_url: str | None = None
    ephemeral: bool = False
    tags: tuple[str, ...] = ()  # needed if the auth key is an OAuth client secret
    port: int = 0  # UDP, for WireGuard; 0: that of the last start, else any
    # Peers whose connections may take all places: names of nodes, tags, logins. Empty: all peers'.
    allow: tuple[str, ...] = ()


@dataclass(slots=True)
class _Service:
    factory: Callable[[], asyncio.BaseProtocol]
    address: str
    max_connections: int


class Node:
    """This process's node: `start`, `listen`, and `close` at the end."""

    def __init__(self, options: NodeOptions) -> None:
        self._options = options
        self._state_dir = StateDirectory(options.state_dir)
        self._library: ctypes.CDLL | None = None
        self._native: NativeNode | None = None
        self._api: LocalApi | None = None
        self._logs: LogPipe | None = None
        self._service: _Service | None = None
        self._listener: Listener | None = None
        self._life: asyncio.Task[None] | None = None
        self._whois = Whois()
        self._watch = Watch(has_key=bool(options.authkey), on_running=self._greet)
        self._remembered = Remembered(options.state_dir)
        self._greetings: set[asyncio.Task[None]] = set()
        self.loopback: Loopback | None = None

    async def start(self) -> None:
        """Lock the state directory and load the library. Raises what only a person can correct."""
        self._state_dir.open()
        try:
            self._library = load_library()
        except BaseException:
            self._state_dir.close()
            raise
        self._remembered.load()

    async def listen(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        address: str,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
    ) -> None:
        """Serve a tailnet address such as ":80" with a protocol factory (aiohttp's runner.server).

        Returns at once. The node joins the tailnet in the background, for as long as that takes.
        """
        self._service = _Service(factory, address, max_connections)
        self._life = asyncio.get_running_loop().create_task(self._live(), name="tailnet-node")
        self._life.add_done_callback(_tell_failure)

    @property
    def running(self) -> bool:
        """True if peers can reach the node."""
        return self._watch.state == "Running"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._listener.connections if self._listener else 0

    async def wait_running(self) -> None:
        """Wait until the node has run for the first time."""
        await self._watch.up.wait()

    async def status(self) -> NodeStatus:
        """What the node says of itself; an empty NodeStatus while there is no node."""
        if self._api is None:
            return NodeStatus(state=self._watch.state)
        return await self._api.status()

    async def whois(self, address: str) -> Peer | None:
        """Who has this "ip:port", as known some seconds ago at most; None if nobody has."""
        return await self._whois.ask(self._api, address)

    def stop_accepting(self) -> None:
        """Take no more connections; the open ones go on. This is the first step of stopping."""
        self._service = None
        if self._listener is not None:
            self._listener.close()

    async def close(self) -> None:
        """Leave the tailnet, which ends every connection. May be called at any time, once."""
        self.stop_accepting()
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
        await self._take_down()
        await self._remembered.close()
        self._state_dir.close()

    async def _live(self) -> None:
        """Bring the node up, again and again until it works, and then follow it."""
        retry = _FIRST_RETRY
        while True:
            try:
                await self._bring_up()
                break
            except NodeFailed as error:
                log.error("the node cannot start, trying again retry=%gs: %s", retry, error)
            await self._take_down()
            await asyncio.sleep(retry)
            retry = min(2 * retry, _LAST_RETRY)
        assert self._api is not None
        await self._watch.follow(self._api)

    async def _bring_up(self) -> None:
        assert self._library is not None, "start() comes before listen()"
        self._native = native = NativeNode(self._library)
        self._logs = LogPipe()
        native.set_log_descriptor(self._logs.hand_over())
        self._choose_port(native)
        # Shielded: if this is cancelled, the start must end first. tsnet must not be closed while
        # it starts.
        starting = asyncio.ensure_future(in_thread(lambda: self._start_native(native)))
        try:
            descriptor, loopback = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting], timeout=CLOSE_SECONDS)
            if not starting.done():
                self._native = None  # it hangs, and ends with the process
            raise
        self.loopback = loopback
        self._api = LocalApi(loopback.address, loopback.api_credential)
        if self._service is None:
            os.close(descriptor)
            return
        self._listener = Listener(
            descriptor,
            self._service.factory,
            self._service.max_connections,
            trusted=self._trusts if self._options.allow else None,
            on_caller=self._remembered.note_caller,
        )

    def _choose_port(self, native: NativeNode) -> None:
        """Have the node where its peers left it, if that port is free."""
        asked = self._options.port
        port = free_port(asked, self._remembered.port)
        if not native.set_port(port):
            if asked:
                log.warning("this libtailscale cannot be given a UDP port asked=%d", asked)
            return
        if asked and port != asked:
            log.warning("the UDP port is taken; using another one asked=%d port=%d", asked, port)
        self._remembered.note_port(port)

    def _greet(self) -> None:
        """Tell the peers that called last that the node is back, and where.

        They still have a session with the node that ended, and would notice only after seconds.
        """
        for address in self._remembered.callers:
            greeting = asyncio.get_running_loop().create_task(self._greet_one(address))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)

    async def _greet_one(self, address: str) -> None:
        if self._api is None:
            return
        try:
            await self._api.ping(address)
            log.debug("an earlier caller knows that the node is back addr=%s", address)
        except LocalApiFailed as error:  # that node may be off, or gone for good
            log.debug("an earlier caller was not reached addr=%s: %s", address, error)

    async def _trusts(self, address: str) -> bool:
        """True if --allow names the peer with this "ip:port"."""
        peer = await self.whois(address)
        return peer is not None and is_named(peer, self._options.allow)

    def _start_native(self, native: NativeNode) -> tuple[int, Loopback]:
        options, service = self._options, self._service
        native.set_dir(options.state_dir)
        native.set_hostname(options.hostname)
        native.set_ephemeral(options.ephemeral)
        if options.authkey:
            native.set_authkey(options.authkey)
        if options.control_url:
            native.set_control_url(options.control_url)
        if options.tags:
            native.set_tags(options.tags)
        native.start()
        return native.listen(service.address if service else ":80"), native.loopback()

    async def _take_down(self) -> None:
        for greeting in self._greetings:
            greeting.cancel()
        native, self._native = self._native, None
        api, self._api = self._api, None
        if api is not None:
            await api.close()
        if native is not None:
            closing = asyncio.ensure_future(in_thread(native.close))
            done, _ = await asyncio.wait([closing], timeout=CLOSE_SECONDS)
            if not done:
                log.warning("the node did not close in time seconds=%g", CLOSE_SECONDS)
            elif error := closing.exception():
                log.warning("%s", error)
        if self._logs is not None:
            self._logs.close()
            self._logs = None


def is_named(peer: Peer, names: tuple[str, ...]) -> bool:
    """True if one of these is the peer's login, one of its tags, or its node's full name."""
    known = {name.lower() for name in (peer.login, peer.node, *peer.tags) if name}
    return any(name.lower() in known for name in names)


def _tell_failure(life: asyncio.Task[None]) -> None:
    """Log an error that ended the node's task. Nobody awaits that task before the end."""
    if not life.cancelled() and (error := life.exception()) is not None:
        log.critical("the node is no longer looked after", exc_info=error)
