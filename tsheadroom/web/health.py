"""The /livez and /readyz endpoints."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

# Gives a sentence for each thing that is not ready yet, or that works less well than it should.
Sentences = Callable[[], list[str]]


class HealthPages:
    """The daemon is live if it answers at all, and ready if its node runs and a worker is warm."""

    def __init__(self, missing: Sentences, degraded: Sentences = list) -> None:
        self._missing = missing
        self._degraded = degraded

    async def live(self, request: web.Request) -> web.Response:
        """Answer 200."""
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Answer 200, or 503 with a line for each thing that is missing.

        What is only degraded is a further line of the 200: requests are served.
        """
        missing = self._missing()
        if missing:
            return web.Response(status=503, text="".join(f"{line}\n" for line in missing))
        lines = ["ready", *(f"degraded: {sentence}" for sentence in self._degraded())]
        return web.Response(text="".join(f"{line}\n" for line in lines))
