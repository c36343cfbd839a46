"""Recorded sessions, turn by turn: every output comes back from what was sent, and nothing else
about them changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.child.conftest import NewTalk
from tests.child.talk import Talk

TRACES = sorted((Path(__file__).parents[1] / "data").glob("*.jsonl"))


def items_of(path: Path) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [_item(message) for message in messages]


def _item(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    parts = [part for at, block in enumerate(blocks) for part in _parts(at, block)]
    context = message["role"] == "assistant"
    return {"role": message["role"], "context": context, "parts": parts}


def _parts(at: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    slot = ["content", at]
    if block["type"] == "text":
        return [{"kind": "text", "slot": slot, "text": block["text"]}]
    if block["type"] == "tool_use":
        use = {"call": block["id"], "name": block["name"], "input": block["input"]}
        return [{"kind": "tool_use", **use}]
    content = block.get("content")
    if block["type"] != "tool_result" or not isinstance(content, str):
        return []
    error = bool(block.get("is_error"))
    call = {"call": block["tool_use_id"], "error": error}
    return [{"kind": "tool_result", "slot": slot, "text": content, **call}]


def play(talk: Talk, items: list[dict[str, Any]]) -> Talk:
    start = 0
    for at, item in enumerate(items):
        if item["context"]:
            talk.add(items[start:at])
            start = at
    talk.add(items[start:])
    return talk


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
@pytest.mark.parametrize("gutter", [True, False, "sparse"], ids=["gutter", "padded", "sparse"])
def test_all_of_a_session_comes_back(talk: NewTalk, path: Path, gutter: bool | str) -> None:
    played = play(talk(gutter=gutter), items_of(path))  # Talk checks each form as it comes
    assert len(str(played.sent)) <= len(str(played.items))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_child_that_was_told_what_was_sent_goes_on_alike(talk: NewTalk, path: Path) -> None:
    """After a restart the forwarded items are context; what follows must not depend on that."""
    items = items_of(path)
    half = next(at for at in range(len(items) // 2, len(items)) if items[at]["context"])
    whole = play(talk(), items[:half])
    told = talk()
    for item in whole.sent:
        told.conversation.context(item)
    told.items, told.sent = list(whole.items), list(whole.sent)
    assert play(told, items[half:]).sent == play(whole, items[half:]).sent
    assert told.conversation.length == whole.conversation.length
