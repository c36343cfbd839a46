"""Reads the body of a hook call and decodes it, up to a limit. Failures come as a value."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from tsheadroom.errors import TsheadroomError
from tsheadroom.offload import offload
from tsheadroom.telemetry.record import Outcome
from tsheadroom.web import codings

log = logging.getLogger(__name__)

MAX_BODY = 50 << 20  # bytes; Aperture itself sends and takes back no more than this

# Text grows about eightfold when it is decoded.
_GROWTH = 8


class BodyTooLarge(TsheadroomError):
    """The request's body is over MAX_BODY."""


@dataclass(frozen=True, slots=True)
class Received:
    """A body that was read, or the reason why there is none. `read_ms` is in milliseconds."""

    data: bytes = b""
    encoding: str = ""  # the Content-Encoding that it came with, "" for none
    wire_bytes: int = 0  # its size before decoding
    read_ms: float = 0.0
    failure: Outcome | None = None  # then there is no data


async def receive(request: web.Request) -> Received:
    """Read and decode a request's body: at most MAX_BODY bytes, before and after decoding."""
    started = time.perf_counter()
    parts: list[bytes] = []
    size = 0
    failure: Outcome | None = None
    try:
        if (request.content_length or 0) > MAX_BODY:
            raise BodyTooLarge(f"the body is over {MAX_BODY} bytes")
        while chunk := await request.content.readany():
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                raise BodyTooLarge(f"the body is over {MAX_BODY} bytes")
    except (BodyTooLarge, ClientPayloadError, HttpProcessingError, ConnectionError) as why:
        failure = Outcome.READ_ERROR
        log.warning("request body could not be read; allowing: %s", why)
    read_ms = (time.perf_counter() - started) * 1e3
    if failure:
        return Received(wire_bytes=size, read_ms=read_ms, failure=failure)
    coding = request.headers.get("Content-Encoding")
    body, encoding = b"".join(parts), codings.coding_of(coding)
    if encoding:
        try:
            body = await offload(_GROWTH * size, codings.decode_body, body, coding, MAX_BODY)
        except codings.UnsupportedEncoding as why:
            failure = Outcome.REJECT_ENCODING
            log.warning("rejecting a request: %s", why)
        except codings.DecodeFailed as why:
            failure = Outcome.DECODE_ERROR
            log.warning("request body could not be decoded; allowing: %s", why)
    return Received(b"" if failure else body, encoding, size, read_ms, failure)
