"""What a person is told of a node, and how often."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import pytest

from tsheadroom.tailnet import watch as watch_module
from tsheadroom.tailnet.localapi import LocalApi, LocalApiFailed, NodeEvent, NodeStatus
from tsheadroom.tailnet.watch import SAY_AGAIN_SECONDS, Watch, advice, expiry_advice

URL = "https://login.example.com/a/1"


@pytest.mark.parametrize(
    ("status", "has_key", "words"),
    [
        (NodeStatus("NeedsLogin", auth_url=URL), False, f"log in at {URL}"),
        (NodeStatus("NeedsLogin", health=("bad key",)), True, "make a new one, .*bad key"),
        (NodeStatus("NeedsMachineAuth"), True, "administrator's approval"),
        (NodeStatus("Starting", health=("no network",)), True, "state=Starting; .*no network"),
        (NodeStatus("NoState"), False, "health: none reported"),
    ],
)
def test_advice(status: NodeStatus, has_key: bool, words: str) -> None:
    assert re.search(words, advice(status, has_key=has_key))


@pytest.mark.parametrize(
    ("expiry", "warned"),
    [
        ("", False),
        ("2026-03-30T00:00:00Z", False),
        ("2026-03-07T00:00:00Z", True),
        ("2026-02-27T00:00:00Z", True),
        ("no date", False),
        ("2026-03-07T00:00:00", False),
    ],
)
def test_a_key_that_expires_soon(expiry: str, warned: bool) -> None:
    status = NodeStatus("Running", key_expiry=expiry)
    said = expiry_advice(status, datetime(2026, 3, 1, tzinfo=UTC))
    assert (said is not None) == warned
    assert not warned or expiry in str(said)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_same_sentence_waits_before_it_is_said_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    watch = Watch(has_key=False, clock=clock)
    for _ in range(3):
        watch.note(NodeEvent(login_url=URL))
    assert caplog.text.count(URL) == 1
    clock.now += SAY_AGAIN_SECONDS
    watch.note(NodeEvent(login_url=URL))
    assert caplog.text.count(URL) == 2


async def test_errors_that_differ_in_a_detail_do_not_flood(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    watch = Watch(has_key=True, clock=clock)
    for number in range(100):
        watch.note(NodeEvent(error=f"refused attempt {number}"))
        clock.now += 1
    assert 2 <= caplog.text.count("refused attempt") <= 4


async def test_another_url_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(has_key=False, clock=Clock())
    watch.note(NodeEvent(login_url=URL))
    watch.note(NodeEvent(login_url=URL + "23"))
    assert caplog.text.count(URL + "23") == 1


async def test_an_expired_key_is_told_from_a_first_login(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(has_key=False, clock=Clock())
    watch.note(NodeEvent(state="NeedsLogin"))
    assert "expired" not in caplog.text
    watch.note(NodeEvent(state="Running"))
    assert watch.up.is_set()
    watch.note(NodeEvent(state="NeedsLogin"))
    assert "expired" in caplog.text


class OnceSilent:
    """A LocalAPI that cannot say how the node is when it is first asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def watch(self) -> AsyncIterator[NodeEvent]:
        yield NodeEvent(state="Running")
        await asyncio.Event().wait()

    async def status(self) -> NodeStatus:
        self.asked += 1
        if self.asked == 1:
            raise LocalApiFailed("no answer")
        return NodeStatus("Running", dns_name="hook.example.ts.net.")


async def test_after_a_failed_status_the_nodes_name_is_said_all_the_same(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    for name in ("URL_SECONDS", "_EXPLAIN_SECONDS", "_RECONNECT_SECONDS"):
        monkeypatch.setattr(watch_module, name, 0.0)
    watch = Watch(has_key=False)
    following = asyncio.create_task(watch.follow(cast("LocalApi", OnceSilent())))
    async with asyncio.timeout(60):
        while "hook.example.ts.net" not in caplog.text:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert "no answer" in caplog.text
