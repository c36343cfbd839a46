"""Recorded conversations as Aperture sends them: request bodies, hook calls, and their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from scripts.lab.door import ROOT
from tsheadroom.child import environment

Body = dict[str, Any]

DATA = ROOT / "tests" / "data"
MODEL = "claude-sonnet-4-5-20250929"
# About as long as a coding agent's own system prompt without its tools.
SYSTEM = [
    {
        "type": "text",
        "text": "You are a coding agent. " * 400,
        "cache_control": {"type": "ephemeral"},
    }
]
MARKERS = ("Retrieve original", "Retrieve more", "headroom_retrieve", "<<ccr:")


def dumps(value: object) -> bytes:
    """Encode as JSON without spaces, as agents' clients do. Lone surrogates are kept."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def messages_of(path: Path) -> list[Body]:
    """The messages of a trace: JSON lines of a header, then messages in Anthropic's shape."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{"role": row["role"], "content": row["content"]} for row in rows[1:]]


def source_of(path: Path) -> str:
    """Where a trace comes from, as its header says."""
    with path.open(encoding="utf-8") as lines:
        return str(json.loads(next(lines)).get("source", "unknown"))


def marked(messages: list[Body]) -> list[Body]:
    """The messages with breakpoints on the last two of the user, as Claude Code sets them."""
    messages = list(messages)
    for at in [i for i, message in enumerate(messages) if message["role"] == "user"][-2:]:
        content = messages[at]["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if blocks and isinstance(blocks[-1], dict):
            blocks[-1] = {**blocks[-1], "cache_control": {"type": "ephemeral"}}
        messages[at] = {**messages[at], "content": blocks}
    return messages


def body(messages: list[Body]) -> Body:
    """A request body of these messages, with breakpoints."""
    return {
        "model": MODEL,
        "max_tokens": 32000,
        "system": SYSTEM,
        "messages": marked(messages),
        "stream": True,
    }


def turns(path: Path) -> Iterator[Body]:
    """Yield the body of each request of a recorded conversation."""
    messages = messages_of(path)
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            yield body(messages[:index])


def hook_call(request_body: Body, session: str, request: str) -> bytes:
    """The call that Aperture posts to the hook for a request, as bytes."""
    metadata = {
        "login_name": "agent@example.com",
        "provider": "anthropic",
        "model": request_body["model"],
        "session_id": session,
        "request_id": request,
    }
    return dumps({"metadata": metadata, "request_body": request_body})


def plain(value: Any) -> Any:
    """The value without what a prompt cache ignores: no breakpoints, a string as one text block."""
    if isinstance(value, dict):
        value = {k: plain(v) for k, v in value.items() if k != "cache_control"}
        if "role" in value and isinstance(value.get("content"), str):
            value["content"] = [{"type": "text", "text": value["content"]}]
        return value
    return [plain(v) for v in value] if isinstance(value, list) else value


def tokens(request_body: Body) -> int:
    """o200k tokens of a request's system prompt and conversation."""
    total = sum(count_tokens(block["text"]) for block in request_body["system"])
    for message in plain(request_body["messages"]):
        total += sum(count_tokens(_text(block)) for block in message["content"])
    return total


def _text(block: Any) -> str:
    if block.get("type") == "text":
        return str(block["text"])
    if block.get("type") == "tool_result" and isinstance(block.get("content"), str):
        return str(block["content"])
    return dumps(block).decode("utf-8", "replace")


@lru_cache(maxsize=4096)
def count_tokens(text: str) -> int:
    """The number of o200k tokens in a text."""
    return len(_encoding().encode(text, disallowed_special=()))


@lru_cache(maxsize=1)
def _encoding() -> Any:
    environment.apply()  # the vocabulary from disk, never from the network
    import tiktoken

    return tiktoken.get_encoding("o200k_base")
