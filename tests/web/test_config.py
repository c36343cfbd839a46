"""/config, /metrics, /livez and /readyz over a socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from tsheadroom.settings import Settings, SettingsStore, merge
from tsheadroom.telemetry.series import Metrics
from tsheadroom.web import pace
from tsheadroom.web.access import DEFAULT_CAPABILITY, Access
from tsheadroom.web.app import make_app, make_runner
from tsheadroom.web.bills import Bills
from tsheadroom.web.config import ConfigPage
from tsheadroom.web.health import HealthPages
from tsheadroom.web.metrics import MetricsPage
from tsheadroom.web.room import Room

if TYPE_CHECKING:
    from pathlib import Path


class Site:
    """The application on a real socket, with a hook that only says that it was asked."""

    def __init__(self, path: Path, access: Access) -> None:
        self.store = SettingsStore(path)
        self.metrics = Metrics()
        self.missing: list[str] = []
        self.events: list[bytes] = []
        self.stopping = False
        self.version: str | None = None
        self.app = make_app(
            hook=self._hook,
            bills=Bills(self._take, Room(64 << 20, 60.0), accept_compressed=True),
            config=ConfigPage(self.store, access, lambda: self.version),
            metrics=MetricsPage(self.metrics),
            health=HealthPages(lambda: self.missing),
            stopping=lambda: self.stopping,
        )
        self.runner = make_runner(self.app)
        self.client: aiohttp.ClientSession

    async def _hook(self, request: web.Request) -> web.Response:
        return web.Response(text=f"hook {request.method} {request.path}")

    async def _take(self, body: bytes) -> None:
        self.events.append(body)

    async def start(self, *, family: str = "127.0.0.1") -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, family, 0).start()
        host, port = self.runner.addresses[0][:2]
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.client = aiohttp.ClientSession(f"http://{netloc}")

    async def close(self) -> None:
        await self.client.close()
        await self.runner.cleanup()


Start = Callable[..., Awaitable[Site]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    sites: list[Site] = []

    async def begin(access: Access | None = None, **options: Any) -> Site:
        site = Site(tmp_path / "config.json", access or Access(None))
        await site.start(**options)
        sites.append(site)
        return site

    yield begin
    for site in sites:
        await site.close()


async def test_get_shows_the_settings_and_the_version(start: Start) -> None:
    site = await start()
    site.version = "0.42.0"
    async with site.client.get("/config") as answer:
        document = await answer.json()
        assert answer.status == 200
        assert answer.headers["ETag"] == site.store.etag
        assert answer.content_type == "application/json"
    assert document.pop("headroom_version") == "0.42.0"
    assert list(document)[:8] == [
        "compress_user_messages",
        "compress_system_messages",
        "protect_recent",
        "protect_analysis_context",
        "target_ratio",
        "min_tokens_to_compress",
        "kompress_model",
        "savings_profile",
    ]
    assert merge(Settings(), document) == Settings()


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_partial_object_is_merged_written_and_in_force(start: Start, method: str) -> None:
    site = await start()
    async with site.client.request(method, "/config", data=b'{"protect_recent": 9}') as answer:
        assert answer.status == 200
        document = await answer.json()
        etag = answer.headers["ETag"]
    assert document["protect_recent"] == 9
    assert document["min_tokens_to_compress"] == 250
    assert json.loads(site.store.path.read_text())["protect_recent"] == 9
    async with site.client.get("/config") as answer:
        assert await answer.json() == document
        assert answer.headers["ETag"] == etag


async def test_what_get_shows_can_be_put_back(start: Start) -> None:
    site = await start()
    site.version = "0.42.0"
    async with site.client.get("/config") as answer:
        document, etag = await answer.read(), answer.headers["ETag"]
    async with site.client.put("/config", data=document, headers={"If-Match": etag}) as answer:
        assert answer.status == 200
        assert answer.headers["ETag"] == etag


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"target_ratio": 0}', "target_ratio must be in (0, 1] or null\n"),
        (b'{"protect_recent": 1, "colour": 2}', "colour is not a setting\n"),
        (b"[]", "settings must be a JSON object\n"),
        (b"x" * 65537, "settings must be at most 64 KiB\n"),
    ],
)
async def test_a_bad_body_is_a_400_with_a_sentence(
    start: Start, body: bytes, sentence: str
) -> None:
    site = await start()
    async with site.client.put("/config", data=body) as answer:
        assert answer.status == 400
        assert await answer.text() == sentence
    assert site.store.current == Settings()
    assert not site.store.path.exists()


@pytest.mark.parametrize("body", [b"Z", b'5\r\n{"mod'])
async def test_a_body_that_does_not_come_is_a_400(
    start: Start, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 0.05)
    site = await start()
    reader, writer = await asyncio.open_connection(*site.runner.addresses[0][:2])
    writer.write(b'PUT /config HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"mod')
    answer = await reader.read()  # until it is closed
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"the settings could not be read\n")
    writer.close()
    await writer.wait_closed()


async def test_64_kib_are_taken(start: Start) -> None:
    site = await start()
    body = b'{"protect_recent": 5' + b" " * (65536 - 21) + b"}"
    async with site.client.put("/config", data=body) as answer:
        assert answer.status == 200
    assert site.store.current.protect_recent == 5


async def test_a_coded_body_is_refused_with_a_sentence(start: Start) -> None:
    site = await start()
    headers = {"Content-Encoding": "gzip"}
    async with site.client.put("/config", data=b"\x1f\x8b", headers=headers) as answer:
        assert answer.status == 400
        assert await answer.text() == "settings must come without a content-encoding\n"


async def test_two_editors_do_not_overwrite_each_other(start: Start) -> None:
    site = await start()
    async with site.client.get("/config") as answer:
        headers = {"If-Match": answer.headers["ETag"]}
    async with site.client.put("/config", data=b'{"holdout": 5}', headers=headers) as first:
        assert first.status == 200
    async with site.client.put("/config", data=b'{"holdout": 9}', headers=headers) as second:
        assert second.status == 412
        assert await second.text() == "the settings were changed meanwhile; read them again\n"
    assert site.store.current.holdout == 5


async def test_a_file_that_cannot_be_written_is_a_500_with_a_sentence(
    start: Start, tmp_path: Path
) -> None:
    site = await start()
    site.store.path = tmp_path / "missing" / "config.json"
    async with site.client.put("/config", data=b'{"holdout": 5}') as answer:
        assert answer.status == 500
        assert "cannot write the settings file" in await answer.text()
    assert site.store.current == Settings()


async def test_loopback_over_ipv6_may_write(start: Start) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    site = await start(family="::1")
    async with site.client.put("/config", data=b'{"holdout": 5}') as answer:
        assert answer.status == 200


async def test_a_web_page_may_not_write(start: Start) -> None:
    site = await start()
    headers = {"Origin": "https://example.com", "Content-Type": "text/plain"}
    async with site.client.post("/config", data=b'{"holdout": 5}', headers=headers) as answer:
        assert answer.status == 403
    assert site.store.current == Settings()


def tailnet(capabilities: dict[str, list[Any]] | None, seen: list[str]) -> Access:
    """Access as on a tailnet, where the library says who stands behind an address."""

    async def whois(address: str) -> Any:
        seen.append(address)
        return None if capabilities is None else SimpleNamespace(capabilities=capabilities)

    return Access(whois)


@pytest.mark.parametrize(
    "capabilities", [None, {}, {"tailscale.com/cap/aperture": [{}]}, {"other/cap/config": []}]
)
async def test_on_the_tailnet_others_are_refused_and_told_the_grant(
    start: Start, capabilities: dict[str, list[Any]] | None
) -> None:
    site = await start(tailnet(capabilities, []))
    async with site.client.put("/config", data=b'{"holdout": 5}') as answer:
        text = await answer.text()
        assert answer.status == 403
    assert site.store.current == Settings()
    grant = json.loads(text.partition("grants: ")[2])
    assert grant["app"] == {DEFAULT_CAPABILITY: [{}]}
    async with site.client.get("/config") as answer:
        assert answer.status == 200


async def test_on_the_tailnet_the_capability_allows_writing(start: Start) -> None:
    seen: list[str] = []
    site = await start(tailnet({DEFAULT_CAPABILITY: []}, seen))
    async with site.client.put("/config", data=b'{"holdout": 5}') as answer:
        assert answer.status == 200
    (address,) = seen
    assert address.startswith("127.0.0.1:")


async def test_forwarding_headers_prove_nothing(start: Start) -> None:
    site = await start(tailnet(None, []))
    headers = {"X-Forwarded-For": "127.0.0.1", "Tailscale-User-Login": "me@example.com"}
    async with site.client.put("/config", data=b"{}", headers=headers) as answer:
        assert answer.status == 403


async def test_metrics_page(start: Start) -> None:
    site = await start()
    site.metrics.inbound_start()
    async with site.client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "\nheadroom_inbound_requests_active 1.0\n" in await answer.text()


async def test_health_pages(start: Start) -> None:
    site = await start()
    site.missing = ["no worker is warm", "the tailnet node is not running"]
    async with site.client.get("/livez") as answer:
        assert answer.status == 200
    async with site.client.get("/readyz") as answer:
        assert answer.status == 503
        assert await answer.text() == "no worker is warm\nthe tailnet node is not running\n"
    site.missing = []
    async with site.client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (200, "ready\n")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/any/path"),
        ("POST", "/config/"),
        ("POST", "/with%0Abreak"),
        ("POST", "/metrics/"),
        ("POST", "/bills/1"),
        ("GET", "/"),
        ("PATCH", "/x?y=z"),
    ],
)
async def test_everything_else_is_the_hooks(start: Start, method: str, path: str) -> None:
    site = await start()
    async with site.client.request(method, path) as answer:
        assert (await answer.text()).startswith(f"hook {method} ")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/bills", "POST"),
        ("/config", "GET, PUT, POST, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ],
)
async def test_a_page_refuses_every_other_method(start: Start, path: str, methods: str) -> None:
    site = await start()
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - set(methods.split(", ")):
        async with site.client.request(method, path, data=b"{}") as answer:
            assert (answer.status, await answer.text()) == (405, "method not allowed\n"), method
            assert answer.headers["Allow"] == methods
    if "HEAD" in methods:
        async with site.client.head(path) as answer:
            assert answer.status == 200


async def test_while_stopping_each_answer_is_the_last_on_its_connection(start: Start) -> None:
    site = await start()
    async with site.client.post("/") as answer:
        assert "Connection" not in answer.headers
    site.stopping = True
    async with site.client.post("/") as answer:
        assert answer.headers["Connection"] == "close"


async def test_the_etag_names_the_document_that_it_comes_with(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though somebody else's change comes between the write and the answer."""
    site = await start()
    update = site.store.update

    def overtaken(body: bytes, if_match: str | None = None) -> Settings:
        mine = update(body, if_match)
        update(b'{"protect_recent": 9}')
        return mine

    monkeypatch.setattr(site.store, "update", overtaken)
    async with site.client.put("/config", data=b'{"protect_recent": 8}') as answer:
        document = await answer.json()
        etag = answer.headers["ETag"]
    assert document["protect_recent"] == 8
    monkeypatch.undo()
    async with site.client.put(
        "/config", data=b'{"lossy": true}', headers={"If-Match": etag}
    ) as answer:
        assert answer.status == 412
