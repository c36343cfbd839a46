from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.aperture.digests import canonical, digest

MARKER = {"type": "ephemeral", "ttl": "1h"}


def dumps(value: object, spaced: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps(value, separators=separators, ensure_ascii=False).encode()


@pytest.mark.parametrize("spaced", [False, True])
def test_a_breakpoint_is_no_part_of_an_item(spaced: bool) -> None:
    block = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "a"}, {"x": 1}],
    }
    plain = dumps({"role": "user", "content": [block, {"type": "text", "text": "x"}]}, spaced)
    marked = dumps(
        {
            "role": "user",
            "content": [
                {**block, "cache_control": MARKER},
                {"type": "text", "text": "x", "cache_control": MARKER},
            ],
        },
        spaced,
    )
    first = dumps(
        {
            "role": "user",
            "content": [{"cache_control": MARKER, **block}, {"type": "text", "text": "x"}],
        },
        spaced,
    )
    assert canonical(plain) == plain
    assert canonical(marked) == plain
    assert json.loads(canonical(first)) == json.loads(plain)


def test_a_null_breakpoint_is_none() -> None:
    assert (
        canonical(b'{"role":"user","content":"x","cache_control":null}')
        == b'{"role":"user","content":"x"}'
    )


@pytest.mark.parametrize("spaced", [False, True])
def test_a_string_equals_one_text_block(spaced: bool) -> None:
    string = dumps({"role": "user", "content": 'say "hi" [1]'}, spaced)
    block = dumps(
        {
            "role": "user",
            "content": [{"type": "text", "text": 'say "hi" [1]', "cache_control": MARKER}],
        },
        spaced,
    )
    assert canonical(string) == string == canonical(block)


def test_two_blocks_are_not_one_string() -> None:
    item = dumps(
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    )
    assert canonical(item) == item


@given(st.text())
def test_text_that_talks_about_breakpoints_is_kept(text: str) -> None:
    said = text + ',"cache_control":{"type":"x"},"content":[{"type":"text","text":"x"}]'
    item = dumps({"role": "user", "content": said})
    assert canonical(item) == item
    quoted = dumps(
        {"role": "user", "content": [{"type": "text", "text": said}, {"type": "text", "text": "x"}]}
    )
    assert canonical(quoted) == quoted


def test_different_items_have_different_names() -> None:
    assert digest(b"a") != digest(b"b")
    assert len(digest(b"a")) == 16
