"""What stands where in an item, as it came and as it goes out."""

from __future__ import annotations

import json
from typing import Any

from tsheadroom.aperture.call import Digests, HookCall, read
from tsheadroom.conversations.forms import Form, ProposedEdit, Target, build
from tsheadroom.turns.items import Items

HEADER = "Script completed\nWall time 0.1 seconds\nOutput:\n"
FIRST, SECOND = ["output", 1, "text"], ["output", 2, "text"]


def items_of(key: str, *items: dict[str, Any]) -> Items:
    called = read(json.dumps({"request_body": {key: items}}).encode())
    assert isinstance(called, HookCall)
    return Items(called, Digests.of(called))


def script() -> Items:
    content = [{"type": "input_text", "text": text} for text in (HEADER, "first é", "second")]
    return items_of("input", {"type": "custom_tool_call_output", "call_id": "c", "output": content})


def form(items: Items, slot: list[Any], text: str) -> Form:
    original = items.piece_at(0, None, slot)
    assert original
    edit = ProposedEdit(tuple(slot), text, original)
    return build(items.canonical(0), b"t" * 16, [edit], lambda i: Target(i, b"", b""), 1)


def test_an_output_of_several_texts_is_found_whole_and_piece_by_piece() -> None:
    items = script()
    assert items.piece_at(0, None, FIRST) == "first é"
    assert items.piece_at(0, None, SECOND) == "second"
    assert items.output_of(0, None, FIRST) == "first é\nsecond"
    assert items.output_of(0, None, SECOND) is None  # no output begins there
    assert items.piece_at(0, None, ["output", 0, "text"]) is None  # the header is no part of it


def test_it_is_found_as_it_goes_out() -> None:
    items = script()
    shorter = form(items, SECOND, "2nd")
    assert items.output_of(0, shorter, FIRST) == "first é\n2nd"
    assert items.piece_at(0, shorter, SECOND) == "2nd"
    assert items.piece_at(0, None, SECOND) == "second"


def test_an_only_text_is_its_own_piece() -> None:
    items = items_of("messages", {"role": "tool", "tool_call_id": "c", "content": "text"},
                     {"role": "user", "content": "said"})  # fmt: skip
    assert items.piece_at(0, None, ["content"]) == items.output_of(0, None, ["content"]) == "text"
    assert items.piece_at(1, None, ["content"]) == "said"
    assert items.output_of(1, None, ["content"]) is None  # it is no output


def test_what_a_call_writes_is_found_inside_of_its_input() -> None:
    def use(name: str, text: Any) -> dict[str, Any]:
        return {"type": "tool_use", "id": name, "name": "Write", "input": {"content": text}}

    items = items_of("messages", {"role": "assistant", "content": [use("a", "x"), use("b", 7)]})
    assert items.text_at(0, None, ["input", "content"], "a") == "x"
    assert items.text_at(0, None, ["input", "content"], "b") is None
    assert items.text_at(0, None, ["input", "content"], "c") is None
    assert items.text_at(0, None, ["input", 0], "a") is None


def test_odd_paths_lead_nowhere() -> None:
    items = script()
    for slot in ([], ["output"], [["output"], 1], [None], ["output", 1, "text", "more"]):
        assert items.piece_at(0, None, slot) is None
        assert items.output_of(0, None, slot) is None
