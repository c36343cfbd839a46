from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aperture.test_slices import spell, spellings
from tsheadroom.aperture import digests
from tsheadroom.aperture.digests import digest

MARKER = {"type": "ephemeral", "ttl": "1h"}
POINT = {"cachePoint": {"type": "default"}}
STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


def canonical(item: bytes) -> bytes:
    return digests.canonical(item).data


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


@pytest.mark.parametrize(
    "marker",
    [{"mode": "explicit"}, {}, "explicit", True, False, None],
    ids=lambda marker: json.dumps(marker),
)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("spaced", [False, True])
def test_openais_breakpoint_is_no_part_of_an_item(
    marker: object, first: bool, spaced: bool
) -> None:
    mark = {"prompt_cache_breakpoint": marker}

    def part(text: str) -> dict[str, Any]:
        plain = {"type": "input_text", "text": text}
        return {**mark, **plain} if first else {**plain, **mark}

    plain = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    item = {"type": "message", "role": "user", "content": [part("a"), part("b")]}
    assert canonical(dumps(item, spaced)) == dumps({**item, "content": plain}, spaced)


def test_two_breakpoints_at_the_start_of_a_part_are_both_left_out() -> None:
    both = {"cache_control": MARKER, "prompt_cache_breakpoint": True}
    item = {"role": "user", "content": [{**both, "type": "text", "text": "x", **both}]}
    assert canonical(dumps(item)) == b'{"role":"user","content":"x"}'


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize(
    "places", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 0, 2, 2), (0, 1, 2), (1, 1)]
)
def test_converses_breakpoint_is_no_part_of_an_item(places: tuple[int, ...], spaced: bool) -> None:
    content: list[Any] = [{"text": "a"}, {"toolResult": {"content": [{"text": "b"}]}}]
    plain = {"role": "user", "content": content}
    marked = [*content]
    for place in reversed(places):
        marked.insert(place, POINT)
    got = canonical(dumps({**plain, "content": marked}, spaced))
    assert got == dumps(plain, spaced)


def test_what_only_looks_like_converses_breakpoint_stays() -> None:
    inputs = {"list": [POINT, 1], "cachePoint": {"type": "default"}}
    use = {"toolUse": {"name": "Write", "input": inputs}}
    other = {"cachePoint": {"type": "default"}, "text": "x"}
    item = dumps({"role": "assistant", "content": [{"text": dumps(POINT).decode()}, use, other]})
    assert canonical(item) == item


def test_nothing_but_breakpoints_is_an_empty_list() -> None:
    item = {"role": "user", "content": [POINT, {"cachePoint": {"type": "default", "ttl": "1h"}}]}
    assert canonical(dumps(item)) == b'{"role":"user","content":[]}'


def test_a_half_of_an_emoji_hides_no_breakpoint() -> None:
    plain = rb'{"role":"user","content":[{"text":"cut \ud83d"}]}'
    marked = plain.replace(b"}]", b"},%b]" % dumps(POINT))
    assert canonical(marked) == plain


@pytest.mark.parametrize(
    "item",
    [
        b'{"cachePoint":{"type":"default"}}',
        b'{"content":{"cachePoint":{}}}',
        b'{"content":"\\"cachePoint\\"","x":"cachePoint"}',
        b'{"content":["cachePoint"],"content":[{"cachePoint":{}}]}',
        b'{"content":[{"cachePoint":' + b"[" * 3000 + b"]" * 3000 + b"}]}",
    ],
)
def test_odd_items_keep_their_bytes(item: bytes) -> None:
    assert canonical(item) == item


blocks = st.lists(
    st.sampled_from(
        [
            POINT,
            {"text": "words"},
            {"type": "text", "text": 'say "hi"'},
            {"type": "text", "text": "é", "cache_control": MARKER},
            {"prompt_cache_breakpoint": {"mode": "explicit"}, "type": "text", "text": "y"},
            {"type": "tool_result", "content": [{"type": "text", "text": "out"}]},
            {"cache_control": None, "type": "tool_result", "content": "out"},
        ]
    ),
    max_size=6,
)


@given(blocks, spellings)
def test_every_text_is_found_again_in_the_clients_own_bytes(
    content: list[Any], how: dict[str, object]
) -> None:
    item = spell({"role": "user", "content": content}, how)
    found = digests.canonical(item)
    json.loads(found.data)
    for string in STRING.finditer(found.data):
        start, end = found.moves.in_clients_bytes(string.span())
        assert item[start:end] == string.group()


def test_different_items_have_different_names() -> None:
    assert digest(b"a") != digest(b"b")
    assert len(digest(b"a")) == 16
