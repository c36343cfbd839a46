"""Blocks are what a prompt cache counts: no breakpoints, one size however a text is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from tsheadroom.simulate.blocks import IMAGE_TOKENS, Blocks, Counter
from tsheadroom.simulate.requests import encoded


@pytest.fixture
def counter() -> Counter:
    return Counter(count=lambda text: len(text.split()))


def of(counter: Counter, item: Any, *, messages: bool = True) -> list[Any]:
    return list(Blocks(counter).of(encoded(item), messages=messages))


def test_a_breakpoint_is_no_part_of_a_block(counter: Counter) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    (plain,) = of(counter, {"role": "user", "content": "two words"})
    (marked,) = of(
        counter, {"role": "user", "content": [{"type": "text", "text": "two words", **mark}]}
    )
    assert (marked.digest, marked.tokens) == (plain.digest, plain.tokens)
    assert (plain.mark, marked.mark) == (False, True)


def test_a_result_is_the_same_as_text_and_as_a_block(counter: Counter) -> None:
    one, two = (
        of(
            counter,
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "1", "content": content}],
            },
        )
        for content in ("a b c", [{"type": "text", "text": "a b c"}])
    )
    assert one == two


def test_the_role_is_part_of_it(counter: Counter) -> None:
    one, two = (of(counter, {"role": role, "content": "a"}) for role in ("user", "assistant"))
    assert one[0].digest != two[0].digest


def test_elsewhere_an_item_is_one_block(counter: Counter) -> None:
    item = {"type": "function_call_output", "call_id": "1", "output": "a b c"}
    (block,) = of(counter, item, messages=False)
    assert block.tokens == 3 + 3  # the words, and a frame


def test_what_a_model_reads_is_counted(counter: Counter) -> None:
    assert counter.read({"type": "image", "source": {"data": "x" * 9000}}) == IMAGE_TOKENS
    assert counter.read({"inlineData": {"data": "x" * 9000}}) == IMAGE_TOKENS
    assert counter.read({"type": "thinking", "thinking": "a b", "signature": "x" * 160}) == 2
    assert counter.read({"type": "thinking", "thinking": "", "signature": "x" * 160}) == 30
    assert counter.read({"thoughtSignature": "x" * 160}) == 30 + 3
    assert counter.read({"type": "text", "text": "a b", "id": "many words in here"}) == 2 + 3
    assert counter.read([1, None, True]) == 3


@pytest.mark.parametrize("content", [None, 7, {"a": 1}, [], ["text", 3, None]])
def test_odd_content_is_no_error(counter: Counter, content: Any) -> None:
    of(counter, {"role": "user", "content": content})


def test_a_lone_surrogate_is_no_error(counter: Counter) -> None:
    (block,) = of(counter, {"role": "user", "content": "a \ud800"})
    assert block.tokens == 2 + 3
