"""The LocalAPI's client against a stand-in that says what a node might."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tsheadroom.tailnet.localapi import LocalApi, LocalApiFailed, NodeEvent, Peer
from tsheadroom.tailnet.logpipe import LogPipe
from tsheadroom.tailnet.whois import WHOIS_SECONDS, Whois

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALLER = "100.64.0.9:1234"

PERSON = {
    "Node": {"Name": "laptop.example.ts.net.", "ComputedName": "laptop", "Extra": 1},
    "UserProfile": {"LoginName": "a@example.com"},
    "CapMap": {
        "example.com/cap/x": [{"a": 1}],
        "example.com/cap/bare": None,
        "example.com/cap/none": [],
    },
}
TAGGED = {
    "Node": {"ComputedName": "gateway", "Tags": ["tag:aperture"]},
    "UserProfile": {"LoginName": "tagged-devices"},
    "CapMap": None,
}


class StandIn:
    """Answers each path with what a test put there."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        assert request.headers["Sec-Tailscale"] == "localapi"
        assert request.headers["Authorization"] == "Basic OnNlY3JldA=="  # ":secret"
        assert "Origin" not in request.headers
        self.asked.append(request.rel_url.path_qs)
        answer = self.answers.get(request.match_info["name"])
        if answer is None:
            return web.Response(status=404, text="no match")
        if isinstance(answer, str):
            return web.Response(text=answer)
        return web.json_response(answer)


@pytest.fixture
def node() -> StandIn:
    return StandIn()


@pytest.fixture
async def api(node: StandIn) -> AsyncIterator[LocalApi]:
    app = web.Application()
    app.router.add_route("*", "/localapi/v0/{name}", node.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api = LocalApi("{}:{}".format(*runner.addresses[0][:2]), "secret")
    yield api
    await api.close()
    await runner.cleanup()


async def test_whois(api: LocalApi, node: StandIn) -> None:
    node.answers["whois"] = PERSON
    assert await api.whois(CALLER) == Peer(
        login="a@example.com",
        node="laptop.example.ts.net",
        capabilities={"example.com/cap/x": [{"a": 1}]},  # a grant without an object grants nothing
    )
    # A tagged node's login is nobody's: who matches by login must not match it.
    node.answers["whois"] = TAGGED
    assert await api.whois(CALLER) == Peer("", "gateway", ("tag:aperture",))
    del node.answers["whois"]
    assert await api.whois(CALLER) is None


@pytest.mark.parametrize("rubbish", ["", "no json", "[]", '{"Node": 1, "UserProfile": {}}'])
async def test_rubbish_is_an_error_of_its_own(api: LocalApi, node: StandIn, rubbish: str) -> None:
    node.answers["whois"] = rubbish or " "
    with pytest.raises(LocalApiFailed):
        await api.whois(CALLER)


async def test_status(api: LocalApi, node: StandIn) -> None:
    node.answers["status"] = {
        "BackendState": "Running",
        "AuthURL": "",
        "Health": None,
        "TailscaleIPs": ["100.64.0.1"],
        "Self": {
            "DNSName": "n.example.ts.net.",
            "Online": True,
            "KeyExpiry": "2027-01-01T00:00:00Z",
        },
        "CurrentTailnet": {"Name": "example.com", "MagicDNSSuffix": "example.ts.net"},
    }
    status = await api.status()
    assert (status.state, status.dns_name, status.addresses, status.tailnet) == (
        "Running",
        "n.example.ts.net",
        ("100.64.0.1",),
        "example.com",
    )
    assert (status.online, status.key_expiry, status.expired) == (
        True,
        "2027-01-01T00:00:00Z",
        False,
    )
    node.answers["status"] = {"BackendState": "NoState", "Self": None, "CurrentTailnet": None}
    assert (await api.status()).state == "NoState"


async def test_watch(api: LocalApi, node: StandIn) -> None:
    node.answers["watch-ipn-bus"] = (
        '{"State": 2}\n\n{"BrowseToURL": "https://x/a"}\n{"ErrMessage": "e"}\n{"State": 99}\n'
    )
    assert [event async for event in api.watch()] == [
        NodeEvent(state="NeedsLogin"),
        NodeEvent(login_url="https://x/a"),
        NodeEvent(error="e"),
        NodeEvent(),
    ]
    node.answers["watch-ipn-bus"] = "rubbish\n"
    with pytest.raises(LocalApiFailed):
        _ = [event async for event in api.watch()]


async def test_names_are_remembered_for_a_while_only(api: LocalApi, node: StandIn) -> None:
    now = 0.0
    whois = Whois(clock=lambda: now)
    node.answers["whois"] = PERSON
    for port in range(10):
        peer = await whois.ask(api, f"100.64.0.9:{port}")
        assert peer is not None
        assert peer.login == "a@example.com"
    assert len(node.asked) == 1
    del node.answers["whois"]
    now = WHOIS_SECONDS
    assert await whois.ask(api, CALLER) is None


async def test_a_node_that_does_not_answer_knows_nobody(
    api: LocalApi, node: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    node.answers["whois"] = "rubbish"
    whois = Whois()
    assert await whois.ask(api, CALLER) is None
    assert "treated as nobody" in caplog.text
    node.answers["whois"] = PERSON  # a failure is not remembered
    assert await whois.ask(api, CALLER) is not None
    assert await Whois().ask(None, CALLER) is None
    assert await Whois().ask(api, "") is None


async def test_many_connections_of_one_caller_are_one_lookup(api: LocalApi, node: StandIn) -> None:
    node.answers["whois"] = PERSON
    whois = Whois()
    calls = [whois.ask(api, f"100.64.0.9:{port}") for port in range(50)]
    peers = await asyncio.gather(*calls)
    assert {peer.login for peer in peers if peer} == {"a@example.com"}
    assert len(node.asked) == 1


async def test_a_node_that_does_not_answer_does_not_flood_the_log(
    api: LocalApi, node: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    node.answers["whois"] = "rubbish"
    now = 0.0
    whois = Whois(clock=lambda: now)
    for number in range(100):
        assert await whois.ask(api, f"100.64.0.{number}:1") is None
    assert caplog.text.count("treated as nobody") == 1
    now = 60.0
    assert await whois.ask(api, CALLER) is None
    assert caplog.text.count("treated as nobody") == 2


async def test_ping(api: LocalApi, node: StandIn) -> None:
    node.answers["ping"] = {"Err": ""}
    await api.ping("fd7a:115c:a1e0::1")
    assert node.asked == ["/localapi/v0/ping?ip=fd7a:115c:a1e0::1&type=TSMP"]


async def test_many_names_do_not_pile_up(api: LocalApi, node: StandIn) -> None:
    node.answers["whois"] = PERSON
    whois = Whois()
    for number in range(1100):
        await whois.ask(api, f"100.64.{number >> 8}.{number & 255}:1")
    assert len(whois._known) <= 1024


async def test_log_lines_are_told_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="tsheadroom.tailnet.logpipe")
    pipe = LogPipe()
    library_end = pipe.hand_over()
    os.write(library_end, b"first\n[v2] noise\nsecond ")
    os.write(library_end, b"half\n" + b"\xff\n[operator] look\n")
    pipe.close()
    os.close(library_end)
    records = [record for record in caplog.records if "logpipe" in record.name]
    assert [record.getMessage() for record in records] == ["first", "second half", "\ufffd", "look"]
    assert [record.levelno == logging.WARNING for record in records] == [False] * 3 + [True]
