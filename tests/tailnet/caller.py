"""A node that only calls: prints how to reach its SOCKS5 proxy, and lives until stdin ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tsheadroom.tailnet.localapi import LocalApi
from tsheadroom.tailnet.native import NativeNode, load_library


async def main(control_url: str, state_dir: str, hostname: str, key: str) -> None:
    Path(state_dir).mkdir(exist_ok=True)
    node = NativeNode(load_library())
    node.set_dir(Path(state_dir))
    node.set_hostname(hostname)
    node.set_authkey(key)
    node.set_control_url(control_url)
    node.set_log_descriptor(os.open(Path(state_dir) / "log", os.O_WRONLY | os.O_CREAT, 0o600))
    node.start()
    loopback = node.loopback()
    api = LocalApi(loopback.address, loopback.api_credential)
    async for event in api.watch():
        if event.state == "Running":
            break
    status = await api.status()
    await api.close()
    ready = {
        "proxy": loopback.address,
        "password": loopback.proxy_credential,
        "ip": status.addresses[0],
    }
    print(json.dumps(ready), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    node.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
