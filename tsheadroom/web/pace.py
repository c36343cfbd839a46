"""Holds a body on its way in, or an answer on its way out, to a pace."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

from aiohttp import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

from tsheadroom.errors import TsheadroomError

# 50 MiB take seven minutes at this pace, and that is all the time that a body or an answer has. A
# poor link has several hundred KB/s.
BYTES_A_SECOND = 128 << 10
# How far one may fall behind. Lost packets or a change of path take a second or two.
PATIENCE_SECONDS = 10.0


class TooSlow(TsheadroomError):
    """The other end did not keep the pace."""


# What ends a transfer before it is whole, other than we do.
BROKEN = (TooSlow, ClientPayloadError, HttpProcessingError, ConnectionError)


class Pace:
    """The clock of one transfer, as an asynchronous context. It raises TooSlow from inside.

    A transfer gains time with each byte, but never more than PATIENCE_SECONDS ahead: who sends much
    at first may not stand still for long afterwards.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + PATIENCE_SECONDS
        self._clock = asyncio.timeout_at(self._until)
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._clock.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        try:
            await self._clock.__aexit__(kind, error, trace)
        except TimeoutError:
            raise TooSlow("the other end did not keep the pace") from None

    def moved(self, size: int) -> None:
        """Note that `size` bytes have come or gone."""
        ahead = self._loop.time() + PATIENCE_SECONDS
        self._set(min(ahead, self._until + size / BYTES_A_SECOND))

    def stop(self) -> None:
        """Stop the clock, until go(): it is we who keep the other end waiting."""
        self._set(math.inf)

    def go(self) -> None:
        """Begin anew."""
        self._set(self._loop.time() + PATIENCE_SECONDS)

    def behind(self) -> float:
        """By how many seconds the transfer is behind its pace."""
        return self._loop.time() + PATIENCE_SECONDS - self._until

    def end(self) -> None:
        """End the transfer."""
        self._set(self._loop.time())
        self._ended = True

    def _set(self, until: float) -> None:
        if not self._ended:
            self._until = until
            self._clock.reschedule(None if until == math.inf else until)
