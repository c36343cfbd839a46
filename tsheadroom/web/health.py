"""The /livez and /readyz endpoints."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

# Gives a sentence for each thing that is not ready yet.
Missing = Callable[[], list[str]]


class HealthPages:
    """The daemon is live if it answers at all, and ready if its node runs and a worker is warm."""

    def __init__(self, missing: Missing) -> None:
        self._missing = missing

    async def live(self, request: web.Request) -> web.Response:
        """Answer 200."""
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Answer 200, or 503 with a line for each thing that is missing."""
        missing = self._missing()
        if missing:
            return web.Response(status=503, text="".join(f"{line}\n" for line in missing))
        return web.Response(text="ready\n")
