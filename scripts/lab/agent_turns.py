"""Recorded conversations turn by turn, as Claude Code sends them, with their times."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

from scripts.lab import traffic
from scripts.lab.traffic import Body

SYSTEM = [
    {
        "type": "text",
        "text": "You are Claude Code. " * 400,
        "cache_control": {"type": "ephemeral"},
    }
]
WRITING_TOOLS = ("Write", "Edit", "MultiEdit", "NotebookEdit")
SHORT = 200  # characters; a file up to this size is sent again all the same


def turns(path: Path, *, as_modern: bool) -> Iterator[tuple[float, Body]]:
    """Yield the request before each answer of the model, and when it was sent, in seconds."""
    now = 0.0
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    messages = traffic.messages_of(path)
    if as_modern:
        messages = modern(messages)
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            now = float(lines[index + 1].get("at", now))
            yield now, {**traffic.body(messages[:index]), "system": SYSTEM}


def modern(messages: list[Body]) -> list[Body]:
    """The conversation as it would come from a client that does not repeat file contents."""
    calls: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    messages = copy.deepcopy(messages)
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block.get("type") == "tool_use":
                calls[block["id"]] = block["name"], (block.get("input") or {}).get("file_path", "")
            if block.get("type") == "tool_result":
                name, path = calls.get(block.get("tool_use_id"), ("", ""))
                _shorten(block, name, path, seen)
    return messages


def _shorten(result: Body, tool: str, path: str, seen: set[str]) -> None:
    """Put in what a newer client says instead of a file's content. `seen` has what was read."""
    text = traffic.dumps(result.get("content")).decode("utf-8", "surrogatepass")
    if tool in WRITING_TOOLS and not result.get("is_error"):
        result["content"] = f"The file {path} has been updated successfully."
    elif tool == "Read" and len(text) > SHORT:
        if text in seen:
            result["content"] = "File unchanged since last read."
        seen.add(text)
