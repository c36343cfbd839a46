"""What stands where in an item, as it came and as it goes out."""

from __future__ import annotations

import json
from typing import Any

from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.forms import Form, ProposedEdit, Target, build
from tsheadroom.texts import wrappers
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


def output(items: Items, index: int, form: Form | None, slot: list[Any]) -> str | None:
    part = items.output(index, form, slot)
    return None if part is None else str(part["text"])


def texts(items: Items, form: Form | None) -> list[str]:
    part = items.output(0, form, FIRST)
    assert part
    return [text for _, text in wrappers.pieces(part)]


def form(items: Items, slot: list[Any], text: str) -> Form:
    original = items.text_at(0, slot)
    assert original
    edit = ProposedEdit(tuple(slot), text, original)
    return build(items.canonical(0), b"t" * 16, [edit], lambda i: Target(i, b"", b""), 1)


def test_an_output_of_several_texts_is_found_whole_and_piece_by_piece() -> None:
    items = script()
    assert items.text_at(0, FIRST) == "first é"
    assert items.text_at(0, SECOND) == "second"
    assert output(items, 0, None, FIRST) == "first é\nsecond"
    assert output(items, 0, None, SECOND) is None  # no output begins there
    assert items.text_at(0, ["output", 0, "text"]) is None  # the header is no part of it


def test_it_is_found_as_it_goes_out() -> None:
    items = script()
    shorter = form(items, SECOND, "2nd")
    assert output(items, 0, shorter, FIRST) == "first é\n2nd"
    assert texts(items, shorter) == ["first é", "2nd"]
    assert texts(items, None) == ["first é", "second"]


def test_an_only_text_is_its_own_piece() -> None:
    items = items_of("messages", {"role": "tool", "tool_call_id": "c", "content": "text"},
                     {"role": "user", "content": "said"})  # fmt: skip
    assert items.text_at(0, ["content"]) == output(items, 0, None, ["content"]) == "text"
    assert items.text_at(1, ["content"]) == "said"
    assert output(items, 1, None, ["content"]) is None  # it is no output


def test_what_a_call_writes_is_found_inside_of_its_input() -> None:
    def use(name: str, text: Any) -> dict[str, Any]:
        return {"type": "tool_use", "id": name, "name": "Write", "input": {"content": text}}

    uses = [use("a", "x"), use("b", 7), use("d", 7), use("d", "y")]
    items = items_of("messages", {"role": "assistant", "content": uses})
    assert items.written(0, None, "a", ["content"]) == "x"
    assert items.written(0, None, "b", ["content"]) is None
    assert items.written(0, None, "c", ["content"]) is None
    assert items.written(0, None, "d", ["content"]) == "y"
    assert items.written(0, None, "a", [0]) is None


def test_odd_paths_lead_nowhere() -> None:
    items = script()
    for slot in ([], ["output"], [["output"], 1], [None], ["output", 1, "text", "more"]):
        assert items.text_at(0, slot) is None
        assert output(items, 0, None, slot) is None
