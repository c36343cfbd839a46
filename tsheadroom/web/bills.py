"""The /bills endpoint: takes Aperture's post-response events, which are no hook calls.

Aperture waits for no answer to an event and ignores errors. So whatever comes, the answer is
`allow`, and nothing of it is counted among the hook's calls.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from tsheadroom.telemetry.record import Outcome
from tsheadroom.web.answers import allow, offer
from tsheadroom.web.body import Received, receive
from tsheadroom.web.room import Room

log = logging.getLogger(__name__)

# Counts what a decoded body says; an empty one is an event that could not be read.
TakeEvent = Callable[[bytes], Awaitable[None]]


class Bills:
    """POST of /bills."""

    def __init__(self, take: TakeEvent, room: Room, *, accept_compressed: bool) -> None:
        """With `accept_compressed`, answers say that Aperture may compress events."""
        self._take = take
        self._room = room
        self._accept_compressed = accept_compressed

    async def handle(self, request: web.Request) -> web.Response:
        """Take one event."""
        received, share = Received(), self._room.share()
        try:
            received = await receive(request, share)
            await self._take(received.data)
        except Exception:
            log.exception("a post-response event could not be taken")
        finally:
            share.close()
        # Who uses a coding that is not understood has to learn which ones are.
        rejected = received.failure is Outcome.REJECT_ENCODING
        answer = allow(offer(self._accept_compressed or rejected))
        if received.unread:
            answer.force_close()
        return answer
