"""The turns of scripts/agreement: recorded requests, as the client sent them and as forwarded.

System prompt and tools are not recorded, and sealed thinking is of no use to another account. So a
request is made anew of what can be sent: texts, tool calls and their outputs, with tools declared
as far as the recorded calls show them.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsheadroom.providers.shapes import Json, Part, shape_of
from tsheadroom.settings import Settings
from tsheadroom.simulate import requests
from tsheadroom.simulate.blocks import Blocks, Counter
from tsheadroom.simulate.edits import Reader
from tsheadroom.simulate.policies import InlineDaemon
from tsheadroom.simulate.recordings import Recording
from tsheadroom.simulate.requests import KEYS

PATHS = {
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
}
"""Shape of a body -> where it is posted. Gemini's is not asked."""

_SYSTEM = (
    "You are a coding agent. You work on the user's task with the tools that you have. Go on with"
    " the conversation: make the next tool call, or answer if the task is done."
)
_CUSTOM = "custom_tool_call"  # a tool of Responses whose input is a text
_SENT_ITEMS = ("message", "function_call", "function_call_output", _CUSTOM, f"{_CUSTOM}_output")
# What may be sent of a block or an item; clients add members that only they may send.
_SENT_MEMBERS = {
    "tool_use": ("type", "id", "name", "input", "cache_control"),
    "tool_result": ("type", "tool_use_id", "content", "is_error", "cache_control"),
    "text": ("type", "text", "cache_control"),
    "image": ("type", "source", "cache_control"),
    "message": ("type", "role", "content"),
    "function_call": ("type", "call_id", "name", "arguments"),
    "function_call_output": ("type", "call_id", "output"),
    _CUSTOM: ("type", "call_id", "name", "input"),
    f"{_CUSTOM}_output": ("type", "call_id", "output"),
}
_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", list: "array",
                           dict: "object"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One request: its items as the client sent them and as they are forwarded.

    `frame` has the other members of its body. Bodies are made when they are asked for: hundreds of
    them at once would take gigabytes.
    """

    conversation: str
    number: int  # of the turn, from 0
    shape: str
    frame: Mapping[str, Json]
    original: Sequence[bytes]
    forwarded: Sequence[bytes]
    reader: Reader

    def body(self, *, forwarded: bool) -> dict[str, Json]:
        """The request's body, as it can be sent."""
        items = map(_decoded, self.forwarded if forwarded else self.original)
        sent = (_sendable(item, self.shape) for item in items)
        return {**self.frame, KEYS[self.shape]: [item for item in sent if item is not None]}

    def knows(self, old: str) -> bool:
        """True if a text stands in the conversation in one piece, as the client sent it."""
        return self.reader.latest(old, self.original) is not None


def changed_turns(
    recording: Recording,
    settings: Settings,
    members: Mapping[str, Json],
    counter: Counter,
    loop: asyncio.AbstractEventLoop,
) -> Iterator[RecordedTurn]:
    """Yield the turns of a conversation in which something goes out otherwise than it came.

    `members` are those of each body: model, length of the answer, the real tools if known.
    """
    daemon = InlineDaemon(settings, loop)
    reader = Reader(recording.shape, recording.items, counter, Blocks(counter))
    frame = {**_frame(recording), **members}
    once: dict[bytes, bytes] = {}  # the same item is the same object in every turn
    for request in requests.of(recording):
        forwarded = [once.setdefault(item, item) for item in daemon(request).items]
        if forwarded != list(request.items):
            yield RecordedTurn(
                f"{recording.group}/{recording.trace}",
                request.number,
                recording.shape,
                frame,
                request.items,
                forwarded,
                reader,
            )


def sample(turns: Sequence[RecordedTurn], count: int, seed: int) -> list[RecordedTurn]:
    """At most `count` of the turns, drawn by chance, in their order. The seed says which."""
    chosen = random.Random(seed).sample(range(len(turns)), min(count, len(turns)))
    return [turns[index] for index in sorted(chosen)]


def _frame(recording: Recording) -> dict[str, Json]:
    tools = _tools(recording)
    if recording.shape == "messages":
        return {"system": _SYSTEM, "tools": tools}
    if recording.shape == "responses":
        return {"instructions": _SYSTEM, "tools": tools, "store": False}
    return {"tools": tools}


def _decoded(item: bytes) -> Json:
    return json.loads(item.decode("utf-8", "surrogatepass"))


def _sendable(item: Json, shape: str) -> Json:
    """What can be sent of an item: no sealed thinking, no members of the client's own; or None."""
    if shape == "messages":
        content = item.get("content")
        if isinstance(content, list):
            content = [kept for block in content if (kept := _members(block, "text")) is not None]
        return {"role": item.get("role"), "content": content} if content else None
    if shape == "responses":
        kept = _members(item, "message")
        return kept if kept is not None and kept.get("type", "message") in _SENT_ITEMS else None
    return item


def _members(value: Json, usual: str) -> dict[str, Json] | None:
    known = _SENT_MEMBERS.get(value.get("type", usual)) if isinstance(value, dict) else None
    return {key: value[key] for key in known if key in value} if known else None


def _tools(recording: Recording) -> list[Json]:
    """The tools that the conversation's calls show, declared as its API has it."""
    shape = shape_of((KEYS[recording.shape],))
    assert shape is not None
    properties: dict[str, dict[str, Json]] = {}
    custom: set[str] = set()
    for item in recording.items:
        for part in shape.parts(item):
            if part["kind"] == "tool_use":
                known = properties.setdefault(part["name"], {})
                known.update(_properties(part))
                if item.get("type") == _CUSTOM:
                    custom.add(part["name"])
    return [
        _tool(recording.shape, name, known, name in custom)
        for name, known in sorted(properties.items())
    ]


def _properties(part: Part) -> dict[str, Json]:
    inputs: Any = part["input"]
    if not isinstance(inputs, dict):
        return {}
    return {key: {"type": _TYPES.get(type(value), "string")} for key, value in inputs.items()}


def _tool(shape: str, name: str, properties: dict[str, Json], custom: bool) -> dict[str, Json]:
    schema = {"type": "object", "properties": properties}
    if shape == "messages":
        return {"name": name, "input_schema": schema}
    if custom:
        return {"type": "custom", "name": name}
    if shape == "responses":
        return {"type": "function", "name": name, "parameters": schema, "strict": False}
    return {"type": "function", "function": {"name": name, "parameters": schema}}
