"""What honest callers send: recorded conversations in each API's shape, with words of their own.

Each longer word of a conversation ends in its mark. So whatever of it comes to another caller, in
whatever form, can be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scripts.lab import traffic
from scripts.lab.growing import varied

Item = dict[str, Any]

MARK = re.compile(rb"zq[0-9a-f]{10}qz")


def mark(number: int) -> str:
    """The mark of the conversation with this number."""
    return f"zq{number & 0xFF_FFFF_FFFF:010x}qz"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a conversation.

    `call` is what Aperture posts to the hook. `body` is the request body in it, byte for byte;
    `items` are those of its member `key`, parsed.
    """

    call: bytes
    body: bytes
    key: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Shape:
    """How an API spells a conversation. `items` makes its items of one message of Anthropic's."""

    name: str
    key: str
    provider: str
    model: str
    items: Callable[[Item, Mapping[str, str]], list[Item]]
    rest: Mapping[str, Any]  # the body's other members


def _blocks(message: Item) -> list[Item]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or () if isinstance(part, dict))


def _anthropic(message: Item, names: Mapping[str, str]) -> list[Item]:
    del names
    return [message]


def _chat(message: Item, names: Mapping[str, str]) -> list[Item]:
    del names
    found: list[Item] = []
    calls: list[Item] = []
    said = []
    for block in _blocks(message):
        if block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif block["type"] == "tool_result":
            output = _text(block.get("content"))
            found.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": output})
        elif block["type"] == "text":
            said.append(block["text"])
    if message["role"] == "assistant":
        answer: Item = {"role": "assistant", "content": "\n".join(said) or None}
        return [{**answer, "tool_calls": calls} if calls else answer]
    return [*found, *({"role": "user", "content": text} for text in said)]


def _responses(message: Item, names: Mapping[str, str]) -> list[Item]:
    del names
    found: list[Item] = []
    kind = "output_text" if message["role"] == "assistant" else "input_text"
    for block in _blocks(message):
        if block["type"] == "text":
            content = [{"type": kind, "text": block["text"]}]
            found.append({"type": "message", "role": message["role"], "content": content})
        elif block["type"] == "tool_use":
            call = {"call_id": block["id"], "name": block["name"]}
            arguments = json.dumps(block["input"])
            found.append({"type": "function_call", **call, "arguments": arguments})
        elif block["type"] == "tool_result":
            said = {"call_id": block["tool_use_id"], "output": _text(block.get("content"))}
            found.append({"type": "function_call_output", **said})
    return found


def _gemini(message: Item, names: Mapping[str, str]) -> list[Item]:
    parts: list[Item] = []
    for block in _blocks(message):
        if block["type"] == "text":
            parts.append({"text": block["text"]})
        elif block["type"] == "tool_use":
            call = {"id": block["id"], "name": block["name"], "args": block["input"]}
            parts.append({"functionCall": call})
        elif block["type"] == "tool_result":
            call_id = block["tool_use_id"]
            said = {"id": call_id, "name": names.get(call_id, "tool")}
            response = {"output": _text(block.get("content"))}
            parts.append({"functionResponse": {**said, "response": response}})
    return [{"role": "model" if message["role"] == "assistant" else "user", "parts": parts}]


def _converse(message: Item, names: Mapping[str, str]) -> list[Item]:
    del names
    content: list[Item] = []
    for block in _blocks(message):
        if block["type"] == "text":
            content.append({"text": block["text"]})
        elif block["type"] == "tool_use":
            call = {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}
            content.append({"toolUse": call})
        elif block["type"] == "tool_result":
            text = [{"text": _text(block.get("content"))}]
            said = {"toolUseId": block["tool_use_id"], "content": text, "status": "success"}
            content.append({"toolResult": said})
    return [{"role": message["role"], "content": content}]


