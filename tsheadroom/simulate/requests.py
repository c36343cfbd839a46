"""The requests of a recorded conversation, as its client sends them and Aperture asks about them.

System prompt and tools are not recorded, so a text of usual length stands for them. Breakpoints are
set where the client sets them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tsheadroom.providers.shapes import Json
from tsheadroom.simulate.recordings import Recording

SYSTEM = "You are Claude Code. " * 400  # 2,000 tokens
KEYS = {"messages": "messages", "chat": "messages", "responses": "input", "gemini": "contents"}
"""Shape of a recording -> the body's member that holds the conversation."""

_MODELS = {
    "messages": "claude-opus-4-6",
    "chat": "gpt-5.3-codex",
    "responses": "gpt-5.5",
    "gemini": "gemini-3-pro-preview",
}
_PROVIDERS = {
    "messages": "anthropic",
    "chat": "openai",
    "responses": "openai",
    "gemini": "gemini",
}
_PATHS = {
    "messages": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/gemini:streamGenerateContent",
}
_MARK = {"cache_control": {"type": "ephemeral"}}
# What Claude Code sends with every request that has thinking, seen from 2.1.197 on.
_KEEP_THINKING = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


@dataclass(frozen=True, slots=True)
class Simulated:
    """One request: the conversation's items, and all other members of the body, as JSON."""

    shape: str
    model: str
    number: int  # of the turn, from 0
    at: float  # seconds
    items: Sequence[bytes]
    members: Mapping[str, bytes]
    session: str

    def hook_call(self) -> bytes:
        """What Aperture posts to the hook."""
        metadata = {
            "login_name": "agent@example.com",
            "provider": _PROVIDERS[self.shape],
            "model": self.model,
            "session_id": self.session,
            "request_id": f"{self.session}-{self.number}",
            "url": _PATHS[self.shape],
        }
        conversation = b"[" + b",".join(self.items) + b"]"
        members = {**self.members, KEYS[self.shape]: conversation}
        body = b",".join(encoded(name) + b":" + value for name, value in members.items())
        return b'{"metadata":' + encoded(metadata) + b',"request_body":{' + body + b"}}"


def of(recording: Recording, members: Mapping[str, Json] | None = None) -> Iterator[Simulated]:
    """Yield the request before each answer.

    `members` are added to every body; with None, those that the client is known to add.
    """
    marks = Marks(recording)
    added = client_members(recording) if members is None else members
    model = recording.model or _MODELS[recording.shape]
    rest = {
        name: encoded(value)
        for name, value in {**_body(recording.shape, model), **added}.items()
        if name != KEYS[recording.shape]
    }
    for number, answer in enumerate(recording.answers):
        items = marks.items(answer.item)
        yield Simulated(recording.shape, model, number, answer.at, items, rest, recording.trace)


def client_members(recording: Recording) -> dict[str, Json]:
    """The members of the body that matter here and that a client of this version sends."""
    newer = recording.client == "claude-code" and recording.version >= (2, 1, 200)
    thinks = newer and any('"thinking"' in json.dumps(item) for item in recording.items)
    return {"context_management": _KEEP_THINKING} if thinks else {}


def breakpoints(recording: Recording) -> tuple[int, bool]:
    """How many of the newest messages have a breakpoint, and True if only the user's count.

    Claude Code of 2.1 and later marks the last message of the user, earlier ones (and those whose
    version was not recorded) the last two. OpenCode marks the last two messages of either side.
    """
    if recording.client == "opencode":
        return 2, False
    return (1 if recording.version >= (2, 1) else 2), True


class Marks:
    """The items of a conversation as JSON, with the client's breakpoints."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._plain = [encoded(item) for item in recording.items]
        self._marked: dict[int, bytes] = {}
        self._count, self._users_only = breakpoints(recording)

    def items(self, stop: int) -> list[bytes]:
        """The first `stop` items as they are sent together."""
        items = self._plain[:stop]
        if self._recording.shape == "messages":
            for index in self._places(stop):
                items[index] = self._with_mark(index)
        return items

    def _places(self, stop: int) -> list[int]:
        found: list[int] = []
        for index in range(stop - 1, -1, -1):
            if len(found) == self._count:
                break
            if not self._users_only or self._recording.items[index].get("role") == "user":
                found.append(index)
        return found

    def _with_mark(self, index: int) -> bytes:
        if index not in self._marked:
            item = self._recording.items[index]
            content = item.get("content")
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if isinstance(blocks, list) and blocks and isinstance(blocks[-1], dict):
                item = {**item, "content": [*blocks[:-1], {**blocks[-1], **_MARK}]}
            self._marked[index] = encoded(item)
        return self._marked[index]


def encoded(value: Json) -> bytes:
    """JSON without spaces, as clients send it. Lone surrogates are kept."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _body(shape: str, model: str) -> dict[str, Json]:
    """The members around a conversation, in a client's order."""
    if shape == "messages":
        return {
            "model": model,
            "max_tokens": 32000,
            "system": [{"type": "text", "text": SYSTEM, **_MARK}],
            "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
            "stream": True,
        }
    if shape == "responses":
        tool = {"type": "function", "name": "exec_command", "parameters": {"type": "object"}}
        return {
            "model": model,
            "instructions": SYSTEM,
            "tools": [tool],
            "store": False,
            "stream": True,
            "include": ["reasoning.encrypted_content"],
        }
    if shape == "chat":
        function = {"name": "read", "parameters": {"type": "object"}}
        return {"model": model, "tools": [{"type": "function", "function": function}]}
    return {
        "systemInstruction": {"role": "user", "parts": [{"text": SYSTEM}]},
        "tools": [{"functionDeclarations": [{"name": "read_file"}]}],
    }
