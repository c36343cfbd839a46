"""Asks the hook about a request, as Aperture does, and tells it afterwards what was billed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from scripts.lab.clients.apis.parts import Json

TIMEOUT = aiohttp.ClientTimeout(total=30)  # what README.md has in Aperture's configuration
_ALLOW = re.compile(rb'\s*\{\s*"action"\s*:\s*"allow"')
_MODIFY = re.compile(
    rb'\s*\{\s*"action"\s*:\s*"modify"\s*,\s*"request_body"\s*:\s*(.*)\}\s*', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Said:
    """What came of asking. `body` is None where the original goes on."""

    outcome: str  # "allow", "modify", or "failed" and why
    milliseconds: float
    body: bytes | None = None


class Hook:
    """The hook at a URL. It fails open: without an answer the request goes on as it came."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def ask(self, metadata: Mapping[str, Json], body: bytes) -> Said:
        """Ask before a request is forwarded."""
        began = time.perf_counter()
        outcome, changed = "", None
        try:
            async with self._post("/", _call(metadata, body)) as answer:
                data = await answer.read()
                outcome, changed = _read(answer.status, data)
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = f"failed: {type(error).__name__} {error}"
        return Said(outcome, (time.perf_counter() - began) * 1e3, changed)

    async def bill(self, metadata: Mapping[str, Json]) -> None:
        """Tell what a request cost. Like Aperture, do not mind what comes back."""
        try:
            async with self._post("/bills", json.dumps({"metadata": metadata}).encode()) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            pass

    def _post(self, path: str, data: bytes) -> aiohttp.client._RequestContextManager:
        headers = {"content-type": "application/json"}
        return self._http.post(self._url + path, data=data, headers=headers, timeout=TIMEOUT)


def _call(metadata: Mapping[str, Json], body: bytes) -> bytes:
    return b'{"metadata":' + json.dumps(metadata).encode() + b',"request_body":' + body + b"}"


def _read(status: int, data: bytes) -> tuple[str, bytes | None]:
    """The outcome and the new body."""
    if status // 100 != 2:
        return f"failed: status {status}", None
    if _ALLOW.match(data):
        return "allow", None
    # The body is taken as bytes, not parsed and written anew: what is forwarded is what was sent.
    found = _MODIFY.fullmatch(data)
    try:
        if found and isinstance(json.loads(found[1]), dict):
            return "modify", found[1]
    except ValueError:
        pass
    return f"failed: no answer of a hook: {data[:80]!r}", None
