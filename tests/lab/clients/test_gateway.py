"""A request goes through gateway, hook and provider, with a hook of a few lines."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from scripts.lab.clients.gateway import Gateway
from scripts.lab.clients.judge import Judge
from scripts.lab.clients.model import shows_file
from scripts.lab.clients.provider import Provider
from scripts.lab.clients.replaying import replay
from scripts.lab.clients.served import served
from tests.lab.clients.looping import PATHS, first, following

LONG = "a line of what the tool printed\n" * 40


class FakeHook:
    """Answers as it is told; keeps what it was told."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.calls: list[Any] = []
        self.bills: list[Any] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/", self._hook)
        app.router.add_post("/bills", self._bill)
        return app

    async def _hook(self, request: web.Request) -> web.Response:
        call = await request.json()
        self.calls.append(call)
        if self.action == "modify":
            text = json.dumps(call["request_body"]).replace(json.dumps(LONG), '"short"')
            return web.Response(text=f'{{"action":"modify","request_body":{text}}}')
        return web.Response(status=500 if self.action == "fail" else 200, text=self.action)

    async def _bill(self, request: web.Request) -> web.Response:
        self.bills.append(await request.json())
        return web.Response()


@contextlib.asynccontextmanager
async def chain(action: str) -> AsyncIterator[tuple[str, Gateway, FakeHook]]:
    """Provider, hook and gateway; yields the gateway's URL."""
    hook = FakeHook(action)
    async with served(Provider(20).app()) as provider, served(hook.app()) as hook_url:
        gateway = Gateway(provider, hook_url)
        async with served(gateway.app()) as url:
            yield url, gateway, hook


async def converse(url: str, name: str) -> list[int]:
    """A client's conversation; the statuses that it saw."""
    body: Any = first(name)
    statuses = []
    path = PATHS[name].replace("streamGenerate", "generate")
    async with aiohttp.ClientSession() as http:
        while body is not None:
            async with http.post(url + path, json=body) as answer:
                statuses.append(answer.status)
                said = await answer.json()
            body = following(name, body, said, lambda *_: LONG) if answer.status == 200 else None
    return statuses


@pytest.mark.parametrize("name", PATHS)
async def test_a_conversation_ends_and_is_recorded(name: str) -> None:
    async with chain("modify") as (url, gateway, hook):
        statuses = await converse(url, name)
    assert statuses == [200] * 5
    assert len(gateway.records) == len(hook.calls) == len(hook.bills) == 5
    last = gateway.records[-1]
    original, forwarded = last.bodies
    assert json.dumps(original).count("a line of what") > 0
    assert "a line of what" not in json.dumps(forwarded)
    assert forwarded == json.loads(json.dumps(original).replace(json.dumps(LONG), '"short"'))


async def test_the_provider_takes_thinking_only_behind_what_it_was_sent() -> None:
    async with chain("modify") as (url, _, hook), aiohttp.ClientSession() as http:
        body: Any = first("anthropic")
        for turn in range(3):
            if turn == 2:
                hook.action = '{"action": "allow"}'  # what was forwarded changes
            async with http.post(url + PATHS["anthropic"], json=body) as answer:
                status = answer.status
                said = await answer.json()
            if status == 200:
                body = following("anthropic", body, said, lambda *_: LONG)
    assert status == 400
    assert "signature" in said["error"]["message"]


@pytest.mark.parametrize("action", ["fail", "nonsense", '{"action":"modify","request_body":[]}'])
async def test_it_fails_open(action: str) -> None:
    async with chain(action) as (url, gateway, _):
        assert await converse(url, "anthropic") == [200] * 5
    assert all(record.hook.startswith("failed") for record in gateway.records)
    assert all(record.forwarded is None for record in gateway.records)


async def test_bills_have_a_price_and_no_body() -> None:
    async with chain('{"action": "allow"}') as (url, _, hook):
        await converse(url, "responses")
    for call, bill in zip(hook.calls, hook.bills, strict=True):
        assert bill.keys() == {"metadata"}
        cost = bill["metadata"].pop("estimated_cost")
        assert bill["metadata"] == call["metadata"]
        assert cost["cost_basis"].startswith("openai/")
        assert cost["usage"]["input_tokens"] > 0


async def test_a_stream_arrives_as_it_was_sent() -> None:
    body = first("anthropic") | {"stream": True}
    allow = '{"action": "allow"}'
    async with chain(allow) as (url, gateway, _), aiohttp.ClientSession() as http:
        answer = await http.post(url + PATHS["anthropic"], json=body)
        text = await answer.text()
    assert answer.headers["content-type"] == "text/event-stream"
    assert text.startswith("event: message_start\n")
    assert gateway.records[0].response == text


async def test_a_client_in_a_loop_comes_to_an_end() -> None:
    async with served(Provider(1).app()) as url, aiohttp.ClientSession() as http:
        for calls in (1, 0):
            async with http.post(url + PATHS["chat"], json=first("chat")) as answer:
                message = (await answer.json())["choices"][0]["message"]
                assert len(message.get("tool_calls", [])) == calls


async def test_records_can_be_sent_through_another_hook() -> None:
    async with chain('{"action": "allow"}') as (url, gateway, _):
        await converse(url, "anthropic")
    other = FakeHook("modify")
    async with served(other.app()) as hook_url:
        again = await replay(gateway.records, hook_url)
    assert [record.original for record in again] == [r.original for r in gateway.records]
    assert [record.hook for record in again] == ["modify"] * 5
    judge = Judge(shows_file)
    for record in again:
        judge.take(record)
    assert judge.verdict().restored["not restored"] > 0
