"""What of a request's bytes a provider's cache and signatures depend on."""

from __future__ import annotations

import json

import pytest

from tsheadroom.providers import caching


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/v1/messages", True),
        ("", True),
        ("/v1/messages/count_tokens", False),
        ("https://ai.example.ts.net/v1/messages/count_tokens/?beta=true", False),
        ("/v1/projects/p/publishers/anthropic/models/count-tokens:rawPredict", False),
        ("/model/us.anthropic.claude-sonnet-5-5/count-tokens", False),
        ("/v1/messages?x=count_tokens", True),
        ("/count_tokens/v1/messages", True),
        ("/v1beta/models/gemini-3:countTokens", False),
        ("/v1/responses/input_tokens", False),
    ],
)
def test_token_counting_is_no_turn(url: str, expected: bool) -> None:
    assert caching.is_turn(url) is expected


@pytest.mark.parametrize(
    ("anthropic", "body", "expected"),
    [
        (False, b"{}", True),
        (True, b"{}", False),
        (True, b'{"cache_control":{}}', True),
        (True, b'{"cachePoint":{}}', True),
        (True, b'{"prompt_cache_breakpoint":{}}', True),
        (True, b'{"type":"redacted_thinking"}', True),
        (True, b'{"reasoningContent":{}}', True),
        (True, b'{"thinking":{}}', True),
    ],
)
def test_what_has_a_prefix_to_protect(anthropic: bool, body: bytes, expected: bool) -> None:
    assert caching.has_prefix_cache(body, 0, len(body), anthropic=anthropic) is expected


THINKING = {"type": "clear_thinking_20251015", "keep": "all"}
COMPACTION = {"type": "compaction", "compact_threshold": 200_000}


@pytest.mark.parametrize(
    ("managed", "expected"),
    [
        (None, False),
        ({}, False),
        ({"edits": None}, False),
        ({"edits": []}, False),
        ({"edits": [THINKING]}, False),
        ([], False),
        ({"edits": [THINKING, {"type": "clear_tool_uses_20250919"}]}, True),
        ({"edits": [{"type": "compact_20260112"}]}, True),
        ({"edits": [{"type": "something_new_20270101"}]}, True),
        ({"edits": [THINKING], "something_new": True}, True),
        ([COMPACTION], True),
        ([{"type": "something_new"}], True),
        ({"edits": [{}]}, True),
        ({"edits": [{"type": 7}]}, True),
        ({"edits": ["clear_thinking_20251015"]}, True),
        ({"edits": {"type": "clear_thinking_20251015"}}, True),
        ({"edits": "clear_thinking_20251015"}, True),
        ("auto", True),
        (7, True),
    ],
)
def test_who_may_delete_outputs(managed: object, expected: bool) -> None:
    assert caching.may_delete_outputs(json.dumps(managed).encode()) is expected


@pytest.mark.parametrize(
    "odd", [b"{", b'{"edits":["\\ud800"]}', b"[" * 9999 + b"]" * 9999, b"\xff"]
)
def test_what_cannot_be_read_may_delete_outputs(odd: bytes) -> None:
    assert caching.may_delete_outputs(odd)
