"""What a worker reads of a message of Anthropic's, of OpenAI Chat's, and of Bedrock Converse's."""

from __future__ import annotations

from typing import Any

import pytest

from tsheadroom.providers.shapes.messages import MESSAGES


def parts(item: Any) -> list[dict[str, Any]]:
    return list(MESSAGES.parts(item))


def output(text: str, slot: tuple[str | int, ...], **more: Any) -> dict[str, Any]:
    plain = {"kind": "tool_result", "slot": slot, "text": text, "call": "c", "error": False}
    return {**plain, **more}


def test_an_output_of_several_texts_is_one_output() -> None:
    content = [{"type": "text", "text": "é1"}, {"type": "image"}, {"type": "text", "text": "two"}]
    block = {"type": "tool_result", "tool_use_id": "c", "content": content, "is_error": True}
    slots = [("content", 1, "content", 0, "text"), ("content", 1, "content", 2, "text")]
    assert parts({"role": "user", "content": [{"type": "text", "text": "hi"}, block]}) == [
        {"kind": "text", "slot": ("content", 0, "text"), "text": "hi"},
        output("é1\ntwo", slots[0], error=True, pieces=[[slots[0], 2], [slots[1], 3]]),
    ]


def test_an_empty_text_is_no_piece_and_nothing_but_empty_texts_is_an_answer() -> None:
    def result(*texts: str) -> list[dict[str, Any]]:
        content = [{"type": "text", "text": text} for text in texts]
        return parts({"role": "tool", "tool_call_id": "c", "content": content})

    assert result("", "x", "") == [output("x", ("content", 1, "text"))]
    assert result("", "") == [output("", ("content", 0, "text"))]
    assert result() == []


def test_converses_output_is_all_its_texts_and_the_strings_of_its_json() -> None:
    content = [{"text": "a"}, {"json": {"rows": [{"name": "b"}, 7, "c"]}}, {"image": {}}]
    result = {"toolUseId": "c", "status": "error", "content": content}
    where = ("content", 0, "toolResult", "content")
    slots = [(*where, 0, "text"), (*where, 1, "json", "rows", 0, "name"),
             (*where, 1, "json", "rows", 2)]  # fmt: skip
    assert parts({"role": "user", "content": [{"toolResult": result}]}) == [
        output("a\nb\nc", slots[0], error=True, pieces=[[slot, 1] for slot in slots])
    ]


def test_a_compaction_says_so() -> None:
    item = {"role": "assistant", "content": [{"type": "compaction", "content": "so far"}]}
    assert parts(item) == [{"kind": "forget"}]


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        [],
        {"role": "user"},
        {"role": ["user"], "content": 7},
        {"role": "user", "content": [7, None, [], {}, {"type": ["text"], "text": "x"}]},
        {"role": "user", "content": [{"type": {}, "text": "x"}, {"type": "text", "text": 7}]},
        {"role": "user", "content": [{"type": "tool_result", "content": {"text": "x"}}]},
        {"role": "user", "content": [{"toolResult": []}, {"toolResult": {"content": "x"}}]},
        {"role": "user", "content": [{"toolUse": "x"}]},
        {"role": "tool", "content": {"text": "x"}},
        {"role": "assistant", "content": None, "tool_calls": [7, {"function": "f"}, None]},
    ],
)
def test_odd_items_have_no_parts(item: Any) -> None:
    assert parts(item) == []
    assert MESSAGES.role(item) in ("user", "assistant", "tool")
