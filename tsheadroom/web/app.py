"""The routes: four small pages, and the hook on every other path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tsheadroom.web.config import ConfigPage
    from tsheadroom.web.health import HealthPages
    from tsheadroom.web.metrics import MetricsPage

# What is still open after the daemon's own drain is cut off; aiohttp takes 0 for "without end".
CUT_OFF_SECONDS = 0.1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What a connection may buffer before its reader is slowed down. aiohttp's 256 KiB makes a 1 MB
# body pause and resume the transport several times; more than this would multiply by connections.
READ_BUFFER_BYTES = 1 << 20

# Go's client keeps idle connections for 90 s; closing earlier would race with its next request.
KEEPALIVE_SECONDS = 120.0

# How long an answered connection may go on sending a body that nobody reads.
LINGER_SECONDS = 5.0


def make_app(
    *,
    hook: Handler,
    config: ConfigPage,
    metrics: MetricsPage,
    health: HealthPages,
    stopping: Callable[[], bool],
) -> web.Application:
    """The application. The hook gets what the pages do not take, whatever the path or method.

    While `stopping`, each answer is the last on its connection, so that callers go elsewhere.
    """
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

    async def close_when_stopping(request: web.Request, response: web.StreamResponse) -> None:
        if stopping():
            response.force_close()
            response.headers["Connection"] = "close"

    app.on_response_prepare.append(close_when_stopping)
    return app


def make_runner(app: web.Application) -> web.AppRunner:
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
        shutdown_timeout=CUT_OFF_SECONDS,
        **options,
    )
