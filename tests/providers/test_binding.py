"""Which signatures bind what stands before them."""

from __future__ import annotations

import json

import pytest

from tsheadroom.providers.binding import binds, free_signatures_of

THINKING = b'{"type":"thinking","thinking":"","signature":"s"}'
REDACTED = b'{"type":"redacted_thinking","data":"d"}'
OVER_CONVERSE = b'{"reasoningContent":{"reasoningText":{"text":"","signature":"s"}}}'
REASONING = b'{"type":"reasoning","summary":[],"encrypted_content":"e"}'
GEMINI = b'{"functionCall":{"name":"f"},"thoughtSignature":"t"}'
SNAKE_CASE = b'{"function_call":{"name":"f"},"thought_signature":"t"}'


@pytest.mark.parametrize(
    ("key", "block", "anthropic", "expected"),
    [
        ("messages", THINKING, True, True),
        ("messages", THINKING, False, True),  # the block says it, whatever the model is called
        ("messages", REDACTED, False, True),
        ("messages", OVER_CONVERSE, False, True),
        ("messages", b'{"type":"text","text":"of thinking"}', True, False),
        ("contents", GEMINI, False, False),
        ("contents", SNAKE_CASE, False, False),
        ("input", REASONING, False, False),
        ("contents", GEMINI, True, True),  # Claude behind another API
        ("input", REASONING, True, True),
        ("unheard_of", THINKING, False, False),
    ],
)
def test_what_binds_is_the_providers_rule(
    key: str, block: bytes, anthropic: bool, expected: bool
) -> None:
    assert binds(key, block, 0, len(block), anthropic=anthropic) is expected


def test_it_is_looked_for_from_a_place_on() -> None:
    body = b'[%b,{"type":"text"}]' % THINKING
    assert binds("messages", body, 0, len(body), anthropic=True)
    assert not binds("messages", body, body.index(b"text"), len(body), anthropic=True)


@pytest.mark.parametrize(
    ("key", "item", "expected"),
    [
        ("messages", THINKING, set()),
        ("contents", GEMINI, {b'"thoughtSignature"', b'"thought_signature"'}),
        ("input", REASONING, {b'"encrypted_content"'}),
        ("input", json.dumps(json.loads(REASONING), indent=2).encode(), {b'"encrypted_content"'}),
        ("input", b'{"type":"compaction","encrypted_content":"what is left"}', set()),
    ],
)
def test_which_signatures_bind_nothing(key: str, item: bytes, expected: set[bytes]) -> None:
    assert set(free_signatures_of(key, item)) == expected