_SYSTEM = "You are a coding agent."
SHAPES: tuple[Shape, ...] = (
    Shape(
        "anthropic", "messages", "anthropic", traffic.MODEL, _anthropic,
        {"system": [{"type": "text", "text": _SYSTEM}], "max_tokens": 32000, "stream": True},
    ),
    Shape("chat", "messages", "openai", "gpt-5.1", _chat, {"stream": True, "temperature": 1.0}),
    Shape("responses", "input", "openai", "gpt-5.1-codex", _responses,
          {"instructions": _SYSTEM, "store": False, "zeta": "<&>\u2028é"}),
    Shape("gemini", "contents", "gemini", "gemini-3.1-pro-preview", _gemini,
          {"systemInstruction": {"parts": [{"text": _SYSTEM}]}, "generationConfig": {"seed": 1e2}}),
    Shape("converse", "messages", "bedrock", "anthropic.claude-sonnet-4-5", _converse,
          {"system": [{"text": _SYSTEM}], "inferenceConfig": {"maxTokens": 4096}}),
)  # fmt: skip


class Conversation:
    """One recorded conversation in one shape, of one caller.

    `items` are those of its last request; an attacker may change them before the first is sent.
    """

    def __init__(self, messages: Sequence[Item], shape: Shape, number: int, login: str) -> None:
        """`messages` are Anthropic's. `number` is its own: its mark is made of it."""
        self.shape = shape
        self.number = number
        self.login = login
        self.mark = mark(number).encode()
        messages = [varied(message, self.mark.decode()) for message in messages]
        names = _names(messages)
        opening: Item = {"role": "user", "content": f"Session {self.mark.decode()}."}
        greeting: Item = {"role": "assistant", "content": "ok"}
        self.items: list[Item] = []
        self._ends: list[int] = []  # how many items each request has
        for message in [opening, greeting, *messages]:
            if message["role"] == "assistant" and self.items:
                self._ends.append(len(self.items))
            self.items += shape.items(message, names)

    def __len__(self) -> int:
        """How many requests it has."""
        return len(self._ends)

    def request(self, turn: int) -> Request:
        """The request of a turn, from 0."""
        items = self.items[: self._ends[turn]]
        if self.shape.name == "anthropic":
            items = _marked(items)
        shape = self.shape
        body = traffic.dumps({"model": shape.model, shape.key: items, **shape.rest})
        head = {
            "login_name": self.login,
            "provider": shape.provider,
            "model": shape.model,
            "session_id": f"s-{self.number}",
            "request_id": f"r-{self.number}-{turn}",
        }
        return Request(enveloped(head, body), body, shape.key, items)

    def requests(self) -> Iterator[Request]:
        """Yield all of them."""
        return map(self.request, range(len(self)))


def _marked(items: list[Item]) -> list[Item]:
    """The messages with breakpoints on the last two of the user that can have one."""
    marked = list(items)
    can = [at for at, item in enumerate(items) if _user_said(item)]
    for at in can[-2:]:
        [marked[at]] = traffic.marked([items[at]])
    return marked


def _user_said(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    return item.get("role") == "user" and isinstance(item.get("content"), str | list)


def enveloped(metadata: Mapping[str, Any], body: bytes) -> bytes:
    """A hook call with this request body, byte for byte."""
    return b'{"metadata":' + traffic.dumps(metadata) + b',"request_body":' + body + b"}"


def traces(folder: Path) -> list[Path]:
    """The recorded conversations in a folder and those below it, in the order of their names."""
    return sorted(path for path in folder.rglob("*.jsonl"))


def parsed(raw: bytes) -> Any:
    """JSON as Python's objects, also with surrogates and bytes that should not be there.

    Raises ValueError or RecursionError for what is no JSON or too deep.
    """
    return json.loads(raw.decode("utf-8", "surrogatepass" if b"\xed" in raw else "replace"))


@cache
def recorded(trace: Path) -> list[Item]:
    """The messages of a recorded conversation; they are read once."""
    return traffic.messages_of(trace)


def _names(messages: Sequence[Item]) -> dict[str, str]:
    """The name of the tool of each call, by the call's id."""
    blocks = (block for message in messages for block in _blocks(message))
    return {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
