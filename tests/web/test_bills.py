"""Post-response events over a socket: at /bills, and where an operator sends them to the hook."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.conversation import call, dumps
from tests.served import Served, until
from tests.web.test_hook import anthropic

ALLOW = '{"action":"allow"}\n'
COST = {"dollars": 0.5, "usage": {"input_tokens": 3, "cached_tokens": 40}}
# What a scrape itself changes, and what bills are shown by.
NOT_OF_CALLS = re.compile(r"#|process_|python_|tsheadroom_billed_")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("bills"), "-v").ready()
    yield served
    assert served.stop() == 0
    assert "Traceback" not in served.log


def event(request_id: str, cost: Any = COST, **members: Any) -> bytes:
    said = {"provider": "corp", "model": "m", "request_id": request_id}
    return dumps({"metadata": {**said, "estimated_cost": cost}, **members})


def of_calls(daemon: Served) -> dict[str, str]:
    """Every series that is not about bills, once no request is open."""
    until(lambda: daemon.metric("headroom_inbound_requests_active") == 0)
    text = daemon.ask("GET", "/metrics")[1]
    samples = [line for line in text.splitlines() if not NOT_OF_CALLS.match(line)]
    return dict(line.rsplit(" ", 1) for line in samples)


def outcome(daemon: Served, name: str) -> float:
    return daemon.metric(f'tsheadroom_billed_events_total{{outcome="{name}"}}')


def test_an_event_is_a_bill_and_no_call(daemon: Served) -> None:
    daemon.hook(call(anthropic(), provider="corp", model="m", request_id="r-1"))
    before, lines = of_calls(daemon), daemon.lines.read_text()
    counted, repeated = outcome(daemon, "counted"), outcome(daemon, "repeated")
    # Twice: a request with tool calls brings two events. The second one has all that there is.
    whole = {"request_body": anthropic(), "response_body": {}, "tool_calls": [{"name": "Bash"}]}
    for body in (event("r-1"), event("r-1", **whole)):
        assert daemon.ask("POST", "/bills", body) == (200, ALLOW)
    assert of_calls(daemon) == before
    assert daemon.lines.read_text() == lines
    assert (outcome(daemon, "counted"), outcome(daemon, "repeated")) == (counted + 1, repeated + 1)
    labels = '{arm="treated",model="m",provider="corp"}'
    assert daemon.metric(f"tsheadroom_billed_dollars_total{labels}") == 0.5
    assert daemon.metric(f"tsheadroom_billed_cached_tokens_total{labels}") == 40


def test_an_event_without_a_price_is_counted_as_that(daemon: Served) -> None:
    before, unpriced = of_calls(daemon), outcome(daemon, "unpriced")
    body = dumps({"metadata": {"request_id": "r"}, "request_body": anthropic()})
    assert daemon.ask("POST", "/bills", body) == (200, ALLOW)
    assert of_calls(daemon) == before
    assert outcome(daemon, "unpriced") == unpriced + 1


UNREADABLE = (b"", b"not json", b"\xff", b"[]", b'{"metadata":7}', b'{"a":1,"a":2}', b"[" * 10**5)


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read_is_allowed_and_counted(daemon: Served, body: bytes) -> None:
    before, unreadable = of_calls(daemon), outcome(daemon, "unreadable")
    assert daemon.ask("POST", "/bills", body) == (200, ALLOW)
    assert of_calls(daemon) == before
    assert outcome(daemon, "unreadable") == unreadable + 1


def test_a_large_event_is_taken(daemon: Served) -> None:
    """It is read in a thread."""
    counted = outcome(daemon, "counted")
    body = event("large", request_body={"messages": ["x" * (3 << 20)]})
    assert daemon.ask("POST", "/bills", body) == (200, ALLOW)
    assert outcome(daemon, "counted") == counted + 1


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br"])
def test_codings_are_taken_as_at_the_hook(daemon: Served, coding: str) -> None:
    packed = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}.get(coding, bytes)
    expected = "unreadable" if coding == "br" else "counted"
    before = outcome(daemon, expected)
    connection = daemon.connect()
    connection.request("POST", "/bills", packed(event(coding)), {"Content-Encoding": coding})
    answer = connection.getresponse()
    assert answer.headers["Accept-Encoding"] == "zstd, gzip"
    assert (answer.status, answer.read().decode()) == (200, ALLOW)
    connection.close()
    assert outcome(daemon, expected) == before + 1


def test_an_event_of_any_size_ends_at_the_limit(daemon: Served) -> None:
    connection = daemon.connect()
    connection.putrequest("POST", "/bills")
    connection.putheader("Content-Length", str(51 << 20))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (200, ALLOW)
    assert answer.headers["Connection"] == "close"
    connection.close()


@pytest.mark.parametrize(
    "members",
    [{"response_body": {"content": []}}, {"request_body": anthropic()}, {}],
    ids=["response", "request", "bare"],
)
def test_an_event_at_the_hooks_own_path_is_no_call_either(
    daemon: Served, members: dict[str, Any]
) -> None:
    before, lines = of_calls(daemon), daemon.lines.read_text()
    counted = outcome(daemon, "counted")
    assert daemon.hook(event(f"at the hook {list(members)}", **members)) == {"action": "allow"}
    # These count HTTP requests to the hook, of any kind.
    inbound = ("headroom_inbound_requests_total", "headroom_inbound_requests_completed_total")
    after = of_calls(daemon)
    assert {k: v for k, v in after.items() if before.get(k) != v}.keys() <= set(inbound)
    assert daemon.lines.read_text() == lines
    assert outcome(daemon, "counted") == counted + 1
    assert daemon.log.count("whose URL has the path /bills") == 1


def test_an_event_that_only_repeats_its_call_is_answered_like_it(daemon: Served) -> None:
    body = call(anthropic(), login_name="unpriced", request_id="unpriced")
    first = daemon.hook(body)
    assert first["action"] == "modify"
    before, lines = of_calls(daemon), daemon.lines.read_text()
    assert daemon.hook(body) == first
    changed = {k for k, v in of_calls(daemon).items() if before.get(k) != v}
    assert {name.partition("{")[0] for name in changed} <= {
        "headroom_inbound_requests_total",
        "headroom_inbound_requests_completed_total",
    }
    assert daemon.lines.read_text() == lines


def test_an_event_needs_no_worker(tmp_path: Path) -> None:
    served = Served(tmp_path, "--python", "/bin/false")
    assert served.ask("POST", "/bills", event("r")) == (200, ALLOW)
    assert outcome(served, "counted") == 1
    assert served.stop() == 0
