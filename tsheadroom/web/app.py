"""The routes: four small pages, and the hook on every other path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tsheadroom.web.config import ConfigPage
    from tsheadroom.web.health import HealthPages
    from tsheadroom.web.metrics import MetricsPage

# aiohttp takes 0 for "without end".
LEAST_SHUTDOWN_SECONDS = 0.01

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What a connection may buffer before its reader is slowed down. aiohttp's 256 KiB makes a 1 MB
# body pause and resume the transport several times; more than this would multiply by connections.
READ_BUFFER_BYTES = 1 << 20

# Go's client keeps idle connections for 90 s; closing earlier would race with its next request.
KEEPALIVE_SECONDS = 120.0

# How long an answered connection may go on sending a body that nobody reads.
LINGER_SECONDS = 5.0


def make_app(
    *, hook: Handler, config: ConfigPage, metrics: MetricsPage, health: HealthPages
) -> web.Application:
    """The application. The hook gets what the pages do not take, whatever the path or method."""
    app = web.Application()
    router = app.router
    router.add_get("/config", config.show)
    router.add_put("/config", config.change)
    router.add_post("/config", config.change)
    router.add_get("/metrics", metrics.show)
    router.add_get("/livez", health.live)
    router.add_get("/readyz", health.ready)
    # [^] and the like: a dot would not match an encoded line break in a path.
    router.add_route("*", r"/{path:[\s\S]*}", hook)
    return app


def make_runner(app: web.Application, *, shutdown_timeout: float) -> web.AppRunner:
    """The runner as the hook needs it: wire sizes visible, and hang-ups felt at once."""
    options: dict[str, Any] = {
        "auto_decompress": False,
        "read_bufsize": READ_BUFFER_BYTES,
        "keepalive_timeout": KEEPALIVE_SECONDS,
        "lingering_time": LINGER_SECONDS,
        "access_log": None,
    }
    return web.AppRunner(
        app,
        handler_cancellation=True,
        shutdown_timeout=max(shutdown_timeout, LEAST_SHUTDOWN_SECONDS),
        **options,
    )
