"""The hook over HTTP: read the body within bounds, answer 200 whatever happens, print the line."""

from __future__ import annotations

import asyncio
import logging
import select
import time
from dataclasses import dataclass
from typing import TextIO

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from tsheadroom.aperture.answer import ALLOW
from tsheadroom.conversations import Conversations
from tsheadroom.errors import TsheadroomError
from tsheadroom.settings import SettingsStore
from tsheadroom.telemetry.billed import BillingCollector
from tsheadroom.telemetry.record import Outcome, Summary
from tsheadroom.telemetry.series import Gauge, Metrics
from tsheadroom.turns.turns import BYTES_PER_TOKEN, OFF_LOOP_BYTES, Answer, Compression, Workers
from tsheadroom.web import codings as encoding

log = logging.getLogger(__name__)

MAX_BODY = 50 << 20  # bytes; Aperture's own bound on what it sends, and on what it takes back
MIN_GZIP = 1024  # bytes; a smaller answer fits one packet either way


# The other end was shut down or closed; Linux alone tells it before all data before it is read.
_ENDED = getattr(select, "POLLRDHUP", 0)


class BodyTooLarge(TsheadroomError):
    """The request's body is over MAX_BODY."""


@dataclass(frozen=True, slots=True)
class HookOptions:
    """How the hook speaks. `deadline` is in seconds."""

    verbose: TextIO | None
    gzip_response: bool
    accept_compressed: bool
    deadline: float


