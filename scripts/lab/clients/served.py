"""Serves a web application on a free port of this machine, as long as it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

MAX_BODY = 50 << 20  # bytes; Aperture's own limit


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve the application; yields its URL, without a slash at the end."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
