"""What a worker reads of Gemini's contents."""

from __future__ import annotations

from typing import Any

import pytest

from tsheadroom.providers.shapes.gemini import GEMINI


def parts(*parts: Any) -> list[dict[str, Any]]:
    return list(GEMINI.parts({"role": "user", "parts": list(parts)}))


@pytest.mark.parametrize(
    ("call", "response"),
    [("functionCall", "functionResponse"), ("function_call", "function_response")],
)
def test_both_ways_of_spelling_are_read(call: str, response: str) -> None:
    asked = {"id": "c", "name": "read_file", "args": {"path": "a.py"}}
    told = {"id": "c", "name": "read_file", "response": {"output": "text", "more": ["x", 7]}}
    slots = [("parts", 1, response, "response", "output"),
             ("parts", 1, response, "response", "more", 0)]  # fmt: skip
    assert parts({call: asked, "thought_signature": "s"}, {response: told}) == [
        {"kind": "tool_use", "call": "c", "name": "read_file", "input": {"path": "a.py"}},
        {
            "kind": "tool_result", "slot": slots[0], "text": "text\nx", "call": "c",
            "error": False, "pieces": [[slots[0], 4], [slots[1], 1]],
        },
    ]  # fmt: skip


def test_without_ids_calls_of_one_function_are_answered_in_their_order() -> None:
    names = ("read", "list", "read")
    calls = parts(*({"functionCall": {"name": name, "args": {}}} for name in names))
    told = ({"name": name, "response": {"output": "x"}} for name in names)
    answers = parts(*({"functionResponse": response} for response in told))
    assert [part["call"] for part in calls] == [part["call"] for part in answers]
    assert len({part["call"] for part in calls}) == 3


@pytest.mark.parametrize(
    ("response", "error"),
    [({"error": "no such file"}, True), ({"output": "x", "error": ""}, False), ({"o": "x"}, False)],
)
def test_a_response_says_by_its_key_that_it_is_an_error(
    response: dict[str, Any], error: bool
) -> None:
    (found,) = parts({"functionResponse": {"name": "f", "response": response}})
    assert found["error"] is error


@pytest.mark.parametrize(
    "item",
    [
        None,
        {"parts": 7},
        {"parts": [7, None, {}, {"text": 7}, {"thought": True, "text": "x"}]},
        {"parts": [{"functionCall": []}, {"functionResponse": "x"}]},
        {"parts": [{"function_response": {"response": 7}}, {"functionResponse": {}}]},
    ],
)
def test_odd_contents_have_no_parts(item: Any) -> None:
    assert list(GEMINI.parts(item)) == []
    assert GEMINI.role(item) == "user"
