"""The hook over HTTP. It answers 200 whatever goes wrong, and records each call when it has ended.

A call with another method, or in a coding that is not supported, gets an error status. A
post-response event, which should have come to /bills, is answered and not recorded.
"""

from __future__ import annotations

import asyncio
import logging
import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from tsheadroom.offload import offload
from tsheadroom.settings import SettingsStore
from tsheadroom.telemetry.record import CallRecord, Figures, Outcome
from tsheadroom.telemetry.series import Metrics
from tsheadroom.turns.turns import OpenTurn, Receipt, Turns
from tsheadroom.web import codings
from tsheadroom.web.answers import PIECE_BYTES, LargeAnswer, allow, offer, other_method
from tsheadroom.web.body import Received, receive
from tsheadroom.web.pace import TooSlow
from tsheadroom.web.room import BodyShare, Room

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

log = logging.getLogger(__name__)

MIN_GZIP = 1024  # bytes; a smaller answer fits into one packet either way

# Seconds. Who closes a connection before it has read all resets it, and only then does the kernel
# tell us. A caller reads at once; a reset that comes much later says nothing about the answer.
RESET_SECONDS = 5.0

# To compress an answer takes less than half of the time that it takes to take a body apart.
_GZIP = 2

# Says that the other end has ended its stream. Only Linux says so while there is data to be read.
_ENDED = getattr(select, "POLLRDHUP", 0)


@dataclass(frozen=True, slots=True)
class HookOptions:
    """What the command line says about answers. The -v lines go to `verbose`, None for nowhere.

    With `allow_unsupported` a body in a coding that is not understood is no error to the caller.
    """

    verbose: SupportsWrite[str] | None
    gzip_response: bool
    accept_compressed: bool
    allow_unsupported: bool


@dataclass(slots=True)
class _Call:
    """One call from its first to its last byte. Times are seconds of time.perf_counter()."""

    started: float
    share: BodyShare
    received: Received = field(default_factory=Received)
    turn: OpenTurn | None = None
    failed: bool = False  # an error of ours: the answer was `allow`, whatever the turn had decided
    answered: float = 0.0  # when the answer was ready
    ended: float = 0.0
    hung_up: bool = False


