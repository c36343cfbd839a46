"""A provider: it signs the model's thinking behind what it got, and checks what comes back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from aiohttp import web

from scripts.lab.clients import model
from scripts.lab.clients.apis import Api, api_of
from scripts.lab.clients.apis.parts import Answer, Body, Event, Json, Usage, items
from scripts.lab.clients.prefixes import Prefixes, sign, unsound
from scripts.lab.clients.served import MAX_BODY

USAGE = "x-usage"
"""The header of an answer that tells the gateway its tokens, so that it need not read streams."""

_MODELS = ("claude-opus-5-5", "gpt-5.6", "gemini-3-pro")
_CHARACTERS = 4  # a token, for the usage that is reported


class Provider:
    """Serves four APIs. `turns` bounds what one run may ask: a client in a loop has to end."""

    def __init__(self, turns: int) -> None:
        self._left = turns
        self._cached: set[bytes] = set()

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/{path:.*}", self._models)
        app.router.add_post("/{path:.*}", self._post)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        if not request.path.endswith("/models"):
            return web.json_response({}, status=404)
        data = [{"id": name, "object": "model", "type": "model"} for name in _MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        api = api_of(request.path)
        if api is None:
            count = len(raw) // _CHARACTERS
            return web.json_response({"input_tokens": count, "totalTokens": count})
        try:
            body = json.loads(raw)
        except ValueError as error:
            return _refused(f"the body is not JSON: {error}")
        prefixes = Prefixes(api, body)
        refusal = _refusal(api, body, prefixes)
        if refusal:
            return _refused(refusal)
        answer = self._answer(api, body, prefixes)
        usage = self._usage(raw, prefixes, answer)
        events = api.stream(body, answer, usage)
        headers = {USAGE: json.dumps(asdict(usage))}
        if not (body.get("stream") or "stream" in request.path):
            return web.json_response(api.whole(events), headers=headers)
        return await _streamed(request, events, headers)

    def _answer(self, api: Api, body: Body, prefixes: Prefixes) -> Answer:
        self._left -= 1
        if self._left < 0:
            return Answer("That is enough.")
        return replace(model.answer(api, body), signature=sign(prefixes.whole))

    def _usage(self, raw: bytes, prefixes: Prefixes, answer: Answer) -> Usage:
        """About what a provider would report: any prefix that it has seen is read from a cache."""
        whole = len(prefixes.units)
        hit = max((n for n in range(whole + 1) if prefixes.before[n] in self._cached), default=0)
        self._cached.update(prefixes.before)
        total = len(raw) // _CHARACTERS
        said = json.dumps([call.arguments for call in answer.calls]) + answer.text + answer.thinking
        return Usage(total, total * hit // max(1, whole), len(said) // _CHARACTERS)


def _refusal(api: Api, body: Body, prefixes: Prefixes) -> str:
    """Why the provider does not take a request; "" if it does."""
    if api.binds:
        broken = unsound(api, items(api, body), prefixes)
        if broken:
            return f"{api.member}.{broken[0]}: Invalid `signature` in `thinking` block"
    return ""


def _refused(message: str) -> web.Response:
    error = {"type": "invalid_request_error", "message": message}
    return web.json_response({"type": "error", "error": error}, status=400)


async def _streamed(
    request: web.Request, events: list[Event], headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream", **headers})
    await response.prepare(request)
    for name, data in events:
        head = f"event: {name}\n" if name else ""
        await response.write(f"{head}data: {_line(data)}\n\n".encode())
    await response.write_eof()
    return response


def _line(data: Json) -> str:
    return data if isinstance(data, str) else json.dumps(data)
