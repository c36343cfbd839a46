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
    """The clock of one transfer, as a context of the task that does it. It raises TooSlow there.

    A transfer gains time with each byte, but never more than PATIENCE_SECONDS ahead: who sends much
    at first may not stand still for long afterwards.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = math.inf
        self._ended = False
        self._timer: asyncio.Handle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0  # requests to cancel the task that are not ours
        self._expired = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task(self._loop)
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self.go()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        # As asyncio.timeout() does: who else cancelled the task meanwhile is to have that.
        if self._expired and self._task is not None:
            ours_alone = self._task.uncancel() <= self._cancelling
            if ours_alone and kind is asyncio.CancelledError:
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
        if self._ended:
            return
        self._ended, self._until = True, self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_soon(self._look)

    def _set(self, until: float) -> None:
        # Time is only ever gained, so a timer that is set is set early enough. It stays where it
        # is: moving it costs more than taking a piece of a body does.
        if not self._ended:
            self._until = until
            if self._timer is None:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._until < math.inf:
            self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        """End the transfer if it is late; else look again when it would be."""
        self._timer = None
        if self._until > self._loop.time():
            self._set_timer()
        elif self._task is not None:
            self._ended = self._expired = True
            self._task.cancel()
