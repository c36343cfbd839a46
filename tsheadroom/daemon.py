"""Puts the parts together and owns their life: start, ready, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from tsheadroom import __version__
from tsheadroom.addresses import joined
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.store.sweep import SWEEP_EVERY_S
from tsheadroom.errors import TsheadroomError
from tsheadroom.memory import collect_for_ever, settle, trim_for_ever
from tsheadroom.settings import Settings, SettingsStore
from tsheadroom.tailnet.node import Node, NodeOptions
from tsheadroom.tailnet.statedir import SOCKET_NAME, StateDirectory
from tsheadroom.telemetry import gauges
from tsheadroom.telemetry.billed import BillingCollector
from tsheadroom.telemetry.output import LineOutput, standard
from tsheadroom.telemetry.series import Metrics
from tsheadroom.telemetry.shortage import say_briefly
from tsheadroom.turns.turns import Turns
from tsheadroom.web.access import Access
from tsheadroom.web.app import make_app, make_runner, tell_of_lost_connections
from tsheadroom.web.bills import Bills
from tsheadroom.web.config import ConfigPage
from tsheadroom.web.health import HealthPages
from tsheadroom.web.hook import Hook, HookOptions
from tsheadroom.web.metrics import MetricsPage
from tsheadroom.web.room import Room
from tsheadroom.workers import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

log = logging.getLogger(__name__)

# How many connections the kernel holds until they are accepted. The usual 128 are too few for a
# burst in tests.
LOCAL_BACKLOG = 1024

# Two signals within so many seconds count as one: timeout(1), process groups and wrappers may send
# a single wish to stop twice.
SAME_SIGNAL_SECONDS = 0.3


class CannotServe(TsheadroomError):
    """The daemon cannot start here. The text says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line. Times are seconds, sizes are bytes."""

    hostname: str
    addr: tuple[str, int]
    state_dir: Path
    config: Path
    local_addr: tuple[str, int] | None
    verbose: bool
    pool_size: int
    max_compress: float
    deadline: float
    drain: float
    python: str
    affinity: bool
    gzip_response: bool
    accept_compressed: bool
    unsupported_encoding: str  # "reject" or "allow"
    control_url: str | None
    authkey: str | None
    decision_memory: int
    body_memory: int
    history: bool
    config_capability: str
    max_connections: int
    allow: tuple[str, ...]
    port: int


class Daemon:
    """One daemon, from its options to its end."""

    def __init__(self, options: Options, logs: LineOutput | None = None) -> None:
        """`logs` is where log lines go, None if that is none of the daemon's business."""
        self._options = options
        self._verbose = standard(sys.stdout, "stdout") if options.verbose else None
        self._outputs = [output for output in (logs, self._verbose) if output]
        self._stopping = asyncio.Event()
        self._stopped_at = 0.0
        self.metrics = Metrics()
        self.settings = SettingsStore(options.config)
        self.settings.load()
        self.conversations = Conversations(
            directory=options.state_dir if options.history else None,
            memory=options.decision_memory,
        )
        self.pool = Pool(
            size=options.pool_size,
            python=options.python,
            max_compress=options.max_compress,
            affinity=options.affinity,
            options=_worker_options(self.settings.current),
        )
        self.node = None if options.local_addr else _make_node(options)
        access = Access(self.node.whois if self.node else None, options.config_capability)
        self._config = ConfigPage(self.settings, access, lambda: self.pool.headroom_version)
        self.turns = Turns(self.conversations, self.pool, deadline=options.deadline)
        self._room = Room(options.body_memory, options.deadline)
        self._hook = Hook(
            turns=self.turns,
            settings=self.settings,
            metrics=self.metrics,
            room=self._room,
            options=_hook_options(options, self._verbose),
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until a signal says to stop. Raises TsheadroomError if that is not possible."""
        say_briefly(asyncio.get_running_loop())
        self._watch_signals()
        self._declare_series()
        async with contextlib.AsyncExitStack() as parts:  # what starts first ends last
            if self._verbose:
                parts.callback(self._verbose.close)
            listener = await self._take_places(parts)
            self.conversations.open()
            parts.callback(self.conversations.close)
            await self.pool.start()
            parts.push_async_callback(self.pool.close)
            parts.push_async_callback(self.turns.close)
            self._spawn(self._sweep())
            self._spawn(trim_for_ever())
            self._spawn(collect_for_ever())
            runner = make_runner(self.app())
            await runner.setup()
            tell_of_lost_connections(runner, self._hook.connection_lost)
            parts.push_async_callback(runner.cleanup)
            await self._serve_socket(runner)
            settle()
            stop_accepting = await self._listen(runner, listener)
            await self._stopping.wait()
            log.info("stopping; waiting for open requests drain=%gs", self._options.drain)
            for task in self._tasks:
                task.cancel()
            await stop_accepting()
            await self._drain()
        log.info("stopped")

    def _declare_series(self) -> None:
        """Let each scrape of /metrics read the numbers that the parts count themselves."""
        metrics, account, room = self.metrics, self.turns.account, self._room
        metrics.watch(lambda: gauges.of_bodies(room.taken, room.waiting))
        metrics.watch(lambda: gauges.of_pool(self.pool.stats))
        metrics.watch(lambda: gauges.of_conversations(self.conversations))
        metrics.watch(lambda: gauges.of_store(self.conversations.disk))
        metrics.watch(lambda: gauges.of_windows(account.windows))
        metrics.watch(lambda: gauges.of_outputs(self._outputs))
        metrics.registry.register(BillingCollector(account.billing))

    async def _take_places(self, parts: contextlib.AsyncExitStack) -> socket.socket | None:
        """Take what another daemon may hold already: the state directory, and the local port."""
        if self.node:
            parts.push_async_callback(self.node.close)
            await self.node.start()
            return None
        directory = StateDirectory(self._options.state_dir)
        directory.open()
        parts.callback(directory.close)
        return _bind(self._options.local_addr) if self._options.local_addr else None

    async def _listen(
        self, runner: web.AppRunner, listener: socket.socket | None
    ) -> Callable[[], Awaitable[None]]:
        """Take requests from now on. Returns the function that stops that."""
        options = self._options
        if listener:
            site = web.SockSite(runner, listener, backlog=LOCAL_BACKLOG)
            await site.start()
            address = joined(*listener.getsockname()[:2])
            log.info("serving plain HTTP, not the tailnet addr=%s version=%s", address, __version__)
            return site.stop
        node, server = self.node, runner.server
        assert node is not None
        assert server is not None
        await node.listen(server, joined(*options.addr), options.max_connections)
        log.info(
            "joining the tailnet hostname=%s addr=%s version=%s",
            options.hostname,
            joined(*options.addr),
            __version__,
        )

        async def stop() -> None:
            node.stop_accepting()

        return stop

    async def _drain(self) -> None:
        """Let open requests end, for as long as --drain allows.

        aiohttp's own way would throw away what still arrives of a request's body.
        """
        try:
            async with asyncio.timeout(self._options.drain):
                await self._hook.drained()
        except TimeoutError:
            log.warning("open requests are cut off drain=%gs", self._options.drain)

    def app(self) -> web.Application:
        """Build the HTTP application over the parts."""
        return make_app(
            hook=self._hook.handle,
            bills=Bills(
                self.turns.take_event,
                self._room,
                accept_compressed=self._options.accept_compressed,
            ),
            config=self._config,
            metrics=MetricsPage(self.metrics),
            health=HealthPages(self.missing, self.degraded),
            stopping=self._stopping.is_set,
        )

    def missing(self) -> list[str]:
        """A sentence for each thing that keeps the daemon from being ready."""
        checks = (
            (self._stopping.is_set(), "stopping"),
            (self.node is not None and not self.node.running, "the tailnet node is not running"),
            (not self.pool.ready, f"no worker is warm{self._why_no_worker()}"),
        )
        return [sentence for wrong, sentence in checks if wrong]

    def degraded(self) -> list[str]:
        """A sentence for each thing that works less well than it should."""
        disk = self.conversations.disk
        return [disk.degraded] if disk and disk.degraded else []

    def _why_no_worker(self) -> str:
        return f": {self.pool.failure}" if self.pool.failure else ""

    async def _serve_socket(self, runner: web.AppRunner) -> None:
        """Serve the pages on a local socket, for `tsheadroom status` and health checks."""
        path = self._options.state_dir / SOCKET_NAME
        try:
            await web.UnixSite(runner, path).start()
            path.chmod(0o600)
        except OSError as error:
            log.warning("no status socket path=%s err=%s", path, error)

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop(self, number: int) -> None:
        """Handle a signal to stop. The first one drains; a second one ends the process at once."""
        now = time.monotonic()
        if self._stopping.is_set():
            if now - self._stopped_at < SAME_SIGNAL_SECONDS:
                return
            log.warning("stopping at once signal=%s", signal.Signals(number).name)
            logging.shutdown()  # writes what is queued, within a second
            os._exit(128 + number)  # workers end with their parent, and the store survives a kill
        self._stopped_at = now
        self._stopping.set()

    def _reload(self) -> None:
        self._spawn(self._config.reload())

    async def _sweep(self) -> None:
        """Forget old conversations, at the start and then every hour."""
        while True:
            try:
                await asyncio.to_thread(self.conversations.sweep)
            except (StoreError, TimeoutError) as error:
                log.warning("old conversations could not be forgotten err=%s", error)
            await asyncio.sleep(SWEEP_EVERY_S)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background task failed err=%s", error, exc_info=error)


def _bind(address: tuple[str, int]) -> socket.socket:
    """Open a listening socket. This comes first: if it fails, nothing has to be stopped again."""
    host, port = address
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise CannotServe(f"cannot listen on {joined(*address)}: {reason}") from None


def _hook_options(options: Options, verbose: LineOutput | None) -> HookOptions:
    return HookOptions(
        verbose=verbose,
        gzip_response=options.gzip_response,
        accept_compressed=options.accept_compressed,
        allow_unsupported=options.unsupported_encoding == "allow",
    )


def _worker_options(settings: Settings) -> dict[str, object]:
    """What workers must know before their first call: if they load a text model, and which.

    All other settings are sent with each call.
    """
    return {"lossy": settings.lossy, "kompress_model": settings.kompress_model}


def _make_node(options: Options) -> Node:
    return Node(
        NodeOptions(
            hostname=options.hostname,
            state_dir=options.state_dir,
            authkey=options.authkey,
            control_url=options.control_url,
            port=options.port,
            allow=options.allow,
        )
    )
