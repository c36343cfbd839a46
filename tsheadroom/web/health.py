"""The /livez and /readyz endpoints."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

# Sentences that say what is not ready yet; none when all is.
Missing = Callable[[], list[str]]


class HealthPages:
    """Liveness is answering at all; readiness is a running node and a warm worker."""

    def __init__(self, missing: Missing) -> None:
        self._missing = missing

    async def live(self, request: web.Request) -> web.Response:
        """200 whenever the event loop turns."""
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """200, or 503 with a line for each thing that is missing."""
        missing = self._missing()
        if missing:
            return web.Response(status=503, text="".join(f"{line}\n" for line in missing))
        return web.Response(text="ready\n")
