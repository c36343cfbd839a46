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
from tsheadroom.web.body import receive

log = logging.getLogger(__name__)

# Counts what a decoded body says; an empty one is an event that could not be read.
TakeEvent = Callable[[bytes], Awaitable[None]]


class Bills:
    """POST of /bills."""

    def __init__(self, take: TakeEvent, *, accept_compressed: bool) -> None:
        """With `accept_compressed`, answers say that Aperture may compress events."""
        self._take = take
        self._accept_compressed = accept_compressed

    async def handle(self, request: web.Request) -> web.Response:
        """Take one event."""
        failure = None
        try:
            received = await receive(request)
            failure = received.failure
            await self._take(received.data)
        except Exception:
            log.exception("a post-response event could not be taken")
        # Who uses a coding that is not understood has to learn which ones are.
        answer = allow(offer(self._accept_compressed or failure is Outcome.REJECT_ENCODING))
        if failure is Outcome.READ_ERROR:
            answer.force_close()  # the rest of the body is still on its way
        return answer
