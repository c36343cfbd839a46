"""The routes: a few pages, and the hook on every other path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tsheadroom.web.answers import other_method

if TYPE_CHECKING:
    from tsheadroom.web.bills import Bills
    from tsheadroom.web.config import ConfigPage
    from tsheadroom.web.health import HealthPages
    from tsheadroom.web.metrics import MetricsPage

# Seconds. What is still open after the daemon's own drain is cut off. 0 would mean "wait for ever".
CUT_OFF_SECONDS = 0.1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Takes a connection (a request's `protocol`) and the error that ended it, None if it was closed.
LostConnection = Callable[[object, BaseException | None], None]

# What a connection may buffer before its sender is slowed down. With aiohttp's 256 KiB, a body of
# 1 MB stops and starts the transport several times. Each open connection may take this much memory.
READ_BUFFER_BYTES = 1 << 20

# Go's client keeps idle connections for 90 s. If the daemon closed one earlier, the client might
# just be sending its next request on it.
KEEPALIVE_SECONDS = 120.0

# Seconds for which a connection that was answered may go on sending a body that nobody reads.
LINGER_SECONDS = 5.0


def make_app(
    *,
    hook: Handler,
    bills: Bills,
    config: ConfigPage,
    metrics: MetricsPage,
    health: HealthPages,
    stopping: Callable[[], bool],
) -> web.Application:
    """Build the application. The hook gets every path that is not one of the pages'.

    While `stopping()` is true, each answer closes its connection, so that callers go elsewhere.
    """
    app = web.Application()
    router = app.router
    _add_page(router, "/bills", POST=bills.handle)
    _add_page(router, "/config", GET=config.show, PUT=config.change, POST=config.change)
    _add_page(router, "/metrics", GET=metrics.show)
    _add_page(router, "/livez", GET=health.live)
    _add_page(router, "/readyz", GET=health.ready)
    # Not a dot: it would not match a line break, which may be encoded in a path.
    router.add_route("*", r"/{path:[\s\S]*}", hook)

    async def close_when_stopping(request: web.Request, response: web.StreamResponse) -> None:
        if stopping():
            response.force_close()
            response.headers["Connection"] = "close"

    app.on_response_prepare.append(close_when_stopping)
    return app


def _add_page(router: web.UrlDispatcher, path: str, **handlers: Handler) -> None:
    """Serve a path by method. Any other method is a 405; HEAD is answered like GET."""
    if "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]
    allowed = ", ".join(handlers)

    async def refuse(request: web.Request) -> web.Response:
        return other_method({"Allow": allowed})

    resource = router.add_resource(path)
    for method, handler in handlers.items():
        resource.add_route(method, handler)
    resource.add_route("*", refuse)


def tell_of_lost_connections(runner: web.AppRunner, tell: LostConnection) -> None:
    """Call `tell` when a connection of this runner has ended. The runner must have been set up."""
    server = runner.server
    assert server is not None
    inner = server.connection_lost

    def connection_lost(connection: Any, error: BaseException | None = None) -> None:
        inner(connection, error)
        tell(connection, error)

    # aiohttp has no signal for this.
    server.connection_lost = connection_lost  # type: ignore[method-assign, assignment]


def make_runner(app: web.Application) -> web.AppRunner:
    """Build the runner. It leaves bodies coded, and cancels a handler whose caller hangs up."""
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
