"""Stands in for Aperture: asks the hook, forwards what it says, passes the answer back, bills."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web

from scripts.lab.clients.apis import Api, api_of
from scripts.lab.clients.apis.parts import Body, Json
from scripts.lab.clients.hook import Hook, Said
from scripts.lab.clients.provider import USAGE
from scripts.lab.clients.records import Record, text_of
from scripts.lab.clients.served import MAX_BODY

_PROVIDER_TIMEOUT = aiohttp.ClientTimeout(total=120)
_OWN = frozenset(
    {"host", "content-length", "content-encoding", "transfer-encoding", "connection"}
)  # headers that belong to one connection
_SESSION = re.compile(r"session_?(?:id)?[\"':_ ]*([0-9a-f-]{36})")
_MODEL_IN_PATH = re.compile(r"models/([^:/?]+)")
_DOLLARS = 5e-6  # a token of input


class Gateway:
    """Keeps a record of each request that asks a model for an answer."""

    def __init__(self, provider: str, hook: str) -> None:
        self.records: list[Record] = []
        self._provider = provider
        self._hook_url = hook
        self._http: aiohttp.ClientSession
        self._hook: Hook

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.cleanup_ctx.append(self._open)
        return app

    async def _open(self, app: web.Application) -> AsyncIterator[None]:
        del app
        async with aiohttp.ClientSession(timeout=_PROVIDER_TIMEOUT) as self._http:
            self._hook = Hook(self._http, self._hook_url)
            yield

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        api = api_of(request.path)
        if request.method != "POST" or api is None:
            response, *_ = await self._forward(request, body)
            return response
        metadata = _metadata(api, request, body)
        said = await self._hook.ask(metadata, body)
        sent = body if said.body is None else said.body
        response, answer, usage = await self._forward(request, sent)
        self.records.append(_record(request, metadata, body, said, response.status, answer))
        if usage:
            await self._hook.bill(_billed(api, metadata, usage))
        return response

    async def _forward(
        self, request: web.Request, body: bytes
    ) -> tuple[web.StreamResponse, bytes, Mapping[str, int]]:
        """Forward a request and pass the answer on as it comes; all of it, and what it used."""
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _OWN}
        url = self._provider + request.path_qs
        answer = bytearray()
        async with self._http.request(
            request.method, url, data=body or None, headers=headers
        ) as got:
            usage = json.loads(got.headers.get(USAGE, "{}"))
            response = web.StreamResponse(status=got.status)
            response.content_type = got.content_type
            await response.prepare(request)
            async for piece in got.content.iter_any():
                answer += piece
                await response.write(piece)
            await response.write_eof()
        return response, bytes(answer), usage


def _metadata(api: Api, request: web.Request, raw: bytes) -> dict[str, Json]:
    """What Aperture tells a hook about a request."""
    body: Body = json.loads(raw)
    in_path = _MODEL_IN_PATH.search(request.path)
    return {
        "login_name": "dev@example.com",
        "user_agent": request.headers.get("user-agent", ""),
        "url": request.path,
        "model": body.get("model") or (in_path[1] if in_path else ""),
        "provider": api.vendor,
        "tailnet_name": "example.com",
        "stable_node_id": "nA1b2CNTRL",
        "request_id": uuid.uuid4().hex,
        "session_id": _session(request, body),
        "grants": {},
    }


def _session(request: web.Request, body: Body) -> str:
    """The session as Aperture knows it.

    Claude Code's is in its body, Codex's in a header, and that of OpenAI Chat is made from how the
    conversation begins. All others get a new one with each request.
    """
    named = _SESSION.search(str((body.get("metadata") or {}).get("user_id", "")))
    if named:
        return named[1]
    if "session_id" in request.headers:
        return request.headers["session_id"]
    if request.path.endswith("/chat/completions"):
        begins = json.dumps(body.get("messages", [])[:2]).encode()
        return f"fp_{hashlib.sha256(begins).hexdigest()[:16]}"
    return f"oacc_{uuid.uuid4().hex[:16]}"


def _record(
    request: web.Request,
    metadata: Mapping[str, Json],
    body: bytes,
    said: Said,
    status: int,
    answer: bytes,
) -> Record:
    return Record(
        url=request.path_qs,
        metadata=metadata,
        original=text_of(body),
        forwarded=None if said.body is None else text_of(said.body),
        hook=said.outcome,
        milliseconds=said.milliseconds,
        status=status,
        response=text_of(answer),
    )


def _billed(api: Api, metadata: Mapping[str, Json], usage: Mapping[str, int]) -> dict[str, Json]:
    """The metadata of the event that follows an answer."""
    tokens = {
        "input_tokens": usage["input"] - usage["cached"],
        "cached_tokens": usage["cached"],
        "output_tokens": usage["output"],
    }
    cost = {
        "dollars": usage["input"] * _DOLLARS,
        "cost_basis": f"{api.vendor}/{metadata['model']}",
        "usage": {name: count for name, count in tokens.items() if count},
    }
    return {**metadata, "estimated_cost": cost}