class Hook:
    """Handles every path that is not one of the pages."""

    def __init__(
        self,
        *,
        turns: Turns,
        settings: SettingsStore,
        metrics: Metrics,
        room: Room,
        options: HookOptions,
    ) -> None:
        """The caller owns all parts, and closes them."""
        self._turns = turns
        self._settings = settings
        self._metrics = metrics
        self._room = room
        self._options = options
        # The latest answer on each open connection, and when it was written.
        self._latest: dict[object, tuple[Receipt, float]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, count it, and print its line."""
        self._metrics.inbound_start()
        self._idle.clear()
        try:
            if request.method != "POST":
                return other_method(self._headers())
            return await self._post(request)
        finally:
            self._metrics.inbound_done()
            if not self._metrics.active:
                self._idle.set()

    def connection_lost(self, connection: object, error: BaseException | None) -> None:
        """Note that a connection (a request's `protocol`) has ended, with an error if it was reset.

        What the kernel had taken of the latest answer was then not read to its end.
        """
        receipt, written = self._latest.pop(connection, (None, 0.0))
        if receipt and error and time.perf_counter() - written < RESET_SECONDS:
            receipt.withdraw()

    async def drained(self) -> None:
        """Wait until no request is open."""
        await self._idle.wait()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        call = _Call(time.perf_counter(), self._room.share())
        self._latest.pop(request.protocol, None)  # who asks again has read the answer
        try:
            return await self._respond(request, call)
        except asyncio.CancelledError:
            call.hung_up = True
            raise
        finally:
            call.ended = time.perf_counter()
            if call.turn is None:
                self._end(call, Figures(outcome=call.received.failure or Outcome.PASSTHROUGH))
            else:
                call.turn.when_ended(lambda figures: self._end(call, figures))

    def _end(self, call: _Call, figures: Figures) -> None:
        """End a call of which nothing is under way any more, and with it its body."""
        call.share.close()
        if call.turn is None or not call.turn.is_event:
            self._record(call, figures)

    async def _respond(self, request: web.Request, call: _Call) -> web.StreamResponse:
        """Answer one call. If something goes wrong on our side, the answer is `allow`."""
        try:
            call.received = await receive(request, call.share)
            if call.received.failure is not None:
                return await self._refuse(request, call, call.received.failure)
            call.turn = self._turns.open(call.received.data, self._settings.current)
            with call.turn as turn:
                response = await self._coded(request, await turn.answer(), call)
                if await self._write(request, response, call):
                    self._latest[request.protocol] = (turn.arrived(), time.perf_counter())
        except Exception:
            # A defect of ours. The caller's request goes on as if there were no hook.
            log.exception("request failed inside; allowing")
            call.failed = True
            response = self._allow()
            await self._write(request, response, call)
        # If nothing was sent yet, aiohttp sends this. It may reach a caller that has closed only
        # its own direction; the turn counts as lost, so the caller gets `allow`.
        return response if response.prepared else self._allow()

    async def _refuse(self, request: web.Request, call: _Call, why: Outcome) -> web.StreamResponse:
        response = self._unsupported() if why is Outcome.REJECT_ENCODING else self._allow()
        if call.received.unread:
            response.force_close()
        await self._write(request, response, call)
        return response

    async def _coded(self, request: web.Request, body: bytes, call: _Call) -> web.StreamResponse:
        headers = self._headers()
        wanted = self._options.gzip_response and len(body) >= MIN_GZIP
        if wanted and codings.accepts_gzip(request.headers.get("Accept-Encoding")):
            headers["Content-Encoding"] = "gzip"
            body = await offload(len(body) // _GZIP, codings.encode_gzip, body)
        if len(body) > PIECE_BYTES:
            return LargeAnswer(body, headers, call.share.moved)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _allow(self) -> web.Response:
        return allow(self._headers())

    def _unsupported(self) -> web.Response:
        # Also if --no-accept-compressed is set: it has to say what would be accepted.
        headers = offer(True)
        if self._options.allow_unsupported:
            return allow(headers)
        return web.Response(status=415, text="unsupported content-encoding\n", headers=headers)

    def _headers(self) -> dict[str, str]:
        return offer(self._options.accept_compressed)

    async def _write(self, request: web.Request, response: web.StreamResponse, call: _Call) -> bool:
        """Send the response. Returns True if the caller took all of it."""
        call.answered = time.perf_counter()
        transport = request.transport
        sent = False
        try:
            # A caller that has ended its stream would not read what the kernel still accepts.
            if transport is not None and not _has_hung_up(transport):
                # With this, write_eof() returns only when the kernel has all of the answer.
                transport.set_write_buffer_limits(0)
                with call.share.paced():
                    await response.prepare(request)
                    await response.write_eof()
                sent = request.transport is not None and not transport.is_closing()
        except ConnectionError:
            pass
        except TooSlow as why:
            log.warning("an answer was not taken: %s", why)
            if request.transport is not None:
                request.transport.abort()  # what the kernel has not taken yet goes with it
        except Exception:
            log.exception("the answer could not be written")  # part of it may be out already
        if not sent:
            call.hung_up = True
            response.force_close()
        return sent

    def _record(self, call: _Call, figures: Figures) -> None:
        answered = call.answered or call.ended
        read_ms = call.received.read_ms
        spent = read_ms + figures.wait_ms + figures.worker_ms
        record = CallRecord(
            figures=figures.failed() if call.failed else figures,
            encoding=call.received.encoding,
            wire_bytes=call.received.wire_bytes,
            duration_ms=(call.ended - call.started) * 1e3,
            read_ms=read_ms,
            plan_ms=max(0.0, (answered - call.started) * 1e3 - spent),
            write_ms=(call.ended - call.answered) * 1e3 if call.answered else 0.0,
            hung_up=call.hung_up,
        )
        self._metrics.record(record)
        out = self._options.verbose
        if out is not None:
            out.write(record.line() + "\n")


def _has_hung_up(transport: asyncio.Transport) -> bool:
    """True if the caller has ended its stream, even if the event loop has not noticed that yet."""
    sock = transport.get_extra_info("socket")
    if transport.is_closing() or sock is None:
        return transport.is_closing()
    poll = select.poll()
    poll.register(sock.fileno(), _ENDED)
    return bool(poll.poll(0))