class Hook:
    """The handler of every path that is no page."""

    def __init__(
        self,
        *,
        conversations: Conversations,
        pool: Workers,
        settings: SettingsStore,
        metrics: Metrics,
        options: HookOptions,
    ) -> None:
        """All parts are owned by the caller."""
        self._compression = Compression(conversations, pool, deadline=options.deadline)
        self._settings = settings
        self._metrics = metrics
        self._options = options
        metrics.registry.register(BillingCollector(self._compression.billing))
        metrics.watch(self._gauges)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, count it, print its line."""
        self._metrics.inbound_start()
        try:
            if request.method != "POST":
                return web.Response(
                    status=405, text="method not allowed\n", headers=self._headers()
                )
            return await self._post(request)
        finally:
            self._metrics.inbound_done()

    async def close(self) -> None:
        """Wait for decisions under way."""
        await self._compression.close()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        summary = Summary()
        try:
            return await self._answered(request, summary, started)
        except asyncio.CancelledError:
            summary.notes["caller_hung_up"] = 1
            raise
        finally:
            self._finish(summary, started)

    async def _answered(
        self, request: web.Request, summary: Summary, started: float
    ) -> web.StreamResponse:
        """Answer one call; whatever goes wrong on our side, the answer is `allow`."""
        try:
            body = await self._body(request, summary, started)
            with self._compression.delivery() as delivery:
                answer = await self._compression.answer(
                    body, self._settings.current, summary, delivery
                )
                response = await self._coded(request, answer)
                self._planned(summary, started)
                if await self._write(request, response, summary):
                    delivery.arrived()
                # aiohttp sends what was not begun: to who closed only one direction, say.
                return response if response.prepared else self._allow()
        except encoding.UnsupportedEncoding as why:
            summary.outcome = Outcome.REJECT_ENCODING
            log.warning("rejecting a request: %s", why)
            response = self._unsupported()
        except encoding.DecodeFailed as why:
            summary.outcome = Outcome.DECODE_ERROR
            log.warning("request body could not be decoded; allowing: %s", why)
            response = self._allow()
        except (BodyTooLarge, ClientPayloadError, HttpProcessingError, ConnectionError) as why:
            summary.outcome = Outcome.READ_ERROR
            log.warning("request body could not be read; allowing: %s", why)
            response = self._allow()
            response.force_close()  # the rest of the body is still on its way
        except Exception:
            # A defect of ours. The caller's request goes on as if there were no hook.
            summary.outcome = Outcome.ERROR
            log.exception("request failed inside; allowing")
            response = self._allow()
        self._planned(summary, started)
        await self._write(request, response, summary)
        return response

    async def _body(self, request: web.Request, summary: Summary, started: float) -> bytes:
        parts: list[bytes] = []
        try:
            if (request.content_length or 0) > MAX_BODY:
                raise BodyTooLarge(f"the body is over {MAX_BODY} bytes")
            while chunk := await request.content.readany():
                parts.append(chunk)
                summary.wire_bytes += len(chunk)
                if summary.wire_bytes > MAX_BODY:
                    raise BodyTooLarge(f"the body is over {MAX_BODY} bytes")
        finally:
            summary.read_ms = _since(started)
        body = b"".join(parts)
        coding = request.headers.get("Content-Encoding")
        if not coding:
            return body
        summary.encoding = encoding.coding_of(coding)
        if len(body) < OFF_LOOP_BYTES // 8:  # text grows about eightfold
            return encoding.decode_body(body, coding, MAX_BODY)
        return await asyncio.to_thread(encoding.decode_body, body, coding, MAX_BODY)

    async def _coded(self, request: web.Request, answer: Answer) -> web.Response:
        body = answer.body
        headers = self._headers()
        wanted = self._options.gzip_response and len(body) >= MIN_GZIP
        if wanted and encoding.accepts_gzip(request.headers.get("Accept-Encoding")):
            headers["Content-Encoding"] = "gzip"
            if len(body) < OFF_LOOP_BYTES:
                body = encoding.encode_gzip(body)
            else:
                body = await asyncio.to_thread(encoding.encode_gzip, body)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _allow(self) -> web.Response:
        return web.Response(body=ALLOW, content_type="application/json", headers=self._headers())

    def _unsupported(self) -> web.Response:
        # Advertised even when that is switched off: a 415 must say what is understood.
        headers = {"Accept-Encoding": encoding.ACCEPT_ENCODING}
        return web.Response(status=415, text="unsupported content-encoding\n", headers=headers)

    async def _write(self, request: web.Request, response: web.Response, summary: Summary) -> bool:
        """Send the response; True when the caller took all of it."""
        started = time.perf_counter()
        transport = request.transport
        sent = False
        try:
            # One that has closed its end already will not read what the kernel still takes.
            if transport is not None and not _has_hung_up(transport):
                # Then write_eof() returns when all of the answer is with the kernel, not before.
                transport.set_write_buffer_limits(0)
                await response.prepare(request)
                await response.write_eof()
                sent = request.transport is not None and not transport.is_closing()
        except ConnectionError:
            pass
        except Exception:
            log.exception("the answer could not be written")  # part of it may be out already
        finally:
            summary.write_ms = _since(started)
        if not sent:
            summary.notes["caller_hung_up"] = 1
            response.force_close()
        return sent

    def _planned(self, summary: Summary, started: float) -> None:
        spent = summary.read_ms + summary.wait_ms + summary.worker_ms
        summary.plan_ms = max(0.0, _since(started) - spent)

    def _gauges(self) -> list[Gauge]:
        text = "Conversations that fit their model's window only as they are forwarded."
        fit = float(len(self._compression.windows))
        return [Gauge("tsheadroom_conversations_fitting_compressed_only", text, fit)]

    def _headers(self) -> dict[str, str]:
        if not self._options.accept_compressed:
            return {}
        return {"Accept-Encoding": encoding.ACCEPT_ENCODING}

    def _finish(self, summary: Summary, started: float) -> None:
        summary.duration_ms = _since(started)
        if summary.outcome is not Outcome.READ_ERROR and summary.in_bytes:
            summary.tokens_before = summary.in_bytes // BYTES_PER_TOKEN
            summary.tokens_after = summary.tokens_before - summary.tokens_saved
        self._metrics.record(summary)
        out = self._options.verbose
        if out is not None:
            out.write(summary.line() + "\n")
            out.flush()


def _has_hung_up(transport: asyncio.Transport) -> bool:
    """True when the end of the caller's stream has arrived, read by us or not.

    A hang-up waits in the kernel behind whatever the event loop does first.
    """
    sock = transport.get_extra_info("socket")
    if transport.is_closing() or sock is None:
        return transport.is_closing()
    poll = select.poll()
    poll.register(sock.fileno(), _ENDED)
    return bool(poll.poll(0))


def _since(moment: float) -> float:
    return (time.perf_counter() - moment) * 1e3
