"""Reads the body of a hook call and decodes it, within its limits. Failures come as a value."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from aiohttp import web

from tsheadroom.errors import TsheadroomError
from tsheadroom.offload import offload, offload_decoding
from tsheadroom.telemetry.record import Outcome
from tsheadroom.web import codings
from tsheadroom.web.pace import BROKEN
from tsheadroom.web.room import COST, MAX_BODY, BodyShare, NoRoom

log = logging.getLogger(__name__)

# Text grows about eightfold when it is decoded.
_GROWTH = 8
# To join pieces takes less than an eighth of the time that it takes to take their bytes apart.
_JOIN = 8


class BodyTooLarge(TsheadroomError):
    """The request's body is over MAX_BODY."""


@dataclass(slots=True)
class Received:
    """A body that was read, or the reason why there is none. `read_ms` is in milliseconds."""

    data: bytes = b""
    encoding: str = ""  # the Content-Encoding that it came with, "" for none
    wire_bytes: int = 0  # its size before decoding
    read_ms: float = 0.0
    failure: Outcome | None = None  # then there is no data
    unread: bool = False  # True if the rest of the body is still on its way


async def receive(request: web.Request, share: BodyShare) -> Received:
    """Read and decode a request's body: at most MAX_BODY bytes, before and after decoding.

    All that it takes is taken from `share`, as the body grows.
    """
    got = Received()
    coding = request.headers.get("Content-Encoding", "")
    try:
        wire = await _read(request, share, got)
        got.encoding = codings.coding_of(coding)
        if got.encoding:
            got.data = await _decode(wire, coding, share)
        else:
            await share.take((COST - 1) * len(wire))
            got.data = wire
    except NoRoom as why:
        got.failure = Outcome.NO_ROOM
        log.warning("a request body found no memory; allowing: %s", why)
    except (BodyTooLarge, *BROKEN) as why:
        got.failure = Outcome.READ_ERROR
        log.warning("request body could not be read; allowing: %s", why)
    except codings.UnsupportedEncoding as why:
        got.failure = Outcome.REJECT_ENCODING
        log.warning("rejecting a request: %s", why)
    except codings.DecodeFailed as why:
        got.failure = Outcome.DECODE_ERROR
        log.warning("request body could not be decoded; allowing: %s", why)
    share.settle()
    return got


async def _read(request: web.Request, share: BodyShare, got: Received) -> bytes:
    """The body as it came."""
    started = time.perf_counter()
    parts: list[bytes] = []
    got.unread = True
    try:
        if (request.content_length or 0) > MAX_BODY:
            raise BodyTooLarge(f"the body is over {MAX_BODY} bytes")
        with share.paced():
            while chunk := await request.content.readany():
                share.moved(len(chunk))
                got.wire_bytes += len(chunk)
                if got.wire_bytes > MAX_BODY:
                    raise BodyTooLarge(f"the body is over {MAX_BODY} bytes")
                await _take(request, share, len(chunk))
                parts.append(chunk)
        got.unread = False
    finally:
        got.read_ms = (time.perf_counter() - started) * 1e3
    if len(parts) == 1:
        return parts[0]
    await share.take(got.wire_bytes)  # for a moment it is there twice
    body = await offload(got.wire_bytes // _JOIN, b"".join, parts)
    parts.clear()
    share.give(got.wire_bytes)
    return body


async def _take(request: web.Request, share: BodyShare, size: int) -> None:
    """Take room for what was read. What comes until it is there stays with the kernel."""
    if share.try_take(size):
        return
    paused = not request.content.is_eof()
    if paused:
        request.protocol.pause_reading()
    try:
        await share.take(size)
    finally:
        if paused and request.transport is not None:
            request.protocol.resume_reading()


async def _decode(wire: bytes, coding: str, share: BodyShare) -> bytes:
    """The decoded body."""
    steps = codings.decoded(wire, coding, MAX_BODY)
    parts: list[bytes] = []
    size, work = 0, _GROWTH * len(wire)
    while True:
        # The room is there before the bytes are.
        await share.take(COST * codings.STEP_BYTES)
        piece = await offload_decoding(max(size, work), next, steps, None)
        share.give(COST * (codings.STEP_BYTES - len(piece or b"")))
        if piece is None:
            break
        parts.append(piece)
        size += len(piece)
    share.give(len(wire))
    return parts[0] if len(parts) == 1 else await offload_decoding(size // _JOIN, b"".join, parts)
