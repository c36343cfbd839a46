"""Post-response events: what they bill, and how one is told from a hook call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tsheadroom.aperture.call import Envelope, HookCall, read
from tsheadroom.aperture.post_response import Bill, PostResponse, Usage, read_bill, read_event

BODY = {"messages": [{"role": "user", "content": "go"}]}
COST = {"dollars": 0.5, "usage": {"input_tokens": 3, "output_tokens": 4}}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", None),
        (b"null", None),
        (b"{}", None),
        (b'""', None),
        (b"7", Bill(0.0, Usage(), refused=1)),
        (b"\xff", Bill(0.0, Usage(), refused=1)),
        (b"[" * 100_000, Bill(0.0, Usage(), refused=1)),
        (b'{"dollars":0.2}', None),
        (b'{"dollars":0.2,"usage":null}', None),
        (b'{"usage":{}}', Bill(0.0, Usage())),  # all of them zero: none is sent
        (b'{"dollars":0.2,"usage":{"cached_tokens":4,"new":1}}', Bill(0.2, Usage(cached_tokens=4))),
        (b'{"cost_basis":"a/b","usage":{}}', Bill(0.0, Usage(), "a/b")),
        (b'{"cost_basis":7,"usage":{}}', Bill(0.0, Usage())),
        (b'{"dollars":2,"usage":[{}]}', Bill(2.0, Usage(), refused=1)),
    ],
)
def test_reading_a_bill(raw: bytes, expected: Bill | None) -> None:
    assert read_bill(raw) == expected


@pytest.mark.parametrize(
    "odd",
    [
        "-1",
        "9223372036854775807",
        "1" + "0" * 25,
        "1" + "0" * 400,
        "1" + "0" * 100_000,
        "1e400",
        "1e308",
        "-0.5",
        "true",
        '"5"',
        "[5]",
        "{}",
        "[" * 100 + "]" * 100,
    ],
    ids=range(13),
)
def test_an_amount_that_no_request_can_have_is_refused_alone(odd: str) -> None:
    used = Usage(input_tokens=3)
    raw = f'{{"dollars":0.5,"usage":{{"input_tokens":3,"output_tokens":{odd}}}}}'
    assert read_bill(raw.encode()) == Bill(0.5, used, refused=1)
    raw = f'{{"dollars":{odd},"usage":{{"input_tokens":3}}}}'
    assert read_bill(raw.encode()) == Bill(0.0, used, refused=1)
    assert read_bill(f'{{"usage":{odd}}}'.encode()) == Bill(0.0, Usage(), refused=int(odd != "{}"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b'{"metadata":7}', None),
        (b'{"metadata":{"provider":7}}', None),
        (b'{"a":1,"a":2}', None),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"metadata":{"provider":"\xff"}}', None),
        (b"{}", ""),
        (b'{"metadata":null}', ""),
        (b'{"request_body":"\xff","metadata":{"request_id":"r"}}', "r"),
        (rb'{"request_body":"\ud83d","metadata":{"request_id":"r\ud83d"}}', "r?"),
    ],
    ids=range(12),
)
def test_reading_an_event_raises_nothing(raw: bytes, expected: str | None) -> None:
    event = read_event(raw)
    assert (event and event.metadata.request_id) == expected


def told(body: Any = BODY, cost: Any = None, **members: Any) -> bool:
    """True if a message of these members counts as an event."""
    metadata = {"request_id": "r"} | ({} if cost is None else {"estimated_cost": cost})
    message = {"metadata": metadata, **({} if body is None else {"request_body": body}), **members}
    called = read(json.dumps(message).encode())
    assert isinstance(called, PostResponse | HookCall | Envelope)
    return isinstance(called, PostResponse)


@pytest.mark.parametrize(
    "members",
    [
        {"response_body": {"content": []}},
        {"response_body": "cut"},
        {"raw_responses": ["data: {}"]},
        {"tool_calls": [{"name": "Bash", "params": {}}]},
    ],
    ids=str,
)
def test_what_only_an_answered_request_has_makes_an_event(members: dict[str, Any]) -> None:
    assert told(**members)
    assert told(None, **members)


@pytest.mark.parametrize("nothing", [None, "", [], {}], ids=str)
def test_members_that_hold_nothing_prove_nothing(nothing: Any) -> None:
    members = dict.fromkeys(("response_body", "raw_responses", "tool_calls", "hook"), nothing)
    assert not told(**members)


@pytest.mark.parametrize("usage", ["output_tokens", "cached_tokens", "cache_creation_input_tokens"])
def test_a_bill_that_only_an_answered_request_can_have_makes_an_event(usage: str) -> None:
    assert told(cost={"dollars": 1.0, "usage": {"input_tokens": 7, usage: 1}})


@pytest.mark.parametrize("cost", [{"dollars": 0.1}, {"usage": {"input_tokens": 7}}, {}, 7, "x"])
def test_an_estimate_makes_an_event_only_without_a_body(cost: Any) -> None:
    assert not told(cost=cost)
    assert not told({"input": "text to embed"}, cost=cost)
    assert told(None, cost=cost)
    assert told({}, cost=cost)


def test_without_a_body_and_an_estimate_nothing_is_told() -> None:
    assert not told(None)


def test_an_events_bill_and_metadata_are_read() -> None:
    raw = json.dumps({"metadata": {"model": "m", "estimated_cost": COST}, "request_body": BODY})
    event = read(raw.encode())
    assert isinstance(event, PostResponse)
    assert event == read_event(raw.encode())
    assert event.metadata.model == "m"
    assert event.bill == Bill(0.5, Usage(input_tokens=3, output_tokens=4))
