"""A node with a few plain pages, in a process of its own: what the tests of the tailnet look at.

Its parts are the daemon's, its pages say what they see. It lives until stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from aiohttp import web

from tsheadroom.tailnet.node import Node, NodeOptions


def pages(node: Node) -> web.Application:
    async def who(request: web.Request) -> web.Response:
        assert request.transport
        host, port = request.transport.get_extra_info("peername")
        peer = await node.whois(f"{host}:{port}")
        seen = {"remote": request.remote, "port": port, "connections": node.connections}
        if peer is not None:
            seen |= {
                "login": peer.login,
                "node": peer.node,
                "tags": peer.tags,
                "capabilities": dict(peer.capabilities),
            }
        return web.json_response(seen)

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def stream(request: web.Request) -> web.StreamResponse:
        """Lines until the caller goes away."""
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"line\n")
            await asyncio.sleep(0.05)

    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/who", who)
    app.router.add_post("/echo", echo)
    app.router.add_get("/stream", stream)
    return app


async def main(options: argparse.Namespace) -> None:
    node = Node(
        NodeOptions(
            hostname=options.hostname,
            state_dir=options.state,
            authkey=options.key,
            control_url=options.control,
            port=options.port,
            allow=tuple(options.allow),
        )
    )
    runner = web.AppRunner(pages(node), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await node.start()
    assert runner.server
    await node.listen(runner.server, ":80", options.connections)
    if options.wait:
        await node.wait_running()
    status = await node.status()
    ready = {
        "ip": next(iter(status.addresses), ""),
        "loopback": node.loopback.address if node.loopback else "",
    }
    print(json.dumps(ready), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    node.stop_accepting()
    await runner.cleanup()
    await node.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--hostname", default="served")
    parser.add_argument("--key")
    parser.add_argument("--connections", type=int, default=1024)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("--no-wait", dest="wait", action="store_false")
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main(parser.parse_args()))
